"""Generators and discriminators: noise to rows, rows to one logit.

Images are rows of pixels outside these modules. Their convolutions have stride 2 and are padded so that an
image is halved, rounded up; where the padding is odd, the extra line is at the bottom and at the right, as in
the frameworks of the papers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import prod
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from da3d.networks.mlp import MLP

__all__ = ["Discriminator", "Image", "ImageDiscriminator", "ImageGenerator", "Norm", "Start"]

Image = tuple[int, int, int]
Norm = Literal["none", "before", "after"]
Start = Literal["glorot_uniform", "glorot_normal", "normal"]

_STRIDE = 2


class Discriminator(MLP):
    """Rows of a table to one logit each: leaky ReLUs of a chosen slope.

    Parameters
    ----------
    features : int
        Width of a row.
    widths : sequence of int
        Hidden layers.
    slope : float
        Of a leaky ReLU below zero; 0 is a plain ReLU.
    dropout : float
        As in `MLP`.
    """

    def __init__(self, features: int, widths: Sequence[int], *, slope: float, dropout: float = 0.0) -> None:
        super().__init__(features, widths, 1, dropout=dropout)
        self.activation = nn.LeakyReLU(slope)


class ImageGenerator(nn.Module):
    """Noise to rows of pixels in [-1, 1]: a small image of many channels, doubled step by step.

    Parameters
    ----------
    noise_width : int
        Width of a row of noise.
    image : tuple of three ints
        (channels, height, width) of what comes out.
    widths : sequence of int
        Dense hidden layers before the first small image.
    channels : sequence of int
        Channels of the images inside, the smallest image first. Each is followed by a transposed convolution
        that doubles it; the last of these makes the image.
    kernel : int
        Height and width of the kernels, at least 2.
    slope : float
        Of the leaky ReLUs; 0 is a plain ReLU.
    norm : {"none", "before", "after"}
        Whether every layer but the last has batch normalisation, and on which side of its non-linearity. The
        first small image is normalised by channel if before, by unit if after.
    start : {"glorot_uniform", "glorot_normal", "normal"}
        Distribution of the first weights; "normal" has the deviation 0.02.
    """

    def __init__(
        self,
        noise_width: int,
        image: Image,
        widths: Sequence[int],
        channels: Sequence[int],
        *,
        kernel: int,
        slope: float,
        norm: Norm,
        start: Start,
    ) -> None:
        super().__init__()
        sizes = _sizes(image, len(channels))[::-1]
        first = (channels[0], *sizes[0])
        dense = [noise_width, *widths]
        activation = nn.LeakyReLU(slope)
        layers: list[nn.Module] = []
        for a, b in pairwise(dense):
            layers += [nn.Linear(a, b), *_normed(activation, nn.BatchNorm1d, b, norm)]
        layers.append(nn.Linear(dense[-1], prod(first)))
        if norm == "before":
            layers += [nn.Unflatten(1, first), *_normed(activation, nn.BatchNorm2d, channels[0], norm)]
        else:
            layers += [*_normed(activation, nn.BatchNorm1d, prod(first), norm), nn.Unflatten(1, first)]
        for (a, b), size in zip(pairwise(channels), sizes[1:-1], strict=True):
            layers += [_Double(a, b, kernel, size), *_normed(activation, nn.BatchNorm2d, b, norm)]
        layers += [_Double(channels[-1], image[0], kernel, sizes[-1]), nn.Tanh(), nn.Flatten()]
        self.layers = nn.Sequential(*layers)
        _begin(self.modules(), start)

    def forward(self, noise: Float[Tensor, "row noise"]) -> Float[Tensor, "row pixel"]:
        """Rows of pixels."""
        return self.layers(noise)


class ImageDiscriminator(nn.Module):
    """Rows of pixels to one logit each: convolutions that halve the image, then dense layers.

    Parameters
    ----------
    image : tuple of three ints
        (channels, height, width) of what comes in.
    channels : sequence of int
        Channels after each convolution.
    widths : sequence of int
        Dense hidden layers after them; may be empty.
    kernel, slope, start
        As in `ImageGenerator`.
    norm : bool
        Whether every convolution but the last has batch normalisation, before its non-linearity.
    dropout : float
        Share of the convolutions' output that is dropped in training.
    """

    def __init__(
        self,
        image: Image,
        channels: Sequence[int],
        widths: Sequence[int],
        *,
        kernel: int,
        slope: float,
        norm: bool,
        dropout: float,
        start: Start,
    ) -> None:
        super().__init__()
        activation = nn.LeakyReLU(slope)
        layers: list[nn.Module] = [nn.Unflatten(1, image)]
        for place, (a, b) in enumerate(pairwise([image[0], *channels]), 1):
            side: Norm = "before" if norm and place < len(channels) else "none"
            layers += [_Halve(a, b, kernel), *_normed(activation, nn.BatchNorm2d, b, side)]
        layers += [nn.Flatten(), nn.Dropout(dropout)]
        smallest = _sizes(image, len(channels))[-1]
        dense = [channels[-1] * prod(smallest), *widths]
        for a, b in pairwise(dense):
            layers += [nn.Linear(a, b), activation]
        layers.append(nn.Linear(dense[-1], 1))
        self.layers = nn.Sequential(*layers)
        _begin(self.modules(), start)

    def forward(self, x: Float[Tensor, "row pixel"]) -> Float[Tensor, "row 1"]:
        """Logits."""
        return self.layers(x)


class _Halve(nn.Module):
    """A convolution whose output is half as large as its input, rounded up."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, _STRIDE)
        self.kernel = kernel

    def forward(
        self, x: Float[Tensor, "row channel height width"]
    ) -> Float[Tensor, "row other half_height half_width"]:
        """Pad and convolve."""
        (top, bottom), (left, right) = (_padding(size, self.kernel) for size in x.shape[2:])
        return self.convolution(F.pad(x, (left, right, top, bottom)))


class _Double(nn.Module):
    """The transposed convolution that undoes the halving of an image of the given size."""

    def __init__(self, inputs: int, outputs: int, kernel: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(inputs, outputs, kernel, _STRIDE)
        self.size = size
        self.top, self.left = (_padding(side, kernel)[0] for side in size)

    def forward(
        self, x: Float[Tensor, "row channel height width"]
    ) -> Float[Tensor, "row other twice_height twice_width"]:
        """Convolve and cut off what was padding."""
        height, width = self.size
        return self.convolution(x)[:, :, self.top : self.top + height, self.left : self.left + width]


def _padding(size: int, kernel: int) -> tuple[int, int]:
    """Lines to add before and after, so that a strided convolution halves, rounding up."""
    lines = max(0, (-(-size // _STRIDE) - 1) * _STRIDE + kernel - size)
    return lines // 2, lines - lines // 2


def _sizes(image: Image, halvings: int) -> list[tuple[int, int]]:
    """Heights and widths from the whole image down to the smallest."""
    sizes = [image[1:]]
    for _ in range(halvings):
        sizes.append((-(-sizes[-1][0] // _STRIDE), -(-sizes[-1][1] // _STRIDE)))
    return sizes


def _normed(
    activation: nn.Module, norm: type[nn.BatchNorm1d | nn.BatchNorm2d], width: int, side: Norm
) -> list[nn.Module]:
    """A non-linearity and batch normalisation, with the papers' framework's constants, in their order."""
    if side == "none":
        return [activation]
    normalise = norm(width, eps=1e-3, momentum=0.01)
    return [normalise, activation] if side == "before" else [activation, normalise]


def _begin(modules: Iterable[nn.Module], start: Start) -> None:
    """First weights; biases are zero."""
    for module in modules:
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            if start == "normal":
                nn.init.normal_(module.weight, std=0.02)
            elif start == "glorot_normal":
                nn.init.xavier_normal_(module.weight)
            else:
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
