"""Evidence that a row is not normal, fitted on normal rows and calibrated so that it can be added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from da3d.networks.mlp import steady_linear
from da3d.networks.views import exact

__all__ = ["Calibrated", "Ellipsoid", "Memory", "clear_outliers", "nearest"]

_CHUNK = 2048
_DRAWN = 4  # rows drawn for each that a memory may hold, since some of them are copies
# Neighbors are near if their squared distance is below this part of the row's squared length. A product in
# float32 is wrong by some 1e-6 of that length, which cannot matter to others.
_NEAR = 0.04
# Evidence is a logarithm. If a handful of rows happen to agree on it, that must not make it infinitely sharp.
_LEAST_SPREAD = 0.05


class Calibrated(nn.Module):
    """Evidence in units of its own spread on normal rows, so that kinds of evidence can be added.

    Zero at the normal rows' median, one at their root mean squared distance from it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.median: Tensor
        self.spread: Tensor
        self.register_buffer("median", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def fit(self, values: Float[Tensor, "row"]) -> None:
        """Take median and root mean squared distance from it."""
        self.median.copy_(values.median())
        spread = (values - values.median()).square().mean().sqrt()
        self.spread.copy_(spread.clamp_min(_LEAST_SPREAD))

    def forward(self, values: Float[Tensor, "row"]) -> Float[Tensor, "row"]:
        """Calibrate."""
        return (values - self.median) / self.spread


class Ellipsoid(nn.Module):
    """Logarithm of the squared Mahalanobis length of vectors around zero, calibrated.

    Parameters
    ----------
    width : int
        Width of a vector.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.precision: Tensor
        self.register_buffer("precision", torch.eye(width))
        self.calibrated = Calibrated()

    def fit(self, vectors: Float[Tensor, "row width"], held_out: Float[Tensor, "other width"]) -> None:
        """Take the precision from the vectors' covariance, ridged by a hundredth of their mean square.

        What length is usual is read off the held-out vectors: those that made the covariance are too short.
        """
        precise = exact(vectors)
        centered = precise - precise.mean(0)
        covariance = centered.T @ centered / max(1, len(precise) - 1)
        ridge = 0.01 * precise.square().mean() + 1e-12
        eye = torch.eye(len(covariance), dtype=precise.dtype, device=precise.device)
        self.precision.copy_(torch.linalg.inv(covariance + ridge * eye))
        self.calibrated.fit(self._log(held_out))

    def forward(self, vectors: Float[Tensor, "row width"]) -> Float[Tensor, "row"]:
        """Calibrated logarithm of the squared length."""
        return self.calibrated(self._log(vectors))

    def _log(self, vectors: Tensor) -> Tensor:
        turned = steady_linear(vectors, self.precision)  # symmetric
        return torch.log((turned * vectors).sum(1).clamp_min(0) + 1e-3)


class Memory(nn.Module):
    """Mean distance to the nearest of a random sample of normal rows, in which no row is there twice.

    A hundred copies of one row say no more than the row itself: if they are anomalies that nobody marked,
    they would make each other normal.

    Parameters
    ----------
    size : int
        Most rows to remember.
    neighbors : int
        How many distances are averaged.
    """

    def __init__(self, size: int, neighbors: int) -> None:
        super().__init__()
        self.size, self.neighbors = size, neighbors
        self.rows: Tensor
        self.typical: Tensor
        self.register_buffer("rows", torch.zeros(0, 0))
        self.register_buffer("typical", torch.ones(()))
        self.calibrated = Calibrated()

    def fit(
        self, x: Float[Tensor, "row feature"], held_out: Float[Tensor, "other feature"] | None = None
    ) -> None:
        """Remember a sample of rows, and what distance is usual.

        Usual is the distance of the held-out rows, or of each remembered row from the others if there are
        none.
        """
        drawn = x[torch.randperm(len(x), device=x.device)[: _DRAWN * self.size]]
        self.rows = _distinct(drawn)[: self.size].clone()
        if held_out is None or not len(held_out):
            apart = self._mean(nearest(self.rows, self.rows, self.neighbors, leave_self_out=True))
        else:
            apart = self._mean(nearest(held_out, self.rows, self.neighbors))
        self.typical = apart.mean() + 1e-12
        self.calibrated.fit(self._log(apart))

    def distance(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row"]:
        """Distance to the nearest remembered rows, in units of what is typical among them."""
        return self._mean(nearest(x, self.rows, self.neighbors)) / self.typical

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row"]:
        """Calibrated logarithm of the distance."""
        return self.calibrated(self._log(self._mean(nearest(x, self.rows, self.neighbors))))

    def _log(self, distance: Tensor) -> Tensor:
        return torch.log(distance / self.typical + 0.02)

    @staticmethod
    def _mean(distances: Tensor) -> Tensor:
        return distances.mean(1)

    def _load_from_state_dict(self, state: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        # How many rows are remembered is only known once it has been fitted.
        if prefix + "rows" in state:
            self.rows = torch.empty_like(state[prefix + "rows"], device=self.typical.device)
        super()._load_from_state_dict(state, prefix, *rest)


def _distinct(x: Float[Tensor, "row feature"]) -> Float[Tensor, "distinct feature"]:
    """The rows without copies of earlier ones, in their order."""
    _, group = torch.unique(x, dim=0, return_inverse=True)
    places = torch.arange(len(x), device=x.device)
    first = torch.full_like(places, len(x)).scatter_reduce(0, group, places, "amin")
    return x[first[first < len(x)].sort().values]


def nearest(
    x: Float[Tensor, "row feature"],
    memory: Float[Tensor, "memory feature"],
    neighbors: int,
    *,
    leave_self_out: bool = False,
) -> Float[Tensor, "row neighbor"]:
    """Euclidean distances to the nearest remembered rows, ascending.

    The nearest are found with one matrix product and measured again exactly, since the product loses the
    small differences that matter among near copies. Rows whose neighbors are near, compared with the row's
    distance from the origin, are looked up once more with a product in float64.

    Parameters
    ----------
    leave_self_out : bool
        Whether `x` is `memory` itself, so that a row must not find itself.
    """
    most = len(memory) - leave_self_out
    if most == 0:
        return torch.zeros(len(x), 1, device=x.device)
    neighbors = min(neighbors, most)
    found = []
    for start in range(0, len(x), _CHUNK):
        chunk = x[start : start + _CHUNK]
        own = torch.arange(start, start + len(chunk), device=x.device) if leave_self_out else None
        with torch.no_grad():
            places = _places(chunk, memory, neighbors, own)
        found.append(_distances(chunk, memory.index_select(0, places.flatten()).view(*places.shape, -1)))
    return torch.cat(found)


def _places(
    x: Float[Tensor, "row feature"],
    memory: Float[Tensor, "memory feature"],
    neighbors: int,
    own: Int[Tensor, "row"] | None,
) -> Int[Tensor, "row neighbor"]:
    """Places of the nearest remembered rows; `own` are those of the rows themselves, to be passed over."""
    lowest, places = by_product(x, memory, neighbors, own)
    if x.dtype == torch.float32:
        again = are_near(x, lowest).nonzero().flatten()
        if len(again):
            own = None if own is None else own[again]
            places[again] = by_product(x[again].double(), memory.double(), neighbors, own)[1]
    return places


def by_product(
    x: Float[Tensor, "row feature"],
    memory: Float[Tensor, "memory feature"],
    neighbors: int,
    own: Int[Tensor, "row"] | None = None,
) -> tuple[Float[Tensor, "row neighbor"], Int[Tensor, "row neighbor"]]:
    """Squared distances to the nearest rows, less the row's own squared length, and these rows' places."""
    lengths = memory.square().sum(1)
    rough = torch.addmm(lengths, x, memory.T, alpha=-2)
    if own is not None:
        rough.scatter_(1, own[:, None], torch.inf)
    lowest, places = rough.topk(neighbors, largest=False)
    return lowest, places


def are_near(x: Float[Tensor, "row feature"], lowest: Float[Tensor, "row neighbor"]) -> Bool[Tensor, "row"]:
    """Rows so near to their neighbors that a product in float32 may have picked wrong ones."""
    length = x.square().sum(1)
    return lowest[:, -1] + length < _NEAR * length


def _distances(
    x: Float[Tensor, "row feature"], others: Float[Tensor, "row neighbor feature"]
) -> Float[Tensor, "row neighbor"]:
    """Euclidean distances of each row to others of its own, which are overwritten; ascending."""
    others -= x[:, None]
    # As root of a square the distance has no slope at zero, where that of the norm is zero by convention.
    return torch.linalg.vector_norm(others, dim=2).square().sqrt().sort(1).values


def clear_outliers(
    z: Float[Tensor, "row feature"], most: float, *, bags: int = 40, size: int = 128
) -> Bool[Tensor, "row"]:
    """Rows that stand so far off that they should not be learned as normal.

    A row's distance is the mean over random bags to the nearest other row of the bag (rows that pollute in
    small groups are rarely in the same bag). Clear outliers lie beyond the median by more than four times the
    spread of the upper quantiles on a logarithmic scale; they are at most a share `most` of all rows.
    """
    total = torch.zeros(len(z), device=z.device)
    for _ in range(bags):
        chosen = torch.randperm(len(z), device=z.device)[:size]
        two = nearest(z, z[chosen], 2)
        itself = torch.zeros(len(z), dtype=torch.bool, device=z.device)
        itself[chosen] = True
        total += torch.where(itself, two[:, -1], two[:, 0])
    score = total.clamp_min(1e-12).log()
    median, high = score.median(), torch.quantile(score[:: -(-len(score) // 1_000_000)], 0.9)
    limit = torch.quantile(score[:: -(-len(score) // 1_000_000)], 1 - most)
    return score > torch.maximum(median + 4 * (high - median) / 1.28, limit)
