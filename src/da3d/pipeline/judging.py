"""Tables judged chunk by chunk: what a pipeline has to know about rows, and what is written of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from da3d.pipeline.thresholds import Threshold

__all__ = [
    "Judged",
    "Scored",
    "Scorer",
    "Writer",
    "fitted_columns",
    "joined",
    "judged",
    "scores_of",
    "write_judged",
]


class Scorer(Protocol):
    """What scores and judges rows: an `AnomalyPipeline`, or one that was exported."""

    @property
    def columns(self) -> list[str]:
        """All columns of the fitted table."""

    def anomaly_score(self, X: Any) -> NDArray[np.float64]:
        """Strangeness of each row, shape (rows,)."""

    def groups(self, X: Any) -> NDArray[np.object_] | None:
        """The group in which each row is calibrated; None if there are no groups."""

    def benign(self, X: Any) -> NDArray[np.bool_] | None:
        """Which rows are like one that was suppressed; None if none was."""

    def judge(
        self,
        scores: NDArray[np.float64],
        threshold: Threshold | None = None,
        index: pd.Index | None = None,
        groups: NDArray[np.object_] | None = None,
        benign: NDArray[np.bool_] | None = None,
    ) -> pd.DataFrame:
        """The verdicts that belong to scores."""


class Scored(NamedTuple):
    """What `Scorer.judge` wants to know about rows.

    Attributes
    ----------
    scores : ndarray of shape (rows,)
    groups : ndarray of shape (rows,) or None
    benign : ndarray of shape (rows,) or None
    """

    scores: NDArray[np.float64]
    groups: NDArray[np.object_] | None
    benign: NDArray[np.bool_] | None

    def judged(self, pipeline: Scorer, threshold: Threshold, index: pd.Index | None = None) -> pd.DataFrame:
        """The verdicts of the pipeline that scored them."""
        return pipeline.judge(self.scores, threshold, index, self.groups, self.benign)


class Judged(NamedTuple):
    """How many rows were judged, and how many of them raised an alarm."""

    rows: int
    alarms: int


class Writer(Protocol):
    """What takes a table chunk by chunk."""

    def write(self, frame: pd.DataFrame) -> None:
        """Take a chunk."""


def fitted_columns(pipeline: Scorer, rows: pd.DataFrame) -> pd.DataFrame:
    """A table without the columns that the one that was fitted did not have."""
    fitted = set(pipeline.columns)
    known = [name for name in rows.columns if name in fitted]
    return rows[known] if known else rows


def scores_of(pipeline: Scorer, rows: pd.DataFrame) -> Scored:
    """What is to be judged about the rows of a table that may have more columns than the fitted one."""
    known = fitted_columns(pipeline, rows)
    return Scored(pipeline.anomaly_score(known), pipeline.groups(known), pipeline.benign(known))


def joined(parts: list[Scored]) -> Scored:
    """The same for all parts of a table, in their order."""
    groups = [part.groups for part in parts if part.groups is not None]
    benign = [part.benign for part in parts if part.benign is not None]
    return Scored(
        np.concatenate([part.scores for part in parts]),
        np.concatenate(groups) if groups else None,
        np.concatenate(benign) if benign else None,
    )


def judged(
    pipeline: Scorer, threshold: Threshold, chunks: Iterable[pd.DataFrame]
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Each chunk with its verdicts, under a rule that judges each row on its own."""
    for rows in chunks:
        yield rows, scores_of(pipeline, rows).judged(pipeline, threshold, rows.index)


def write_judged(
    chunks: Iterable[tuple[pd.DataFrame, pd.DataFrame]], writer: Writer, *, keep: bool, only_anomalies: bool
) -> Judged:
    """Write all chunks; where no row is wanted, a table without rows.

    Parameters
    ----------
    chunks
        Rows and their verdicts.
    writer
    keep
        Whether the rows' columns stand beside the verdicts, or the rows' numbers alone.
    only_anomalies
        Whether only rows that raise an alarm are written.
    """
    rows = alarms = written = 0
    out = None
    for frame, verdicts in chunks:
        rows, alarms = rows + len(frame), alarms + int(verdicts["is_anomaly"].sum())
        out = _beside(frame, verdicts, keep)
        out = out[verdicts["is_anomaly"]] if only_anomalies else out
        if len(out):
            writer.write(out)
            written += len(out)
    if out is not None and not written:
        writer.write(out)
    return Judged(rows, alarms)


def _beside(frame: pd.DataFrame, verdicts: pd.DataFrame, keep: bool) -> pd.DataFrame:
    """The verdicts beside the table's columns (those of an earlier scoring give way) or the row's number."""
    beside = (
        frame.drop(columns=verdicts.columns, errors="ignore") if keep else frame.index.to_frame(name="row")
    )
    return pd.concat([beside, verdicts], axis="columns")
