"""How the numbers of the normal rows were distributed, in about a hundred values per column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from da3d.errors import TableError
from da3d.preprocessing import Schema
from da3d.preprocessing.values import numbers

__all__ = ["Profile", "Sketch"]

Floats = NDArray[np.float64]

_POINTS = 101  # the extremes and 99 quantiles between them: every decile is among them
_DECILES = np.arange(1, 11) / 10


@dataclass(frozen=True, eq=False)
class Sketch:
    """Some points of a number's distribution, at which it is known exactly.

    Attributes
    ----------
    values : ndarray of shape (points,)
        The least and the greatest value, and the quantiles between them; ascending, each once.
    below, upto : ndarray of shape (points,)
        Which share of the values is less than each point, and which is at most the point.
    """

    values: Floats
    below: Floats
    upto: Floats

    @classmethod
    def learn(cls, ordered: Floats) -> Sketch:
        """The sketch of values in ascending order, at least one."""
        shares = np.linspace(0.0, 1.0, _POINTS)
        points = np.unique(np.quantile(ordered, shares, method="inverted_cdf"))
        return cls(points, *_shares(ordered, points))

    @property
    def median(self) -> float:
        """The least value that half of the values do not exceed."""
        return float(self._quantiles(np.array([0.5]))[0])

    def distance(self, ordered: Floats) -> tuple[float, float, float, float]:
        """Greatest difference between this distribution and that of other values, in ascending order.

        It is looked for at the points only, so it is at most Kolmogorov and Smirnov's, and never overstated.

        Returns
        -------
        tuple of float
            The difference; then the point up to which the shares differ most, its share here, and there.
        """
        below, upto = _shares(ordered, self.values)
        place = int(np.abs(upto - self.upto).argmax())
        most = max(np.abs(below - self.below).max(), abs(upto[place] - self.upto[place]))
        return float(most), float(self.values[place]), float(self.upto[place]), float(upto[place])

    def cells(self, ordered: Floats) -> tuple[Floats, Floats]:
        """Shares between the deciles: those of this distribution, and those of other values.

        Returns
        -------
        tuple of ndarrays of shape (cells,)
            The first cell lies below the least value and the last one above the greatest; both were empty.
        """
        edges = np.unique(self._quantiles(_DECILES))
        then = self.upto[np.searchsorted(self.values, edges)]
        now = _shares(ordered, edges)[1]
        outside = _shares(ordered, self.values[:1])[0]
        return np.diff(np.r_[0.0, 0.0, then, 1.0]), np.diff(np.r_[0.0, outside, now, 1.0])

    def _quantiles(self, shares: Floats) -> Floats:
        # Both sides are counts over the same number of rows, but one of them came by way of a product.
        return np.asarray(self.values[np.searchsorted(self.upto, shares - 1e-12)])


def _shares(ordered: Floats, points: Floats) -> tuple[Floats, Floats]:
    """Shares of values below each point and up to it."""
    counts = (np.searchsorted(ordered, points, side=side) for side in ("left", "right"))
    below, upto = (np.asarray(count / len(ordered), dtype=np.float64) for count in counts)
    return below, upto


class Profile:
    """The distribution of every number of a table.

    Parameters
    ----------
    rows : int
        How many normal rows there were.
    sketches : mapping of str to Sketch
        By column, for the numbers only: of all other kinds `Usual.shares` says everything.
    """

    def __init__(self, rows: int, sketches: Mapping[str, Sketch]) -> None:
        self.rows, self.sketches = rows, dict(sketches)

    @classmethod
    def learn(cls, normal: pd.DataFrame, schema: Schema) -> Profile:
        """The profile of a table's normal rows; each number has at least one value."""
        return cls(len(normal), {name: Sketch.learn(known(normal[name])) for name in _numbers(schema)})

    def state(self) -> dict[str, Floats]:
        """Return the sketches as arrays of shape (points, 3), by their place among the numbers."""
        return {
            str(place): np.column_stack([sketch.values, sketch.below, sketch.upto])
            for place, sketch in enumerate(self.sketches.values())
        }

    @classmethod
    def from_state(cls, rows: int, arrays: Mapping[str, NDArray[Any]], schema: Schema) -> Profile:
        """Return the profile whose `rows` and `state` these were.

        Raises
        ------
        TableError
            They are not what `state` makes, or not of a table of this schema.
        """
        names = _numbers(schema)
        if rows < 1 or arrays.keys() != {str(place) for place in range(len(names))}:
            raise TableError("the stored distributions have other columns than the encoder: fit again")
        return cls(rows, {name: _restored(arrays[str(place)]) for place, name in enumerate(names)})


def known(series: pd.Series[Any]) -> Floats:
    """Return the finite values of a column of numbers in ascending order."""
    values = numbers(series)
    return np.sort(values[~np.isnan(values)])


def _numbers(schema: Schema) -> list[str]:
    return [name for name, kind in schema.kinds.items() if kind == "number"]


def _restored(array: NDArray[Any]) -> Sketch:
    sound = array.ndim == 2 and array.shape[1] == 3 and len(array) > 0 and array.dtype == np.float64
    if not sound or not np.isfinite(array).all() or (np.diff(array, axis=0) <= 0).any():
        raise TableError("the stored distributions are damaged: fit again")
    values, below, upto = array.T.copy()
    if below[0] != 0 or upto[-1] != 1 or (below >= upto).any():
        raise TableError("the stored distributions are damaged: fit again")
    return Sketch(values, below, upto)
