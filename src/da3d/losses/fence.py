"""What makes a generator fence the data in: the losses of Fence GAN (Ngo et al. 2019).

D is given as its logit, high on real rows: D = sigmoid(logit). Every function returns a batch mean.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

__all__ = ["cross_entropy", "dispersion", "generated", "log_distance", "real"]

Logits = Float[Tensor, "row"]
Loss = Float[Tensor, ""]

# |alpha - D| below this counts as arrived: the logarithm stays finite and its gradient bounded.
_ARRIVED = 1e-3
# Added to squared distances, so that points which all coincide have a finite loss and gradient.
_COINCIDE = 1e-8


def log_distance(logits: Logits, alpha: float) -> Loss:
    """Encirclement, equation 3: mean log |alpha - D(G(z))|, bounded below by log 0.001.

    The equation itself is minus infinity at D = alpha. With alpha = 1 it is the generator's loss of the
    original GAN, equation 1.
    """
    return (alpha - logits.sigmoid()).abs().clamp_min(_ARRIVED).log().mean()


def cross_entropy(logits: Logits, alpha: float) -> Loss:
    """Encirclement in the authors' code: -[alpha log D(G(z)) + (1 - alpha) log(1 - D(G(z)))].

    Least at D = alpha, like equation 3, but finite and smooth there.
    """
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, alpha))


def dispersion(points: Float[Tensor, "row feature"]) -> Loss:
    """Dispersion, equation 4: one over the mean Euclidean distance to the mean of the generated points."""
    squares = (points - points.mean(0)).square().sum(1)
    return 1.0 / (squares + _COINCIDE).sqrt().mean()


def real(logits: Logits) -> Loss:
    """Discriminator on real rows, first part of equation 6: -log D(x)."""
    return F.softplus(-logits).mean()


def generated(logits: Logits) -> Loss:
    """Discriminator on generated rows, second part of equation 6 before its weight: -log(1 - D(G(z)))."""
    return F.softplus(logits).mean()
