"""Counterexamples born in row space."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["subset", "trivial", "row_difference"]

Rows = Float[Tensor, "row feature"]


def trivial(like: Rows) -> Rows:
    """Noise N(1/2, 1) of the shape of rows in [0, 1]: the trivial counterexamples of A3 and DA3D."""
    return torch.randn_like(like) + 0.5


def subset(x: Rows, low: float, high: float) -> Rows:
    """Rows with Gaussian noise on a random part of their features.

    Every row draws its own share of features (uniform) and its own deviation (log-uniform between `low` and
    `high`, in the features' units); at least one feature is disturbed.
    """
    chosen = torch.rand_like(x) < torch.rand_like(x[:, :1])
    chosen.scatter_(1, torch.randint(x.shape[1], (len(x), 1), device=x.device), True)
    return x + chosen * torch.randn_like(x) * _log_uniform(x, low, high)


def row_difference(x: Rows, low: float, high: float) -> Rows:
    """Rows moved along the difference of two other rows, by a log-uniform factor between `low` and `high`.

    Directions in which normal rows differ from each other are the ones that a wrong row hides in.
    """
    a, b = x[torch.randperm(len(x), device=x.device)], x[torch.randperm(len(x), device=x.device)]
    return x + _log_uniform(x, low, high) * (a - b)


def _log_uniform(x: Rows, low: float, high: float) -> Float[Tensor, "row 1"]:
    return low * (high / low) ** torch.rand_like(x[:, :1])
