r"""A3: activation anomaly analysis (Sperl, Schulze and Böttinger, 2020).

A target network learns the normal rows x, or is given. An alarm reads the hidden activations that a row
causes in it and tells normal rows from known anomalies (labels y) and from counterexamples that an anomaly
network makes of normal rows. With ``a`` the alarm's logit, H the binary cross-entropy and noise n:

.. math::
    L_{target} &= E[d(x, dec(enc(x)))] \\
    L_{alarm}  &= E[H(a(x), y)] + \lambda\, E[H(a(\bar x), 1)]

The counterexamples are

.. math::
    \bar x &\sim N(1/2, 1) \text{ or } U(0, 1)       &\text{noise, in the unit of normal rows} \\
    \bar x &= dec_v(\mu_v(x) + \sigma n)             &\text{tails of a variational autoencoder} \\
    \bar x &= dec(\sigma n)                          &\text{random codes of an adversarial autoencoder}

or whatever the caller's own function makes of x. The target stays as it is while the alarm learns. The score
is the alarm's logit.

References
----------
P. Sperl, J.-P. Schulze, K. Böttinger: Activation Anomaly Analysis. ECML PKDD 2020; preprint arXiv:2003.01801.
What the paper, its code and this file do differently is listed in docs/methods/a3.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from da3d.counterexamples import latent, noise
from da3d.detectors.a3_presets import PRESETS, SOURCES, Preset, Sampler, Settings, Source
from da3d.detectors.network import NetworkDetector
from da3d.errors import ParameterError
from da3d.losses import activity, adversarial, alarm, reconstruction, variational
from da3d.networks import (
    MLP,
    AnyAutoencoder,
    Autoencoder,
    ConvolutionalAutoencoder,
    HiddenCodeAutoencoder,
    Hooked,
    PooledAutoencoder,
    Standardise,
    VariationalAutoencoder,
    Views,
)
from da3d.networks.traced import dense, linear
from da3d.training import Adam, Batch, Callback, Checkpoint, Phase, Update

__all__ = ["A3", "ActivationAnalysis"]

Rows = Float[Tensor, "row feature"]
Viewed = Float[Tensor, "row viewed"]
Scores = Float[Tensor, "row"]
Loss = Float[Tensor, ""]
Shape = tuple[int, int, int]

_TARGETS = ("autoencoder", "adversarial")


class ActivationAnalysis(nn.Module):
    """Target, anomaly network and alarm, and the losses of their updates.

    Parameters
    ----------
    features : int
        Width of a row.
    image : tuple of three ints or None
        (channels, height, width) if rows are images.
    target : AnyAutoencoder or Hooked
        Whose hidden activations are read.
    settings : Settings
    """

    def __init__(
        self, features: int, image: Shape | None, target: AnyAutoencoder | Hooked, settings: Settings
    ) -> None:
        super().__init__()
        s = self.settings = settings
        self.image = image
        self.unit = image is not None or s.view == "minmax"
        self.views = Views(features, (s.view,))
        self.center: Tensor
        self.scale: Tensor
        self.register_buffer("center", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.target = target
        width = target.activation_width if isinstance(target, Hooked) else target.activation_width("all")
        self.standardise = Standardise(width) if s.standardised else nn.Identity()
        self.alarm = nn.Sequential(
            *dense(width, s.alarm_widths, s.activation), nn.Dropout(s.dropout), linear(s.alarm_widths[-1], 1)
        )
        self.known_weight = 1.0
        if isinstance(target, Autoencoder | ConvolutionalAutoencoder):
            self.discriminator = MLP(target.code_width, s.discriminator_widths, 1, lipschitz=True)
        if "variational" in s.counterexamples:
            *hidden, code = s.variational_widths
            self.anomaly_network = VariationalAutoencoder(
                features, hidden, code, unit=self.unit, activation=s.activation, dropout=s.dropout
            )

    # ---- scoring

    def forward(self, x: Rows) -> Scores:
        """Strangeness of rows: the alarm's logit."""
        return self.alarm(self.standardise(self.activations(x))).squeeze(1)

    def activations(self, x: Rows) -> Float[Tensor, "row activation"]:
        """Hidden activations that rows cause in the target; a given network gets the caller's units."""
        if isinstance(self.target, Hooked):
            return self.target(self.as_given(x))
        return self.target.activations(self.views(x), "all")

    def as_given(self, x: Rows) -> Rows:
        """Rows in the caller's units, before the detector scaled them."""
        return x * self.scale + self.center

    # ---- the target

    def reconstruction(self, batch: Batch) -> Loss:
        """Autoencoder: copy normal rows."""
        v = self.views(batch.normal)
        distance = reconstruction.bernoulli if self.unit else reconstruction.squared
        return distance(v, self._coder(v)).mean()

    def prior(self, batch: Batch) -> Loss:
        """Discriminator of an adversarial autoencoder: tell codes from the prior."""
        codes = self.encode(batch.normal)
        return adversarial.prior(
            self.discriminator(codes).squeeze(1), self.discriminator(torch.randn_like(codes)).squeeze(1)
        )

    def disguise(self, batch: Batch) -> Loss:
        """Encoder of an adversarial autoencoder: make codes look like the prior."""
        return adversarial.disguise(self.discriminator(self.encode(batch.normal)).squeeze(1))

    def encode(self, x: Rows) -> Float[Tensor, "row code"]:
        """Codes of rows."""
        return self._coder.encoder(self.views(x))

    # ---- the anomaly network

    def variation(self, batch: Batch) -> Loss:
        """Variational autoencoder: copy normal rows through codes that stay close to the prior."""
        v = self.views(batch.normal)
        mean, log_variance = self.anomaly_network.moments(v)
        copy = self.anomaly_network.decoder(self.anomaly_network.sample(mean, log_variance))
        distance = reconstruction.bernoulli if self.unit else reconstruction.squared
        return (v.shape[1] * distance(v, copy) + variational.kl(mean, log_variance)).mean()

    def counterexamples(self, source: Source, x: Rows) -> Rows:
        """As many counterexamples of a source as there are normal rows."""
        return self._sampled(source, x) if callable(source) else getattr(self, source)(x)

    def gaussian(self, x: Rows) -> Rows:
        """Noise N(1/2, 1) for rows in [0, 1]."""
        return self.views.from_minmax(noise.trivial(x))

    def uniform(self, x: Rows) -> Rows:
        """Noise between the least and the greatest value of each feature."""
        return self.views.from_minmax(noise.uniform(x))

    def near(self, x: Rows) -> Rows:
        """Rows themselves, with noise of many sizes on some of their features."""
        return noise.near(x, self.views.unit)

    def variational(self, x: Rows) -> Rows:
        """Rows decoded from the tails of the rows' own codes."""
        mean, _ = self.anomaly_network.moments(self.views(x))
        return self._row(self.anomaly_network.decode(latent.tails(mean, self.settings.tail_sigma)))

    def codes(self, x: Rows) -> Rows:
        """Rows decoded from random codes: the simple anomalies of DA3D (section 5)."""
        coder = self._coder
        return self._row(
            coder.decode(latent.simple(len(x), coder.code_width, self.settings.code_sigma, x.device))
        )

    # ---- the alarm

    def alert(self, batch: Batch) -> Loss:
        """Alarm: normal rows against known anomalies and counterexamples."""
        s = self.settings
        outputs = [self(batch.normal)]
        loss = alarm.cross_entropy(outputs[0], 0.0)
        if len(batch.known):
            outputs.append(self(batch.known))
            share = self.known_weight * len(batch.known)
            share /= len(batch.normal) + share
            loss = (1 - share) * loss + share * alarm.cross_entropy(outputs[1], 1.0)
        for source, weight in zip(s.counterexamples, _weights(s), strict=True):
            if weight:
                outputs.append(self(self.counterexamples(source, batch.normal)))
                loss = loss + weight * alarm.cross_entropy(outputs[-1], 1.0)
        if s.l1 or s.l2:
            loss = loss + activity.towards_anomaly(torch.cat(outputs), s.l1, s.l2)
        return loss

    # ---- what is fitted once, on all normal rows

    def fit_views(self, x: Rows) -> None:
        """Scaling of a table's columns; images are in [0, 1] already."""
        if self.image is None:
            self.views.fit(x)

    def fit_activations(self, x: Rows) -> None:
        """Mean and deviation of the activations."""
        if isinstance(self.standardise, Standardise):
            self.standardise.fit(self.activations(x[:: -(-len(x) // 10_000)]), floor=0.01)

    @property
    def _coder(self) -> AnyAutoencoder:
        assert isinstance(self.target, AnyAutoencoder)
        return self.target

    def _row(self, v: Viewed) -> Rows:
        """The row that an autoencoder's view of it stands for."""
        return (self.views.from_minmax if self.unit else self.views.from_standard)(v)

    def _sampled(self, sampler: Sampler, x: Rows) -> Rows:
        """What the caller's function makes of rows in the caller's units."""
        rows = sampler(self.as_given(x))
        if not isinstance(rows, Tensor) or rows.ndim != 2 or rows.shape[1] != x.shape[1] or not len(rows):
            shape = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
            raise ParameterError(
                f"counterexamples holds a function that returned {shape} for rows of shape {tuple(x.shape)}; "
                "it must return a tensor of rows of the same width."
            )
        return ((rows - self.center) / self.scale).to(x)


def _weights(s: Settings) -> tuple[float, ...]:
    """Lambda of each source; one number is shared out equally."""
    if isinstance(s.counterexample_weight, tuple):
        return s.counterexample_weight
    return (s.counterexample_weight / len(s.counterexamples),) * len(s.counterexamples)


class A3(NetworkDetector):
    """Activation anomaly analysis.

    Every argument from `counterexamples` on that is left at None takes its value from the preset.

    Parameters
    ----------
    preset : {"default", "paper"}
        ``"paper"`` has the paper's layers for the table of its experiments that is nearest in width, and its
        full budget; ``"default"`` ends in less than a minute.
    target : {"autoencoder", "adversarial"} or Module
        Network whose hidden activations are read. ``"autoencoder"`` and ``"adversarial"`` (an autoencoder
        whose codes follow N(0, 1)) learn the rows believed normal; for images they are convolutional. A
        trained torch network is used as it is: it gets rows, or images, in the units of `X`, and stays
        unchanged.
    layers : sequence of str, optional
        Names of the layers to read of a given network, as in its `named_modules()`. By default all hidden
        layers that are non-linearities.
    counterexamples : str, callable, or sequence of them, optional
        ``"gaussian"`` (noise N(1/2, 1) of rows in [0, 1]), ``"uniform"`` (noise in [0, 1]), ``"near"`` (rows
        with noise on some features), ``"variational"`` (tails of a variational autoencoder), ``"codes"``
        (random codes, decoded; needs ``target="adversarial"``), or a function from a tensor of normal rows
        (images as rows of pixels) in the units of `X` to a tensor of counterexamples of the same width. It
        should draw from torch's global generators, which `random_state` seeds.
    counterexample_weight : float or sequence of float, optional
        Lambda of the loss: one number that all sources share, or one for each.
    tail_sigma : float, optional
        Deviation of "variational" codes around the code of a normal row, > 0.
    code_sigma : float, optional
        Deviation of "codes" around zero, > 0.
    known_share : float, optional
        Known anomalies per normal row in a batch, if `y` marks any. Under the preset "paper" they count as
        often as they are among all rows.
    l1, l2 : float, optional
        Weights of the penalties 1 - p and (1 - p)^2 on the alarm's probability p of an anomaly, >= 0.
    widths : sequence of int, optional
        Layers of a table's encoder; the last is the code. The decoder mirrors them.
    alarm_widths : sequence of int, optional
        Hidden layers of the alarm.
    variational_widths : sequence of int, optional
        Layers of the variational autoencoder's encoder; the last is the code.
    epochs, steps : sequence of two ints, optional
        Budget of the target (and of the variational autoencoder) and of the alarm, in passes over the rows or
        in batches. Give one of the two.
    batch_size : int, optional
    target_rate, alarm_rate : float, optional
        Learning rates of autoencoders and alarm.
    contamination : float
        Share of the training rows that lie below `offset_`, in (0, 0.5].
    random_state : int, RandomState or None
        One integer decides everything; None draws fresh entropy.
    device : str
        "auto", "cpu", "cuda" or "mps".
    threads : int
        CPU threads while fitting. These networks are so small that a second thread costs more than it gives
        unless the cores are idle.
    callbacks : sequence of Callback
        Watch the training, such as `training.ProgressBar`.
    checkpoint : path, optional
        File from which a killed fit continues; deleted when the fit has ended. Not with a network or a
        function of the caller.

    Attributes
    ----------
    settings_ : Settings
        The preset with the overrides.
    network_ : ActivationAnalysis
    history_ : History

    Notes
    -----
    A model file holds no code, so `persistence.save` refuses a detector whose target or counterexamples are
    the caller's own network or function.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(300, 4))
    >>> detector = A3(steps=(100, 100), random_state=0).fit(rows)
    >>> bool(detector.anomaly_score([[9.0, 9, 9, 9]])[0] > detector.anomaly_score(rows).max())
    True
    """

    uses_known_anomalies = True
    network_: ActivationAnalysis

    def __init__(
        self,
        preset: Preset = "default",
        *,
        target: str | nn.Module = "autoencoder",
        layers: Sequence[str] | None = None,
        counterexamples: Source | Sequence[Source] | None = None,
        counterexample_weight: float | Sequence[float] | None = None,
        tail_sigma: float | None = None,
        code_sigma: float | None = None,
        known_share: float | None = None,
        l1: float | None = None,
        l2: float | None = None,
        widths: Sequence[int] | None = None,
        alarm_widths: Sequence[int] | None = None,
        variational_widths: Sequence[int] | None = None,
        epochs: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        batch_size: int | None = None,
        target_rate: float | None = None,
        alarm_rate: float | None = None,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        threads: int = 1,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | Path | None = None,
    ) -> None:
        self.preset = preset
        self.target = target
        self.layers = layers
        self.counterexamples = counterexamples
        self.counterexample_weight = counterexample_weight
        self.tail_sigma = tail_sigma
        self.code_sigma = code_sigma
        self.known_share = known_share
        self.l1 = l1
        self.l2 = l2
        self.widths = widths
        self.alarm_widths = alarm_widths
        self.variational_widths = variational_widths
        self.epochs = epochs
        self.steps = steps
        self.batch_size = batch_size
        self.target_rate = target_rate
        self.alarm_rate = alarm_rate
        self.contamination = contamination
        self.random_state = random_state
        self.device = device
        self.threads = threads
        self.callbacks = callbacks
        self.checkpoint = checkpoint

    def _build(self, features: int) -> ActivationAnalysis:
        self.settings_ = self._resolve(features)
        return ActivationAnalysis(features, self.image_shape_, self._target(features), self.settings_)

    def _target(self, features: int) -> AnyAutoencoder | Hooked:
        s, image = self.settings_, self.image_shape_
        if isinstance(self.target, nn.Module):
            return Hooked(self.target, image or (features,), self.layers)
        if image is not None:
            return (ConvolutionalAutoencoder if self.target == "adversarial" else PooledAutoencoder)(
                image, unit=True
            )
        return (Autoencoder if self.target == "adversarial" else HiddenCodeAutoencoder)(
            features, s.widths, unit=s.view == "minmax", activation=s.activation, dropout=s.dropout
        )

    def _prepare(self, network: ActivationAnalysis, rows: Tensor, known: Tensor) -> Tensor:
        network.center.copy_(torch.from_numpy(self.center_))
        network.scale.copy_(torch.from_numpy(self.unit_))
        return rows

    def _resolve(self, features: int) -> Settings:
        if self.preset not in PRESETS:
            raise ParameterError(f"preset is {self.preset!r} but must be one of {', '.join(PRESETS)}.")
        if self.epochs is not None and self.steps is not None:
            raise ParameterError("epochs and steps are both given; give the budget in one of the two.")
        given: dict[str, Any] = {
            field.name: tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
            for field in fields(Settings)
            if (value := getattr(self, field.name, None)) is not None
        }
        if not isinstance(given.get("counterexamples", ()), tuple):
            given["counterexamples"] = (given["counterexamples"],)
        if "epochs" in given:
            given["steps"] = None
        elif "steps" in given:
            given["epochs"] = None
        settings = replace(PRESETS[self.preset](features, self.image_shape_ is not None), **given)
        self._check(settings)
        return settings

    def _check(self, s: Settings) -> None:
        own = isinstance(self.target, nn.Module)
        if not own and self.target not in _TARGETS:
            raise ParameterError(
                f"target is {self.target!r} but must be {' or '.join(map(repr, _TARGETS))}, or a trained "
                "torch.nn.Module."
            )
        if not own and self.layers is not None:
            raise ParameterError(
                f"layers is {self.layers!r}, but target {self.target!r} shows all its hidden activations; "
                "give layers only together with a network of your own."
            )
        if self.widths is not None and (own or self.image_shape_ is not None):
            raise ParameterError(
                f"widths is {self.widths!r}, but only an autoencoder of table rows takes it; leave it out."
            )
        if "codes" in s.counterexamples and self.target != "adversarial":
            raise ParameterError(
                "counterexamples holds 'codes', which needs codes that follow a known distribution; set "
                "target='adversarial'."
            )
        _check(s)

    def _checkpoint(self, normal: NDArray[np.float64], known: NDArray[np.float64]) -> Checkpoint | None:
        given = self.counterexamples
        sources = given if isinstance(given, Sequence) else [given]
        if self.checkpoint is not None and (
            isinstance(self.target, nn.Module) or any(map(callable, sources))
        ):
            raise ParameterError(
                "checkpoint is set, but a file cannot tell whether a network or function of yours is still "
                "the same when the fit goes on; leave checkpoint out."
            )
        return super()._checkpoint(normal, known)

    def _schedule(self, network: ActivationAnalysis, rows: int, known: int) -> list[Phase]:
        s, model = network.settings, network
        if not known and not any(_weights(s)):
            raise ParameterError(
                f"counterexample_weight is {s.counterexample_weight} and y marks no known anomaly, so the "
                "alarm has nothing to tell from normal rows; give one of the two."
            )
        share = s.known_share
        if share is None:  # every batch has some, and each weighs less if that is more often than they are
            fair = s.batch_size * known / rows
            share = max(1, round(fair)) / s.batch_size
            model.known_weight = fair / (share * s.batch_size)
        adam = partial(Adam, lr=s.target_rate, eps=1e-7)
        phase = partial(Phase, batch_size=s.batch_size, anneal=s.anneal)
        update = partial(Update, optimizer=adam)
        pretend = partial(Update, optimizer=partial(adam, lr=s.prior_rate))
        phases = [Phase(name="views", finish=model.fit_views)]
        if isinstance(model.target, AnyAutoencoder):
            updates = [update(name="reconstruction", trains=[model.target], loss=model.reconstruction)]
            if hasattr(model, "discriminator"):
                updates += [
                    pretend(name="prior", trains=[model.discriminator], loss=model.prior),
                    pretend(name="disguise", trains=[model.target.encoder], loss=model.disguise),
                ]
            phases.append(phase(name="target", updates=updates, **_budget(s, 0)))
        if "variational" in s.counterexamples:
            learn = update(name="variation", trains=[model.anomaly_network], loss=model.variation)
            phases.append(phase(name="anomaly network", updates=[learn], **_budget(s, 0)))
        alert = update(
            name="alarm", trains=[model.alarm], loss=model.alert, optimizer=partial(adam, lr=s.alarm_rate)
        )
        return [
            *phases,
            Phase(name="activations", finish=model.fit_activations),
            phase(name="alarm", updates=[alert], known=share, **_budget(s, 1)),
        ]


def _budget(settings: Settings, phase: int) -> dict[str, Any]:
    if settings.epochs is not None:
        return {"epochs": settings.epochs[phase]}
    return {"steps": (settings.steps or (0, 0))[phase]}


def _check(s: Settings) -> None:
    for name, least in {"widths": 1, "alarm_widths": 1, "variational_widths": 2}.items():
        widths = getattr(s, name)
        if len(widths) < least or min(widths) < 1:
            raise ParameterError(f"{name} is {widths} but must hold at least {least} positive layer widths.")
    for name in ("tail_sigma", "code_sigma", "batch_size", "target_rate", "alarm_rate"):
        if not getattr(s, name) > 0:
            raise ParameterError(f"{name} is {getattr(s, name)} but must be positive.")
    for name in ("l1", "l2"):
        if not getattr(s, name) >= 0:
            raise ParameterError(f"{name} is {getattr(s, name)} but must be at least 0.")
    for name in ("epochs", "steps"):
        budget = getattr(s, name)
        if budget is not None and (len(budget) != 2 or min(budget) < 0):
            raise ParameterError(f"{name} is {budget} but must be two numbers >= 0: target, alarm.")
    _check_sources(s)


def _check_sources(s: Settings) -> None:
    unknown = [source for source in s.counterexamples if not callable(source) and source not in SOURCES]
    if unknown or not s.counterexamples:
        raise ParameterError(
            f"counterexamples is {s.counterexamples} but must hold one or more of {', '.join(SOURCES)}, or "
            "functions from rows to rows."
        )
    weights = _weights(s)
    if len(weights) != len(s.counterexamples) or min(weights) < 0:
        raise ParameterError(
            f"counterexample_weight is {s.counterexample_weight} but must be one number >= 0, or one for "
            f"each of the {len(s.counterexamples)} sources."
        )
