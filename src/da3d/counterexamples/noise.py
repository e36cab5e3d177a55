"""Counterexamples born in row space."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["near", "trivial", "uniform"]

Rows = Float[Tensor, "row feature"]


def trivial(like: Rows) -> Rows:
    """Noise N(1/2, 1) of the shape of rows in [0, 1]: the trivial counterexamples of A3 and DA3D."""
    return torch.randn_like(like) + 0.5


def uniform(like: Rows) -> Rows:
    """Uniform noise of the shape of rows in [0, 1]: the other trivial counterexamples of the A3 code."""
    return torch.rand_like(like)


def near(x: Rows, unit: Float[Tensor, " feature"], low: float = 0.05, high: float = 3.0) -> Rows:
    """Normal rows, disturbed on a random part of their features.

    Half of them (at random) are moved by Gaussian noise in units of each feature's deviation, half along
    the difference of two other rows: directions in which normal rows differ are the ones that a wrong row
    hides in. Every row draws its own share of disturbed features (uniform, at least one) and its own factor
    (log-uniform between `low` and `high`).
    """
    rows, features = x.shape
    shuffled = [x[torch.randperm(rows, device=x.device)] for _ in range(2)]
    gaussian = torch.rand(rows, 1, device=x.device) < 0.5
    direction = torch.where(gaussian, torch.randn_like(x) * unit, shuffled[0] - shuffled[1])
    chosen = torch.rand_like(x) < torch.rand_like(x[:, :1])
    chosen.scatter_(1, torch.randint(features, (rows, 1), device=x.device), True)
    return x + low * (high / low) ** torch.rand_like(x[:, :1]) * chosen * direction
