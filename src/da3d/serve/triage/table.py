"""A table that was judged once: its strangest rows, and of all rows how many raise an alarm at each rate."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from da3d.errors import ParameterError, SchemaError
from da3d.pipeline import AnomalyPipeline, ResolutionWarning, Threshold
from da3d.pipeline.feedback import COLUMN
from da3d.pipeline.judging import Scored, fitted_columns, scores_of
from da3d.pipeline.reference import plain_table
from da3d.preprocessing import stream_table
from da3d.preprocessing.frames import listed

__all__ = ["NOTE", "NUMBER", "VERDICTS", "JudgedTable", "Operating", "judge_table", "plain_rows", "portable"]

NUMBER, NOTE = "feedback_row", "feedback_note"
"""Columns of a feedback file: the row's number in the table, counted from 0, and what was noted about it."""

VERDICTS = ("anomaly_score", "p_value", "severity")

# What an earlier scoring or triage left in the table.
_OURS = (*VERDICTS, "is_anomaly", "suppressed", COLUMN, NUMBER, NOTE)
_WHOLE = 2**53  # beyond, a browser's numbers are not exact
_FINEST = 1e-9
_CHUNK = 65_536


@dataclass(frozen=True)
class Operating:
    """How many rows of a table raise an alarm at which false-positive rate.

    A row raises an alarm at every rate that is at least its level: its p-value, or 0 if it is stranger than
    every held-out row.

    Attributes
    ----------
    rows : int
        Of the whole table.
    levels : list of float
        All levels that occur, ascending.
    alarms, suppressed : list of int
        Rows up to each level: those that raise an alarm, and those that would if they were not like a row
        known to be benign.
    """

    rows: int
    levels: list[float]
    alarms: list[int]
    suppressed: list[int]


@dataclass(frozen=True)
class JudgedTable:
    """The strangest rows of a table.

    Attributes
    ----------
    pipeline : AnomalyPipeline
        By which they were judged.
    name : str
        What the table is called.
    rows : DataFrame
        The kept rows, the strangest first, those like a benign one after all others; their index is the
        row's number in the table, counted from 0.
    verdicts : DataFrame
        Of the same rows: `anomaly_score`, `p_value`, `severity`, `level` and `suppressed`.
    operating : Operating
        Of all rows.
    ranked : int
        So many of the kept rows, from the first, are the strangest of all. Nobody knows the rank of the
        others, which are kept since something was said about them.
    id_column : str or None
        The column by which people know the rows.
    """

    pipeline: AnomalyPipeline
    name: str
    rows: pd.DataFrame
    verdicts: pd.DataFrame
    operating: Operating
    ranked: int
    id_column: str | None = None
    _explained: dict[int, dict[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def explains(self) -> bool:
        """Whether the pipeline remembers normal rows to compare with."""
        return len(self.pipeline.reference_.rows) > 0

    def alerts(self) -> list[dict[str, Any]]:
        """The kept rows with rank and verdict, the strangest first, ready for JSON."""
        names = None if self.id_column is None else self.rows[self.id_column].tolist()
        return [
            {
                "rank": place + 1 if place < self.ranked else None,
                "row": int(row),
                "id": None if names is None else portable(names[place]),
                **{str(name): value for name, value in zip(self.verdicts, values, strict=True)},
            }
            for place, (row, values) in enumerate(
                zip(self.verdicts.index, self.verdicts.itertuples(index=False, name=None), strict=True)
            )
        ]

    def values(self, row: int) -> dict[str, Any]:
        """A kept row's values by column, ready for JSON."""
        return {str(name): portable(value) for name, value in self.rows.loc[row].items()}

    def explanation(self, row: int) -> dict[str, Any] | None:
        """Why a kept row has its score, as `Explanation.to_dict`; None if the pipeline cannot say. Kept."""
        if not self.explains:
            return None
        if row not in self._explained:
            frame = fitted_columns(self.pipeline, self.rows.loc[[row]])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResolutionWarning)  # about a verdict that is not shown
                (found,) = self.pipeline.explain(frame)
            self._explained[row] = ready(found.to_dict())
        return self._explained[row]

    def holding(self, text: str) -> list[int]:
        """The kept rows in which a value contains a text, whatever its case."""
        wanted = text.casefold()
        return [
            int(row)
            for row, values in zip(self.rows.index, self.rows.itertuples(index=False, name=None), strict=True)
            if any(wanted in str(value).casefold() for value in map(portable, values) if value is not None)
        ]


def judge_table(
    pipeline: AnomalyPipeline,
    path: str,
    *,
    most: int,
    also: Collection[int] = (),
    id_column: str | None = None,
    count: Callable[[int], None] = lambda rows: None,
) -> JudgedTable:
    """Judge every row of a table, chunk by chunk, and keep the strangest.

    Parameters
    ----------
    pipeline : AnomalyPipeline
    path : str
        As for `stream_table`.
    most : int
        Rows to keep, at least 1.
    also : collection of int
        Further rows to keep, by number.
    id_column : str, optional
        By which people know the rows.
    count : callable, optional
        Is told how many rows were judged, chunk by chunk.

    Raises
    ------
    ParameterError
        `most` or `id_column` cannot be, or the pipeline's columns are called like those of a feedback file.
    FileError, TableError, SchemaError
        The table cannot be read, or lacks a column of the pipeline.
    """
    if most < 1:
        raise ParameterError(f"{most} rows are to be kept for the page, but at least 1 must be.")
    _check_names(pipeline)
    rows, verdicts = pd.DataFrame(), pd.DataFrame()
    alarms: Counter[float] = Counter()
    suppressed: Counter[float] = Counter()
    total = 0
    wanted = np.array(sorted(also), dtype=np.int64)
    for chunk in stream_table(path, _CHUNK, kinds=pipeline.kinds):
        _check_columns(pipeline, path, chunk, id_column)
        more = _verdicts(pipeline, scores_of(pipeline, chunk), chunk.index)
        hidden = more["suppressed"].to_numpy()
        alarms.update(more["level"].to_numpy()[~hidden].tolist())
        suppressed.update(more["level"].to_numpy()[hidden].tolist())
        total += len(chunk)
        verdicts = _strangest(pd.concat([verdicts, more]) if len(verdicts) else more, most, wanted)
        kept = verdicts.index.intersection(chunk.index)
        rows = pd.concat([rows, _shown(pipeline, chunk.loc[kept])]).loc[verdicts.index]
        count(len(chunk))
    operating = _operating(total, alarms, suppressed)
    return JudgedTable(pipeline, path, rows, verdicts, operating, min(most, total), id_column)


def plain_rows(pipeline: AnomalyPipeline, rows: pd.DataFrame) -> pd.DataFrame:
    """The same rows with the pipeline's columns in plain values, so that a text file holds them exactly."""
    plain = plain_table(rows, pipeline.encoder_.schema_)
    return rows.assign(**{str(name): plain[name] for name in plain.columns})


def portable(value: Any) -> float | bool | str | None:
    """A cell as JSON has it."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, int) and abs(value) > _WHOLE:
        return str(value)
    return value if isinstance(value, bool | int | float | str) else str(value)


def ready(content: Any) -> Any:
    """The same content without numbers that JSON cannot hold."""
    if isinstance(content, Mapping):
        return {str(name): ready(each) for name, each in content.items()}
    if isinstance(content, list | tuple):
        return [ready(each) for each in content]
    return portable(content)


def _check_names(pipeline: AnomalyPipeline) -> None:
    taken = [name for name in (COLUMN, NUMBER, NOTE) if name in pipeline.columns]
    if taken:
        raise ParameterError(
            f"the model was fitted on a column called {listed(taken)}, which is what a feedback file calls "
            "its own; rename it and fit again to triage with this model."
        )


def _check_columns(pipeline: AnomalyPipeline, path: str, rows: pd.DataFrame, id_column: str | None) -> None:
    names = pipeline.encoder_.schema_.names
    missing = [name for name in names if name not in rows.columns]
    if missing:
        raise SchemaError(
            f"'{path}' lacks {len(missing)} of the {len(names)} columns that the model knows: "
            f"{listed(missing)}; give a table with all of them (--data)."
        )
    if id_column is not None and id_column not in rows.columns:
        raise ParameterError(
            f"'{path}' has no column '{id_column}'; name one of {listed([str(each) for each in rows])} "
            "with --id."
        )
    if id_column in _OURS and id_column not in names:
        raise ParameterError(
            f"'{id_column}' is a name that verdicts and marks have here, so the column gives way to them; "
            "rename it to know rows by it, or name another column with --id."
        )


def _verdicts(pipeline: AnomalyPipeline, scored: Scored, index: pd.Index) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResolutionWarning)
        finest = scored.judged(pipeline, Threshold("fpr", _FINEST), index)
    beyond = finest["is_anomaly"].to_numpy()
    benign = np.zeros(len(index), dtype=bool) if scored.benign is None else scored.benign
    if scored.benign is not None:
        beyond = beyond | finest["suppressed"].to_numpy()
    level: NDArray[np.float64] = np.where(beyond, 0.0, finest["p_value"])
    return finest[list(VERDICTS)].assign(level=level, suppressed=benign)


def _strangest(verdicts: pd.DataFrame, most: int, also: NDArray[np.int64]) -> pd.DataFrame:
    """The strangest rows, in their order, and those that are wanted anyway."""
    keys = (
        verdicts.index.to_numpy(),
        -verdicts["anomaly_score"].to_numpy(),
        verdicts["p_value"].to_numpy(),
        verdicts["suppressed"].to_numpy(),
    )
    order = np.lexsort(keys)
    wanted = np.isin(verdicts.index.to_numpy()[order], also)
    wanted[:most] = True
    return verdicts.iloc[order[wanted]]


def _shown(pipeline: AnomalyPipeline, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without what an earlier scoring or triage left in them."""
    return rows.drop(columns=[name for name in _OURS if name not in pipeline.columns], errors="ignore")


def _operating(rows: int, alarms: Counter[float], suppressed: Counter[float]) -> Operating:
    levels = sorted(alarms.keys() | suppressed.keys())
    counted = (np.cumsum([each[level] for level in levels]).tolist() for each in (alarms, suppressed))
    return Operating(rows, levels, *counted)
