"""The small convolutional network of Deep SVDD, for images that arrive as rows of pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from da3d.networks.mlp import SteadyLinear

__all__ = ["lenet", "mirrored_lenet"]

Shape = tuple[int, int, int]


def lenet(shape: Shape, filters: Sequence[int], outputs: int) -> nn.Sequential:
    """Rows of pixels to rows of numbers.

    Per stage a convolution 5 x 5, batch normalisation without parameters of its own, LeakyReLU and maximum
    over 2 x 2; then a linear layer. There are no biases.

    Parameters
    ----------
    shape : tuple of three ints
        Channels, height and width; the sides have at least 2 pixels per stage, multiplied.
    filters : sequence of int
        Channels after each stage.
    outputs : int
        Width of what comes out.
    """
    sides = _sides(shape, filters)
    layers: list[nn.Module] = [nn.Unflatten(1, shape)]
    for before, after in pairwise([shape[0], *filters]):
        layers += [*_convolution(before, after), nn.LeakyReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), _linear(filters[-1] * math.prod(sides[-1]), outputs))


def mirrored_lenet(shape: Shape, filters: Sequence[int], inputs: int) -> nn.Sequential:
    """Rows of numbers to logits of pixels: `lenet` backwards, with pixels doubled in place of the maximum."""
    sides = _sides(shape, filters)
    first = (filters[-1], *sides[-1])
    layers: list[nn.Module] = [_linear(inputs, math.prod(first)), nn.Unflatten(1, first), nn.LeakyReLU()]
    stages = pairwise([*reversed(filters), shape[0]])
    for (before, after), side in zip(stages, sides[-2::-1], strict=True):
        layers += [nn.Upsample(side), *_convolution(before, after), nn.LeakyReLU()]
    return nn.Sequential(*layers[:-2], nn.Flatten())  # the last convolution makes logits


def _sides(shape: Shape, filters: Sequence[int]) -> list[tuple[int, int]]:
    """Height and width of the image and after each stage."""
    return [(shape[1] >> stage, shape[2] >> stage) for stage in range(len(filters) + 1)]


def _convolution(before: int, after: int) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, 5, padding=2, bias=False)
    nn.init.xavier_uniform_(convolution.weight)
    return [convolution, nn.BatchNorm2d(after, eps=1e-4, affine=False)]


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = SteadyLinear(inputs, outputs, bias=False)
    nn.init.xavier_uniform_(layer.weight)
    return layer
