"""What a score should be when nothing is known."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

__all__ = ["towards_anomaly"]


def towards_anomaly(logits: Float[Tensor, "row"], l1: float, l2: float) -> Float[Tensor, ""]:
    """Penalty l1 |1 - p| + l2 (1 - p)^2 on the probability p of an anomaly; mean over rows (A3, section 6).

    It is zero where every row is held for an anomaly, so what is not known to be normal becomes one.
    """
    missing = F.sigmoid(-logits)
    return (l1 * missing + l2 * missing.square()).mean()
