"""Autoencoders whose hidden activations can be read: targets of activation analysis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from da3d.networks.mlp import MLP, Activation
from da3d.networks.traced import Traced, dense, linear

__all__ = ["AnyAutoencoder", "Autoencoder", "HiddenCodeAutoencoder", "Where"]

Where = Literal["decoder", "encoder", "all"]


class AnyAutoencoder(nn.Module):
    """Encoder and decoder, made of any layers, that show their hidden activations.

    The decoder's output is linear; for rows in [0, 1] it is a logit, and `as_row` applies the sigmoid.
    Hidden activations are those after each non-linearity and before dropout; the output does not belong to
    them, and the code does only if the encoder ends in a non-linearity.

    Parameters
    ----------
    encoder, decoder : MLP or Traced
        Rows to codes and codes to rows, both as rows of numbers.
    features : int
        Width of a row.
    unit : bool
        Whether rows lie in [0, 1], so that the decoder's output is read as a logit.

    Attributes
    ----------
    code_width : int
        Width of a code.
    """

    def __init__(self, encoder: MLP | Traced, decoder: MLP | Traced, features: int, *, unit: bool) -> None:
        super().__init__()
        self.unit = unit
        self.encoder = encoder
        self.decoder = decoder
        # On CPUs, convolutions take about half the time then. Module.to takes the argument, its types do not.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.code_width, self._in_encoder, self._in_decoder = self._counted(features)

    @torch.no_grad()
    def _counted(self, features: int) -> tuple[int, int, int]:
        """Widths of code, encoder and decoder activations, by a dry run: layers need not tell their sizes."""
        self.eval()
        code, in_encoder = self.encoder.trace(torch.zeros(1, features))
        _, in_decoder = self.decoder.trace(code)
        self.train()
        return code.shape[1], sum(a.shape[1] for a in in_encoder), sum(a.shape[1] for a in in_decoder)

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        """The decoder's output for rows: their copy, as logits if rows lie in [0, 1]."""
        return self.decoder(self.encoder(x))

    def activation_width(self, where: Where) -> int:
        """Number of hidden activations that `activations` returns for `where`."""
        counted = {"encoder": self._in_encoder, "decoder": self._in_decoder}
        return sum(counted.values()) if where == "all" else counted[where]

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


class Autoencoder(AnyAutoencoder):
    """Dense encoder and mirrored decoder around a linear code.

    Parameters
    ----------
    features : int
        Width of a row.
    widths : sequence of int
        Widths of the encoder's layers; the last is the code. The decoder mirrors them.
    unit : bool
        As in `AnyAutoencoder`.
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
        *hidden, code = widths
        encoder = MLP(features, hidden, code, activation=activation, dropout=dropout)
        decoder = MLP(code, hidden[::-1], features, activation=activation, dropout=dropout)
        super().__init__(encoder, decoder, features, unit=unit)


class HiddenCodeAutoencoder(AnyAutoencoder):
    """The dense autoencoder of A3 (Sperl, Schulze and Böttinger 2020, Table 2).

    The code passes a non-linearity as all layers do, so it is one of the hidden activations. Dropout is there
    once, in front of the output layer.

    Parameters
    ----------
    features, widths, unit
        As in `Autoencoder`.
    activation, dropout
        As in `MLP`.
    """

    def __init__(
        self,
        features: int,
        widths: Sequence[int],
        *,
        unit: bool,
        activation: Activation = "relu",
        dropout: float = 0.1,
    ) -> None:
        *hidden, code = widths
        mirrored = dense(code, hidden[::-1], activation)
        last = linear(hidden[0] if hidden else code, features)
        super().__init__(
            Traced(*dense(features, widths, activation)),
            Traced(*mirrored, nn.Dropout(dropout), last),
            features,
            unit=unit,
        )
