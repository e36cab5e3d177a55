"""Hidden activations of any network, read from outside: its code need not know of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from da3d.errors import ParameterError
from da3d.networks.traced import NON_LINEARITIES

__all__ = ["Hooked"]

Heard = list[tuple[str, Any]]


class Hooked(nn.Module):
    """A trained network whose layers are listened to while it works.

    It works on a copy that stays in evaluation mode; the network that was given is never touched. Hooks are
    on the copy's layers only while rows pass.

    Parameters
    ----------
    network : Module
        Takes a batch of rows, and may return anything.
    row_shape : sequence of int
        Shape of one row as the network takes it, such as (channels, height, width).
    layers : sequence of str, optional
        Names of layers as in `network.named_modules()`. If None: all layers that are a non-linearity
        (`traced.NON_LINEARITIES`) and are used, but for one that makes the network's output.

    Attributes
    ----------
    layers : tuple of str
    activation_width : int
        Number of hidden activations per row.

    Raises
    ------
    ParameterError
        The network does not take such rows, there is no such layer, the network does not use it, its output
        is not one row of numbers per row, or no hidden layer is a non-linearity.
    """

    def __init__(
        self, network: nn.Module, row_shape: Sequence[int], layers: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        self.network = deepcopy(network).requires_grad_(False)
        self.row_shape = tuple(row_shape)
        self.eval()
        self.layers = self._non_linearities() if layers is None else tuple(layers)
        self.activation_width = self._counted()

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row activation"]:
        """Hidden activations that flattened rows cause, layer by layer in the order of their use."""
        with self._heard(self.layers, copies=True) as heard:
            self.network(x.reshape(len(x), *self.row_shape))
        return torch.cat([output.flatten(1).to(x.dtype) for _, output in heard], 1)

    def train(self, mode: bool = True) -> Hooked:
        """Stay in evaluation mode: the network is taken as it is."""
        return super().train(False)

    @contextmanager
    def _heard(self, layers: Sequence[str], *, copies: bool) -> Iterator[Heard]:
        """What the layers put out while the block runs, with their names; copies outlast in-place layers."""
        heard: Heard = []
        known = dict(self.network.named_modules())
        hooks = [known[name].register_forward_hook(partial(_keep, heard, name, copies)) for name in layers]
        try:
            yield heard
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def _dry_run(self, layers: Sequence[str], *, copies: bool) -> tuple[Heard, Any]:
        """What the layers, and the network as a whole, put out for two rows of zeros."""
        device = next((p.device for p in self.network.parameters()), torch.device("cpu"))
        try:
            with self._heard(layers, copies=copies) as heard:
                output = self.network(torch.zeros(2, *self.row_shape, device=device))
        except (RuntimeError, ValueError, TypeError, IndexError) as error:  # whatever its layers raise
            raise ParameterError(
                f"target is a {type(self.network).__name__} that does not take rows of shape "
                f"{self.row_shape}: {error}; give it rows, or images of (rows, channels, height, width), as "
                "it was trained on."
            ) from error
        return heard, output

    def _non_linearities(self) -> tuple[str, ...]:
        names = [name for name, layer in self.network.named_modules() if isinstance(layer, NON_LINEARITIES)]
        heard, output = self._dry_run(names, copies=False)
        hidden = dict.fromkeys(name for name, activation in heard if not _same_memory(activation, output))
        if not hidden:
            raise ParameterError(
                f"target is a {type(self.network).__name__} without a hidden layer that is a non-linearity "
                "of its own (functions such as torch.relu cannot be listened to); name the layers to read in "
                f"`layers`: {self._names()}."
            )
        return tuple(hidden)

    def _counted(self) -> int:
        """Number of hidden activations per row, after a look at what the layers put out."""
        if unknown := sorted(set(self.layers) - set(dict(self.network.named_modules()))):
            raise ParameterError(
                f"layers names {', '.join(map(repr, unknown))}, which the target does not have; its layers "
                f"are {self._names()}."
            )
        heard, _ = self._dry_run(self.layers, copies=True)
        if unused := sorted(set(self.layers) - {name for name, _ in heard}):
            raise ParameterError(
                f"layers names {', '.join(map(repr, unused))}, which the target does not use when it is "
                "called; leave them out."
            )
        for name, output in heard:
            if not isinstance(output, Tensor) or output.ndim < 2 or len(output) != 2:
                raise ParameterError(
                    f"layers names {name!r}, whose output is not one row of numbers for each row that goes "
                    "in; name other layers."
                )
        if not heard:
            raise ParameterError("layers is empty; name at least one layer of the target.")
        return sum(output[0].numel() for _, output in heard)

    def _names(self) -> str:
        return ", ".join(name for name, _ in self.network.named_modules() if name)


def _keep(heard: Heard, name: str, copies: bool, layer: nn.Module, given: Any, output: Any) -> None:
    """Forward hook."""
    heard.append((name, output.clone() if copies and isinstance(output, Tensor) else output))


def _same_memory(activation: Any, output: Any) -> bool:
    both = isinstance(activation, Tensor) and isinstance(output, Tensor)
    return both and activation.untyped_storage().data_ptr() == output.untyped_storage().data_ptr()
