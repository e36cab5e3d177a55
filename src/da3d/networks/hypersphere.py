"""A network whose codes gather around a fixed centre (Deep SVDD)."""

from __future__ import annotations

from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from da3d.networks.views import exact

__all__ = ["Hypersphere", "without_biases"]

_Network = TypeVar("_Network", bound=nn.Module)

_LEAST = 0.1
_CHUNK = 8192


class Hypersphere(nn.Module):
    """Squared distance of a row's code to a centre that no update moves.

    A network with a bias can map every row to the centre, and the objective is met without having learned
    anything (Ruff et al. 2018, proposition 2). So every bias of the body is taken away. For the same reason
    (proposition 3) its activations should be unbounded, and a centre of zeros, which weights of zero would
    meet (proposition 1), is moved away from zero.

    Parameters
    ----------
    body : Module
        Rows to codes; loses its biases.
    width : int
        Width of a code.
    """

    def __init__(self, body: nn.Module, width: int) -> None:
        super().__init__()
        self.body = without_biases(body)
        self.center: Tensor
        self.register_buffer("center", torch.zeros(width))

    def fit(self, x: Float[Tensor, "row ..."]) -> None:
        """Put the centre at the mean code of rows, its components at least 0.1 from zero."""
        codes = torch.cat([self.body(chunk) for chunk in torch.split(x, _CHUNK)])
        mean = exact(codes).mean(0).to(self.center)
        away = torch.where(mean < 0, -_LEAST, _LEAST)
        self.center.copy_(torch.where(mean.abs() < _LEAST, away, mean))

    def distance(self, x: Float[Tensor, "row ..."]) -> Float[Tensor, " row"]:
        """Squared distance of rows to the centre."""
        return (self.body(x) - self.center).square().sum(1)

    def forward(self, x: Float[Tensor, "row ..."]) -> Float[Tensor, " row"]:
        """Strangeness of rows: their squared distance to the centre."""
        return self.distance(x)


def without_biases(network: _Network) -> _Network:
    """The same network, its biases taken away."""
    for module in network.modules():
        if "bias" in module._parameters:
            module.register_parameter("bias", None)
    return network
