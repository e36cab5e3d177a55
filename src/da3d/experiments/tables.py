"""Records -> tables: rows are data sets at a contamination, columns are detectors."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from scipy.stats import rankdata

from da3d.errors import ParameterError
from da3d.experiments.entries import METRICS
from da3d.experiments.plan import Cell, Experiment
from da3d.experiments.record import Found, Record, Records

__all__ = ["Entry", "Row", "Table", "make_table"]


@dataclass(frozen=True)
class Entry:
    """One detector on one data set at one contamination.

    Parameters
    ----------
    values : tuple of float
        The metric under each seed that finished.
    cells, failed : int
        Seeds asked for, and those that failed.
    seconds : tuple of float
        Wall-clock seconds of fitting, under each seed that finished.
    unavailable : int
        Seeds that could not be worked because the data set is not here; not counted as failed.
    """

    values: tuple[float, ...]
    cells: int
    failed: int
    seconds: tuple[float, ...]
    unavailable: int = 0

    @property
    def mean(self) -> float | None:
        """Mean over the seeds that finished; None if none did."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation; None for fewer than two seeds."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Row:
    """One data set at one contamination; entries and published numbers by the detector's label.

    `reached` is the true contamination, the mean over all cells that finished; None if none did.
    """

    data: str
    contamination: float
    reached: float | None
    entries: Mapping[str, Entry]
    published: Mapping[str, float]

    def complete(self, labels: Iterable[str]) -> bool:
        """Whether each of these detectors has a value."""
        return all(self.entries[label].values for label in labels)


@dataclass(frozen=True)
class Table:
    """One metric of one experiment."""

    experiment: str
    title: str
    budget: str
    metric: str
    seeds: tuple[int, ...]
    detectors: tuple[str, ...]
    rows: tuple[Row, ...]
    versions: tuple[str, ...]

    @property
    def levels(self) -> list[float]:
        """The contaminations, in their order."""
        return list(dict.fromkeys(row.contamination for row in self.rows))

    @property
    def ranked(self) -> tuple[str, ...]:
        """The detectors that have any value: those that means, ranks and tests are about."""
        return tuple(label for label in self.detectors if any(row.entries[label].values for row in self.rows))

    def only(self, labels: tuple[str, ...], rows: tuple[Row, ...]) -> Table:
        """The table with only these detectors and rows."""
        few = [
            replace(
                row,
                entries={label: row.entries[label] for label in labels},
                published={label: row.published[label] for label in labels if label in row.published},
            )
            for row in rows
        ]
        return replace(self, detectors=labels, rows=tuple(few))

    def means(self, level: float) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Mean over seeds in every complete row at a contamination, shape (complete rows, `ranked`)."""
        labels = self.ranked
        rows = [row for row in self.rows if row.contamination == level and row.complete(labels)]
        values = [[row.entries[label].mean for label in labels] for row in rows]
        return np.array(values, dtype=np.float64).reshape(len(rows), len(labels))

    def ranks(self, level: float) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Rank of every detector in every complete row, 1 = best, ties share; shaped as `means`."""
        means = self.means(level)
        return rankdata(-means, axis=1).astype(np.float64) if means.size else means

    def fit_seconds(self, label: str) -> float | None:
        """Mean wall-clock seconds of fitting over all cells of a detector that finished."""
        every = [seconds for row in self.rows for seconds in row.entries[label].seconds]
        return statistics.fmean(every) if every else None

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "experiment": self.experiment,
            "title": self.title,
            "budget": self.budget,
            "metric": self.metric,
            "seeds": list(self.seeds),
            "versions": list(self.versions),
            "rows": [_row_dict(row) for row in self.rows],
            "summary": [self._level_dict(level) for level in self.levels],
            "fit_seconds": {label: self.fit_seconds(label) for label in self.detectors},
        }

    def _level_dict(self, level: float) -> dict[str, Any]:
        means, ranks = self.means(level), self.ranks(level)
        some = means.size > 0
        return {
            "contamination": level,
            "complete_rows": len(means) if some else 0,
            "mean": dict(zip(self.ranked, means.mean(0).tolist(), strict=True)) if some else None,
            "mean_rank": dict(zip(self.ranked, ranks.mean(0).tolist(), strict=True)) if some else None,
        }


def make_table(experiment: Experiment, records: Records, metric: str | None = None) -> Table:
    """The table of a metric (the plan's first, if none is named) from the records that are there.

    Raises
    ------
    ParameterError
        There is no such metric.
    """
    plan = experiment.plan
    metric = metric or plan.metric[0]
    if metric not in METRICS:
        raise ParameterError(f"metric is {metric!r} but must be one of {', '.join(METRICS)}.")
    found: dict[tuple[str, float, str], list[Found]] = {}
    cells = experiment.cells()
    for cell in cells:
        found.setdefault(_place(cell), []).append(records.find(cell))
    rows = []
    for data, level in product(plan.data_sets, plan.contamination):
        here = {entry.label: found[data.shown, level, entry.label] for entry in plan.detector}
        printed = {entry.label: entry.printed(data, level, metric) for entry in plan.detector}
        rows.append(
            Row(
                data.shown,
                level,
                _reached(each for several in here.values() for each in several),
                {label: _entry(several, metric) for label, several in here.items()},
                {k: v for k, v in printed.items() if v is not None},
            )
        )
    return Table(
        experiment=experiment.name,
        title=plan.title,
        budget=plan.budget,
        metric=metric,
        seeds=tuple(plan.seeds),
        detectors=tuple(entry.label for entry in plan.detector),
        rows=tuple(rows),
        versions=_versions(each for several in found.values() for each in several),
    )


def _place(cell: Cell) -> tuple[str, float, str]:
    return cell.data.shown, cell.contamination, cell.detector.label


def _entry(several: list[Found], metric: str) -> Entry:
    finished = _finished(several)
    unavailable = sum(found.record is not None and found.record.unavailable for found in several)
    return Entry(
        values=tuple(record.metrics[metric] for record in finished if record.metrics),
        cells=len(several),
        failed=sum(found.state == "failed" for found in several) - unavailable,
        seconds=tuple(record.seconds.fit for record in finished if record.seconds),
        unavailable=unavailable,
    )


def _finished(several: Iterable[Found]) -> list[Record]:
    return [found.record for found in several if found.state == "finished" and found.record is not None]


def _reached(several: Iterable[Found]) -> float | None:
    levels = [record.contamination_reached for record in _finished(several)]
    known = [level for level in levels if level is not None]
    return statistics.fmean(known) if known else None


def _versions(several: Iterable[Found]) -> tuple[str, ...]:
    """Every pair of da3d and torch that made a record."""
    made_by = {(each.versions.get("da3d"), each.versions.get("torch")) for each in _finished(several)}
    return tuple(sorted(f"da3d {own}, torch {torch}" for own, torch in made_by))


def _row_dict(row: Row) -> dict[str, Any]:
    return {
        "data": row.data,
        "contamination": row.contamination,
        "contamination_reached": row.reached,
        "detectors": {
            label: {
                "mean": entry.mean,
                "deviation": entry.deviation,
                "finished": len(entry.values),
                "failed": entry.failed,
                "unavailable": entry.unavailable,
                "cells": entry.cells,
                "published": row.published.get(label),
            }
            for label, entry in row.entries.items()
        },
    }
