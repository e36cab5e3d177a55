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
autoencoder and the alarm are used to score; the default preset adds other evidence.

References
----------
J.-P. Schulze, P. Sperl, K. Böttinger: Double-Adversarial Activation Anomaly Detection: Adversarial
Autoencoders are Anomaly Generators. IJCNN 2022; preprint arXiv:2101.04645. The differences between the
preprint, the authors' later code and this file are listed in docs/methods/da3d.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from da3d.counterexamples import latent, noise
from da3d.detectors.da3d_presets import EVIDENCE, PRESETS, Inner, Preset, Settings, for_images
from da3d.detectors.network import NetworkDetector
from da3d.errors import ParameterError
from da3d.losses import adversarial, alarm, reconstruction
from da3d.losses.deviation import deviation
from da3d.losses.hypersphere import hypersphere
from da3d.networks import (
    MLP,
    AnyAutoencoder,
    Autoencoder,
    Calibrated,
    ConvolutionalAutoencoder,
    Ellipsoid,
    Hypersphere,
    KnownForest,
    MaskedForest,
    Memory,
    Standardise,
    Tails,
    Views,
    Where,
    clear_outliers,
    squash,
    unsquash,
)
from da3d.seeding import seeded
from da3d.training import Adam, Batch, Callback, Phase, Update

__all__ = ["DA3D", "DoubleAdversarial"]

Rows = Float[Tensor, "row feature"]
Viewed = Float[Tensor, "row viewed"]
Codes = Float[Tensor, "row code"]
Scores = Float[Tensor, "row"]
Loss = Float[Tensor, ""]

_KNOWN_TREES = 200
_CHUNK = 512


class DoubleAdversarial(nn.Module):
    """The five networks of DA3D and the losses of its six updates.

    Parameters
    ----------
    features : int
        Width of a raw row.
    settings : Settings
    shape : tuple of three ints, optional
        (channels, height, width) if rows are images.
    """

    def __init__(self, features: int, settings: Settings, shape: tuple[int, int, int] | None = None) -> None:
        super().__init__()
        s = self.settings = settings
        self.unit = s.views == ("minmax",)
        self.views = Views(features, s.views, alike=shape is not None)
        self.target = self._target(shape)
        judge = partial(MLP, activation=s.activation, dropout=s.dropout, lipschitz=s.lipschitz)
        learner = partial(MLP, activation=s.activation, dropout=s.dropout if s.alarm_dropout else 0.0)
        self.discriminator = judge(self.target.code_width, s.discriminator_widths, 1)
        self.critic = judge(self.target.code_width, s.discriminator_widths, 1)
        self.generator = learner(s.noise_width, s.generator_widths, self.target.code_width)
        width = self.target.activation_width(s.activations)
        width += (2 * self.views.width + self.target.code_width) if s.trace else 0
        self.scale = Standardise(width if s.trace else 0)
        self.code_norm: Tensor
        self.register_buffer("code_norm", torch.tensor(self.target.code_width**0.5))
        self.alarm = self._inner(width, learner)
        self.neighbourhood = Memory(1024, neighbors=1)
        self.held_out = torch.zeros(0, features)
        self._viewed: tuple[Batch, Tensor] | None = None
        self.by_alarm = Calibrated()
        self.by_residual = Ellipsoid(self.views.width if s.trace else 0)
        self.by_activation = Memory(s.memory, neighbors=5)
        self.by_row = Memory(s.memory, neighbors=5)
        self.by_straight = Memory(s.memory, neighbors=5)
        self.by_tails = Tails(features if s.tails_evidence else 0)
        self.by_dependence = MaskedForest(s.trees)
        self.known = torch.zeros(0, features)
        self.by_known = KnownForest(_KNOWN_TREES if s.known_evidence else 0)

    def _target(self, shape: tuple[int, int, int] | None) -> AnyAutoencoder:
        s = self.settings
        if s.convolutional and shape is not None:
            return ConvolutionalAutoencoder(shape, unit=self.unit)
        return Autoencoder(
            self.views.width, s.widths, unit=self.unit, activation=s.activation, dropout=s.dropout
        )

    def _inner(self, width: int, learner: Callable[..., MLP]) -> nn.Module:
        """The detector inside the game, from what the alarm reads to one score."""
        s = self.settings
        if s.alarm == "deep-sad":
            return Hypersphere(learner(width, s.alarm_widths[:-1], s.alarm_widths[-1]), s.alarm_widths[-1])
        return learner(width, s.alarm_widths, 1)

    # ---- scoring

    def forward(self, x: Rows) -> Scores:
        """Strangeness of raw rows: the sum of its parts."""
        return torch.stack(list(self.parts(x).values())).sum(0)

    def parts(self, x: Rows) -> dict[str, Scores]:
        """The weighted evidence of raw rows by its names; the alarm's logit alone in the papers' presets."""
        s = self.settings
        if not s.trace:
            return {"alarm": self.alarm_of(self.view(x))}
        z, straight = self.views.standard(x), self.views.where_heavy(x)
        evidence: dict[str, tuple[float, nn.Module, Tensor]] = {
            "row": (s.row_evidence, self.by_row, z),
            "tails": (s.tails_evidence, self.by_tails, z),
            "straight": (s.straight_evidence, self.by_straight, straight),
            "dependence": (s.dependence_evidence, self.by_dependence, straight),
            "known": (s.known_evidence, self.by_known, straight),
        }
        if not s.untrained:
            raw = self.trace(self.view(x))
            trace = squash(self.scale(raw))
            evidence |= {
                "alarm": (s.alarm_evidence, self.by_alarm, self.alarm(trace).flatten()),
                "activation": (s.activation_evidence, self.by_activation, trace),
                "residual": (s.residual_evidence, self.by_residual, raw[:, -self.views.width :]),
            }
        return {name: weight * by(value) for name, (weight, by, value) in evidence.items() if weight}

    def view(self, x: Rows) -> Viewed:
        """What the autoencoder sees of raw rows."""
        return squash(self.views(x)) if self.settings.squashed else self.views(x)

    def view_of(self, batch: Batch) -> Viewed:
        """What the autoencoder sees of a batch's normal rows, worked out once for all updates on it."""
        if self._viewed is None or self._viewed[0] is not batch:
            self._viewed = batch, self.view(batch.normal)
        return self._viewed[1]

    def read(self, v: Viewed) -> Float[Tensor, "row trace"]:
        """What the alarm reads of rows: hidden activations, and around them row, code and residual."""
        if not self.settings.trace:
            return self.target.activations(v, self.settings.activations)
        return squash(self.scale(self.trace(v)))

    def trace(self, v: Viewed) -> Float[Tensor, "row trace"]:
        """Row, code, hidden activations and residual, as they are."""
        code, in_encoder = self.target.encoder.trace(v)
        output, in_decoder = self.target.decoder.trace(code)
        hidden = {"encoder": in_encoder, "decoder": in_decoder, "all": in_encoder + in_decoder}
        return torch.cat([v, code, *hidden[self.settings.activations], v - self.target.as_row(output)], 1)

    def alarm_of(self, v: Viewed) -> Scores:
        """The alarm's logit for rows."""
        return self.alarm(self.read(v)).flatten()

    def alarm_of_code(self, code: Codes) -> Scores:
        """The alarm's logit for rows that are born as codes."""
        if self.settings.trace:
            return self.alarm_of(self.born(code))
        return self.alarm(self.target.activations_of_code(code, self.settings.activations)).flatten()

    def born(self, code: Codes) -> Viewed:
        """What the autoencoder sees of the rows that codes stand for.

        Only the decoder's first view makes the row, and the others are made from it: views that contradict
        each other would give a generated row away, and the alarm would learn nothing else.
        """
        return self.view(self.raw(code))

    def raw(self, code: Codes) -> Rows:
        """The raw rows that codes stand for, by the decoder's first view."""
        first = self.target.decode(code)[:, : len(self.views.center)]
        return self.views.from_minmax(first) if self.unit else self.views.from_standard(unsquash(first))

    def encode(self, x: Rows) -> Codes:
        """Codes of raw rows."""
        return self.target.encoder(self.view(x))

    # ---- the autoencoder

    def reconstruction(self, batch: Batch) -> Loss:
        """Autoencoder: copy normal rows."""
        v = self.view_of(batch)
        distance = reconstruction.bernoulli if self.unit else reconstruction.squared
        return distance(v, self.target(v)).mean()

    def prior(self, batch: Batch) -> Loss:
        """Discriminator: tell codes from the prior."""
        codes = self.target.encoder(self.view_of(batch))
        return adversarial.prior(
            self._judge(self.discriminator, codes), self._judge(self.discriminator, torch.randn_like(codes))
        )

    def disguise(self, batch: Batch) -> Loss:
        """Encoder: make codes look like the prior."""
        return adversarial.disguise(self._judge(self.discriminator, self.target.encoder(self.view_of(batch))))

    # ---- the alarm

    def alarm_on_trivial(self, batch: Batch) -> Loss:
        """Alarm, warm-up: normal rows and known anomalies against counterexamples born as rows."""
        s, v = self.settings, self.view_of(batch)
        loss = s.normal_weight * self._taught(self.alarm_of(v), 0.0)
        if len(batch.known):
            loss = loss + self._taught(self.alarm_of(self.view(batch.known)), 1.0)
        if s.trivial_weight:
            loss = loss + s.trivial_weight * self._against(noise.trivial(v))
        if s.near_weight:
            loss = loss + s.near_weight * self._against(self.view(noise.near(batch.normal, self.views.unit)))
        return loss

    def alarm_on_all(self, batch: Batch) -> Loss:
        """Alarm: the same, and against counterexamples born as codes."""
        s = self.settings
        loss = self.alarm_on_trivial(batch)
        if s.generated_weight:
            loss = loss + s.generated_weight * self._against_code(self.generate(batch).detach())
        if s.simple_weight:
            rows = math.ceil(len(batch.normal) * s.code_share)
            loss = loss + s.simple_weight * self._against_code(self.wide_gaussian(rows))
        return loss

    # ---- the double-adversarial game

    def generate(self, batch: Batch) -> Codes:
        """Generated codes from fresh noise, `code_share` per normal row of the batch; at least two."""
        rows = max(2, math.ceil(len(batch.normal) * self.settings.code_share))
        return self.bounded(
            self.generator(torch.randn(rows, self.settings.noise_width, device=batch.normal.device))
        )

    def bounded(self, code: Codes) -> Codes:
        """Codes drawn back to within `reach` times the norm of normal codes, if there is such a bound."""
        if self.settings.reach is None:
            return code
        limit = self.settings.reach * self.code_norm
        return code * (limit / code.norm(dim=1, keepdim=True).clamp_min(1e-6)).clamp_max(1.0)

    def wide_gaussian(self, rows: int) -> Codes:
        """Codes from the Gaussian that is `sigma` times as wide as the normal codes are supposed to be."""
        width = self.target.code_width
        return latent.simple(rows, width, self.settings.sigma, self.code_norm.device) * (
            self.code_norm / width**0.5
        )

    def deceive(self, batch: Batch) -> Loss:
        """Generator: look normal to the alarm, yet stay where the critic sees the wide Gaussian."""
        s = self.settings
        fooled = self.alarm_of_code(self.generate(batch))
        elsewhere = self.generate(batch)
        loss = s.fool_weight * adversarial.fool_alarm(
            fooled.sigmoid() if s.bounded and s.alarm == "activation" else fooled
        )
        loss = loss + adversarial.become_anomalous(self._judge(self.critic, elsewhere))
        return loss + s.repulsion_weight * adversarial.repulsion(elsewhere) if s.repulsion_weight else loss

    def criticise(self, batch: Batch) -> Loss:
        """Critic: tell normal and generated codes from the wide Gaussian."""
        normal = self.target.encoder(self.view_of(batch))
        return adversarial.critic(
            self._judge(self.critic, normal),
            self._judge(self.critic, self.generate(batch)),
            self._judge(self.critic, self.wide_gaussian(len(normal))),
            self.settings.critic_weights,
        )

    def watch(self, batch: Batch) -> dict[str, Tensor]:
        """What the losses hide: critic means, code norms, both parts of the generator's gradient."""
        normal = self.target.encoder(self.view_of(batch))
        generated = self.generate(batch).detach().requires_grad_()
        gaussian = self.wide_gaussian(len(normal))
        by_alarm = torch.autograd.grad(self.alarm_of_code(generated).mean(), generated)[0]
        by_critic = torch.autograd.grad(self._judge(self.critic, generated).mean(), generated)[0]
        return {
            "critic on normal": self._judge(self.critic, normal).mean(),
            "critic on generated": self._judge(self.critic, generated).mean(),
            "critic on gaussian": self._judge(self.critic, gaussian).mean(),
            "norm of normal codes": normal.norm(dim=1).mean(),
            "norm of generated codes": generated.norm(dim=1).mean(),
            "generator gradient from alarm": by_alarm.norm(),
            "generator gradient from critic": by_critic.norm(),
        }

    # ---- what is fitted once, on all normal rows

    def outliers(self, x: Rows) -> Bool[Tensor, "row"]:
        """Rows that are left out before anything is learned."""
        self.views.fit(x)
        return clear_outliers(self.views.standard(x), self.settings.trim)

    def hold_out(self, x: Rows) -> Rows:
        """Set aside 15 % of the rows (at least 30, at most 2 000 or a quarter) and return the rest.

        The others will fit so well that they cannot tell what is usual for a new row.
        """
        count = min(max(round(0.15 * len(x)), min(30, len(x) // 4)), 2000)
        order = torch.randperm(len(x), device=x.device)
        self.held_out = x[order[:count]]
        return x[order[count:]]

    def fit_views(self, x: Rows) -> None:
        """Scalings, and the memory by which counterexamples are labelled."""
        self.views.fit(x)
        if self.settings.soft:
            self.neighbourhood.fit(self.view(x))

    def fit_scale(self, x: Rows) -> None:
        """Mean and deviation of everything the alarm reads, the norm of normal codes, a sphere's centre."""
        if self.settings.reach is not None:
            self.code_norm.copy_(self.encode(_sample(x, 10_000)).square().sum(1).mean().sqrt())
        if self.settings.trace:
            self.scale.fit(self.trace(self.view(_sample(x, 10_000))), floor=0.01)
        if isinstance(self.alarm, Hypersphere):
            self.alarm.fit(self.read(self.view(_sample(x, 10_000))))

    def fit_evidence(self, x: Rows) -> None:
        """Memories and trees, and the spread of every kind of evidence."""
        self._viewed = None  # it has served: rows need not stay with the model
        if not self.settings.trace:
            return
        if not self.settings.untrained:
            v, held_out = self.view(_sample(x, 10_000)), self.view(self.held_out)
            if not len(held_out):
                held_out = v  # fewer than four rows
            self.by_alarm.fit(self.alarm_of(held_out))
            self.by_residual.fit(self._residual(v), self._residual(held_out))
            self.by_activation.fit(self.read(v), self.read(held_out))
        everything = torch.cat([x, self.held_out])
        z = self.views.standard(everything)
        self.by_row.fit(z)
        if self.settings.tails_evidence:
            self.by_tails.fit(z)
        straight = self.views.where_heavy(everything)
        self.by_straight.fit(straight)
        self.by_dependence.fit(straight)
        self.by_known.fit(straight, self.views.where_heavy(self.known))
        # They have served: rows of the table need not stay with the model.
        self.held_out, self.known = (x.new_zeros(0, x.shape[1]) for _ in range(2))

    def _against(self, v: Viewed) -> Loss:
        """Loss of the alarm on counterexamples, by their distance to the normal rows or as 1."""
        if not self.settings.soft:
            return self._taught(self.alarm_of(v), 1.0)
        distance = self.neighbourhood.distance(v)
        return self._taught(self.alarm_of(v), distance / (1 + distance))

    def _against_code(self, code: Codes) -> Loss:
        if self.settings.soft:
            return self._against(self.born(code))
        return self._taught(self.alarm_of_code(code), 1.0)

    def _taught(self, scores: Scores, target: float | Scores) -> Loss:
        """Loss of the inner detector for scores that should be low (target 0) or high (1)."""
        if isinstance(target, float):
            target = torch.full_like(scores, target)
        return _LESSONS[self.settings.alarm](scores, target)

    def _residual(self, v: Viewed) -> Viewed:
        return v - self.target.decode(self.target.encoder(v))

    def _judge(self, network: MLP, codes: Codes) -> Scores:
        output = network(codes).squeeze(1)
        return output.sigmoid() if self.settings.bounded else output


_LESSONS: Mapping[Inner, Callable[[Scores, Scores], Loss]] = {
    "activation": alarm.cross_entropy,
    "devnet": deviation,
    "deep-sad": hypersphere,
}


def _sample(x: Rows, most: int) -> Rows:
    return x[:: -(-len(x) // most)]


class DA3D(NetworkDetector):
    """Double-adversarial activation anomaly detection.

    Every argument below `preset` that is left at None takes its value from the preset.

    Parameters
    ----------
    preset : {"default", "fast", "preprint", "released"}
        ``"preprint"`` is the paper's text and Table 3, ``"released"`` the authors' later code, both with
        their full budget of hundreds of epochs; ``"default"`` repairs their known faults and ends in seconds,
        ``"fast"`` is what of its score needs no network.
    widths : sequence of int, optional
        Layers of the encoder; the last is the code. The decoder mirrors them.
    alarm_widths, generator_widths : sequence of int, optional
        Hidden layers of alarm and generator.
    activations : {"decoder", "encoder", "all"}, optional
        Which hidden activations the alarm reads.
    alarm : {"activation", "devnet", "deep-sad"}, optional
        The detector inside the game: the paper's network under cross-entropy, one under DevNet's deviation
        loss, or a hypersphere as in Deep SAD.
    normal_weight, trivial_weight, near_weight, simple_weight, generated_weight : float, optional
        Weights of the alarm's terms: normal rows, noise on its own, normal rows plus noise, random codes,
        generated codes. With `generated_weight` 0 neither generator nor critic is trained.
    critic_weights : sequence of three floats, optional
        Weights of normal codes, generated codes and the wide Gaussian in the critic's loss.
    sigma : float, optional
        Standard deviation of the wide Gaussian and of simple counterexamples, > 0.
    known_share : float, optional
        Known anomalies per normal row in the alarm's batches, if `y` marks any.
    evidence : mapping of str to float, optional
        Weights in the score, by the names ``alarm``, ``activation``, ``row``, ``straight``, ``tails``,
        ``residual``, ``dependence`` and ``known``; those left out keep the preset's weight. Only for presets
        that add up evidence.
    trim : float, optional
        Largest share of the rows that may be left out as clear outliers before anything is learned; 0 keeps
        all.
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
    threads : int
        CPU threads while fitting. These networks are so small that a second thread costs more than it gives
        unless the cores are idle.
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

    network_: DoubleAdversarial

    def __init__(
        self,
        preset: Preset = "default",
        *,
        widths: Sequence[int] | None = None,
        alarm_widths: Sequence[int] | None = None,
        generator_widths: Sequence[int] | None = None,
        activations: Where | None = None,
        alarm: Inner | None = None,
        normal_weight: float | None = None,
        trivial_weight: float | None = None,
        near_weight: float | None = None,
        simple_weight: float | None = None,
        generated_weight: float | None = None,
        critic_weights: Sequence[float] | None = None,
        sigma: float | None = None,
        known_share: float | None = None,
        evidence: Mapping[str, float] | None = None,
        trim: float | None = None,
        epochs: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        threads: int = 1,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | Path | None = None,
    ) -> None:
        self.preset = preset
        self.widths = widths
        self.alarm_widths = alarm_widths
        self.generator_widths = generator_widths
        self.activations = activations
        self.alarm = alarm
        self.normal_weight = normal_weight
        self.trivial_weight = trivial_weight
        self.near_weight = near_weight
        self.simple_weight = simple_weight
        self.generated_weight = generated_weight
        self.critic_weights = critic_weights
        self.sigma = sigma
        self.known_share = known_share
        self.evidence = evidence
        self.trim = trim
        self.epochs = epochs
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.contamination = contamination
        self.random_state = random_state
        self.device = device
        self.threads = threads
        self.callbacks = callbacks
        self.checkpoint = checkpoint

    def score_parts(self, X: Any) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
        """What each kind of evidence adds to the score of rows.

        Parameters
        ----------
        X : array-like of shape (rows, features)

        Returns
        -------
        dict of str to float32 array of shape (rows,)
            By the names that `evidence` knows, those of weight 0 left out; they add up to `anomaly_score`.
        """
        check_is_fitted(self)
        rows = self._tensor(self._validated(X, reset=False), next(self.network_.parameters()).device)
        with torch.inference_mode():
            chunks = [self.network_.parts(chunk) for chunk in torch.split(rows, _CHUNK)]
        return {name: torch.cat([chunk[name] for chunk in chunks]).cpu().numpy() for name in chunks[0]}

    def codes(self, X: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Codes of rows in the autoencoder, shape (rows, code): the plane of the paper's Figure 5."""
        rows = self._tensor(self._validated(X, reset=False), next(self.network_.parameters()).device)
        with torch.inference_mode():
            return self.network_.encode(rows).cpu().numpy()

    def generated_codes(self, rows: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Codes that the generator makes, shape (rows, code)."""
        device = next(self.network_.parameters()).device
        with seeded(seed, device), torch.inference_mode():
            noise = torch.randn(rows, self.settings_.noise_width, device=device)
            return self.network_.bounded(self.network_.generator(noise)).cpu().numpy()

    def generated_rows(self, rows: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """Rows that the generator's codes stand for, shape (rows, features); None if it was not trained."""
        if not self.settings_.generated_weight:
            return None
        codes = torch.from_numpy(self.generated_codes(rows, seed))
        with torch.inference_mode():
            raw = self.network_.raw(codes.to(self.network_.code_norm.device)).cpu().numpy()
        return raw * self.unit_ + self.center_

    @property
    def uses_known_anomalies(self) -> bool:
        """Whether `y` is learned from: by the weights, alarm or likeness to known anomalies must count."""
        weights = {"alarm": float(self.preset != "fast"), "known": 1.0} | dict(self.evidence or {})
        taught = self.known_share is None or self.known_share > 0
        return (taught and weights["alarm"] > 0) or weights["known"] > 0

    @property
    def smooth(self) -> bool:
        """Whether the fitted score changes along its slope only: not if trees take part in it."""
        return not (self.settings_.trees or len(self.network_.by_known.split))

    def _build(self, features: int) -> DoubleAdversarial:
        self.settings_ = self._resolve(features)
        return DoubleAdversarial(features, self.settings_, self.image_shape_)

    def _prepare(self, network: DoubleAdversarial, rows: Tensor, known: Tensor) -> Tensor:
        if network.settings.known_evidence:
            network.known = known
        if network.settings.trim:
            rows = rows[~network.outliers(rows)]
        return network.hold_out(rows) if network.settings.trace else rows

    def _resolve(self, features: int) -> Settings:
        if self.preset not in PRESETS:
            raise ParameterError(f"preset is {self.preset!r} but must be one of {', '.join(PRESETS)}.")
        if self.epochs is not None and self.steps is not None:
            raise ParameterError("epochs and steps are both given; give the budget in one of the two.")
        settings = PRESETS[self.preset](features)
        if self.image_shape_ is not None:
            settings = for_images(settings)
        given = {
            field.name: tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
            for field in fields(Settings)
            if (value := getattr(self, field.name, None)) is not None
        }
        if "epochs" in given:
            given["steps"] = None
        elif "steps" in given:
            given["epochs"] = None
        if self.evidence is not None:
            given |= _evidence(self.evidence, settings)
        settings = replace(settings, **given)  # type: ignore[arg-type]  # checked field by field below
        _check(settings)
        return settings

    def _schedule(self, network: DoubleAdversarial, rows: int, known: int) -> list[Phase]:
        s, model = network.settings, network
        adam = partial(Adam, lr=s.learning_rate, weight_decay=s.weight_decay, decoupled=True, eps=1e-7)
        player = partial(adam, lr=s.game_rate, betas=s.game_betas)
        disguiser = partial(adam, lr=s.prior_rate, betas=s.game_betas)
        phase = partial(Phase, batch_size=s.batch_size, anneal=s.anneal)
        update = partial(Update, optimizer=adam)
        play = partial(Update, optimizer=player, clip=s.clip)
        pretend = partial(Update, optimizer=disguiser, clip=s.clip)
        target, encoder, disc = [model.target], [model.target.encoder], [model.discriminator]
        game = [update(name="alarm", trains=[model.alarm], loss=model.alarm_on_all)]
        if s.generated_weight:
            game += [
                play(name="generator", trains=[model.generator], loss=model.deceive),
                play(name="critic", trains=[model.critic], loss=model.criticise),
            ]
        return [
            Phase(name="views", finish=model.fit_views),
            phase(
                name="autoencoder",
                updates=[
                    update(name="reconstruction", trains=target, loss=model.reconstruction),
                    pretend(name="prior", trains=disc, loss=model.prior),
                    pretend(name="disguise", trains=encoder, loss=model.disguise),
                ],
                finish=model.fit_scale,
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
                monitor=model.watch if s.generated_weight else None,
                finish=model.fit_evidence,
                **_budget(s, 2),
            ),
        ]


def _evidence(weights: Mapping[str, float], settings: Settings) -> dict[str, float]:
    """The settings that weights by name stand for."""
    if not settings.trace:
        raise ParameterError("evidence is given, but a paper's preset scores by the alarm's logit alone.")
    if unknown := sorted(set(weights) - set(EVIDENCE)):
        raise ParameterError(f"evidence names {', '.join(unknown)} but must be among {', '.join(EVIDENCE)}.")
    if not all(isinstance(weight, int | float) and weight >= 0 for weight in weights.values()):
        raise ParameterError(f"evidence is {dict(weights)} but must hold weights of at least 0.")
    chosen = {f"{name}_evidence": float(weight) for name, weight in weights.items()}
    always = (f"{name}_evidence" for name in EVIDENCE if name != "known")
    if not any(chosen.get(name, getattr(settings, name)) for name in always):
        raise ParameterError(
            "evidence leaves no part of the score with a weight above 0, known anomalies left aside."
        )
    return chosen


def _budget(settings: Settings, phase: int) -> dict[str, Any]:
    if settings.epochs is not None:
        return {"epochs": settings.epochs[phase]}
    return {"steps": (settings.steps or (0, 0, 0))[phase]}


def _check(s: Settings) -> None:
    _check_weights(s)
    if s.activations not in get_args(Where):
        raise ParameterError(
            f"activations is {s.activations!r} but must be one of {', '.join(get_args(Where))}."
        )
    if s.alarm not in get_args(Inner):
        raise ParameterError(f"alarm is {s.alarm!r} but must be one of {', '.join(get_args(Inner))}.")
    for name in ("widths", "alarm_widths", "generator_widths"):
        if not getattr(s, name) or min(getattr(s, name)) < 1:
            raise ParameterError(f"{name} is {getattr(s, name)} but must hold positive layer widths.")
    for name in ("sigma", "learning_rate", "batch_size"):
        if not getattr(s, name) > 0:
            raise ParameterError(f"{name} is {getattr(s, name)} but must be positive.")
    for name in ("epochs", "steps"):
        budget = getattr(s, name)
        if budget is not None and (len(budget) != 3 or min(budget) < 0):
            raise ParameterError(
                f"{name} is {budget} but must be three numbers >= 0: autoencoder, warm-up, adversarial phase."
            )


def _check_weights(s: Settings) -> None:
    if len(s.critic_weights) != 3 or min(s.critic_weights) < 0:
        raise ParameterError(
            f"critic_weights is {s.critic_weights} but must be three numbers >= 0: normal codes, generated "
            "codes, the wide Gaussian."
        )
    if not 0 <= s.trim < 1:
        raise ParameterError(f"trim is {s.trim} but must lie in [0, 1): a share of the training rows.")
    weights = [s.trivial_weight, s.near_weight, s.simple_weight, s.generated_weight]
    if min(weights) < 0 or not any(weights) or s.normal_weight <= 0:
        raise ParameterError(
            "normal_weight must be positive, and the weights of counterexamples at least 0 with one above 0; "
            f"given: normal {s.normal_weight}, trivial, near, simple, generated {weights}."
        )
