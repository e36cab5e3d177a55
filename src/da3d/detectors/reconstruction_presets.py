"""The numbers of the reconstruction detectors: as in the papers that use such networks, and our default."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from da3d.detectors.da3d_presets import released
from da3d.networks import Activation

__all__ = ["PRESETS", "Kind", "Preset", "Settings"]

Kind = Literal["AE", "AAE", "VAE"]
Preset = Literal["default", "paper"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a preset decides and that an argument of a reconstruction detector may override.

    Attributes
    ----------
    widths : tuple of int
        Layers of the encoder of a table's rows; the last is the code.
    activation, dropout
        As in `networks.MLP`.
    minmax : bool
        Whether a table's columns are scaled to [0, 1] and copied by cross-entropy; otherwise they are
        standardised, softly limited (`networks.squash`) and copied by squared error.
    as_in_a3 : bool
        Whether the autoencoder is that of A3: a code that is an activation, dropout in front of the output
        only; otherwise that of DA3D.
    discriminator_widths : tuple of int
        Hidden layers of the adversarial autoencoder's discriminator.
    bounded, lipschitz : bool
        Whether the discriminator ends in a sigmoid; whether it is spectrally normalised.
    prior_rate, prior_betas, clip
        Learning rate and moments for prior and disguise, and the bound on their gradient norms.
    kl_weight : float
        Of the variational autoencoder's divergence.
    epochs, steps : int or None
        Budget in passes over the rows or in batches; one of the two is set.
    batch_size : int
    learning_rate, weight_decay : float
        Of AdamW.
    anneal : bool
        Whether the learning rates fall to zero.
    """

    widths: tuple[int, ...]
    activation: Activation = "leaky_relu"
    dropout: float = 0.0
    minmax: bool = False
    as_in_a3: bool = False
    discriminator_widths: tuple[int, ...] = ()
    bounded: bool = False
    lipschitz: bool = False
    prior_rate: float = 1e-4
    prior_betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = None
    kl_weight: float = 1.0
    epochs: int | None = None
    steps: int | None = None
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    anneal: bool = False


def _default(features: int) -> Settings:
    width = min(256, max(64, 4 * features))
    return Settings(
        widths=(width, width // 2, min(32, max(2, round(features / 2)))),
        discriminator_widths=(40, 20, 10),
        lipschitz=True,
        prior_rate=2e-4,
        prior_betas=(0.5, 0.99),
        kl_weight=0.1,
        steps=1000,
        batch_size=192,
        learning_rate=2e-3,
        weight_decay=1e-2,
        anneal=True,
    )


def _autoencoder(features: int) -> Settings:
    """The target of A3, whose reconstruction error is a baseline there."""
    widths = {30: (50, 25, 10, 5), 78: (150, 80, 40, 20), 121: (200, 100, 50, 25)}
    return Settings(
        widths=widths[min(widths, key=lambda width: abs(math.log(width / features)))],
        activation="relu",
        dropout=0.1,
        minmax=True,
        as_in_a3=True,
        epochs=30,
        batch_size=256,
        learning_rate=1e-3,
    )


def _adversarial(features: int) -> Settings:
    """The target of DA3D, in the authors' later code."""
    s = released(features)
    return Settings(
        widths=s.widths,
        activation=s.activation,
        dropout=s.dropout,
        minmax=True,
        discriminator_widths=s.discriminator_widths,
        bounded=s.bounded,
        prior_rate=s.prior_rate,
        clip=s.clip,
        epochs=s.epochs[0] if s.epochs else None,
        batch_size=s.batch_size,
        learning_rate=s.learning_rate,
    )


def _variational(features: int) -> Settings:
    """The source of counterexamples in A3, made for images of 784 pixels."""
    return Settings(
        widths=(800, 400, 100, 25),
        activation="relu",
        dropout=0.1,
        minmax=True,
        epochs=30,
        batch_size=256,
        learning_rate=1e-3,
    )


PRESETS: Mapping[Kind, Mapping[Preset, Callable[[int], Settings]]] = {
    "AE": {"default": _default, "paper": _autoencoder},
    "AAE": {"default": _default, "paper": _adversarial},
    "VAE": {"default": _default, "paper": _variational},
}
"""Settings by the kind of network and by name, each a function of the row's width."""
