r"""How much each column has to do with the difference between two scores.

With a score F, a baseline b and a row x, both as features, a column's contribution is

.. math::
    \sum_{i \in column} (x_i - b_i) \int_0^1 \frac{\partial F}{\partial x_i}(b + t (x - b)) \, dt

where the score has a slope (integrated gradients, Sundararajan, Taly and Yan 2017, equation 1), and elsewhere
the mean, over random orders of the columns, of how F changes when the column switches from b to x after
those before it (Shapley values by sampling, Castro, Gómez and Tejada 2009; Lundberg and Lee 2017 for their
use). Both add up to F(x) - F(b): the second exactly, the first as exactly as the integral is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from da3d.detectors import Detector, NetworkDetector

__all__ = ["Attribution", "Columns", "attribute"]

Floats = NDArray[np.float64]
Method = Literal["integrated gradients", "column paths"]

TOLERANCE = 0.01
"""Largest share of the scores' difference that integrated gradients may leave unexplained."""

_CANCELLING = 0.05  # and the largest share that they may have wrong in single stretches of the way
_PATHS = 16  # orders of the columns, half of them the other half backwards
_BLENDED = 2**20  # features of all blends that are scored at a time
_EDGES = np.r_[0.0, 2.0 ** np.arange(-12, -3), np.arange(1, 9) / 8]  # closer where most happens, near normal
_ROUNDS, _MOST = 30, 512
_NODES, _WEIGHTS = (
    (np.polynomial.legendre.leggauss(3)[0] + 1) / 2,
    np.polynomial.legendre.leggauss(3)[1] / 2,
)


@dataclass(frozen=True)
class Attribution:
    """The columns' contributions.

    Attributes
    ----------
    contributions : ndarray of shape (columns,)
        In units of the score.
    gap : float
        What they leave of the scores' difference.
    method : {"integrated gradients", "column paths"}
    """

    contributions: Floats
    gap: float
    method: Method


class Columns:
    """A baseline and a row as features, and which columns these belong to.

    Parameters
    ----------
    start, stop : ndarray of shape (features,)
        The baseline and the row.
    owners : ndarray of int, shape (features,)
        For each feature the index of its column; -1 for the one that counts the columns of which a value is
        unexpectedly missing.
    gaps : ndarray of shape (columns,)
        What each column adds to that count in the row, minus what it adds in the baseline.
    """

    def __init__(self, start: Floats, stop: Floats, owners: NDArray[np.int64], gaps: Floats) -> None:
        self.start, self.stop, self.owners, self.gaps = start, stop, owners, gaps

    @property
    def changed(self) -> NDArray[np.int64]:
        """The columns in which row and baseline differ."""
        differs = self._summed(self.start != self.stop) > 0
        if np.any(self.owners == -1):
            differs |= self.gaps != 0
        return np.flatnonzero(differs)

    def shares(self, slopes: Floats) -> Floats:
        """What the columns' steps from baseline to row contribute, shape (columns,).

        Parameters
        ----------
        slopes : ndarray of shape (features,)
            Contribution per step of each feature.
        """
        counted = float(slopes[self.owners == -1].sum())
        return self._summed((self.stop - self.start) * slopes) + self.gaps * counted

    def _summed(self, values: NDArray[Any]) -> Floats:
        """The sum over each column's own features."""
        own = self.owners >= 0
        return np.asarray(np.bincount(self.owners[own], values[own], minlength=len(self.gaps)), np.float64)

    def blend(self, chosen: NDArray[np.bool_]) -> Floats:
        """The baseline with the chosen columns of the row, shape (blends, features).

        Parameters
        ----------
        chosen : ndarray of bool, shape (blends, columns)
        """
        out = np.where(chosen[:, self.owners], self.stop, self.start)
        for counter in np.flatnonzero(self.owners == -1):
            out[:, counter] = self.start[counter] + chosen @ self.gaps
        return out


def attribute(detector: Detector, columns: Columns) -> Attribution:
    """The contribution of every column to the score of a row.

    Integrated gradients for networks without trees; orders of the columns for all others, and where the
    gradients leave more than `TOLERANCE` of the scores' difference unexplained.
    """
    start, stop = detector.anomaly_score(np.stack([columns.start, columns.stop]))
    method: Method = "integrated gradients"
    found = None
    if isinstance(detector, NetworkDetector) and detector.smooth:
        found = _integrated(detector, columns, stop - start)
    if found is None:
        method, found = "column paths", _sampled(detector.anomaly_score, columns)
    return Attribution(found, float(stop - start - found.sum()), method)


def _integrated(detector: NetworkDetector, columns: Columns, rise: float) -> Floats | None:
    """Contributions by integrated gradients; None if they do not add up.

    The straight way is cut into intervals, and those that explain their part of the rise worst are halved
    again and again: most of it may happen in a thousandth of the way, when a value is far off.
    """
    way = columns.stop - columns.start
    heights = detector.anomaly_score(columns.start + _EDGES[:, None] * way)
    cells = np.stack([_EDGES[:-1], _EDGES[1:], heights[:-1], heights[1:]])
    parts = _parts(detector, columns.start, way, cells)
    for _ in range(_ROUNDS):
        errors = cells[3] - cells[2] - parts.sum(1)
        if not np.isfinite(parts).all() or cells.shape[1] > _MOST:
            return None
        if abs(errors.sum()) <= TOLERANCE * abs(rise) and np.abs(errors).sum() <= _CANCELLING * abs(rise):
            slopes = np.divide(parts.sum(0), way, out=np.zeros_like(way), where=way != 0)
            return columns.shares(slopes)
        bad = np.abs(errors) >= np.abs(errors).mean() / 2
        halves = _halves(detector, columns.start, way, cells[:, bad])
        cells = np.c_[cells[:, ~bad], halves]
        parts = np.r_[parts[~bad], _parts(detector, columns.start, way, halves)]
    return None


def _halves(detector: NetworkDetector, start: Floats, way: Floats, cells: Floats) -> Floats:
    """Both halves of intervals; each is a column of left and right end, and the scores there."""
    left, right, low, high = cells
    middle = (left + right) / 2
    height = detector.anomaly_score(start + middle[:, None] * way)
    halves = [np.stack([left, middle, low, height]), np.stack([middle, right, height, high])]
    return np.concatenate(halves, axis=1)


def _parts(detector: NetworkDetector, start: Floats, way: Floats, cells: Floats) -> Floats:
    """What each feature contributes in each interval, shape (intervals, features)."""
    left, right = cells[:2]
    at = left[:, None] + (right - left)[:, None] * _NODES
    slopes = detector.gradients(start + at.reshape(-1, 1) * way).reshape(*at.shape, len(way))
    return np.asarray((slopes * _WEIGHTS[:, None]).sum(1) * way * (right - left)[:, None])


def _sampled(score: Callable[[Any], Floats], columns: Columns) -> Floats:
    """Contributions as means over orders in which the columns switch; each order adds up exactly."""
    out = np.zeros(len(columns.gaps))
    changed = columns.changed
    if not len(changed):
        return out
    random = np.random.default_rng(0)
    half = [random.permutation(changed) for _ in range(_PATHS // 2)]
    orders = np.array([order for one in half for order in (one, one[::-1])])
    scores = _along(score, columns, orders)
    np.add.at(out, orders, np.diff(scores, axis=1))
    return out / len(orders)


def _along(score: Callable[[Any], Floats], columns: Columns, orders: NDArray[np.int64]) -> Floats:
    """The scores before, between and after the switches of each order, shape (orders, switches + 1)."""
    paths, switches = orders.shape
    turns = np.full((paths, len(columns.gaps)), switches, dtype=np.int64)
    np.put_along_axis(turns, orders, np.arange(switches)[None], axis=1)
    path, done = np.divmod(np.arange(paths * (switches + 1)), switches + 1)
    step = max(1, _BLENDED // len(columns.owners))
    parts = [
        score(columns.blend(turns[path[i : i + step]] < done[i : i + step, None]))
        for i in range(0, len(path), step)
    ]
    return np.concatenate(parts).reshape(paths, switches + 1)
