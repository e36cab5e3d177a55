"""Views of a row: fixed, per-column scalings that are fitted once on normal rows.

They are buffers of the model, so they travel with its weights and let a gradient through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Standardise", "View", "Views", "exact", "interpolate", "squash", "unsquash"]

View = Literal["minmax", "standard", "robust", "quantile"]

_KNOTS = 256
_SAMPLE = 20_000
_HEAVY = 4.0  # excess kurtosis from which on a column counts as heavy-tailed


def squash(x: Tensor) -> Tensor:
    """Soft limit: the identity near zero, a logarithm beyond about three deviations."""
    u = x.abs() / 3.0  # asinh of it, written so that every step is a vector instruction
    return 3.0 * x.sign() * torch.log1p(u + u * u / (1.0 + torch.sqrt(1.0 + u * u)))


def unsquash(x: Tensor) -> Tensor:
    """Inverse of `squash`, within the range that a float32 can square."""
    return 3.0 * torch.sinh(x.clamp(-60.0, 60.0) / 3.0)


def exact(x: Tensor) -> Tensor:
    """The same numbers in float64, on the CPU where the device has no such type (MPS)."""
    return (x.cpu() if x.device.type == "mps" else x).double()


class Standardise(nn.Module):
    """Subtract the fitted rows' mean and divide by their deviation; constant columns are only shifted."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def fit(self, x: Float[Tensor, "row feature"], floor: float = 0.0) -> None:
        """Take mean and deviation from rows; `floor` times the mean deviation is added to each."""
        mean, deviation = exact(x).mean(0), exact(x).std(0, correction=0)
        constant = deviation <= 1e-6 * (1 + mean.abs())
        deviation = deviation + floor * deviation.mean()
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(constant & (deviation < 1e-6), 1.0, deviation))

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """Scale rows."""
        return (x - self.mean) / self.deviation


class Views(nn.Module):
    """Several scalings of the same row, side by side.

    - ``minmax``: the fitted range goes to [0, 1]; values outside leave it (the papers' preparation).
    - ``standard``: zero mean and unit deviation; a column with two values is divided by half their distance
      instead, so that a rare flag counts as two units and not as thirty.
    - ``robust``: asinh of the distance to the median in interquartile deviations, standardised; it grows like
      a logarithm, so that heavy tails neither vanish nor rule. Zero for two-valued columns.
    - ``quantile``: the normal score of a value's rank, for columns whose excess kurtosis is above 4; zero for
      all others, whose shape needs no straightening. Beyond the fitted range it goes on like a logarithm.

    Parameters
    ----------
    features : int
        Width of a row.
    names : sequence of {"minmax", "standard", "robust", "quantile"}
        At least one.
    alike : bool
        Whether all columns are of one kind, such as pixels, and share one range, mean and deviation; columns
        are then not looked at for heavy tails.
    """

    def __init__(self, features: int, names: Sequence[View], *, alike: bool = False) -> None:
        super().__init__()
        self.alike = alike
        self.names = tuple(names)
        self.width = features * len(self.names)
        self.low: Tensor
        self.span: Tensor
        self.center: Tensor
        self.unit: Tensor
        self.median: Tensor
        self.spread: Tensor
        self.graded: Tensor
        self.heavy: Tensor
        self.knots: Tensor
        self.levels: Tensor
        for name in ("low", "center", "median"):
            self.register_buffer(name, torch.zeros(features))
        for name in ("span", "unit", "spread"):
            self.register_buffer(name, torch.ones(features))
        for name in ("graded", "heavy"):
            self.register_buffer(name, torch.zeros(features, dtype=torch.bool))
        for name in ("knots", "levels"):
            self.register_buffer(name, torch.zeros(features, _KNOTS))
        self.asinh = Standardise(features)

    def fit(self, x: Float[Tensor, "row feature"]) -> None:
        """Take ranges, moments and quantiles from rows."""
        if self.alike:
            self._fit_alike(x)
            return
        low, high = x.amin(0), x.amax(0)
        self.low.copy_(low)
        self.span.copy_(torch.where(high > low, high - low, 1.0))
        self.graded.copy_(((x != low) & (x != high)).any(0))
        self.center.copy_(exact(x).mean(0))
        self.unit.copy_(exact(x).std(0, correction=0))
        flag = torch.where(high > low, (high - low) / 2, 0.5)
        self.unit.copy_(torch.where(self.graded, self.unit, flag))
        z = self.standard(x)
        kurtosis = z.square().square().mean(0) - 3
        self.heavy.copy_(self.graded & (kurtosis > _HEAVY))
        sample = z[:: -(-len(z) // _SAMPLE)].sort(0).values
        lower, median, upper = (sample[min(len(sample) - 1, int(q * len(sample)))] for q in (0.25, 0.5, 0.75))
        spread = (upper - lower) / 1.349
        self.median.copy_(median)
        self.spread.copy_(torch.where(spread > 0.05, spread, 1.0))
        self.asinh.fit(torch.asinh((z - self.median) / self.spread))
        for column in self.heavy.nonzero().flatten():
            self.knots[column], self.levels[column] = _normal_scores(sample[:, column])

    def _fit_alike(self, x: Float[Tensor, "row feature"]) -> None:
        low, high = x.min(), x.max()
        self.low.fill_(low)
        self.span.fill_(high - low if high > low else 1.0)
        self.center.fill_(exact(x).mean())
        self.unit.fill_(exact(x).std(correction=0).clamp_min(1e-6))
        self.graded.fill_(True)

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row viewed"]:
        """All views of rows, in the order of `names`."""
        return torch.cat([getattr(self, name)(x) for name in self.names], 1)

    def minmax(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """The fitted range goes to [0, 1]."""
        return (x - self.low) / self.span

    def from_minmax(self, u: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """Inverse of `minmax`."""
        return u * self.span + self.low

    def standard(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """Zero mean, unit deviation."""
        return (x - self.center) / self.unit

    def from_standard(self, z: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """Inverse of `standard`."""
        return z * self.unit + self.center

    def robust(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """Standardised asinh of the robust distance to the median; zero for two-valued columns."""
        return self.graded * self.asinh(torch.asinh((self.standard(x) - self.median) / self.spread))

    def quantile(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """Normal scores of heavy-tailed columns; zero for the others."""
        score, excess = interpolate(self.standard(x), self.knots, self.levels)
        return self.heavy * (score + excess.sign() * excess.abs().log1p())

    def where_graded(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """``robust`` for graded columns, ``standard`` for two-valued ones."""
        return torch.where(self.graded, self.robust(x), self.standard(x))

    def where_heavy(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """``quantile`` for heavy-tailed columns, ``standard`` for the others."""
        return torch.where(self.heavy, self.quantile(x), self.standard(x))


def _normal_scores(ordered: Float[Tensor, "row"]) -> tuple[Float[Tensor, "knot"], Float[Tensor, "knot"]]:
    """Up to `_KNOTS` distinct values of a sorted column, and the normal score of their middle rank."""
    values, counts = torch.unique_consecutive(ordered, return_counts=True)
    middle = (counts.cumsum(0) - counts / 2) / len(ordered)
    least = 0.5 / (len(ordered) + 1)
    scores = torch.special.ndtri(exact(middle).clamp(least, 1 - least)).to(ordered)
    chosen = torch.linspace(0, len(values) - 1, _KNOTS, device=ordered.device).round().long()
    return values[chosen], scores[chosen]


def interpolate(
    x: Float[Tensor, "row feature"],
    knots: Float[Tensor, "feature knot"],
    levels: Float[Tensor, "feature knot"],
) -> tuple[Float[Tensor, "row feature"], Float[Tensor, "row feature"]]:
    """Piecewise linear map of every column, and how far values lie outside its knots."""
    columns = x.T.contiguous()
    low, high = knots[:, :1], knots[:, -1:]
    inside = torch.minimum(torch.maximum(columns, low), high)
    above = torch.searchsorted(knots, inside).clamp(1, knots.shape[1] - 1)
    start, stop = knots.gather(1, above - 1), knots.gather(1, above)
    share = ((inside - start) / (stop - start).clamp_min(1e-12)).clamp(0, 1)
    level = torch.lerp(levels.gather(1, above - 1), levels.gather(1, above), share)
    return level.T, (columns - inside).T
