"""A multilayer perceptron that also shows its hidden activations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MLP", "Activation", "SpectralLinear", "SteadyLinear", "steady_linear"]

Activation = Literal["leaky_relu", "relu", "selu", "tanh"]

_FEW = 16

_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "leaky_relu": nn.LeakyReLU,  # negative slope 0.01, as in the authors' code
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "tanh": nn.Tanh,
}


class MLP(nn.Module):
    """Linear layers with a non-linearity and dropout between them; the output layer is linear.

    Weights start Glorot-uniform and biases at zero, as in the papers' framework.

    Parameters
    ----------
    inputs, outputs : int
        Width of a row that goes in and of one that comes out.
    widths : sequence of int
        Widths of the hidden layers, in order; may be empty.
    activation : {"leaky_relu", "relu", "selu", "tanh"}
        Non-linearity after each hidden layer.
    dropout : float
        Share of hidden activations dropped in training, 0 <= dropout < 1.
    lipschitz : bool
        Bound the Lipschitz constant of every layer by one (`SpectralLinear`).
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        outputs: int,
        *,
        activation: Activation = "leaky_relu",
        dropout: float = 0.0,
        lipschitz: bool = False,
    ) -> None:
        super().__init__()
        sizes = [inputs, *widths]
        layers = [_linear(a, b, lipschitz) for a, b in zip(sizes, [*widths, outputs], strict=True)]
        self.hidden = nn.ModuleList(layers[:-1])
        self.output = layers[-1]
        self.activation = _ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Float[Tensor, "row input"]) -> Float[Tensor, "row output"]:
        """Map rows to outputs."""
        activation, dropout = self.activation, self.dropout
        for layer in self.hidden:
            x = dropout(activation(layer(x)))
        return self.output(x)

    def trace(self, x: Float[Tensor, "row input"]) -> tuple[Float[Tensor, "row output"], list[Tensor]]:
        """Outputs together with the activations of each hidden layer, taken before dropout."""
        activation, dropout, activations = self.activation, self.dropout, []
        for layer in self.hidden:
            activations.append(activation(layer(x)))
            x = dropout(activations[-1])
        return self.output(x), activations


class SteadyLinear(nn.Linear):
    """A linear layer that, when it scores, gives a row the same result wherever it stands among others."""

    def forward(self, x: Float[Tensor, "row input"]) -> Float[Tensor, "row output"]:
        """Map rows to outputs."""
        return steady_linear(x, self.weight, self.bias)


def steady_linear(
    x: Float[Tensor, "row input"],
    weight: Float[Tensor, "output input"],
    bias: Float[Tensor, " output"] | None = None,
) -> Float[Tensor, "row output"]:
    """`linear`, padded in inference mode if there are few outputs.

    For 2 to 11 outputs the CPU's matrix product adds up a row in an order that depends on the row's position,
    which moves the last bit of a score with the rows around it.
    """
    if not torch.is_inference_mode_enabled():
        return F.linear(x, weight, bias)
    outputs = len(weight)
    if outputs >= _FEW or outputs == 1:
        return F.linear(x, weight, bias)
    padded = F.linear(x, F.pad(weight, (0, 0, 0, _FEW - outputs)))[:, :outputs]
    return padded if bias is None else padded + bias


class SpectralLinear(nn.Linear):
    """A linear layer divided by an estimate of its largest singular value (Miyato et al. 2018).

    The estimate is one power iteration per pass in training mode, from where the last one ended.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.left: Tensor
        self.right: Tensor
        self.register_buffer("left", F.normalize(torch.randn(outputs), dim=0))
        self.register_buffer("right", F.normalize(torch.randn(inputs), dim=0))

    def forward(self, x: Float[Tensor, "row input"]) -> Float[Tensor, "row output"]:
        """Map rows to outputs, one-Lipschitz."""
        if self.training:
            self.iterate()
        norm = torch.dot(self.left.clone(), self.weight @ self.right.clone())
        return F.linear(x, self.weight / norm.clamp_min(1e-12), self.bias)

    @torch.no_grad()
    def iterate(self, times: int = 1) -> None:
        """Improve the estimate by power iteration."""
        for _ in range(times):
            self.right.copy_(F.normalize(self.weight.T @ self.left, dim=0))
            self.left.copy_(F.normalize(self.weight @ self.right, dim=0))


def _linear(inputs: int, outputs: int, lipschitz: bool) -> nn.Linear:
    layer: nn.Linear = (SpectralLinear if lipschitz else SteadyLinear)(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    if isinstance(layer, SpectralLinear):
        layer.iterate(15)
    return layer
