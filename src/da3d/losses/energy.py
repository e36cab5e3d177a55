"""How unlikely a row's latent features are under a Gaussian mixture (DAGMM)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["covariance_penalty", "sample_energy"]

_LEAST_WEIGHT = 1e-30  # a component that no row belongs to has weight 0, whose logarithm is not finite


def sample_energy(
    z: Float[Tensor, "row width"],
    weights: Float[Tensor, " component"],
    means: Float[Tensor, "component width"],
    factors: Float[Tensor, "component width width"],
) -> Float[Tensor, " row"]:
    r"""Negative log-likelihood of rows under a Gaussian mixture (Zong et al. 2018, equation 6).

    .. math:: E(z) = -\log \sum_k \phi_k\, N(z; \mu_k, L_k L_k^T)

    Summed as logarithms, and by triangular solves instead of an inverse: in the paper's form the exponential
    of a strange row is zero and its energy infinite.

    Parameters
    ----------
    z
        Latent features of rows.
    weights, means, factors
        Share, mean and lower Cholesky factor of the covariance of each component.
    """
    apart = (z[:, None] - means).permute(1, 2, 0)
    lengths = torch.linalg.solve_triangular(factors, apart, upper=False).square().sum(1)
    log_determinants = 2 * factors.diagonal(dim1=1, dim2=2).log().sum(1, keepdim=True)
    log_densities = -0.5 * (lengths + log_determinants + z.shape[1] * math.log(2 * math.pi))
    return -torch.logsumexp(weights.clamp_min(_LEAST_WEIGHT).log()[:, None] + log_densities, 0)


def covariance_penalty(factors: Float[Tensor, "component width width"]) -> Float[Tensor, ""]:
    """Sum of the inverse variances of all components: keeps them from shrinking to a point.

    The third term of Zong et al. 2018, equation 7. A variance is the squared length of a row of the factor.
    """
    return (1 / factors.square().sum(2)).sum()
