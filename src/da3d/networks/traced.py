"""Layers in a row that also show their hidden activations."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from da3d.networks.mlp import MLP, Activation

__all__ = ["NON_LINEARITIES", "Traced", "dense", "linear"]

NON_LINEARITIES: tuple[type[nn.Module], ...] = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardshrink,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,  # and ReLU6
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.Mish,
    nn.PReLU,
    nn.ReLU,
    nn.RReLU,
    nn.SELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Softshrink,
    nn.Softsign,
    nn.Tanh,
    nn.Tanhshrink,
)
"""Layers whose output counts as a hidden activation."""


class Traced(nn.Sequential):
    """Layers in a row; the output of every non-linearity among them is a hidden activation."""

    def trace(self, x: Float[Tensor, "row ..."]) -> tuple[Float[Tensor, "row ..."], list[Tensor]]:
        """Output together with all hidden activations, in order and flattened to one row each."""
        activations = []
        for layer in self:
            x = layer(x)
            if isinstance(layer, NON_LINEARITIES):
                activations.append(x.flatten(1))
        return x, activations


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that starts like those of an `MLP`."""
    return MLP(inputs, [], outputs).output


def dense(inputs: int, widths: Sequence[int], activation: Activation) -> list[nn.Module]:
    """Linear layers of these widths, each with a non-linearity behind it."""
    layers: list[nn.Module] = []
    for width in widths:
        layer = MLP(inputs, [], width, activation=activation)
        layers += [layer.output, layer.activation]
        inputs = width
    return layers
