"""How far a score stands out from scores that a reference made up (DevNet)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["deviation"]


def deviation(
    scores: Float[Tensor, "row"],
    target: Float[Tensor, "row"],
    reference_mean: float | Float[Tensor, ""] = 0.0,
    reference_std: float | Float[Tensor, ""] = 1.0,
    margin: float = 5.0,
) -> Float[Tensor, ""]:
    r"""Deviation loss; mean over rows (Pang, Shen and van den Hengel 2019).

    .. math:: (1 - y)\,|d| + y \max(0, m - d), \qquad d = (\phi - \mu) / \sigma

    Normal rows are drawn to the mean of the reference scores, anomalies at least `margin` of their standard
    deviations above it.

    Parameters
    ----------
    scores
        The scores phi, unbounded.
    target
        0 for normal rows and 1 for anomalies; a value between weighs the two terms.
    reference_mean, reference_std
        Moments of scores drawn from a prior, N(0, 1) in the paper; the deviation is > 0.
    margin
        Reference deviations by which anomalies are to stand out.
    """
    deviations = (scores - reference_mean) / reference_std
    return torch.lerp(deviations.abs(), (margin - deviations).clamp_min(0), target).mean()
