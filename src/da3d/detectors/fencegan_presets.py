"""The numbers of Fence GAN: the authors' commands and code where they exist, the paper's table elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import Literal

from da3d.networks import Image, Norm, Start

__all__ = ["PRESETS", "Encirclement", "Preset", "Scaling", "Settings", "Turns"]

Preset = Literal["default", "2d", "mnist", "cifar10", "kdd99"]
Encirclement = Literal["log_distance", "cross_entropy"]
Turns = Literal["joint", "separate"]
Scaling = Literal["standard", "symmetric", "raw"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a preset decides and that an argument of `FenceGAN` may override.

    Attributes
    ----------
    scaling : {"standard", "symmetric", "raw"}
        What the networks see of a table: columns of zero mean and unit deviation, columns whose range is
        [-1, 1], or rows as they are. Of images, [-1, 1] in any case.
    noise_width, noise_deviation
        Width and standard deviation of the generator's input.
    generator_widths, discriminator_widths : tuple of int
        Dense hidden layers.
    generator_channels, discriminator_channels : tuple of int
        Channels inside a convolutional network, as in `networks.ImageGenerator`; none: dense networks.
    generator_slope, discriminator_slope : float
        Of leaky ReLUs below zero.
    generator_dropout, discriminator_dropout : float
        The generator's is that of dense networks only.
    generator_norm, discriminator_norm
        Batch normalisation of convolutional networks, as in `networks.ImageGenerator`.
    kernel, start
        As there; dense networks start Glorot-uniform.
    skip : bool
        Whether a dense generator's output is added to its noise, instead of standing alone.
    alpha : float
        The discriminator's output at which generated rows should lie, in (0, 1].
    beta : float
        Weight of dispersion in the generator's loss, >= 0.
    gamma : float
        Weight of generated rows in the discriminator's loss, in (0, 1].
    encirclement : {"log_distance", "cross_entropy"}
        The paper's equation or the authors' code.
    turns : {"joint", "separate"}
        Whether the discriminator takes one step on real and generated rows, after the generator's (the
        paper), or a step on each, before it (the authors' code).
    generator_rate, discriminator_rate : float
        Learning rates.
    betas : tuple of float
        Moments of Adam.
    generator_decay, discriminator_decay : float
        A learning rate is divided by 1 + decay * t after t steps.
    descent : {"adam", "sgd"}
        The discriminator's optimiser; the generator's is Adam.
    epochs, steps : tuple of int or None
        Budget of the discriminator's pre-training and of the adversarial phase; one of the two is set.
    batch_size : int
        Real rows, and generated rows, per batch.
    anneal : bool
        Whether the learning rates fall to zero along a phase.
    """

    scaling: Scaling
    noise_width: int
    noise_deviation: float = 1.0
    generator_widths: tuple[int, ...]
    generator_channels: tuple[int, ...] = ()
    generator_slope: float = 0.0
    generator_dropout: float = 0.0
    generator_norm: Norm = "none"
    discriminator_widths: tuple[int, ...]
    discriminator_channels: tuple[int, ...] = ()
    discriminator_slope: float
    discriminator_dropout: float = 0.0
    discriminator_norm: bool = False
    kernel: int = 4
    start: Start = "glorot_uniform"
    skip: bool = False
    alpha: float
    beta: float
    gamma: float
    encirclement: Encirclement = "cross_entropy"
    turns: Turns = "separate"
    generator_rate: float
    generator_decay: float = 0.0
    discriminator_rate: float
    discriminator_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    descent: Literal["adam", "sgd"] = "adam"
    epochs: tuple[int, int] | None = None
    steps: tuple[int, int] | None = None
    batch_size: int
    anneal: bool = False


def plane(features: int, image: Image | None) -> Settings:
    """The authors' code for points in the plane around (20, 20); noise is as wide as a row."""
    return Settings(
        scaling="raw",
        noise_width=features,
        noise_deviation=8.0,
        generator_widths=(10, 10),
        skip=True,
        discriminator_widths=(15, 15),
        discriminator_slope=0.0,
        alpha=0.5,
        beta=15.0,
        gamma=0.1,
        generator_rate=1e-3,
        discriminator_rate=1e-3,
        steps=(20, 30_001),
        batch_size=100,
    )


def mnist(features: int, image: Image | None) -> Settings:
    """The authors' command and code; the paper's Table II has decays of 1e-4 and other moments."""
    return Settings(
        scaling="symmetric",
        noise_width=200,
        generator_widths=(1024,),
        generator_channels=(128, 64),
        generator_norm="after",
        discriminator_channels=(64, 64),
        discriminator_widths=(1024,),
        discriminator_slope=0.1,
        kernel=4,
        start="normal",
        alpha=0.1,
        beta=30.0,
        gamma=0.1,
        generator_rate=2e-5,
        discriminator_rate=1e-5,
        betas=(0.5, 0.999),
        epochs=(15, 100),
        batch_size=200,
    )


def cifar10(features: int, image: Image | None) -> Settings:
    """The authors' command and code; the paper's Table III has a decay for the generator and weight decay."""
    return Settings(
        scaling="symmetric",
        noise_width=256,
        generator_widths=(),
        generator_channels=(256, 128, 64, 32),
        generator_slope=0.2,
        generator_norm="before",
        discriminator_channels=(32, 64, 128, 256),
        discriminator_widths=(),
        discriminator_slope=0.2,
        discriminator_dropout=0.2,
        discriminator_norm=True,
        kernel=5,
        start="glorot_normal",
        alpha=0.5,
        beta=10.0,
        gamma=0.5,
        generator_rate=1e-3,
        discriminator_rate=1e-4,
        discriminator_decay=1e-5,
        betas=(0.5, 0.999),
        epochs=(15, 150),
        batch_size=128,
    )


def kdd99(features: int, image: Image | None) -> Settings:
    """The paper's Table IV and its equations; the code of this experiment is not available."""
    return Settings(
        scaling="symmetric",  # the paper is silent
        noise_width=32,
        generator_widths=(64, 128),
        generator_dropout=0.2,
        discriminator_widths=(256, 128, 128),
        discriminator_slope=0.1,
        alpha=0.5,
        beta=30.0,
        gamma=0.5,
        encirclement="log_distance",
        turns="joint",
        generator_rate=1e-4,
        generator_decay=1e-3,
        discriminator_rate=8e-6,
        discriminator_decay=1e-3,
        descent="sgd",
        epochs=(0, 50),
        batch_size=256,
    )


def default(features: int, image: Image | None) -> Settings:
    """Sizes by the row's width, dispersion by a row's expected norm, a budget of seconds."""
    width = min(256, max(32, 4 * features))
    common = partial(
        Settings,
        discriminator_slope=0.1,
        alpha=0.5,
        beta=2.0 * sqrt(features),
        gamma=0.5,
        generator_rate=1e-3,
        discriminator_rate=1e-3,
        betas=(0.5, 0.999),
        steps=(50, 1000),
        batch_size=128,
        anneal=True,
    )
    if image is None:
        return common(
            scaling="standard",
            noise_width=features,
            noise_deviation=2.0,
            skip=True,
            generator_widths=(width, width),
            discriminator_widths=(width, width),
        )
    return common(
        scaling="symmetric",
        noise_width=64,
        generator_widths=(128,),
        generator_channels=(64, 32),
        generator_norm="before",
        discriminator_channels=(32, 64),
        discriminator_widths=(128,),
    )


PRESETS: Mapping[Preset, Callable[[int, Image | None], Settings]] = {
    "default": default,
    "2d": plane,
    "mnist": mnist,
    "cifar10": cifar10,
    "kdd99": kdd99,
}
"""Settings by name, each a function of a row's width and, for images, their shape."""
