"""Convolutional autoencoders for images that arrive as rows of pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeVar

from torch import nn

from da3d.networks.autoencoder import AnyAutoencoder
from da3d.networks.traced import Traced

__all__ = ["ConvolutionalAutoencoder", "PooledAutoencoder"]

Shape = tuple[int, int, int]
Sides = tuple[int, int]

_Convolution = TypeVar("_Convolution", nn.Conv2d, nn.ConvTranspose2d)


class ConvolutionalAutoencoder(AnyAutoencoder):
    """The image autoencoder of DA3D (authors' code), for images of any size.

    Strided convolutions down to a linear code, transposed ones back, batch normalisation and LeakyReLU
    between them. For 28 x 28 pixels the maps have 14, 7, 4 and 1 pixels a side and then 2, 6, 14 and 28, as
    in the authors' code. For other sizes each stage halves the sides that have more than three pixels, and
    the decoder's kernels are 3, 4 or as large as is needed to end at the image's size.

    Parameters
    ----------
    shape : tuple of three ints
        Channels, height and width of an image. A row holds its pixels in this order.
    filters : tuple of three ints
        Channels of the encoder's hidden maps; those of the decoder are the reverse.
    code_channels : int
        Channels of the code: its width as long as no side has more than 32 pixels.
    unit : bool
        As in `AnyAutoencoder`.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        filters: tuple[int, int, int] = (32, 16, 8),
        code_channels: int = 16,
        unit: bool,
    ) -> None:
        maps = [_halved(side, len(filters)) for side in shape[1:]]
        kernels = [min(3, sizes[-1]) for sizes in maps]
        code = tuple((sizes[-1] - k) // 2 + 1 for sizes, k in zip(maps, kernels, strict=True))
        super().__init__(
            self._encoder(shape, maps, filters, nn.Conv2d(filters[-1], code_channels, _sides(kernels), 2)),
            self._decoder(shape, (code_channels, *code), filters[::-1]),
            math.prod(shape),
            unit=unit,
        )

    @staticmethod
    def _encoder(shape: Shape, maps: list[list[int]], filters: tuple[int, ...], last: nn.Conv2d) -> Traced:
        layers: list[nn.Module] = [nn.Unflatten(1, shape)]
        channels = shape[0]
        for stage, more in enumerate(filters):
            stride = _sides(2 if sizes[stage + 1] < sizes[stage] else 1 for sizes in maps)
            layers += [_glorot(nn.Conv2d(channels, more, 3, stride, padding=1)), *_normalised(more)]
            channels = more
        return Traced(*layers, _glorot(last), nn.Flatten())

    @staticmethod
    def _decoder(shape: Shape, code: tuple[int, ...], filters: tuple[int, ...]) -> Traced:
        layers: list[nn.Module] = [nn.Unflatten(1, code)]
        channels = code[0]
        maps = [_grown(side, least) for side, least in zip(shape[1:], code[1:], strict=True)]
        for stage, more in enumerate([*filters, shape[0]]):
            plan = [_enlarging(sizes[stage], sizes[stage + 1]) for sizes in maps]
            kernel, stride, padding = (_sides(numbers) for numbers in zip(*plan, strict=True))
            layers += [_glorot(nn.ConvTranspose2d(channels, more, kernel, stride, padding))]
            layers += _normalised(more) if stage < len(filters) else [nn.Flatten()]
            channels = more
        return Traced(*layers)


class PooledAutoencoder(AnyAutoencoder):
    """The image autoencoder of A3 (authors' code), for images of any size.

    Convolutions and max-pooling down to a code that is a hidden activation as well, convolutions and
    upsampling back. For 28 x 28 pixels the maps have 14, 7 and 4 pixels a side and then 8, 16, 14 and 28, as
    in the authors' code. For other sizes each stage halves the sides that have more than three pixels.

    Parameters
    ----------
    shape : tuple of three ints
        Channels, height and width of an image. A row holds its pixels in this order.
    filters : tuple of three ints
        Channels of the encoder's maps, the last are those of the code; the decoder's are the reverse.
    dropout : float
        Share of whole maps dropped in training, in front of the last hidden non-linearity.
    unit : bool
        As in `AnyAutoencoder`.
    """

    def __init__(
        self, shape: Shape, *, filters: tuple[int, int, int] = (16, 8, 8), dropout: float = 0.1, unit: bool
    ) -> None:
        maps = [_halved(side, len(filters)) for side in shape[1:]]
        factors = [
            _sides(2 if sizes[stage + 1] < sizes[stage] else 1 for sizes in maps)
            for stage in range(len(filters))
        ]
        super().__init__(
            self._encoder(shape, factors, filters),
            self._decoder(shape, maps, factors, filters, dropout),
            math.prod(shape),
            unit=unit,
        )

    @staticmethod
    def _encoder(shape: Shape, factors: list[Sides], filters: tuple[int, ...]) -> Traced:
        layers: list[nn.Module] = [nn.Unflatten(1, shape)]
        channels = shape[0]
        for factor, more in zip(factors, filters, strict=True):
            layers += [_glorot(nn.Conv2d(channels, more, 3, padding=1))]
            layers += [nn.MaxPool2d(factor, ceil_mode=True), nn.ReLU()]
            channels = more
        return Traced(*layers, nn.Flatten())

    @staticmethod
    def _decoder(
        shape: Shape,
        maps: list[list[int]],
        factors: list[Sides],
        filters: tuple[int, int, int],
        dropout: float,
    ) -> Traced:
        wide, middle, code = filters
        first, second, third = factors
        grown = _sides(
            sizes[3] * a * b for sizes, a, b in zip(maps, second, third, strict=True)
        )  # at least the map after the encoder's first stage
        half = _sides(sizes[1] for sizes in maps)
        full = _sides(size * factor for size, factor in zip(half, first, strict=True))
        return Traced(
            nn.Unflatten(1, (code, *_sides(sizes[3] for sizes in maps))),
            _glorot(nn.Conv2d(code, code, 3, padding=1)),
            nn.ReLU(),
            nn.Upsample(scale_factor=third),
            _glorot(nn.Conv2d(code, middle, 3, padding=1)),
            nn.ReLU(),
            nn.Upsample(scale_factor=second),
            _cropping(middle, wide, grown, half),
            nn.Dropout2d(dropout),
            nn.ReLU(),
            nn.Upsample(scale_factor=first),
            _cropping(wide, shape[0], full, _sides(shape[1:])),
            nn.Flatten(),
        )


def _sides(numbers: Iterable[int]) -> Sides:
    height, width = numbers
    return height, width


def _glorot(layer: _Convolution) -> _Convolution:
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _normalised(channels: int) -> list[nn.Module]:
    """Batch normalisation with the constants of the authors' framework, and the non-linearity."""
    return [nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01), nn.LeakyReLU()]


def _halved(side: int, stages: int) -> list[int]:
    """The side and what is left of it after each stage; three pixels or less stay as they are."""
    sizes = [side]
    for _ in range(stages):
        sizes.append(math.ceil(sizes[-1] / 2) if sizes[-1] > 3 else sizes[-1])
    return sizes


def _grown(side: int, code: int) -> list[int]:
    """The code's side and that after each of four transposed convolutions; the last is `side`.

    Backwards from the image: one that doubles, two that double and add two, and a first one that does what is
    left to do.
    """
    third = math.ceil(side / 2)
    least = max(code, min(2, third))
    second = max(math.ceil((third - 2) / 2), least)
    first = max(math.ceil((second - 2) / 2), least)
    return [code, first, second, third, side]


def _enlarging(before: int, after: int) -> tuple[int, int, int]:
    """Kernel, stride and padding of a transposed convolution between sides; a kernel of 4 if possible."""
    stride = 2 if after > before else 1
    excess = after - stride * (before - 1)
    kernel = max(excess, 3 if excess % 2 else 4)
    return kernel, stride, (kernel - excess) // 2


def _cropping(inputs: int, outputs: int, before: Sides, after: Sides) -> nn.Conv2d:
    """A convolution with kernels of 3 (4 for an odd difference) whose borders take maps to a smaller size."""
    excess = [a - b for a, b in zip(before, after, strict=True)]
    kernel = _sides(4 if e % 2 else 3 for e in excess)
    padding = _sides((k - 1 - e) // 2 for k, e in zip(kernel, excess, strict=True))
    return _glorot(nn.Conv2d(inputs, outputs, kernel, padding=padding))
