"""What an alarm learns from: normal rows against counterexamples."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

__all__ = ["cross_entropy"]


def cross_entropy(logits: Float[Tensor, "row"], target: float | Float[Tensor, "row"]) -> Float[Tensor, ""]:
    """Binary cross-entropy of alarm logits; mean over rows (DA3D, section 4.2).

    `target` is 0 for normal rows and 1 for counterexamples, or one value in [0, 1] per row.
    """
    if isinstance(target, float):
        return (
            F.softplus(logits if target == 0.0 else -logits).mean()
            if target in (0.0, 1.0)
            else (F.binary_cross_entropy_with_logits(logits, logits.new_full(logits.shape, target)))
        )
    return F.binary_cross_entropy_with_logits(logits, target)
