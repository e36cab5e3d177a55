"""An autoencoder whose hidden activations can be read: the target of activation analysis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from da3d.networks.mlp import MLP, Activation

__all__ = ["Autoencoder", "Where"]

Where = Literal["decoder", "encoder", "all"]


class Autoencoder(nn.Module):
    """Encoder and mirrored decoder around a linear code.

    The decoder's output is linear; for rows in [0, 1] it is a logit, and `as_row` applies the sigmoid.
    Hidden activations are those after each non-linearity and before dropout; neither the code nor the
    output belongs to them.

    Parameters
    ----------
    features : int
        Width of a row.
    widths : sequence of int
        Widths of the encoder's layers; the last is the code. The decoder mirrors them.
    unit : bool
        Whether rows lie in [0, 1], so that the decoder's output is read as a logit.
    activation, dropout
        As in `MLP`.
    """

    def __init__(
        self,
        features: int,
        widths: Sequence[int],
        *,
        unit: bool,
        activation: Activation = "leaky_relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.unit = unit
        *hidden, self.code_width = widths
        self.hidden_width = sum(hidden)
        self.encoder = MLP(features, hidden, self.code_width, activation=activation, dropout=dropout)
        self.decoder = MLP(self.code_width, hidden[::-1], features, activation=activation, dropout=dropout)

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """The decoder's output for rows: their copy, as logits if rows lie in [0, 1]."""
        return self.decoder(self.encoder(x))

    def activation_width(self, where: Where) -> int:
        """Number of hidden activations that `activations` returns for `where`."""
        return self.hidden_width * (2 if where == "all" else 1)

    def activations(self, x: Float[Tensor, "row feature"], where: Where) -> Float[Tensor, "row activation"]:
        """Hidden activations that rows cause in the encoder, the decoder, or both."""
        code, in_encoder = self.encoder.trace(x)
        if where == "encoder":
            return torch.cat(in_encoder, 1)
        _, in_decoder = self.decoder.trace(code)
        return torch.cat(in_decoder if where == "decoder" else in_encoder + in_decoder, 1)

    def activations_of_code(
        self, code: Float[Tensor, "row code"], where: Where
    ) -> Float[Tensor, "row activation"]:
        """Hidden activations that codes cause, for rows that are born in code space.

        The decoder reads the code itself (DA3D, section 4.2: re-encoding would pull a counterexample back
        to the normal region). Encoder activations need a row, so they come from the decoded code.
        """
        output, in_decoder = self.decoder.trace(code)
        if where == "decoder":
            return torch.cat(in_decoder, 1)
        _, in_encoder = self.encoder.trace(self.as_row(output))
        return torch.cat(in_encoder if where == "encoder" else in_encoder + in_decoder, 1)

    def decode(self, code: Float[Tensor, "row code"]) -> Float[Tensor, "row feature"]:
        """The rows that codes stand for."""
        return self.as_row(self.decoder(code))

    def as_row(self, output: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """The row that an output of the decoder stands for."""
        return output.sigmoid() if self.unit else output
