r"""Fence GAN: a generator that encircles the data (Ngo et al., 2019).

A discriminator D learns to tell real rows x from generated rows G(z). The generator is not asked to
imitate the real rows but to stand where D says alpha, and to spread; so its rows become a fence around the
data, and D learns a boundary that lies tightly around them. With N rows per batch and mu the mean of a
generated batch:

.. math::
    L_{generator}     &= \frac1N \sum_i \log |\alpha - D(G(z_i))|
                         + \beta \Big/ \frac1N \sum_i \|G(z_i) - \mu\|_2 \\
    L_{discriminator} &= \frac1N \sum_i \big[-\log D(x_i) - \gamma \log(1 - D(G(z_i)))\big]

A row's score is the logit of 1 - D. Before the game, D may be trained alone against the untrained generator.
The authors' code has the cross-entropy with target alpha in place of the logarithm, and two steps of one
optimiser in place of the discriminator's sum; `encirclement` and `turns` choose.

References
----------
P. C. Ngo, A. A. Winarto, C. K. L. Kou, S. Park, F. Akram, H. K. Lee: Fence GAN: Towards Better Anomaly
Detection. Preprint arXiv:1904.01209, 2019. The differences between the paper, the authors' code and this
file are listed in docs/methods/fencegan.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from da3d.detectors.fencegan_presets import PRESETS, Encirclement, Preset, Scaling, Settings, Turns
from da3d.detectors.network import NetworkDetector
from da3d.errors import ParameterError
from da3d.losses import fence
from da3d.networks import MLP, Discriminator, Image, ImageDiscriminator, ImageGenerator
from da3d.seeding import seeded
from da3d.training import Adam, Batch, Callback, Phase, Update

__all__ = ["Fence", "FenceGAN"]

Rows = Float[Tensor, "row feature"]
Scores = Float[Tensor, "row"]
Loss = Float[Tensor, ""]


class Fence(nn.Module):
    """Generator, discriminator and the losses of their updates.

    Parameters
    ----------
    features : int
        Width of a row.
    image : tuple of three ints or None
        (channels, height, width) if rows are images.
    settings : Settings
    """

    def __init__(self, features: int, image: Image | None, settings: Settings) -> None:
        super().__init__()
        s = self.settings = settings
        self.generator: nn.Module
        self.discriminator: nn.Module
        if image is not None and s.generator_channels:
            self.generator = ImageGenerator(
                s.noise_width,
                image,
                s.generator_widths,
                s.generator_channels,
                kernel=s.kernel,
                slope=s.generator_slope,
                norm=s.generator_norm,
                start=s.start,
            )
            self.discriminator = ImageDiscriminator(
                image,
                s.discriminator_channels,
                s.discriminator_widths,
                kernel=s.kernel,
                slope=s.discriminator_slope,
                norm=s.discriminator_norm,
                dropout=s.discriminator_dropout,
                start=s.start,
            )
        else:
            self.generator = MLP(
                s.noise_width,
                s.generator_widths,
                features,
                activation="relu",
                dropout=s.generator_dropout,
            )
            self.discriminator = Discriminator(
                features, s.discriminator_widths, slope=s.discriminator_slope, dropout=s.discriminator_dropout
            )

    # ---- scoring

    def forward(self, x: Rows) -> Scores:
        """Strangeness of rows: the logit of 1 - D."""
        return -self.logit(x)

    def logit(self, x: Rows) -> Scores:
        """The logit of D, high on real rows."""
        return self.discriminator(x).squeeze(1)

    def generate(self, rows: int, device: torch.device) -> Rows:
        """Generated rows from fresh noise."""
        s = self.settings
        noise = s.noise_deviation * torch.randn(rows, s.noise_width, device=device)
        return self.generator(noise) + noise if s.skip else self.generator(noise)

    # ---- the discriminator

    def real(self, batch: Batch) -> Loss:
        """Discriminator: accept real rows."""
        return fence.real(self.logit(batch.normal))

    def fake(self, batch: Batch) -> Loss:
        """Discriminator: reject generated rows, with weight gamma."""
        return self.settings.gamma * fence.generated(self.logit(self._generated(batch)))

    def discriminate(self, batch: Batch) -> Loss:
        """Discriminator: both at once."""
        return self.real(batch) + self.fake(batch)

    # ---- the generator

    def enclose(self, batch: Batch) -> Loss:
        """Generator: stand where D says alpha, and apart from each other."""
        s, points = self.settings, self._generated(batch)
        encirclement = fence.log_distance if s.encirclement == "log_distance" else fence.cross_entropy
        loss = encirclement(self.logit(points), s.alpha)
        return loss + s.beta * fence.dispersion(points) if s.beta else loss

    def watch(self, batch: Batch) -> dict[str, Tensor]:
        """What the losses hide: D on both kinds of rows, and how far generated rows spread."""
        points = self._generated(batch)
        return {
            "D on real": self.logit(batch.normal).sigmoid().mean(),
            "D on generated": self.logit(points).sigmoid().mean(),
            "spread of generated": 1.0 / fence.dispersion(points),
        }

    def _generated(self, batch: Batch) -> Rows:
        # Always a full batch: an epoch's last batch may hold one real row, too few for batch statistics.
        return self.generate(self.settings.batch_size, batch.normal.device)


class FenceGAN(NetworkDetector):
    """Fence GAN: the discriminator of a generator that stands around the data.

    Images get convolutional networks under the presets ``"default"``, ``"mnist"`` and ``"cifar10"``; tables,
    and images under the other presets, get dense ones. Every argument below `preset` that is left at None
    takes its value from the preset.

    Parameters
    ----------
    preset : {"default", "2d", "mnist", "cifar10", "kdd99"}
        The paper's four experiments with their full budgets, and ``"default"`` with a small one that is meant
        for any table. ``"mnist"`` and ``"cifar10"`` need images.
    encirclement : {"log_distance", "cross_entropy"}, optional
        How the generator is drawn to where D = alpha: by the paper's equation 3 or as in the authors' code.
    turns : {"joint", "separate"}, optional
        The updates of a batch: generator, then the discriminator once on its weighted loss (the paper's
        Algorithm 1), or the discriminator on real rows, then on generated rows, then the generator (the
        authors' code).
    alpha : float, optional
        What D should say of generated rows, in (0, 1]. With alpha 1, beta 0, gamma 1 and log distance it is
        the original GAN.
    beta : float, optional
        Weight of dispersion, >= 0; in units of the rows that the networks see.
    gamma : float, optional
        Weight of generated rows in the discriminator's loss, in (0, 1].
    scaling : {"standard", "symmetric", "raw"}, optional
        What the networks see of a table: columns of zero mean and unit deviation, columns whose range is
        [-1, 1], or the rows as they are. Pixels always come to lie in [-1, 1].
    skip : bool, optional
        Whether a dense generator moves its noise (G(z) = z + f(z), with noise as wide as a row) instead of
        replacing it.
    noise_width : int, optional
        Width of the generator's input.
    noise_deviation : float, optional
        Its standard deviation, in units of the rows that the networks see if `skip`.
    generator_widths, discriminator_widths : sequence of int, optional
        Dense hidden layers.
    generator_rate, discriminator_rate : float, optional
        Learning rates.
    epochs, steps : sequence of two ints, optional
        Budget of the discriminator's pre-training and of the adversarial phase, in passes over the rows or in
        batches. Give one of the two.
    batch_size : int, optional
        Real rows, and generated rows, per batch; at least 2.
    contamination : float
        Share of the training rows that lie below `offset_`, in (0, 0.5].
    random_state : int, RandomState or None
        One integer decides everything; None draws fresh entropy.
    device : str
        "auto", "cpu", "cuda" or "mps".
    threads : int
        CPU threads while fitting. Dense networks are so small that a second thread costs more than it gives
        unless the cores are idle.
    callbacks : sequence of Callback
        Watch the training, such as `training.ProgressBar`.
    checkpoint : path, optional
        File from which a killed fit continues; deleted when the fit has ended.

    Attributes
    ----------
    settings_ : Settings
        The preset with the overrides.
    network_ : Fence
    history_ : History

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(300, 4))
    >>> detector = FenceGAN(steps=(20, 300), random_state=0).fit(rows)
    >>> bool(detector.anomaly_score([[9.0, 9, 9, 9]])[0] > detector.anomaly_score(rows).max())
    True
    >>> detector.generate(5, seed=1).shape
    (5, 4)
    """

    network_: Fence

    def __init__(
        self,
        preset: Preset = "default",
        *,
        encirclement: Encirclement | None = None,
        turns: Turns | None = None,
        alpha: float | None = None,
        beta: float | None = None,
        gamma: float | None = None,
        scaling: Scaling | None = None,
        skip: bool | None = None,
        noise_width: int | None = None,
        noise_deviation: float | None = None,
        generator_widths: Sequence[int] | None = None,
        discriminator_widths: Sequence[int] | None = None,
        generator_rate: float | None = None,
        discriminator_rate: float | None = None,
        epochs: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        batch_size: int | None = None,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        threads: int = 1,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | Path | None = None,
    ) -> None:
        self.preset = preset
        self.encirclement = encirclement
        self.turns = turns
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.scaling = scaling
        self.skip = skip
        self.noise_width = noise_width
        self.noise_deviation = noise_deviation
        self.generator_widths = generator_widths
        self.discriminator_widths = discriminator_widths
        self.generator_rate = generator_rate
        self.discriminator_rate = discriminator_rate
        self.epochs = epochs
        self.steps = steps
        self.batch_size = batch_size
        self.contamination = contamination
        self.random_state = random_state
        self.device = device
        self.threads = threads
        self.callbacks = callbacks
        self.checkpoint = checkpoint

    def generate(self, rows: int, seed: int = 0) -> NDArray[np.float64]:
        """Generated rows in the units of the rows that it learned from, shape (rows, features)."""
        check_is_fitted(self)
        device = next(self.network_.parameters()).device
        with seeded(seed, device), torch.inference_mode():
            points = self.network_.generate(rows, device).cpu().numpy()
        return points * self.unit_ + self.center_

    def _build(self, features: int) -> Fence:
        self.settings_ = self._resolve(features)
        return Fence(features, self.image_shape_, self.settings_)

    def _scales(self, normal: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self.image_shape_ is not None:
            low, span = super()._scales(normal)
            return low + span / 2, span / 2
        if self.settings_.scaling == "raw":
            return np.zeros(normal.shape[1]), np.ones(normal.shape[1])
        if self.settings_.scaling == "symmetric":
            low, high = normal.min(0), normal.max(0)
            half = high / 2 - low / 2  # the difference itself might overflow
            half[half == 0] = 1.0
            return low / 2 + high / 2, half
        return super()._scales(normal)

    def _resolve(self, features: int) -> Settings:
        if self.preset not in PRESETS:
            raise ParameterError(f"preset is {self.preset!r} but must be one of {', '.join(PRESETS)}.")
        if self.epochs is not None and self.steps is not None:
            raise ParameterError("epochs and steps are both given; give the budget in one of the two.")
        settings = PRESETS[self.preset](features, self.image_shape_)
        given = {
            field.name: tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
            for field in fields(Settings)
            if (value := getattr(self, field.name, None)) is not None
        }
        if "epochs" in given:
            given["steps"] = None
        elif "steps" in given:
            given["epochs"] = None
        settings = replace(settings, **given)  # type: ignore[arg-type]  # checked field by field below
        _check_choices(settings)
        _check_sizes(settings)
        if settings.generator_channels and self.image_shape_ is None:
            raise ParameterError(
                f"preset is {self.preset!r}, whose networks are convolutional, but X is a table; give images "
                "of shape (rows, channels, height, width) or use another preset."
            )
        if settings.skip and (settings.generator_channels or settings.noise_width != features):
            raise ParameterError(
                f"skip adds the noise of a dense generator to rows of {features} features, but noise_width "
                f"is {settings.noise_width}; make them equal, or set skip to False."
            )
        return settings

    def _schedule(self, network: Fence, rows: int, known: int) -> list[Phase]:
        s, model = network.settings, network
        adam = partial(Adam, betas=s.betas, eps=1e-7)
        descent = adam if s.descent == "adam" else torch.optim.SGD
        judge = partial(
            Update,
            trains=[model.discriminator],
            optimizer=partial(descent, lr=s.discriminator_rate),
            decay=s.discriminator_decay,
        )
        enclose = Update(
            name="generator",
            trains=[model.generator],
            loss=model.enclose,
            optimizer=partial(adam, lr=s.generator_rate),
            decay=s.generator_decay,
        )
        if s.turns == "joint":
            judging = [judge(name="discriminator", loss=model.discriminate)]
            game = [enclose, *judging]
        else:
            # One optimiser for both steps: with Adam, gamma acts through the moments that they share.
            judging = [
                judge(name="real", loss=model.real),
                judge(name="fake", loss=model.fake, optimizer="real"),
            ]
            game = [*judging, enclose]
        phase = partial(Phase, batch_size=s.batch_size, monitor=model.watch)
        return [
            phase(name="pretrain", updates=judging, **_budget(s, 0)),
            phase(name="adversarial", updates=game, anneal=s.anneal, **_budget(s, 1)),
        ]


def _budget(settings: Settings, phase: int) -> dict[str, Any]:
    if settings.epochs is not None:
        return {"epochs": settings.epochs[phase]}
    return {"steps": (settings.steps or (0, 0))[phase]}


def _check_choices(s: Settings) -> None:
    for name, allowed in (("encirclement", Encirclement), ("turns", Turns), ("scaling", Scaling)):
        if getattr(s, name) not in get_args(allowed):
            raise ParameterError(
                f"{name} is {getattr(s, name)!r} but must be one of {', '.join(get_args(allowed))}."
            )
    for name in ("alpha", "gamma"):
        if not 0 < getattr(s, name) <= 1:
            raise ParameterError(f"{name} is {getattr(s, name)} but must lie in (0, 1].")
    if not s.beta >= 0:
        raise ParameterError(f"beta is {s.beta} but must be at least 0; 0 leaves dispersion out.")


def _check_sizes(s: Settings) -> None:
    for name in ("noise_width", "noise_deviation", "generator_rate", "discriminator_rate"):
        if not getattr(s, name) > 0:
            raise ParameterError(f"{name} is {getattr(s, name)} but must be positive.")
    if s.batch_size < 2:
        raise ParameterError(
            f"batch_size is {s.batch_size} but must be at least 2: one row has no dispersion."
        )
    for name in ("generator_widths", "discriminator_widths"):
        if min(getattr(s, name), default=1) < 1:
            raise ParameterError(f"{name} is {getattr(s, name)} but must hold positive layer widths.")
    for name in ("epochs", "steps"):
        budget = getattr(s, name)
        if budget is not None and (len(budget) != 2 or min(budget) < 0):
            raise ParameterError(
                f"{name} is {budget} but must be two numbers >= 0: pre-training and adversarial phase."
            )
