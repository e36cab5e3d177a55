"""How far out in its columns a row lies, each column on its own."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from da3d.networks.evidence import Calibrated
from da3d.networks.views import interpolate

__all__ = ["Tails"]

_KNOTS = 64
_SAMPLE = 20_000
# Just outside the fitted range a value is as surprising as any can be; so a last digit makes no step.
_MARGIN = 0.01


class Tails(nn.Module):
    """Surprise of a row's values, column by column, added up and calibrated.

    A value that a share p of the normal rows are as far out as, on its own side of the median, has the
    surprise -log 2p (0 in the middle). Outside the fitted range it goes on like a logarithm. This is the idea
    of ECOD (Li et al., TKDE 2022) on both sides.

    Parameters
    ----------
    features : int
        Width of a row.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.knots: Tensor
        self.levels: Tensor
        for name in ("knots", "levels"):
            self.register_buffer(name, torch.zeros(features, _KNOTS))
        self.calibrated = Calibrated()

    def fit(self, z: Float[Tensor, "row feature"]) -> None:
        """Take the tails of standardised columns from rows, and what sum of surprises is usual."""
        sample = z[:: -(-len(z) // _SAMPLE)].sort(0).values
        for column in range(z.shape[1]):
            self.knots[column], self.levels[column] = _surprises(sample[:, column])
        self.calibrated.fit(self.added_up(z))

    def forward(self, z: Float[Tensor, "row feature"]) -> Float[Tensor, "row"]:
        """Calibrated sum of surprises of standardised rows."""
        return self.calibrated(self.added_up(z))

    def added_up(self, z: Float[Tensor, "row feature"]) -> Float[Tensor, "row"]:
        """Sum of surprises."""
        surprise, excess = interpolate(z, self.knots, self.levels)
        return (surprise + excess.abs().log1p()).sum(1)


def _surprises(ordered: Float[Tensor, "row"]) -> tuple[Float[Tensor, "knot"], Float[Tensor, "knot"]]:
    """Some values of a sorted column, densest at its ends, with their surprise."""
    values, counts = torch.unique_consecutive(ordered, return_counts=True)
    below = counts.cumsum(0)
    above = len(ordered) - below + counts
    share = (torch.minimum(below, above) + 1) / (len(ordered) + 1)
    surprise = -(2 * share).clamp_max(1).log()
    even = torch.linspace(0, 1, _KNOTS - 2, device=ordered.device)
    steps = torch.special.ndtr(8 * even - 4) if len(values) > _KNOTS - 2 else even
    chosen = (steps * (len(values) - 1)).round().long()
    chosen[-1] = len(values) - 1
    outside = surprise.new_full((1,), math.log((len(ordered) + 1) / 2))
    knots = torch.cat([values[:1] - _MARGIN, values[chosen], values[-1:] + _MARGIN])
    return knots, torch.cat([outside, surprise[chosen], outside])
