"""A pipeline and the rows that it judged: what every section of a report is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from da3d.errors import LabelError
from da3d.pipeline import AnomalyPipeline
from da3d.preprocessing import to_frame

__all__ = ["Judged", "judge"]


@dataclass(frozen=True)
class Judged:
    """A table with its verdicts.

    Attributes
    ----------
    frame : DataFrame
        The columns that the pipeline was fitted on.
    extra : tuple of str
        Columns that it was not fitted on, and which are left out.
    verdicts : DataFrame
        As `AnomalyPipeline.verdicts` gives them, under the rule in force.
    groups : ndarray of shape (rows,), or None
    benign : ndarray of bool, shape (rows,), or None
        Which rows are like one that was suppressed; None if none was.
    labels : ndarray of int, shape (rows,), or None
        1 = anomaly, 0 = normal.
    """

    frame: pd.DataFrame
    extra: tuple[str, ...]
    verdicts: pd.DataFrame
    groups: npt.NDArray[np.object_] | None
    benign: npt.NDArray[np.bool_] | None
    labels: npt.NDArray[np.int64] | None

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Anomaly score of each row."""
        return self.verdicts["anomaly_score"].to_numpy()

    @property
    def alarms(self) -> npt.NDArray[np.bool_]:
        """Which rows raise an alarm."""
        return self.verdicts["is_anomaly"].to_numpy()

    @property
    def suppressed(self) -> npt.NDArray[np.bool_]:
        """Which rows would raise an alarm, were they not like one that was suppressed."""
        if "suppressed" not in self.verdicts:
            return np.zeros(len(self.verdicts), dtype=bool)
        return self.verdicts["suppressed"].to_numpy()

    def strangest(self, most: int) -> npt.NDArray[np.int64]:
        """Positions of the strangest rows, the strangest first: by p-value, of equal ones by score."""
        return np.lexsort((-self.scores, self.verdicts["p_value"].to_numpy()))[:most]

    def by_kind(self, values: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
        """Values of the rows, apart for anomalies and normal rows where that is known."""
        if self.labels is None:
            return {"judged": values}
        return {"judged, normal": values[self.labels == 0], "judged, anomaly": values[self.labels == 1]}


def judge(pipeline: AnomalyPipeline, data: Any, labels: npt.ArrayLike | None) -> Judged:
    """Judge a table, which may have more columns than the one that was fitted.

    Raises
    ------
    SchemaError, TableError
        The table lacks a column, or holds other values than at fit.
    LabelError
        There is not one label per row.
    """
    table = to_frame(data)
    fitted = set(pipeline.encoder_.feature_names_in_)
    frame = table[[name for name in table.columns if name in fitted]]
    marked = None if labels is None else np.asarray(labels)
    if marked is not None and marked.shape != (len(table),):
        raise LabelError(
            f"labels have shape {marked.shape} but there are {len(table)} rows; give one label per row."
        )
    return Judged(
        frame,
        tuple(str(name) for name in table.columns if name not in fitted),
        pipeline.verdicts(frame),
        pipeline.groups(frame),
        pipeline.benign(frame),
        marked,
    )
