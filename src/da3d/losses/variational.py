"""How far the codes of a variational autoencoder are from its prior."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

__all__ = ["kl"]


def kl(mean: Float[Tensor, "row code"], log_variance: Float[Tensor, "row code"]) -> Float[Tensor, "row"]:
    """Divergence of N(mean, variance) from the prior N(0, 1); sum over the code (Kingma and Welling 2014).

    In nats: add it to a reconstruction error that is summed over features, not averaged.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1)
