"""What each threshold costs and finds: alerts per day, precision, recall."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from da3d.errors import LabelError, ParameterError
from da3d.pipeline.calibrate import Calibration, Groups
from da3d.pipeline.thresholds import Threshold

__all__ = ["LEVELS", "operating_table", "wilson"]

LEVELS: tuple[Threshold, ...] = (
    *(Threshold("fpr", rate) for rate in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)),
    *(Threshold("budget", budget) for budget in (1, 5, 10, 50)),
    *(Threshold("fdr", level) for level in (0.01, 0.05, 0.1, 0.2)),
)
"""The thresholds of a table where none are given."""

_CONFIDENCE = 0.95


def operating_table(
    calibration: Calibration,
    scores: NDArray[np.float64] | None = None,
    labels: ArrayLike | None = None,
    *,
    groups: Groups | None = None,
    benign: NDArray[np.bool_] | None = None,
    per_day: float | None = None,
    thresholds: Sequence[Threshold] | None = None,
) -> pd.DataFrame:
    """Compare thresholds; nothing is fitted.

    Parameters
    ----------
    calibration : Calibration
    scores : ndarray of shape (rows,), optional
        Anomaly scores of a table that resembles what will be judged.
    labels : array-like of shape (rows,), optional
        1 = anomaly, 0 = normal.
    groups : ndarray of shape (rows,), optional
        The rows' groups, where the calibration has any.
    benign : ndarray of bool, shape (rows,), optional
        Rows that raise no alarm and leave their place to others (`AnomalyPipeline.benign`).
    per_day : float, optional
        How many rows are judged on a day, > 0.
    thresholds : sequence of Threshold, optional
        What to compare; `LEVELS` without the rates that the held-out rows cannot resolve. Without scores the
        rules that rank a table have no meaning: "fdr" and "top" are left out, and a budget is counted among
        normal rows.

    Returns
    -------
    DataFrame
        One row per threshold: ``rule``, ``value``, ``score`` (the least that raises an alarm, NaN if none
        does), ``alerts_per_thousand`` and, if asked for, ``alerts_per_day`` (of the given rows; without them
        of normal rows). With labels also ``precision``, ``recall``, ``false_positive_rate``, and after each
        of them ``_low`` and ``_high``: Wilson's interval, 95 %. Where there is no alarm, precision is NaN.

    Raises
    ------
    ParameterError
        `per_day` is not positive, or there are labels but no scores.
    LabelError
        Labels are not one 0 or 1 per row.
    """
    if per_day is not None and not (0 < per_day < math.inf):
        raise ParameterError(f"per_day is {per_day} but must be a positive number: the rows judged on a day.")
    if scores is None and labels is not None:
        raise ParameterError("labels are given without the rows that they belong to; give both.")
    chosen = _resolvable(calibration, scores is None, groups) if thresholds is None else thresholds
    if scores is None:
        records = [_expected(calibration, each) for each in chosen if each.rule in ("fpr", "budget")]
    else:
        marked = None if labels is None else _checked(labels, len(scores))
        hidden = np.zeros(len(scores), dtype=bool) if benign is None else benign
        others = np.where(hidden, -np.inf, scores)
        flags = [each.flags(others, calibration, groups) & ~hidden for each in chosen]
        records = [
            _met(calibration, each, scores, alarms, marked)
            for each, alarms in zip(chosen, flags, strict=True)
        ]
    table = pd.DataFrame.from_records(records)
    if per_day is not None:
        place = list(table).index("alerts_per_thousand") + 1
        table.insert(place, "alerts_per_day", table["alerts_per_thousand"] * per_day / 1000)
    return table


def _checked(labels: ArrayLike, rows: int) -> NDArray[np.bool_]:
    given = np.asarray(labels)
    if given.shape != (rows,):
        raise LabelError(
            f"labels have shape {given.shape} but there are {rows} rows; give one label per row."
        )
    if not np.isin(given, (0, 1)).all():
        raise LabelError(
            "labels hold other values than 0 and 1; give 1 for an anomaly and 0 for a normal row."
        )
    return given.astype(bool)


def _resolvable(calibration: Calibration, alone: bool, groups: Groups | None) -> list[Threshold]:
    least = calibration.coarsest(groups).resolution
    budgets = 1000 * least if alone else 0.0
    return [each for each in LEVELS if each.value >= {"fpr": least, "budget": budgets}.get(each.rule, 0.0)]


def _expected(calibration: Calibration, threshold: Threshold) -> dict[str, Any]:
    """What a threshold means for normal rows alone."""
    rate = threshold.value if threshold.rule == "fpr" else threshold.value / 1000
    kept = max(1, math.floor(rate / calibration.resolution + 1e-9)) * calibration.resolution
    return {
        "rule": threshold.rule,
        "value": threshold.value,
        "score": calibration.cut(rate),
        "alerts_per_thousand": 1000 * kept,
    }


def _met(
    calibration: Calibration,
    threshold: Threshold,
    scores: NDArray[np.float64],
    flags: NDArray[np.bool_],
    anomalous: NDArray[np.bool_] | None,
) -> dict[str, Any]:
    """What a threshold does to given rows, of which some raise an alarm under it."""
    record = {
        "rule": threshold.rule,
        "value": threshold.value,
        "score": _least(calibration, threshold, scores[flags]),
        "alerts_per_thousand": 1000 * float(flags.mean()),
    }
    if anomalous is None:
        return record
    alarms, anomalies, found = int(flags.sum()), int(anomalous.sum()), int((flags & anomalous).sum())
    return (
        record
        | _share("precision", found, alarms)
        | _share("recall", found, anomalies)
        | _share("false_positive_rate", alarms - found, len(scores) - anomalies)
    )


def _least(calibration: Calibration, threshold: Threshold, alarms: NDArray[np.float64]) -> float:
    """The least score that raises an alarm; where it differs between groups, of those that did."""
    if threshold.by_row and not calibration.groups:
        return calibration.cut(threshold.value)
    return float(alarms.min()) if len(alarms) else math.nan


def _share(name: str, count: int, total: int) -> dict[str, float]:
    low, high = wilson(count, total)
    return {name: count / total if total else math.nan, f"{name}_low": low, f"{name}_high": high}


def wilson(count: int, total: int) -> tuple[float, float]:
    """Interval that holds the share behind `count` of `total` with 95 % confidence (Wilson 1927).

    [0, 1] if there is nothing to count.
    """
    if not total:
        return 0.0, 1.0
    z = float(norm.ppf((1 + _CONFIDENCE) / 2))
    share, weight = count / total, z * z / total
    middle = share + weight / 2
    half = z * math.sqrt(share * (1 - share) / total + weight / total / 4)
    low, high = (middle - half) / (1 + weight), (middle + half) / (1 + weight)
    return (0.0 if count == 0 else low), (1.0 if count == total else high)  # exactly, not up to rounding
