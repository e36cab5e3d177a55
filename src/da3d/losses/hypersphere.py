"""Normal rows close to a centre, anomalies far from it (Deep SVDD, Deep SAD)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["hypersphere"]

_EPSILON = 1e-6  # the authors'; keeps the inverse of an anomaly at the centre finite


def hypersphere(
    distance: Float[Tensor, "row"], target: Float[Tensor, "row"], eta: float = 1.0
) -> Float[Tensor, ""]:
    r"""One-class loss with known anomalies; mean over rows.

    .. math:: (1 - y)\,d + y\,\eta / d, \qquad d = |\phi(x) - c|^2

    For targets that are all 0 this is the objective of Deep SVDD (Ruff et al. 2018, equation 4), otherwise
    that of Deep SAD (Ruff et al. 2020). Weight decay is the optimiser's.

    Parameters
    ----------
    distance
        Squared distance d of each row's code to the centre, >= 0.
    target
        0 for normal rows and 1 for anomalies; a value between weighs the two terms.
    eta
        Weight of the anomalies, > 0.
    """
    return torch.lerp(distance, eta / (distance + _EPSILON), target).mean()
