"""How far a row is from its copy."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

__all__ = ["bernoulli", "squared"]


def bernoulli(x: Float[Tensor, "row feature"], logits: Float[Tensor, "row feature"]) -> Float[Tensor, "row"]:
    """Cross-entropy of rows in [0, 1] and a reconstruction given as logits; mean over features.

    The loss of the DA3D and A3 autoencoders (authors' code).
    """
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").mean(1)


def squared(x: Float[Tensor, "row feature"], copy: Float[Tensor, "row feature"]) -> Float[Tensor, "row"]:
    """Squared error, mean over features."""
    return (x - copy).square().mean(1)
