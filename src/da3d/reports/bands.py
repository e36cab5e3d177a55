r"""How well scores rank anomalies above normal rows, and how sure that is.

Uncertainty is that of the rows alone, by the bootstrap (Efron and Tibshirani 1993, chapter 13): anomalies and
normal rows are drawn anew, each as many as there are, and the curves are computed again. The 2.5th and 97.5th
percentiles of what comes out bound the bands and intervals. They do not hold what another seed or another
table would change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from da3d.metrics import average_precision, roc_auc

__all__ = ["Band", "Interval", "Ranking", "rank"]

Floats = npt.NDArray[np.float64]

_MOST, _FEWEST, _WORK = (
    500,
    100,
    40_000_000,
)  # resamplings; of large tables fewer, so that rows drawn stay so many
_PERCENTILES = (2.5, 97.5)
_GRID = np.linspace(0.0, 1.0, 201)


@dataclass(frozen=True)
class Interval:
    """A value and the bounds between which it lies with 95 % confidence."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Band:
    """A curve over [0, 1] and its 95 % band, point by point, shape (points,) each."""

    x: Floats
    y: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Ranking:
    """ROC and precision-recall curve with bands, and the areas under both.

    Attributes
    ----------
    auc, average_precision : Interval
    roc : Band
        Highest recall that any threshold reaches without more false positives than `x`.
    precision_recall : Band
        Precision of the highest threshold that reaches a recall of `x`.
    share : float
        Of the rows that are anomalies: the precision of chance.
    resamplings : int
    """

    auc: Interval
    average_precision: Interval
    roc: Band
    precision_recall: Band
    share: float
    resamplings: int


class _Sorted:
    """Rows in groups of equal score, the strangest first."""

    def __init__(self, labels: npt.NDArray[np.bool_], scores: Floats) -> None:
        _, group = np.unique(-scores, return_inverse=True)
        self.groups = int(group.max()) + 1
        self.anomalous, self.normal = group[labels], group[~labels]

    def counts(self, drawn: npt.NDArray[np.intp]) -> Floats:
        """How many of the drawn rows lie at or above each threshold, shape (groups + 1,)."""
        return np.append(0.0, np.cumsum(np.bincount(drawn, minlength=self.groups)))

    def curves(
        self, anomalous: npt.NDArray[np.intp], normal: npt.NDArray[np.intp]
    ) -> tuple[Floats, Floats, Floats]:
        """Recall, false-positive rate and precision at each threshold, without any alarm first."""
        found, false = self.counts(anomalous), self.counts(normal)
        precision = np.divide(found, found + false, out=np.ones_like(found), where=found + false > 0)
        return found / found[-1], false / false[-1], precision


def rank(labels: npt.ArrayLike, scores: npt.ArrayLike, seed: int = 0) -> Ranking:
    """Compute both curves, their areas, and what resampling the rows says about them.

    Parameters
    ----------
    labels : array_like, shape (rows,)
        1 = anomaly, 0 = normal.
    scores : array_like, shape (rows,)
        Higher = stranger.
    seed : int
        Draws the rows.

    Raises
    ------
    LabelError, InputError
        As in `da3d.metrics.roc_auc`.
    """
    auc, area = roc_auc(labels, scores), average_precision(labels, scores)
    truth = np.asarray(labels).astype(bool)
    ordered = _Sorted(truth, np.asarray(scores, dtype=np.float64))
    random = np.random.default_rng(seed)
    count = int(np.clip(_WORK // len(truth), _FEWEST, _MOST))
    drawn = [
        ordered.curves(*(random.choice(each, len(each)) for each in _kinds(ordered))) for _ in range(count)
    ]
    own = ordered.curves(*_kinds(ordered))
    return Ranking(
        _interval(auc, [_auc(*each) for each in drawn]),
        _interval(area, [_average_precision(*each) for each in drawn]),
        _band(_recall_over(*own), [_recall_over(*each) for each in drawn]),
        _band(_precision_over(*own), [_precision_over(*each) for each in drawn]),
        float(truth.mean()),
        count,
    )


def _kinds(ordered: _Sorted) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    return ordered.anomalous, ordered.normal


def _auc(recall: Floats, false: Floats, precision: Floats) -> float:
    return float(np.trapezoid(recall, false))


def _average_precision(recall: Floats, false: Floats, precision: Floats) -> float:
    return float((np.diff(recall) * precision[1:]).sum())


def _recall_over(recall: Floats, false: Floats, precision: Floats) -> Floats:
    return recall[np.searchsorted(false, _GRID, side="right") - 1]


def _precision_over(recall: Floats, false: Floats, precision: Floats) -> Floats:
    first = np.maximum(np.searchsorted(recall, _GRID, side="left"), 1)
    return precision[np.minimum(first, len(precision) - 1)]


def _interval(value: float, drawn: list[float]) -> Interval:
    low, high = np.percentile(drawn, _PERCENTILES)
    return Interval(value, float(low), float(high))


def _band(curve: Floats, drawn: list[Floats]) -> Band:
    low, high = np.percentile(drawn, _PERCENTILES, axis=0)
    return Band(_GRID, curve, low, high)
