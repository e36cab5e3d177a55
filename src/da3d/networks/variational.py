"""A variational autoencoder: codes are distributions, and their tails are unlikely rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from da3d.networks.mlp import Activation
from da3d.networks.traced import dense, linear

__all__ = ["VariationalAutoencoder"]


class VariationalAutoencoder(nn.Module):
    """Encoder to the mean and the log-variance of a Gaussian code, and a mirrored decoder.

    The architecture of A3 (Sperl, Schulze and Böttinger 2020, section 4.5) for any widths; dropout is there
    once, in front of the decoder's output layer, as in the authors' code.

    Parameters
    ----------
    features : int
        Width of a row.
    widths : sequence of int
        Widths of the encoder's hidden layers, in order; at least one. The decoder mirrors them.
    code_width : int
        Width of a code.
    unit : bool
        Whether rows lie in [0, 1], so that the decoder's output is read as a logit.
    activation, dropout
        As in `MLP`.
    """

    def __init__(
        self,
        features: int,
        widths: Sequence[int],
        code_width: int,
        *,
        unit: bool,
        activation: Activation = "relu",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.unit = unit
        self.code_width = code_width
        self.encoder = nn.Sequential(*dense(features, widths, activation))
        self.mean = linear(widths[-1], code_width)
        self.log_variance = linear(widths[-1], code_width)
        self.decoder = nn.Sequential(
            *dense(code_width, widths[::-1], activation), nn.Dropout(dropout), linear(widths[0], features)
        )

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """The decoder's output at a code drawn for each row: its copy, as logits if rows lie in [0, 1].

        In evaluation mode nothing is drawn; the code is the mean.
        """
        return self.decoder(self.sample(*self.moments(x)))

    def moments(
        self, x: Float[Tensor, "row feature"]
    ) -> tuple[Float[Tensor, "row code"], Float[Tensor, "row code"]]:
        """Mean and log-variance of the codes of rows."""
        hidden = self.encoder(x)
        return self.mean(hidden), self.log_variance(hidden)

    def sample(
        self, mean: Float[Tensor, "row code"], log_variance: Float[Tensor, "row code"]
    ) -> Float[Tensor, "row code"]:
        """One code per row, drawn so that a gradient reaches both moments; the mean in evaluation mode."""
        if not self.training:
            return mean
        return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)

    def decode(self, code: Float[Tensor, "row code"]) -> Float[Tensor, "row feature"]:
        """The rows that codes stand for."""
        return self.as_row(self.decoder(code))

    def as_row(self, output: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """The row that an output of the decoder stands for."""
        return output.sigmoid() if self.unit else output
