"""What figures need of a cell's rows: kept beside its record, in one compressed file of plain arrays.

::

    scores      float32 (test rows,)      of the test rows, higher = stranger
    labels      int8 (test rows,)         1 = anomaly
    groups      text (test rows,)         their groups, where the table has any
    generated   float32 (500,)            scores of generated rows, where a detector generates rows
    codes_normal, codes_anomaly, codes_generated
                float32 (at most 500, code)   of a detector with codes
    rows, generated_rows                  float32 (at most 500, 2): points, of a table with two features
    window      float32 (2, 2)            least and greatest value of each of the two features
    grid        float32 (61, 61)          scores on a grid over the window; its rows are the second feature

Everything else that a figure shows comes from records.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from da3d.datasets.splits import Split
from da3d.detectors import Detector
from da3d.pipeline import AnomalyPipeline

__all__ = ["GRID", "MOST", "for_figures"]

GRID = 61
MOST = 500
_SEED = 0  # draws which points are kept, and the noise of generated ones
Arrays = dict[str, npt.NDArray[Any]]


def for_figures(
    model: AnomalyPipeline | Detector, split: Split, test: Any, scores: npt.NDArray[np.float64]
) -> Arrays:
    """What figures need of the rows of a cell, as this module's first lines describe it.

    Parameters
    ----------
    model : AnomalyPipeline or Detector
        Fitted.
    split : Split
    test : DataFrame or array
        The test rows as the model gets them.
    scores : array, shape (test rows,)
    """
    kept: Arrays = {"scores": scores.astype(np.float32), "labels": split.test_labels.astype(np.int8)}
    if split.test_groups is not None:
        kept["groups"] = split.test_groups.astype(str)
    detector = model.detector_ if isinstance(model, AnomalyPipeline) else model
    encoded = model.encoder_.transform(test) if isinstance(model, AnomalyPipeline) else test
    kept |= _generated(detector, split.image_shape)
    kept |= _codes(detector, encoded, split.test_labels)
    if split.test.shape[1] == 2 and all(kind.kind in "fiu" for kind in split.test.dtypes):
        kept |= _plane(model, detector, split)
    return kept


def _generated(detector: Any, shape: tuple[int, int, int] | None) -> Arrays:
    """Scores of rows that the detector itself generates."""
    if not hasattr(detector, "generate"):
        return {}
    rows = detector.generate(MOST, _SEED)
    given = _as_fitted(detector, rows) if shape is None else rows.reshape(-1, *shape)
    return {"generated": detector.anomaly_score(given).astype(np.float32)}


def _as_fitted(detector: Any, rows: npt.NDArray[np.float64]) -> Any:
    """Rows with the names of the columns that the detector learned from, if they had any."""
    names = getattr(detector, "feature_names_in_", None)
    return rows if names is None else pd.DataFrame(rows, columns=names)


def _codes(detector: Any, encoded: Any, labels: npt.NDArray[np.integer[Any]]) -> Arrays:
    """Codes of some normal test rows, of some anomalies, and of what the generator makes."""
    if not (hasattr(detector, "codes") and hasattr(detector, "generated_codes")):
        return {}
    kept = {}
    for kind, label in (("normal", 0), ("anomaly", 1)):
        rows = _some(np.flatnonzero(labels == label))
        part = encoded.iloc[rows] if isinstance(encoded, pd.DataFrame) else encoded[rows]
        kept[f"codes_{kind}"] = detector.codes(part).astype(np.float32)
    kept["codes_generated"] = detector.generated_codes(MOST, _SEED).astype(np.float32)
    return kept


def _plane(model: Any, detector: Any, split: Split) -> Arrays:
    """Points of a table with two features, and the scores on a grid around them."""
    test = split.test.to_numpy(np.float64)
    low, high = test.min(axis=0), test.max(axis=0)
    x, y = np.meshgrid(*(np.linspace(low[axis], high[axis], GRID) for axis in (0, 1)))
    grid = pd.DataFrame(np.column_stack([x.ravel(), y.ravel()]), columns=split.test.columns)
    kept = {
        "rows": split.train.to_numpy(np.float32)[_some(np.arange(len(split.train)))],
        "window": np.column_stack([low, high]).astype(np.float32),
        "grid": model.anomaly_score(grid).reshape(GRID, GRID).astype(np.float32),
    }
    if hasattr(detector, "generate"):
        kept["generated_rows"] = detector.generate(MOST, _SEED).astype(np.float32)
    return kept


def _some(places: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """At most `MOST` of the places."""
    if len(places) <= MOST:
        return places
    return np.sort(np.random.default_rng(_SEED).choice(places, MOST, replace=False))
