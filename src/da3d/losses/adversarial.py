"""Two networks that pull in opposite directions, as Wasserstein means (Arjovsky et al. 2017).

A critic's output is high where it believes in the first argument. No reduction is hidden: every function
takes one output per row and returns the batch mean that an update descends.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["become_anomalous", "critic", "disguise", "fool_alarm", "prior", "repulsion"]

Outputs = Float[Tensor, "row"]


def prior(of_codes: Outputs, of_prior: Float[Tensor, "sample"]) -> Float[Tensor, ""]:
    """AAE discriminator: high on samples of the prior, low on codes (Makhzani et al. 2016)."""
    return of_codes.mean() - of_prior.mean()


def disguise(of_codes: Outputs) -> Float[Tensor, ""]:
    """AAE encoder: make codes look like samples of the prior."""
    return -of_codes.mean()


def fool_alarm(alarm: Outputs) -> Float[Tensor, ""]:
    """DA3D, objective 1 (section 4.3.1): be taken for normal by the alarm."""
    return alarm.mean()


def become_anomalous(of_generated: Outputs) -> Float[Tensor, ""]:
    """DA3D, objective 2 (section 4.3.2): go where the critic sees the wide Gaussian."""
    return -of_generated.mean()


def critic(
    of_normal: Outputs,
    of_generated: Float[Tensor, "generated"],
    of_gaussian: Float[Tensor, "sample"],
    weights: tuple[float, float, float],
) -> Float[Tensor, ""]:
    """DA3D critic (section 4.3.2): high on the wide Gaussian, low on normal and generated codes.

    `weights` are those of (normal, generated, Gaussian): (1, 1, 2) in the paper, (2, 2, 1) in the authors'
    later code, which also writes the same game with the opposite sign.
    """
    normal, generated, gaussian = weights
    return normal * of_normal.mean() + generated * of_generated.mean() - gaussian * of_gaussian.mean()


def repulsion(codes: Float[Tensor, "row code"]) -> Float[Tensor, ""]:
    """Inverse of the mean distance between generated codes: keeps a generator from one single answer.

    Fence GAN's dispersion loss, with all pairs in place of the distance to the batch mean.
    """
    return 1.0 / (torch.pdist(codes).mean() + 1e-2)
