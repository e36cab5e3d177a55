"""Views of the raw columns: fixed, per-column scalings that are fitted once on normal rows.

They are buffers of the model, so they travel with its weights, can be exported, and let a gradient through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Standardise", "View", "Views"]

View = Literal["minmax", "standard", "robust", "quantile"]

_KNOTS = 129
_SAMPLE = 20_000


class Standardise(nn.Module):
    """Subtract the mean of the fitted rows and divide by their deviation; constant columns are only shifted."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def fit(self, x: Float[Tensor, "row feature"]) -> None:
        """Take mean and deviation from rows."""
        self.mean.copy_(x.double().mean(0))
        deviation = x.double().std(0, correction=0)
        self.deviation.copy_(torch.where(deviation > 1e-6 * (1 + self.mean.abs()), deviation, 1.0))

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """Scale rows."""
        return (x - self.mean) / self.deviation


class Views(nn.Module):
    """Several scalings of the same row, side by side.

    - ``minmax``: the fitted range goes to [0, 1]; values outside leave it (the papers' preparation).
    - ``standard``: zero mean, unit deviation.
    - ``robust``: asinh of the distance to the median in units of the interquartile deviation; grows like a
      logarithm, so that heavy tails neither vanish nor rule.
    - ``quantile``: the normal score of the value's rank, linear between knots and continued beyond the range.

    A column with at most two values has no shape to straighten: it is zero in ``robust`` and ``quantile``.

    Parameters
    ----------
    features : int
        Width of a row.
    names : sequence of {"minmax", "standard", "robust", "quantile"}
        At least one.
    """

    def __init__(self, features: int, names: Sequence[View]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.width = features * len(self.names)
        self.low: Tensor
        self.span: Tensor
        self.center: Tensor
        self.spread: Tensor
        self.varied: Tensor
        self.knots: Tensor
        self.levels: Tensor
        self.standard = Standardise(features)
        for name in ("low", "center"):
            self.register_buffer(name, torch.zeros(features))
        for name in ("span", "spread", "varied"):
            self.register_buffer(name, torch.ones(features))
        probabilities = torch.linspace(0.0, 1.0, _KNOTS, dtype=torch.float64).clamp(0.5 / 1000, 1 - 0.5 / 1000)
        self.register_buffer("levels", torch.special.ndtri(probabilities).float())
        self.register_buffer("knots", torch.linspace(-3, 3, _KNOTS).repeat(features, 1))

    def fit(self, x: Float[Tensor, "row feature"]) -> None:
        """Take ranges, moments and quantiles from rows."""
        self.standard.fit(x)
        low, high = x.amin(0), x.amax(0)
        self.low.copy_(low)
        self.span.copy_(torch.where(high > low, high - low, 1.0))
        stride = -(-len(x) // _SAMPLE)
        ordered = x[::stride].double().sort(0).values
        quantiles = _interpolated(ordered, torch.linspace(0, 1, _KNOTS, dtype=torch.float64, device=x.device))
        self.center.copy_(_interpolated(ordered, torch.tensor([0.5], device=x.device))[0])
        quarters = _interpolated(ordered, torch.tensor([0.25, 0.75], device=x.device))
        spread = (quarters[1] - quarters[0]) / 1.349
        self.spread.copy_(torch.where(spread > 1e-3 * self.standard.deviation, spread, self.standard.deviation))
        self.varied.copy_(((x != low) & (x != high)).any(0))
        self.knots.copy_(quantiles.T)

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row viewed"]:
        """All views of rows, in the order of `names`."""
        return torch.cat([getattr(self, f"_{name}")(x) for name in self.names], 1)

    def _minmax(self, x: Tensor) -> Tensor:
        return (x - self.low) / self.span

    def _standard(self, x: Tensor) -> Tensor:
        return self.standard(x)

    def _robust(self, x: Tensor) -> Tensor:
        return self.varied * torch.asinh((x - self.center) / self.spread)

    def _quantile(self, x: Tensor) -> Tensor:
        inside = _normal_score(x, self.knots, self.levels)
        # Beyond the fitted range the score goes on growing, by the logarithm of the excess in deviations.
        excess = (x - x.clamp(self.low, self.low + self.span)) / self.standard.deviation
        return self.varied * (inside + excess.sign() * excess.abs().log1p())


def _interpolated(ordered: Float[Tensor, "row feature"], levels: Tensor) -> Float[Tensor, "level feature"]:
    position = levels.double() * (len(ordered) - 1)
    below = position.floor().long()
    above = position.ceil().long()
    weight = (position - below)[:, None]
    return ordered[below] * (1 - weight) + ordered[above] * weight


def _normal_score(
    x: Float[Tensor, "row feature"],
    knots: Float[Tensor, "feature knot"],
    levels: Float[Tensor, " knot"],
) -> Float[Tensor, "row feature"]:
    """Linear interpolation between knots; a value that fills several knots gets the middle of their levels."""
    columns = x.T.contiguous()
    right = torch.searchsorted(knots, columns, right=True)
    left = torch.searchsorted(knots, columns)
    last = len(levels) - 1
    tied = (levels[left.clamp(0, last)] + levels[(right - 1).clamp(0, last)]) / 2
    lower = (right - 1).clamp(0, last - 1)
    start, stop = knots.gather(1, lower), knots.gather(1, lower + 1)
    share = ((columns - start) / (stop - start).clamp_min(1e-12)).clamp(0, 1)
    between = levels[lower] + share * (levels[lower + 1] - levels[lower])
    return torch.where(right > left, tied, between).T
