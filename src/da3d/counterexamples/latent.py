"""Counterexamples born in code space."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["simple"]


def simple(rows: int, width: int, sigma: float, device: torch.device) -> Float[Tensor, "row code"]:
    """Codes from N(0, sigma^2): the simple counterexamples of DA3D (section 5)."""
    return sigma * torch.randn(rows, width, device=device)
