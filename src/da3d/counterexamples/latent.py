"""Counterexamples born in code space."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["simple"]


def simple(like: Float[Tensor, "row code"], sigma: float) -> Float[Tensor, "row code"]:
    """Codes from N(0, sigma^2): the simple counterexamples of DA3D (section 5), and its wide Gaussian."""
    return sigma * torch.randn_like(like)
