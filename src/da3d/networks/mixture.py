"""A Gaussian mixture that soft memberships make up: DAGMM's estimate of the latent features' density."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Mixture", "cholesky", "soft_mixture"]

Components = tuple[
    Float[Tensor, " component"], Float[Tensor, "component width"], Float[Tensor, "component width width"]
]

_RIDGE = 1e-6
_ATTEMPTS = 20
_LEAST_MASS = 1e-12


class Mixture(nn.Module):
    """The mixture that is fixed at the end of training, as buffers.

    Parameters
    ----------
    components, width : int
        Number of Gaussians and width of a latent row.
    """

    def __init__(self, components: int, width: int) -> None:
        super().__init__()
        self.weights: Tensor
        self.means: Tensor
        self.factors: Tensor
        self.register_buffer("weights", torch.full((components,), 1 / components))
        self.register_buffer("means", torch.zeros(components, width))
        self.register_buffer("factors", torch.eye(width).repeat(components, 1, 1))

    def fit(self, z: Float[Tensor, "row width"], membership: Float[Tensor, "row component"]) -> None:
        """Take shares, means and covariances from rows and their memberships."""
        for buffer, found in zip(self.parts(), soft_mixture(z, membership), strict=True):
            buffer.copy_(found)

    def parts(self) -> Components:
        """Share, mean and lower Cholesky factor of the covariance of each component."""
        return self.weights, self.means, self.factors


def soft_mixture(z: Float[Tensor, "row width"], membership: Float[Tensor, "row component"]) -> Components:
    """Shares, means and Cholesky factors of a mixture to which rows belong in part.

    Zong et al. 2018, equation 5. The gradient reaches rows and memberships.

    Parameters
    ----------
    z
        Latent features of rows. In float64: a component of nearly equal rows has a variance of nearly zero.
    membership
        Shares of each row in the components, >= 0; they sum to one.
    """
    mass = membership.sum(0).clamp_min(_LEAST_MASS)
    means = membership.T @ z / mass[:, None]
    apart = z[:, None] - means
    covariances = torch.einsum("nki,nkj->kij", membership[:, :, None] * apart, apart) / mass[:, None, None]
    return membership.mean(0), means, cholesky(covariances)


def cholesky(covariances: Float[Tensor, "component width width"]) -> Float[Tensor, "component width width"]:
    """Lower Cholesky factors; a small ridge on the diagonal grows until there is a factor.

    Singular covariances are common: a batch of few rows, or a code that a component's rows share. Where the
    entries are not finite there is no factor, and the result is not finite either.
    """
    eye = torch.eye(covariances.shape[1], dtype=covariances.dtype, device=covariances.device)
    ridge = torch.full_like(covariances[:, :1, :1], _RIDGE)
    for _ in range(_ATTEMPTS):
        factors, failures = torch.linalg.cholesky_ex(covariances + ridge * eye)
        if not failures.any():
            break
        ridge = torch.where(failures[:, None, None] > 0, 10 * ridge, ridge)
    return factors
