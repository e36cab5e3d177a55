"""Counterexamples born in code space."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["simple", "tails"]


def simple(rows: int, width: int, sigma: float, device: torch.device) -> Float[Tensor, "row code"]:
    """Codes from N(0, sigma^2): the simple counterexamples of DA3D (section 5)."""
    return sigma * torch.randn(rows, width, device=device)


def tails(mean: Float[Tensor, "row code"], sigma: float) -> Float[Tensor, "row code"]:
    """Codes from N(mean, sigma^2): the unlikely codes of a variational autoencoder in A3 (section 3.2).

    The paper writes N(0, 5); in the authors' code 5 is the deviation.
    """
    return mean + sigma * torch.randn_like(mean)
