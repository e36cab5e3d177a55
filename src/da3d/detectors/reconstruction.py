r"""Reconstruction: a row is as strange as its copy is wrong.

An autoencoder learns to copy normal rows x through a narrow code. With d the squared error, D a discriminator
and noise n:

.. math::
    \text{AE, AAE:} \quad L_{reconstruction} &= E[d(x, dec(enc(x)))] \\
    \text{AAE:}     \quad L_{prior}    &= E[D(enc(x))] - E[D(n)]   &n \sim N(0, 1) \\
                          L_{disguise} &= -E[D(enc(x))] \\
    \text{VAE:}     \quad L_{bound}    &= E[\tfrac{1}{2} d(x, dec(\mu + \sigma n))
                                        + w KL(N(\mu, \sigma^2), N(0, 1))] &\mu, \sigma = enc(x)

The score of AE and AAE is d(x, dec(enc(x))), the mean over features. That of the VAE is the term of its bound
for the most likely code, d being the sum over features: half of d(x, dec(mu)) plus the weighted divergence.
Where rows lie in [0, 1], the networks learn by cross-entropy in place of d or half of d; the scores stay as
they are, since the cross-entropy of a value outside [0, 1] can have any sign.

References
----------
S. Hawkins, H. He, G. Williams, R. Baxter: Outlier Detection Using Replicator Neural Networks. DaWaK 2002.
A. Makhzani, J. Shlens, N. Jaitly, I. Goodfellow, B. Frey: Adversarial Autoencoders. ICLR 2016 workshop.
D. P. Kingma, M. Welling: Auto-Encoding Variational Bayes. ICLR 2014.
J. An, S. Cho: Variational Autoencoder Based Anomaly Detection Using Reconstruction Probability. SNU 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from da3d.detectors.network import NetworkDetector
from da3d.detectors.reconstruction_presets import PRESETS, Kind, Preset, Settings
from da3d.errors import ParameterError
from da3d.losses import adversarial, reconstruction, variational
from da3d.networks import (
    MLP,
    AnyAutoencoder,
    Autoencoder,
    ConvolutionalAutoencoder,
    HiddenCodeAutoencoder,
    PooledAutoencoder,
    VariationalAutoencoder,
    Views,
    squash,
)
from da3d.training import Adam, Batch, Callback, Phase, Update

__all__ = ["AAE", "AE", "VAE", "AdversarialReplicator", "Replicator", "VariationalReplicator"]

Rows = Float[Tensor, "row feature"]
Codes = Float[Tensor, "row code"]
Scores = Float[Tensor, "row"]
Loss = Float[Tensor, ""]
Shape = tuple[int, int, int]
View = Callable[[Tensor], Tensor]

# Largest log-variance of a code that counts in a score. A larger one tells nothing that the error does not,
# and its exponential would drown the digits of all else.
_WIDEST = 10.0


class Replicator(nn.Module):
    """An autoencoder and the error of its copies.

    Parameters
    ----------
    target : AnyAutoencoder
    view : callable
        What the autoencoder sees of rows; a module that must be fitted, or a function.
    """

    def __init__(self, target: AnyAutoencoder, view: View) -> None:
        super().__init__()
        self.target = target
        self.view = view

    def forward(self, x: Rows) -> Scores:
        """Strangeness of rows: the squared error of their copies, mean over features."""
        v = self.view(x)
        return reconstruction.squared(v, self.target.as_row(self.target(v)))

    def reconstruction(self, batch: Batch) -> Loss:
        """Autoencoder: copy normal rows."""
        v = self.view(batch.normal)
        distance = reconstruction.bernoulli if self.target.unit else reconstruction.squared
        return distance(v, self.target(v)).mean()


class AdversarialReplicator(Replicator):
    """The same, whose codes are drawn to N(0, 1) by a discriminator.

    Parameters
    ----------
    target, view
        As in `Replicator`.
    discriminator : MLP
        One output per code.
    bounded : bool
        Whether a sigmoid follows the discriminator's output.
    """

    def __init__(self, target: AnyAutoencoder, view: View, discriminator: MLP, *, bounded: bool) -> None:
        super().__init__(target, view)
        self.discriminator = discriminator
        self.bounded = bounded

    def prior(self, batch: Batch) -> Loss:
        """Discriminator: tell codes from the prior."""
        codes = self.encode(batch.normal)
        return adversarial.prior(self.judge(codes), self.judge(torch.randn_like(codes)))

    def disguise(self, batch: Batch) -> Loss:
        """Encoder: make codes look like the prior."""
        return adversarial.disguise(self.judge(self.encode(batch.normal)))

    def encode(self, x: Rows) -> Codes:
        """Codes of rows."""
        return self.target.encoder(self.view(x))

    def judge(self, codes: Codes) -> Scores:
        """The discriminator's output: high where it believes in the prior."""
        output = self.discriminator(codes).squeeze(1)
        return output.sigmoid() if self.bounded else output


class VariationalReplicator(nn.Module):
    """A variational autoencoder and the bound of its likelihood.

    Parameters
    ----------
    target : VariationalAutoencoder
    view : callable
        As in `Replicator`.
    kl_weight : float
        Weight of the divergence from the prior. Of standardised rows it is the variance that the decoder
        grants a value around its copy, in units of the column's variance.
    """

    def __init__(self, target: VariationalAutoencoder, view: View, kl_weight: float) -> None:
        super().__init__()
        self.target = target
        self.view = view
        self.kl_weight = kl_weight

    def forward(self, x: Rows) -> Scores:
        """Strangeness of rows: half the error of their most likely copy, and the weighted divergence."""
        v = self.view(x)
        mean, log_variance = self.target.moments(v)
        error = v.shape[1] * reconstruction.squared(v, self.target.decode(mean))
        return error / 2 + self.kl_weight * variational.kl(mean, log_variance.clamp_max(_WIDEST))

    def bound(self, batch: Batch) -> Loss:
        """Autoencoder: copy normal rows from codes that are drawn around their means, near the prior."""
        v = self.view(batch.normal)
        mean, log_variance = self.target.moments(v)
        output = self.target.decoder(self.target.sample(mean, log_variance))
        if self.target.unit:
            error = v.shape[1] * reconstruction.bernoulli(v, output)
        else:
            error = v.shape[1] * reconstruction.squared(v, output) / 2
        return (error + self.kl_weight * variational.kl(mean, log_variance)).mean()


class _Reconstruction(NetworkDetector):
    """What the three have in common: arguments, view and phase."""

    kind: ClassVar[Kind]
    settings_: Settings

    def __init__(
        self,
        preset: Preset = "default",
        *,
        widths: Sequence[int] | None = None,
        dropout: float | None = None,
        epochs: int | None = None,
        steps: int | None = None,
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
        self.dropout = dropout
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

    def _resolve(self, features: int) -> Settings:
        presets = PRESETS[self.kind]
        if self.preset not in presets:
            raise ParameterError(f"preset is {self.preset!r} but must be one of {', '.join(presets)}.")
        if self.epochs is not None and self.steps is not None:
            raise ParameterError("epochs and steps are both given; give the budget in one of the two.")
        given = {
            field.name: tuple(value) if isinstance(value, Sequence) else value
            for field in fields(Settings)
            if (value := getattr(self, field.name, None)) is not None
        }
        if "epochs" in given:
            given["steps"] = None
        elif "steps" in given:
            given["epochs"] = None
        settings = replace(presets[self.preset](features), **given)  # type: ignore[arg-type]  # checked below
        _check(settings)
        return settings

    def _view(self, features: int, settings: Settings) -> View:
        if self.image_shape_ is not None:
            return nn.Identity()
        return Views(features, ("minmax",)) if settings.minmax else squash

    def _autoencoder(self, features: int, settings: Settings) -> AnyAutoencoder:
        """Convolutional for images, unless the widths of a dense one are given."""
        s, image = settings, self.image_shape_
        if image is not None and self.widths is None:
            if s.as_in_a3:
                return PooledAutoencoder(image, dropout=s.dropout, unit=True)
            return ConvolutionalAutoencoder(image, unit=True)
        dense = HiddenCodeAutoencoder if s.as_in_a3 else Autoencoder
        unit = s.minmax or image is not None
        return dense(features, s.widths, unit=unit, activation=s.activation, dropout=s.dropout)

    def _phases(self, view: View, updates: list[Update]) -> list[Phase]:
        s = self.settings_
        phase = Phase(
            name="autoencoder",
            updates=updates,
            epochs=s.epochs,
            steps=s.steps,
            batch_size=s.batch_size,
            anneal=s.anneal,
        )
        return [Phase(name="views", finish=view.fit), phase] if isinstance(view, Views) else [phase]

    def _adam(self) -> partial[Adam]:
        s = self.settings_
        return partial(Adam, lr=s.learning_rate, weight_decay=s.weight_decay, decoupled=True, eps=1e-7)


class AE(_Reconstruction):
    """An autoencoder; a row's score is the squared error of its copy.

    Every argument below `preset` that is left at None takes its value from the preset.

    Parameters
    ----------
    preset : {"default", "paper"}
        ``"paper"`` is the autoencoder whose reconstruction error A3 is compared with; ``"default"`` ends in
        seconds.
    widths : sequence of int, optional
        Layers of the encoder; the last is the code. The decoder mirrors them. Images have the papers'
        convolutional autoencoders unless widths are given.
    dropout : float, optional
        Share of hidden activations dropped in training, in [0, 1).
    epochs, steps : int, optional
        Budget in passes over the rows or in batches. Give one of the two.
    batch_size : int, optional
    learning_rate : float, optional
    contamination : float
        Share of the training rows that lie below `offset_`, in (0, 0.5].
    random_state : int, RandomState or None
        One integer decides everything; None draws fresh entropy.
    device : str
        "auto", "cpu", "cuda" or "mps".
    threads : int
        CPU threads while fitting.
    callbacks : sequence of Callback
        Watch the training, such as `training.ProgressBar`.
    checkpoint : path, optional
        File from which a killed fit continues; deleted when the fit has ended.

    Attributes
    ----------
    settings_ : Settings
        The preset with the overrides.
    network_ : Replicator
    history_ : History

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(300, 4))
    >>> detector = AE(steps=200, random_state=0).fit(rows)
    >>> bool(detector.anomaly_score([[9.0, 9, 9, 9]])[0] > detector.anomaly_score(rows).max())
    True
    """

    kind = "AE"
    network_: Replicator

    def _build(self, features: int) -> Replicator:
        s = self.settings_ = self._resolve(features)
        return Replicator(self._autoencoder(features, s), self._view(features, s))

    def _schedule(self, network: Replicator, rows: int, known: int) -> list[Phase]:
        copy = Update(
            name="reconstruction",
            trains=[network.target],
            loss=network.reconstruction,
            optimizer=self._adam(),
        )
        return self._phases(network.view, [copy])


class AAE(_Reconstruction):
    """An adversarial autoencoder, whose codes follow N(0, 1); a row's score is the squared error of its copy.

    Every argument below `preset` that is left at None takes its value from the preset.

    Parameters
    ----------
    preset : {"default", "paper"}
        ``"paper"`` is the target of DA3D, as its authors trained it before the game begins, for 500 epochs;
        ``"default"`` ends in seconds.
    widths, dropout, epochs, steps, batch_size, learning_rate
        As in `AE`.
    contamination, random_state, device, threads, callbacks, checkpoint
        As in `AE`.

    Attributes
    ----------
    settings_ : Settings
        The preset with the overrides.
    network_ : AdversarialReplicator
    history_ : History
    """

    kind = "AAE"
    network_: AdversarialReplicator

    def _build(self, features: int) -> AdversarialReplicator:
        s = self.settings_ = self._resolve(features)
        target = self._autoencoder(features, s)
        discriminator = MLP(
            target.code_width,
            s.discriminator_widths,
            1,
            activation=s.activation,
            dropout=s.dropout,
            lipschitz=s.lipschitz,
        )
        return AdversarialReplicator(target, self._view(features, s), discriminator, bounded=s.bounded)

    def _schedule(self, network: AdversarialReplicator, rows: int, known: int) -> list[Phase]:
        target = network.target
        pretend = partial(
            Update,
            optimizer=partial(self._adam(), lr=self.settings_.prior_rate, betas=self.settings_.prior_betas),
            clip=self.settings_.clip,
        )
        updates = [
            Update(
                name="reconstruction", trains=[target], loss=network.reconstruction, optimizer=self._adam()
            ),
            pretend(name="prior", trains=[network.discriminator], loss=network.prior),
            pretend(name="disguise", trains=[target.encoder], loss=network.disguise),
        ]
        return self._phases(network.view, updates)


class VAE(_Reconstruction):
    """A variational autoencoder; a row's score is its term of the bound that was trained on.

    That is half the squared error of the most likely copy plus the weighted divergence of the row's code from
    the prior. Every argument below `preset` that is left at None takes its value from the preset.

    Parameters
    ----------
    preset : {"default", "paper"}
        ``"paper"`` is the network that makes counterexamples in A3, of the same size for every table;
        ``"default"`` ends in seconds.
    widths : sequence of int, optional
        At least one hidden layer of the encoder, and the code. The network is dense for images too.
    kl_weight : float, optional
        Weight of the divergence, > 0. Of standardised rows it is the variance that the decoder grants a value
        around its copy, in units of the column's variance.
    dropout, epochs, steps, batch_size, learning_rate
        As in `AE`.
    contamination, random_state, device, threads, callbacks, checkpoint
        As in `AE`.

    Attributes
    ----------
    settings_ : Settings
        The preset with the overrides.
    network_ : VariationalReplicator
    history_ : History
    """

    kind = "VAE"
    network_: VariationalReplicator

    def __init__(
        self,
        preset: Preset = "default",
        *,
        widths: Sequence[int] | None = None,
        kl_weight: float | None = None,
        dropout: float | None = None,
        epochs: int | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        threads: int = 1,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | Path | None = None,
    ) -> None:
        super().__init__(
            preset,
            widths=widths,
            dropout=dropout,
            epochs=epochs,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            contamination=contamination,
            random_state=random_state,
            device=device,
            threads=threads,
            callbacks=callbacks,
            checkpoint=checkpoint,
        )
        self.kl_weight = kl_weight

    def _build(self, features: int) -> VariationalReplicator:
        s = self.settings_ = self._resolve(features)
        *hidden, code = s.widths
        if not hidden:
            raise ParameterError(f"widths is {s.widths} but must hold a hidden layer and the code.")
        target = VariationalAutoencoder(
            features,
            hidden,
            code,
            unit=s.minmax or self.image_shape_ is not None,
            activation=s.activation,
            dropout=s.dropout,
        )
        return VariationalReplicator(target, self._view(features, s), s.kl_weight)

    def _schedule(self, network: VariationalReplicator, rows: int, known: int) -> list[Phase]:
        copy = Update(name="bound", trains=[network.target], loss=network.bound, optimizer=self._adam())
        return self._phases(network.view, [copy])


def _check(s: Settings) -> None:
    if not s.widths or min(s.widths) < 1:
        raise ParameterError(f"widths is {s.widths} but must hold positive layer widths.")
    if not 0 <= s.dropout < 1:
        raise ParameterError(f"dropout is {s.dropout} but must lie in [0, 1).")
    for name in ("batch_size", "learning_rate", "kl_weight", "epochs" if s.steps is None else "steps"):
        if not getattr(s, name) > 0:
            raise ParameterError(f"{name} is {getattr(s, name)} but must be positive.")
