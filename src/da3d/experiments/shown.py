"""What figures show: plain numbers from records and from what was kept beside them, ready to be drawn."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from da3d.experiments.compare import Ranking, rank_detectors
from da3d.experiments.entries import METRICS, DataEntry, FigureEntry
from da3d.experiments.plan import Cell, Experiment
from da3d.experiments.record import Records
from da3d.experiments.tables import Row, Table, make_table

__all__ = ["Curves", "Mark", "Shown", "curves", "group_scores", "marks", "ranking", "rows_of", "shown"]

Curves = dict[str, dict[str, list[tuple[float, float, float | None]]]]
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Mark:
    """One detector on one data set: our mean and deviation over seeds, and the published number."""

    mean: float | None
    deviation: float | None
    published: float | None


@dataclass(frozen=True)
class Shown:
    """What one figure is about.

    Parameters
    ----------
    entry : FigureEntry
    metric : str
        Name of the metric in words.
    table : Table
        Of that metric, with only the detectors and data sets that are shown.
    contamination : float
    data : tuple of DataEntry
    """

    entry: FigureEntry
    metric: str
    table: Table
    contamination: float
    data: tuple[DataEntry, ...]


def shown(plan: Experiment, records: Records, entry: FigureEntry) -> Shown:
    """What a figure entry asks for, as far as there are records of it."""
    table = make_table(plan, records, entry.metric)
    labels = tuple(label for label in table.detectors if entry.detectors is None or label in entry.detectors)
    data = tuple(each for each in plan.plan.data_sets if entry.data is None or each.shown in entry.data)
    titles = {each.shown for each in data}
    level = plan.plan.contamination[0] if entry.contamination is None else entry.contamination
    rows = tuple(row for row in table.rows if row.data in titles)
    return Shown(entry, METRICS[table.metric], table.only(labels, rows), level, data)


def marks(about: Shown) -> dict[str, dict[str, Mark]]:
    """By data set and detector: the mean at the figure's contamination beside the published number.

    Data sets without any record or published number are left out.
    """
    found = {}
    for row in about.table.rows:
        if row.contamination != about.contamination:
            continue
        of_row = {label: _mark(row, label) for label in about.table.detectors}
        if any(mark.mean is not None for mark in of_row.values()):
            found[row.data] = of_row
    return found


def _mark(row: Row, label: str) -> Mark:
    entry = row.entries[label]
    return Mark(entry.mean, entry.deviation, row.published.get(label))


def curves(about: Shown) -> Curves:
    """By panel and detector: (x, mean, deviation), with rising x.

    Over contaminations, a panel is a data set. Over known anomalies, a panel is a family of data entries that
    differ in nothing else; those without known anomalies stand at 0.
    """
    if about.entry.kind == "contamination":
        places = {(row.data, row.contamination): (row.data, row.contamination) for row in about.table.rows}
    else:
        families: dict[str, list[DataEntry]] = {}
        for each in about.data:
            families.setdefault(_family(each), []).append(each)
        places = {
            (each.shown, about.contamination): (_common(family), float(each.known or 0))
            for family in families.values()
            for each in family
        }
    drawn: Curves = {}
    for row in about.table.rows:
        place = places.get((row.data, row.contamination))
        if place is None:
            continue
        for label, entry in row.entries.items():
            if entry.mean is not None:
                points = drawn.setdefault(place[0], {}).setdefault(label, [])
                points.append((place[1], entry.mean, entry.deviation))
                points.sort(key=lambda point: point[0])
    return drawn


def _family(entry: DataEntry) -> str:
    return entry.model_copy(update={"title": None, "known": None}).model_dump_json()


def _common(family: list[DataEntry]) -> str:
    """What the titles of a family have in common at their beginning, or the name of the data set."""
    if len(family) == 1:
        return family[0].shown
    signs = itertools.takewhile(
        lambda each: len(set(each)) == 1, zip(*(entry.shown for entry in family), strict=False)
    )
    return "".join(each[0] for each in signs).strip(" ,:;-") or family[0].names[0]


def ranking(about: Shown) -> Ranking | None:
    """Mean ranks over the data sets of the figure; None where they are too few."""
    return rank_detectors(about.table, about.contamination)


def rows_of(plan: Experiment, records: Records, about: Shown) -> dict[str, dict[str, Arrays]]:
    """By data set and detector: what was kept of one seed, the first that most detectors finished.

    Test rows may depend on the seed, so detectors are shown beside each other on those of the same one.
    """
    by_seed: dict[str, dict[int, dict[str, Arrays]]] = {}
    for cell in sorted(plan.cells(), key=lambda cell: cell.seed):
        if not _asked(cell, about):
            continue
        if records.find(cell).state == "finished" and (kept := records.kept(cell)) is not None:
            of_seed = by_seed.setdefault(cell.data.shown, {}).setdefault(cell.seed, {})
            of_seed[cell.detector.label] = kept
    found = {data: max(seeds.values(), key=len) for data, seeds in by_seed.items()}
    order = [each.shown for each in about.data if each.shown in found]
    labels = about.table.detectors
    return {data: {label: found[data][label] for label in labels if label in found[data]} for data in order}


def _asked(cell: Cell, about: Shown) -> bool:
    return (
        cell.contamination == about.contamination
        and cell.detector.label in about.table.detectors
        and cell.data in about.data
    )


def group_scores(kept: Arrays) -> dict[str, float]:
    """Mean score of every group of a cell's test rows, and of generated rows, the least first."""
    groups, scores = kept["groups"], kept["scores"].astype(np.float64)
    means = {str(group): float(scores[groups == group].mean()) for group in np.unique(groups)}
    if "generated" in kept:
        means["generated"] = float(kept["generated"].mean())
    return dict(sorted(means.items(), key=lambda item: item[1]))
