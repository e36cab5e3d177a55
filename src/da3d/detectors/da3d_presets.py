"""The numbers of DA3D: what the paper says, what the authors' later code does, and our default."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from da3d.networks import Activation, View, Where

__all__ = ["EVIDENCE", "PRESETS", "Inner", "Preset", "Settings", "for_images"]

Preset = Literal["default", "fast", "preprint", "released"]
Inner = Literal["activation", "devnet", "deep-sad"]
EVIDENCE = {
    "alarm": "the alarm network",
    "activation": "activations unlike normal ones",
    "row": "far from every normal row",
    "straight": "far from every normal row, heavy tails straightened",
    "tails": "single columns far out",
    "residual": "badly rebuilt by the autoencoder",
    "dependence": "columns that do not go together",
    "known": "like known anomalies",
}
"""Kinds of evidence that a score adds up, and what each says of a row; the weight of each is a setting."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a preset decides and that an argument of `DA3D` may override.

    Attributes
    ----------
    views : tuple of str
        Scalings of the raw columns that the autoencoder sees, as in `networks.Views`.
    squashed : bool
        Whether views and what the alarm reads are softly limited (`networks.squash`).
    widths, alarm_widths, generator_widths, discriminator_widths : tuple of int
        Layers of the encoder (the last is the code), alarm, generator, and of discriminator and critic alike.
    noise_width : int
        Width of the generator's input.
    activation, dropout
        As in `networks.MLP`; `alarm_dropout` says whether alarm and generator have dropout as well.
    activations : {"decoder", "encoder", "all"}
        Which hidden activations the alarm reads.
    alarm : {"activation", "devnet", "deep-sad"}
        The detector inside the game.
    convolutional : bool
        Whether the autoencoder of images has the authors' convolutions instead of `widths`.
    trace : bool
        Whether the alarm reads row, code and residual beside the activations, all standardised.
    soft : bool
        Whether a counterexample's target is d / (1 + d), with d its distance to normal rows, instead of 1. It
        is then judged as the row that it stands for, even if it was born as a code.
    bounded : bool
        Whether discriminator, critic and the alarm inside the generator's objective end in a sigmoid.
    lipschitz : bool
        Whether discriminator and critic are spectrally normalised.
    clip : float or None
        Bound on the gradient norm of discriminator, disguise, generator and critic.
    sigma : float
        Standard deviation of the wide Gaussian and of simple counterexamples.
    normal_weight, trivial_weight, near_weight, simple_weight, generated_weight : float
        Weights of the alarm's terms; a term of weight 0 is not computed.
    code_share : float
        Counterexamples born as codes per normal row of a batch.
    reach : float or None
        Largest norm of a generated code, in units of the norm of normal codes, by which the wide Gaussian is
        scaled as well; None takes the prior's word for it.
    fool_weight, repulsion_weight : float
        Weights of the alarm and of mutual repulsion in the generator's loss; that of the critic is 1.
    critic_weights : tuple of float
        Weights of normal codes, generated codes and the wide Gaussian in the critic's loss.
    known_share : float
        Known anomalies per normal row in a batch, if any are known.
    memory : int
        Rows to remember for the distance evidence.
    trees : int
        Trees of the forest that predicts columns from each other; 0 for none.
    alarm_evidence, activation_evidence, row_evidence, straight_evidence, residual_evidence : float
        Weights in the score: of the alarm's logit, of the distance to remembered activations, to remembered
        rows (standardised, and with heavy tails straightened), and of the residual's size.
    tails_evidence : float
        Weight in the score of how far out in its columns a row lies, each on its own.
    dependence_evidence : float
        Weight in the score of the residuals of the forest that predicts columns.
    known_evidence : float
        Weight in the score of likeness to the anomalies that `y` marks; without any it adds nothing.
    trim : float
        Largest share of the rows that may be left out as clear outliers before anything is learned.
    epochs, steps : tuple of int or None
        Budget of the autoencoder, of the alarm's warm-up and of the adversarial phase; one of the two is set.
    batch_size : int
    learning_rate, weight_decay : float
        Of AdamW for autoencoder and alarm.
    prior_rate, game_rate, game_betas
        Learning rates for discriminator and disguise and for generator and critic, and the moments of both.
    anneal : bool
        Whether the learning rate falls to zero along each phase.
    """

    views: tuple[View, ...]
    squashed: bool = False
    widths: tuple[int, ...]
    alarm_widths: tuple[int, ...]
    generator_widths: tuple[int, ...]
    discriminator_widths: tuple[int, ...]
    noise_width: int = 8
    activation: Activation
    dropout: float
    alarm_dropout: bool = True
    activations: Where
    alarm: Inner = "activation"
    convolutional: bool = False
    trace: bool = False
    soft: bool = False
    bounded: bool = False
    lipschitz: bool = False
    clip: float | None
    sigma: float
    normal_weight: float = 1.0
    trivial_weight: float = 1.0
    near_weight: float = 0.0
    simple_weight: float = 0.0
    generated_weight: float = 1.0
    code_share: float = 1.0
    reach: float | None = None
    fool_weight: float = 1.0
    repulsion_weight: float = 0.0
    critic_weights: tuple[float, float, float]
    known_share: float = 0.05
    memory: int = 2000
    alarm_evidence: float = 1.0
    activation_evidence: float = 0.0
    row_evidence: float = 0.0
    straight_evidence: float = 0.0
    tails_evidence: float = 0.0
    residual_evidence: float = 0.0
    trees: int = 0
    dependence_evidence: float = 0.0
    known_evidence: float = 0.0
    trim: float = 0.0
    epochs: tuple[int, int, int] | None
    steps: tuple[int, int, int] | None = None
    batch_size: int
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    prior_rate: float = 1e-4
    game_rate: float = 1e-4
    game_betas: tuple[float, float] = (0.9, 0.999)
    anneal: bool = False

    @property
    def untrained(self) -> bool:
        """Whether the score has no part in which a network takes part."""
        return not (self.alarm_evidence or self.activation_evidence or self.residual_evidence)


def for_images(settings: Settings) -> Settings:
    """The same preset for rows of pixels: one scale for all of them, the authors' convolutions if faithful.

    The authors' code has the big alarm and batches of 256 for images; the default stays dense, and has no
    further views, since pixels have no shapes to straighten, no tails, since a pixel says little on its own,
    and no trees that predict one pixel from others, of which there are too many.
    """
    if settings.views == ("minmax",):
        return replace(settings, convolutional=True, alarm_widths=_BIG, batch_size=256)
    return replace(
        settings,
        views=("standard",),
        widths=(256, 128, 32),
        straight_evidence=0.0,
        tails_evidence=0.0,
        trees=0,
        dependence_evidence=0.0,
    )


_Sizes = TypeVar("_Sizes")
_SMALL, _BIG = (100, 50, 25, 10), (1000, 500, 200, 75)


def preprint(features: int) -> Settings:
    """The paper's text and its Table 3, whose sizes are those of the data set nearest in width."""
    widths, alarm_widths, generator_widths, batch_size = _nearest(
        features,
        {  # autoencoder, alarm, generator; the batch size is not in the paper
            6: ((12, 10, 8, 6, 3, 2), _SMALL, (15, 10, 5), 128),
            27: ((50, 40, 30, 20, 10, 5), _SMALL, (20, 15, 10), 128),
            69: ((100, 80, 60, 40, 20, 10), _SMALL, (25, 20, 15), 64),
            126: ((200, 150, 100, 75, 50, 25), _BIG, (40, 35, 30), 512),
            510: ((750, 500, 300, 200, 100, 50), _BIG, (80, 70, 60), 512),
        },
    )
    return Settings(
        views=("minmax",),
        widths=widths,
        alarm_widths=alarm_widths,
        generator_widths=generator_widths,
        discriminator_widths=(50, 40, 30, 20, 10),
        activation="selu",
        dropout=0.2,
        activations="all",
        clip=0.01,  # the authors' only Lipschitz-like device; the text names none
        sigma=1.5,
        critic_weights=(1.0, 1.0, 2.0),
        epochs=(500, 50, 500),
        batch_size=batch_size,
    )


def released(features: int) -> Settings:
    """The authors' later code, with the sizes of the data set nearest in width."""
    widths, alarm_widths, batch_size = _nearest(
        features,
        {
            6: ((12, 10, 8, 6, 3, 2), _SMALL, 128),
            30: ((50, 40, 30, 20, 10, 2), _BIG, 128),
            54: ((90, 75, 60, 45, 25, 15), _BIG, 4096),
            69: ((100, 80, 60, 40, 20, 10), _BIG, 64),
            126: ((150, 100, 70, 40, 25, 10), _BIG, 512),
            510: ((600, 300, 150, 75, 30, 15), _BIG, 512),
        },
    )
    return replace(
        preprint(features),
        widths=widths,
        alarm_widths=alarm_widths,
        generator_widths=(50, 40, 30, 20),
        discriminator_widths=(40, 20, 10, 5),
        activation="leaky_relu",
        dropout=0.1,
        activations="decoder",
        bounded=True,
        sigma=2.0,
        critic_weights=(2.0, 2.0, 1.0),
        epochs=(500, 0, 500),
        batch_size=batch_size,
    )


def default(features: int) -> Settings:
    """The same game with its known faults repaired, sized by the table's width."""
    views: tuple[View, ...] = ("standard", "robust", "quantile")
    width = min(256, max(64, 4 * features * len(views)))
    return Settings(
        views=views,
        squashed=True,
        widths=(width, width // 2, min(32, max(2, round(features / 2)))),
        alarm_widths=(128, 128, 128),
        generator_widths=(64, 64),
        discriminator_widths=(40, 20, 10),
        noise_width=16,
        activation="leaky_relu",
        dropout=0.1,
        alarm_dropout=False,
        activations="all",
        trace=True,
        soft=True,
        lipschitz=True,
        clip=None,
        sigma=2.0,
        trivial_weight=0.0,
        near_weight=0.7,
        simple_weight=0.05,
        generated_weight=0.25,
        code_share=1 / 3,
        reach=1.2,
        fool_weight=0.3,
        repulsion_weight=0.3,
        critic_weights=(0.5, 0.5, 1.0),
        known_share=0.25,
        alarm_evidence=0.25,
        activation_evidence=1.0,
        row_evidence=1.0,
        straight_evidence=1.0,
        tails_evidence=0.5,
        residual_evidence=0.5,
        trees=200,
        dependence_evidence=2.0,
        known_evidence=15.0,
        trim=0.03,
        epochs=None,
        steps=(200, 30, 120),
        batch_size=192,
        learning_rate=2e-3,
        weight_decay=1e-2,
        prior_rate=2e-4,
        game_rate=1e-3,
        game_betas=(0.5, 0.99),
        anneal=True,
    )


def fast(features: int) -> Settings:
    """What of the default's score needs no network: distances to rows, tails of columns and the forests."""
    return replace(
        default(features),
        alarm_evidence=0.0,
        activation_evidence=0.0,
        residual_evidence=0.0,
        steps=(0, 0, 0),
    )


PRESETS: Mapping[Preset, Callable[[int], Settings]] = {
    "default": default,
    "fast": fast,
    "preprint": preprint,
    "released": released,
}
"""Settings by name, each a function of the row's width."""


def _nearest(features: int, tables: Mapping[int, _Sizes]) -> _Sizes:
    return tables[min(tables, key=lambda width: abs(math.log(width / features)))]
