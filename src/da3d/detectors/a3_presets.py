"""The numbers of A3: those of the paper and its code for four data sets, and our default."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from torch import Tensor

from da3d.networks import Activation

__all__ = ["PRESETS", "SOURCES", "Preset", "Sampler", "Settings", "Source"]

Preset = Literal["default", "paper"]
Sampler: TypeAlias = Callable[[Tensor], Tensor]
Named = Literal["gaussian", "uniform", "near", "variational", "codes"]
Source: TypeAlias = Named | Sampler
SOURCES: tuple[str, ...] = get_args(Named)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a preset decides and that an argument of `A3` may override.

    Attributes
    ----------
    view : {"minmax", "standard"}
        Scaling of a table's columns that autoencoders see, as in `networks.Views`.
    widths : tuple of int
        Layers of a table's encoder; the last is the code.
    alarm_widths : tuple of int
        Hidden layers of the alarm.
    variational_widths : tuple of int
        Layers of the variational autoencoder's encoder; the last is the code.
    discriminator_widths : tuple of int
        Hidden layers of the adversarial autoencoder's discriminator.
    activation, dropout
        As in `networks.MLP`.
    standardised : bool
        Whether the alarm reads standardised activations.
    counterexamples : tuple
        Sources, by name or as functions.
    counterexample_weight : float or tuple of float
        Lambda of the loss, shared by all sources or one for each.
    tail_sigma, code_sigma : float
        Deviation of the codes of "variational" around their mean, and of "codes" around zero.
    known_share : float or None
        Known anomalies per normal row in a batch; None counts them as often as they are.
    l1, l2 : float
        Weights of the penalty on outputs below one.
    epochs, steps : tuple of int or None
        Budget of the target and of the alarm; one of the two is set. The anomaly network has the target's.
    batch_size : int
    target_rate, alarm_rate, prior_rate : float
        Learning rates of autoencoders, of the alarm, and of discriminator and disguise.
    anneal : bool
        Whether the learning rate falls to zero along each phase.
    """

    view: Literal["minmax", "standard"]
    widths: tuple[int, ...]
    alarm_widths: tuple[int, ...]
    variational_widths: tuple[int, ...]
    discriminator_widths: tuple[int, ...] = (40, 20, 10)
    activation: Activation = "relu"
    dropout: float = 0.1
    standardised: bool = False
    counterexamples: tuple[Source, ...]
    counterexample_weight: float | tuple[float, ...] = 1.0
    tail_sigma: float = 5.0
    code_sigma: float = 2.0
    known_share: float | None = None
    l1: float = 0.0
    l2: float = 0.0
    epochs: tuple[int, int] | None
    steps: tuple[int, int] | None = None
    batch_size: int
    target_rate: float = 1e-3
    alarm_rate: float
    prior_rate: float = 2e-4
    anneal: bool = False


def paper(features: int, image: bool) -> Settings:
    """The paper's text and Table 2, and the authors' code; a table gets the sizes of the nearest in width."""
    tables = {  # layers, batch size
        29: ((50, 25, 10, 5), 256),  # CreditCard
        80: ((150, 80, 40, 20), 2048),  # IDS; its width is not stated, this is that of its public columns
        126: ((200, 100, 50, 25), 256),  # NSL-KDD
    }
    nearest = min(tables, key=lambda width: abs(math.log(width / features)))
    widths, batch_size = tables[nearest]
    return Settings(
        view="minmax",
        widths=widths,
        alarm_widths=(1000, 500, 200, 75),
        variational_widths=(800, 400, 100, 25),
        counterexamples=("gaussian",),
        epochs=(30, 60),
        batch_size=256 if image else batch_size,
        alarm_rate=1e-5,
    )


def default(features: int, image: bool) -> Settings:
    """The same method with a budget of a minute, sized by the table's width."""
    width = min(256, max(64, 4 * features))
    code = min(32, max(2, round(features / 2)))
    return Settings(
        view="standard",
        widths=(width, width // 2, code),
        alarm_widths=(128, 128, 128),
        variational_widths=(width, width // 2, code),
        standardised=True,
        counterexamples=("uniform", "near"),
        known_share=0.25,
        epochs=None,
        steps=(400, 300),
        batch_size=192,
        target_rate=2e-3,
        alarm_rate=1e-3,
        anneal=True,
    )


PRESETS: Mapping[Preset, Callable[[int, bool], Settings]] = {"default": default, "paper": paper}
"""Settings by name, each a function of the row's width and of whether a row is an image."""
