r"""DA3D: double-adversarial activation anomaly detection (Schulze, Sperl and Böttinger, 2022).

An adversarial autoencoder learns the normal rows x; an alarm reads the hidden activations that a row causes
in it; a generator makes counterexamples in its code space. With ``a`` the alarm's logit on the activations
of a row or of a code, ``C`` the critic, ``D`` the autoencoder's discriminator, and noise n:

.. math::
    L_{reconstruction} &= E[d(x, dec(enc(x)))] \\
    L_{prior}          &= E[D(enc(x))] - E[D(n)]                            &n \sim N(0, 1) \\
    L_{disguise}       &= -E[D(enc(x))] \\
    L_{alarm}          &= E[H(a(x), 0)] + E[H(a(G(n)), 1)] + E[H(a(t), 1)]  &t \sim N(1/2, 1) \\
    L_{generator}      &= E[a(G(n))] - E[C(G(n'))] \\
    L_{critic}         &= E[C(G(n))] + E[C(enc(x))] - 2\,E[C(h)]            &h \sim N(0, \sigma^2)

The first three train the autoencoder alone, the others the double-adversarial game on top of it. Only the
autoencoder and the alarm are used to score.

References
----------
J.-P. Schulze, P. Sperl, K. Böttinger: Double-Adversarial Activation Anomaly Detection: Adversarial
Autoencoders are Anomaly Generators. IJCNN 2022; preprint arXiv:2101.04645. The differences between the
preprint, the authors' later code and this file are listed in docs/methods/da3d.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from da3d.counterexamples import latent, noise
from da3d.detectors.base import NetworkDetector
from da3d.errors import ParameterError
from da3d.losses import adversarial, alarm, reconstruction
from da3d.networks import MLP, Activation, Autoencoder, Standardise, View, Views, Where
from da3d.training import Batch, Callback, Phase, Update

__all__ = ["DA3D", "PRESETS", "DoubleAdversarial", "Settings"]

Preset = Literal["default", "preprint", "released"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a preset decides and that an argument of `DA3D` may override.

    Attributes
    ----------
    views : tuple of str
        Scalings of the raw columns that the autoencoder sees, as in `networks.Views`.
    widths, alarm_widths, generator_widths, discriminator_widths : tuple of int
        Layers of the encoder (the last is the code), alarm, generator, and of discriminator and critic alike.
    noise_width : int
        Width of the generator's input.
    activation, dropout
        As in `networks.MLP`.
    activations : {"decoder", "encoder", "all"}
        Which hidden activations the alarm reads.
    standardised : bool
        Whether activations are standardised before the alarm, and code and residual stand beside them.
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
    critic_weights : tuple of float
        Weights of normal codes, generated codes and the wide Gaussian in the critic's loss.
    known_share : float
        Known anomalies per normal row in a batch, if any are known.
    epochs, steps : tuple of int or None
        Budget of the autoencoder, of the alarm's warm-up and of the adversarial phase; one of the two is set.
    batch_size : int
    learning_rate : float
    anneal : bool
        Whether the learning rate falls to zero along each phase.
    """

    views: tuple[View, ...]
    widths: tuple[int, ...]
    alarm_widths: tuple[int, ...]
    generator_widths: tuple[int, ...]
    discriminator_widths: tuple[int, ...]
    noise_width: int
    activation: Activation
    dropout: float
    activations: Where
    standardised: bool
    bounded: bool
    lipschitz: bool
    clip: float | None
    sigma: float
    normal_weight: float
    trivial_weight: float
    near_weight: float
    simple_weight: float
    generated_weight: float
    critic_weights: tuple[float, float, float]
    known_share: float
    epochs: tuple[int, int, int] | None
    steps: tuple[int, int, int] | None
    batch_size: int
    learning_rate: float
    anneal: bool


def _preprint(features: int) -> Settings:
    """The paper's text and its Table 3."""
    tables = {  # input width: autoencoder, alarm, generator, batch (the batch is not in the paper)
        6: ((12, 10, 8, 6, 3, 2), _SMALL, (15, 10, 5), 128),
        27: ((50, 40, 30, 20, 10, 5), _SMALL, (20, 15, 10), 128),
        69: ((100, 80, 60, 40, 20, 10), _SMALL, (25, 20, 15), 64),
        126: ((200, 150, 100, 75, 50, 25), _BIG, (40, 35, 30), 512),
        510: ((750, 500, 300, 200, 100, 50), _BIG, (80, 70, 60), 512),
    }
    widths, alarm_widths, generator_widths, batch_size = tables[_nearest(features, tables)]
    return Settings(
        views=("minmax",),
        widths=widths,
        alarm_widths=alarm_widths,
        generator_widths=generator_widths,
        discriminator_widths=(50, 40, 30, 20, 10),
        noise_width=8,  # not stated; that of the authors' later code
        activation="selu",
        dropout=0.2,
        activations="all",
        standardised=False,
        bounded=False,
        lipschitz=False,
        clip=0.01,  # the authors' only Lipschitz-like device; the text names none
        sigma=1.5,
        normal_weight=1.0,
        trivial_weight=1.0,
        near_weight=0.0,
        simple_weight=0.0,
        generated_weight=1.0,
        critic_weights=(1.0, 1.0, 2.0),
        known_share=0.05,
        epochs=(500, 50, 500),
        steps=None,
        batch_size=batch_size,
        learning_rate=1e-4,
        anneal=False,
    )


def _released(features: int) -> Settings:
    """The authors' later code."""
    tables = {  # input width: autoencoder, alarm, batch
        6: ((12, 10, 8, 6, 3, 2), _SMALL, 128),
        30: ((50, 40, 30, 20, 10, 2), _BIG, 128),
        54: ((90, 75, 60, 45, 25, 15), _BIG, 4096),
        69: ((100, 80, 60, 40, 20, 10), _BIG, 64),
        126: ((150, 100, 70, 40, 25, 10), _BIG, 512),
        510: ((600, 300, 150, 75, 30, 15), _BIG, 512),
    }
    widths, alarm_widths, batch_size = tables[_nearest(features, tables)]
    return replace(
        _preprint(features),
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


def _default(features: int) -> Settings:
    """The same game with its known faults repaired, sized by the table's width."""
    views: tuple[View, ...] = ("standard", "robust")
    width = max(16, min(256, 4 * features))
    code = max(2, min(16, round(features**0.5)))
    return Settings(
        views=views,
        widths=(width, width // 2, code),
        alarm_widths=(128, 128, 128),
        generator_widths=(64, 64),
        discriminator_widths=(64, 64),
        noise_width=8,
        activation="leaky_relu",
        dropout=0.0,
        activations="all",
        standardised=True,
        bounded=False,
        lipschitz=True,
        clip=None,
        sigma=2.0,
        normal_weight=1.0,
        trivial_weight=0.0,
        near_weight=1.0,
        simple_weight=0.0,
        generated_weight=0.5,
        critic_weights=(1.0, 1.0, 2.0),
        known_share=0.25,
        epochs=None,
        steps=(2000, 200, 1500),
        batch_size=256,
        learning_rate=1e-3,
        anneal=True,
    )


_SMALL, _BIG = (100, 50, 25, 10), (1000, 500, 200, 75)

PRESETS = {"default": _default, "preprint": _preprint, "released": _released}
"""Settings by name, each a function of the input width; paper sizes are those of the nearest table."""


def _nearest(features: int, tables: dict[int, Any]) -> int:
    return min(tables, key=lambda width: abs(np.log(width / features)))


class DoubleAdversarial(nn.Module):
    """The five networks of DA3D and the losses of its six updates.

    Parameters
    ----------
    features : int
        Width of a raw row.
    settings : Settings
    """

    def __init__(self, features: int, settings: Settings) -> None:
        super().__init__()
        s = self.settings = settings
        mlp = partial(MLP, activation=s.activation, dropout=s.dropout)
        self.views = Views(features, s.views)
        self.unit = s.views == ("minmax",)
        self.target = Autoencoder(
            self.views.width, s.widths, unit=self.unit, activation=s.activation, dropout=s.dropout
        )
        code = self.target.code_width
        self.discriminator = mlp(code, s.discriminator_widths, 1, lipschitz=s.lipschitz)
        self.generator = mlp(s.noise_width, s.generator_widths, code)
        self.critic = mlp(code, s.discriminator_widths, 1, lipschitz=s.lipschitz)
        width = self.target.activation_width(s.activations)
        self.standardise = Standardise(width) if s.standardised else nn.Identity()
        self.alarm = mlp(width, s.alarm_widths, 1)

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row"]:
        """The alarm's logit for raw rows: higher is stranger."""
        return self._alarm(self.target.activations(self.views(x), self.settings.activations))

    def reconstruction(self, batch: Batch) -> Float[Tensor, ""]:
        """Autoencoder: copy normal rows."""
        v = self.views(batch.normal)
        distance = reconstruction.bernoulli if self.unit else reconstruction.squared
        return distance(v, self.target(v)).mean()

    def prior(self, batch: Batch) -> Float[Tensor, ""]:
        """Discriminator: tell codes from the prior."""
        codes = self.encode(batch.normal)
        return adversarial.prior(self._discriminate(codes), self._discriminate(torch.randn_like(codes)))

    def disguise(self, batch: Batch) -> Float[Tensor, ""]:
        """Encoder: make codes look like the prior."""
        return adversarial.disguise(self._discriminate(self.encode(batch.normal)))

    def alarm_on_trivial(self, batch: Batch) -> Float[Tensor, ""]:
        """Alarm, warm-up: normal rows and known anomalies against counterexamples born in row space."""
        s = self.settings
        loss = s.normal_weight * alarm.cross_entropy(self(batch.normal), 0.0)
        if len(batch.known):
            loss = loss + alarm.cross_entropy(self(batch.known), 1.0)
        if s.trivial_weight:
            v = noise.trivial(self.views(batch.normal))
            loss = loss + s.trivial_weight * alarm.cross_entropy(self._of_view(v), 1.0)
        if s.near_weight:
            loss = loss + s.near_weight * alarm.cross_entropy(self(self._near(batch.normal)), 1.0)
        return loss

    def alarm_on_all(self, batch: Batch) -> Float[Tensor, ""]:
        """Alarm: the same, and counterexamples born in code space."""
        s = self.settings
        loss = self.alarm_on_trivial(batch)
        if s.generated_weight:
            loss = loss + s.generated_weight * alarm.cross_entropy(self._of_code(self.generate(batch)), 1.0)
        if s.simple_weight:
            codes = latent.simple(self.generate(batch), s.sigma)
            loss = loss + s.simple_weight * alarm.cross_entropy(self._of_code(codes), 1.0)
        return loss

    def deceive(self, batch: Batch) -> Float[Tensor, ""]:
        """Generator: look normal to the alarm, yet stay where the critic sees the wide Gaussian."""
        fooled = self._of_code(self.generate(batch))
        if self.settings.bounded:
            fooled = fooled.sigmoid()
        elsewhere = self._criticise(self.generate(batch))
        return adversarial.fool_alarm(fooled) + adversarial.become_anomalous(elsewhere)

    def criticise(self, batch: Batch) -> Float[Tensor, ""]:
        """Critic: tell normal and generated codes from the wide Gaussian."""
        codes = self.encode(batch.normal)
        return adversarial.critic(
            self._criticise(codes),
            self._criticise(self.generate(batch)),
            self._criticise(latent.simple(codes, self.settings.sigma)),
            self.settings.critic_weights,
        )

    def watch(self, batch: Batch) -> dict[str, Tensor]:
        """What the losses hide: the critic's three means, code norms, both parts of the generator's gradient."""
        normal = self.encode(batch.normal)
        generated = self.generate(batch).detach().requires_grad_()
        gaussian = latent.simple(normal, self.settings.sigma)
        by_alarm = torch.autograd.grad(self._of_code(generated).mean(), generated)[0]
        by_critic = torch.autograd.grad(self._criticise(generated).mean(), generated)[0]
        return {
            "critic on normal": self._criticise(normal).mean(),
            "critic on generated": self._criticise(generated).mean(),
            "critic on gaussian": self._criticise(gaussian).mean(),
            "norm of normal codes": normal.norm(dim=1).mean(),
            "norm of generated codes": generated.norm(dim=1).mean(),
            "generator gradient from alarm": by_alarm.norm(),
            "generator gradient from critic": by_critic.norm(),
        }

    def encode(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row code"]:
        """Codes of raw rows."""
        return self.target.encoder(self.views(x))

    def generate(self, batch: Batch) -> Float[Tensor, "row code"]:
        """One generated code per normal row of the batch, from fresh noise."""
        n = torch.randn(len(batch.normal), self.settings.noise_width, device=batch.normal.device)
        return self.generator(n)

    def fit_standardise(self, x: Float[Tensor, "row feature"]) -> None:
        """Take the activations' mean and deviation from normal rows."""
        if self.settings.standardised:
            sample = x[:: -(-len(x) // 10_000)]
            self.standardise.fit(self.target.activations(self.views(sample), self.settings.activations))

    def _near(self, x: Tensor) -> Tensor:
        unit = self.views.standard
        z, half = unit(x), len(x) // 2
        near = torch.cat([noise.subset(z[:half], 0.05, 3.0), noise.row_difference(z[half:], 0.05, 3.0)])
        return near * unit.deviation + unit.mean

    def _of_view(self, v: Tensor) -> Tensor:
        return self._alarm(self.target.activations(v, self.settings.activations))

    def _of_code(self, code: Tensor) -> Tensor:
        return self._alarm(self.target.activations_of_code(code, self.settings.activations))

    def _alarm(self, activations: Tensor) -> Tensor:
        return self.alarm(self.standardise(activations)).squeeze(1)

    def _discriminate(self, codes: Tensor) -> Tensor:
        output = self.discriminator(codes).squeeze(1)
        return output.sigmoid() if self.settings.bounded else output

    def _criticise(self, codes: Tensor) -> Tensor:
        output = self.critic(codes).squeeze(1)
        return output.sigmoid() if self.settings.bounded else output


class DA3D(NetworkDetector):
    """Double-adversarial activation anomaly detection.

    Every argument below `preset` that is left at None takes its value from the preset.

    Parameters
    ----------
    preset : {"default", "preprint", "released"}
        ``"preprint"`` is the paper's text and Table 3, ``"released"`` the authors' later code, both with
        their full budget of hundreds of epochs; ``"default"`` repairs their known faults and ends in minutes.
    widths : sequence of int, optional
        Layers of the encoder; the last is the code. The decoder mirrors them.
    alarm_widths, generator_widths : sequence of int, optional
        Hidden layers of alarm and generator.
    activations : {"decoder", "encoder", "all"}, optional
        Which hidden activations the alarm reads.
    normal_weight, trivial_weight, near_weight, simple_weight, generated_weight : float, optional
        Weights of the alarm's terms: normal rows, noise on its own, normal rows plus noise, random codes,
        generated codes. With `generated_weight` 0 neither generator nor critic is trained.
    critic_weights : sequence of three floats, optional
        Weights of normal codes, generated codes and the wide Gaussian in the critic's loss.
    sigma : float, optional
        Standard deviation of the wide Gaussian and of simple counterexamples, > 0.
    known_share : float, optional
        Known anomalies per normal row in a batch, if `y` marks any.
    epochs, steps : sequence of three ints, optional
        Budget of the autoencoder, of the alarm's warm-up and of the adversarial phase, in passes over the
        rows or in batches. Give one of the two.
    batch_size : int, optional
    learning_rate : float, optional
    contamination : float
        Share of the training rows that lie below `offset_`, in (0, 0.5].
    random_state : int, RandomState or None
        One integer decides everything; None draws fresh entropy.
    device : str
        "auto", "cpu", "cuda" or "mps".
    callbacks : sequence of Callback
        Watch the training, such as `training.ProgressBar`.
    checkpoint : path, optional
        File from which a killed fit continues; deleted when the fit has ended.

    Attributes
    ----------
    settings_ : Settings
        The preset with the overrides.
    network_ : DoubleAdversarial
    history_ : History

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(300, 4))
    >>> detector = DA3D(steps=(200, 20, 100), random_state=0).fit(rows)
    >>> bool(detector.anomaly_score([[9.0, 9, 9, 9]])[0] > detector.anomaly_score(rows).max())
    True
    """

    uses_known_anomalies = True

    def __init__(
        self,
        preset: Preset = "default",
        *,
        widths: Sequence[int] | None = None,
        alarm_widths: Sequence[int] | None = None,
        generator_widths: Sequence[int] | None = None,
        activations: Where | None = None,
        normal_weight: float | None = None,
        trivial_weight: float | None = None,
        near_weight: float | None = None,
        simple_weight: float | None = None,
        generated_weight: float | None = None,
        critic_weights: Sequence[float] | None = None,
        sigma: float | None = None,
        known_share: float | None = None,
        epochs: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        callbacks: Sequence[Callback] = (),
        checkpoint: str | Path | None = None,
    ) -> None:
        self.preset = preset
        self.widths = widths
        self.alarm_widths = alarm_widths
        self.generator_widths = generator_widths
        self.activations = activations
        self.normal_weight = normal_weight
        self.trivial_weight = trivial_weight
        self.near_weight = near_weight
        self.simple_weight = simple_weight
        self.generated_weight = generated_weight
        self.critic_weights = critic_weights
        self.sigma = sigma
        self.known_share = known_share
        self.epochs = epochs
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.contamination = contamination
        self.random_state = random_state
        self.device = device
        self.callbacks = callbacks
        self.checkpoint = checkpoint

    def codes(self, X: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Codes of rows in the autoencoder, shape (rows, code): the plane of the paper's Figure 5."""
        rows = torch.from_numpy(self._validated(X, reset=False).astype(np.float32))
        with torch.inference_mode():
            return self.network_.encode(rows.to(pick_device(self.device))).cpu().numpy()

    def _build(self, features: int) -> DoubleAdversarial:
        self.settings_ = self._resolve(features)
        return DoubleAdversarial(features, self.settings_)

    def _resolve(self, features: int) -> Settings:
        if self.preset not in PRESETS:
            raise ParameterError(f"preset is {self.preset!r} but must be one of {', '.join(PRESETS)}.")
        if self.epochs is not None and self.steps is not None:
            raise ParameterError("epochs and steps are both given; give the budget in one of the two.")
        settings = PRESETS[self.preset](features)
        given = {
            field.name: tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
            for field in fields(Settings)
            if (value := getattr(self, field.name, None)) is not None
        }
        if "epochs" in given:
            given["steps"] = None
        elif "steps" in given:
            given["epochs"] = None
        settings = replace(settings, **given)
        _check(settings)
        return settings

    def _schedule(self, network: DoubleAdversarial, rows: int, known: int) -> list[Phase]:
        s, model = network.settings, network
        adam = partial(torch.optim.Adam, lr=s.learning_rate, eps=1e-7, fused=True)
        phase = partial(Phase, batch_size=s.batch_size, anneal=s.anneal)
        update = partial(Update, optimizer=adam)
        target, encoder, disc = [model.target], [model.target.encoder], [model.discriminator]
        game = [update(name="alarm", trains=[model.alarm], loss=model.alarm_on_all)]
        if s.generated_weight:
            game += [
                update(name="generator", trains=[model.generator], loss=model.deceive, clip=s.clip),
                update(name="critic", trains=[model.critic], loss=model.criticise, clip=s.clip),
            ]
        return [
            Phase(name="views", finish=model.views.fit),
            phase(
                name="autoencoder",
                updates=[
                    update(name="reconstruction", trains=target, loss=model.reconstruction),
                    update(name="prior", trains=disc, loss=model.prior, clip=s.clip),
                    update(name="disguise", trains=encoder, loss=model.disguise, clip=s.clip),
                ],
                finish=model.fit_standardise,
                **_budget(s, 0),
            ),
            phase(
                name="warm-up",
                updates=[update(name="alarm", trains=[model.alarm], loss=model.alarm_on_trivial)],
                known=s.known_share,
                **_budget(s, 1),
            ),
            phase(
                name="adversarial",
                updates=game,
                known=s.known_share,
                monitor=model.watch,
                **_budget(s, 2),
            ),
        ]


def _budget(settings: Settings, phase: int) -> dict[str, Any]:
    if settings.epochs is not None:
        return {"epochs": settings.epochs[phase]}
    return {"steps": (settings.steps or (0, 0, 0))[phase]}


def _check(s: Settings) -> None:
    for name in ("widths", "alarm_widths", "generator_widths"):
        if not getattr(s, name) or min(getattr(s, name)) < 1:
            raise ParameterError(f"{name} is {getattr(s, name)} but must hold positive layer widths.")
    for name in ("sigma", "learning_rate", "batch_size"):
        if not getattr(s, name) > 0:
            raise ParameterError(f"{name} is {getattr(s, name)} but must be positive.")
    weights = [s.trivial_weight, s.near_weight, s.simple_weight, s.generated_weight]
    if min(weights) < 0 or not any(weights) or s.normal_weight <= 0:
        raise ParameterError(
            "normal_weight must be positive, and the weights of counterexamples at least 0 with one above 0; "
            f"given: normal {s.normal_weight}, trivial, near, simple, generated {weights}."
        )
    for name in ("epochs", "steps"):
        budget = getattr(s, name)
        if budget is not None and (len(budget) != 3 or min(budget) < 0):
            raise ParameterError(
                f"{name} is {budget} but must be three numbers >= 0: autoencoder, warm-up, adversarial phase."
            )
