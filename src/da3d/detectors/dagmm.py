r"""DAGMM: deep autoencoding Gaussian mixture model (Zong et al. 2018).

An autoencoder copies a row x as x'; the code and two measures of the copy's error make a latent row z; an
estimation network says to which shares the row belongs to each component of a Gaussian mixture. All of it is
learned at once:

.. math::
    z         &= [\,enc(x),\; |x - x'| / |x|,\; (1 - \cos(x, x')) / 2\,], \qquad x' = dec(enc(x)) \\
    \gamma    &= softmax(est(z)) \\
    \phi_k    &= E[\gamma_k], \quad \mu_k = E[\gamma_k z] / \phi_k, \quad
    \Sigma_k   = E[\gamma_k (z - \mu_k)(z - \mu_k)^T] / \phi_k \\
    E(z)      &= -\log \sum_k \phi_k N(z; \mu_k, \Sigma_k) \\
    L         &= E|x - x'|^2 + \lambda_1 E[E(z)] + \lambda_2 \sum_k \sum_j 1 / \Sigma_{kjj}

In training a batch makes its own mixture. At the end the mixture of all rows is fixed, and the score of a row
is its energy in it.

References
----------
B. Zong, Q. Song, M. R. Min, W. Cheng, C. Lumezanu, D. Cho, H. Chen: Deep Autoencoding Gaussian Mixture Model
for Unsupervised Anomaly Detection. ICLR 2018. The differences between the paper, the implementation that most
later work compares with, and this file are listed in docs/methods/dagmm.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from da3d.detectors.network import NetworkDetector
from da3d.errors import ParameterError
from da3d.losses import energy, reconstruction
from da3d.networks import MLP, Autoencoder
from da3d.networks.mixture import Mixture, soft_mixture
from da3d.networks.views import exact
from da3d.training import Adam, Batch, Callback, Phase, Update

__all__ = ["DAGMM", "AutoencodingMixture"]

Rows = Float[Tensor, "row feature"]
Latent = Float[Tensor, "row latent"]
Loss = Float[Tensor, ""]

Preset = Literal["default", "kdd", "thyroid"]

_CHUNK = 8192
_NEAR_ZERO = 1e-3  # added to denominators, so that a row of zeros has finite errors


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a preset decides and an argument of `DAGMM` may override; see there."""

    widths: tuple[int, ...]
    estimation_widths: tuple[int, ...] = (10,)
    components: int
    dropout: float = 0.0
    energy_weight: float = 0.1
    covariance_weight: float = 1e-4
    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 1024
    learning_rate: float = 1e-4


class AutoencodingMixture(nn.Module):
    """Compression network, estimation network, mixture, and the objective that they share.

    Parameters
    ----------
    features : int
        Width of a row.
    settings : Settings
    """

    def __init__(self, features: int, settings: Settings) -> None:
        super().__init__()
        s = self.settings = settings
        self.compression = Autoencoder(features, s.widths, unit=False, activation="tanh")
        latent = self.compression.code_width + 2
        self.estimation = MLP(latent, s.estimation_widths, s.components, activation="tanh", dropout=s.dropout)
        self.mixture = Mixture(s.components, latent)

    def forward(self, x: Rows) -> Float[Tensor, " row"]:
        """Strangeness of rows: their energy in the fixed mixture."""
        z, _ = self.read(x)
        return energy.sample_energy(exact(z), *map(exact, self.mixture.parts())).to(x)

    def read(self, x: Rows) -> tuple[Latent, Rows]:
        """Latent rows, and the copies that they were read from."""
        code = self.compression.encoder(x)
        copy = self.compression.decoder(code)
        length, copied = x.norm(dim=1), copy.norm(dim=1)
        relative = (x - copy).norm(dim=1) / (length + _NEAR_ZERO)
        cosine = (x * copy).sum(1) / (length * copied + _NEAR_ZERO)
        return torch.cat([code, relative[:, None], (0.5 - 0.5 * cosine)[:, None]], 1), copy

    def membership(self, z: Latent) -> Float[Tensor, "row component"]:
        """Shares of latent rows in the components."""
        return exact(self.estimation(z)).softmax(1)

    def terms(self, batch: Batch) -> dict[str, Loss]:
        """The three terms of the objective, without weights."""
        z, copy = self.read(batch.normal)
        weights, means, factors = soft_mixture(exact(z), self.membership(z))
        return {
            "reconstruction": batch.normal.shape[1] * reconstruction.squared(batch.normal, copy).mean(),
            "energy": energy.sample_energy(exact(z), weights, means, factors).mean().to(z),
            "covariance": energy.covariance_penalty(factors).to(z),
        }

    def objective(self, batch: Batch) -> Loss:
        """Both networks: copy rows, and make the mixture of their latent rows likely but not degenerate."""
        terms = self.terms(batch)
        return (
            terms["reconstruction"]
            + self.settings.energy_weight * terms["energy"]
            + self.settings.covariance_weight * terms["covariance"]
        )

    def fit_mixture(self, x: Rows) -> None:
        """Fix the mixture of all rows."""
        z = torch.cat([self.read(chunk)[0] for chunk in torch.split(x, _CHUNK)])
        self.mixture.fit(exact(z), self.membership(z))


class DAGMM(NetworkDetector):
    """Deep autoencoding Gaussian mixture model.

    Every argument below `preset` that is left at None takes its value from the preset. Known anomalies are
    left out; nothing else is learned from them. Images are rows of pixels.

    Parameters
    ----------
    preset : {"default", "kdd", "thyroid"}
        ``"kdd"`` and ``"thyroid"`` have the paper's networks and budgets for KDD Cup 99 and Thyroid;
        ``"default"`` takes its sizes from the table's width and ends in a minute.
    widths : sequence of int, optional
        Layers of the compression network's encoder; the last is the code. The decoder mirrors them.
    estimation_widths : sequence of int, optional
        Hidden layers of the estimation network.
    components : int, optional
        Gaussians in the mixture, >= 1.
    dropout : float, optional
        Share of the estimation network's hidden activations dropped in training, in [0, 1). All presets have
        0; the paper has 0.5.
    energy_weight, covariance_weight : float, optional
        Weights lambda_1 and lambda_2 of the mean energy and of the inverse variances, >= 0. All presets have
        0.1 and 0.0001; the paper has 0.1 and 0.005.
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
    network_ : AutoencodingMixture
    history_ : History

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(300, 4)) @ np.diag([1, 1, 0.1, 0.1])
    >>> detector = DAGMM(steps=200, random_state=0).fit(rows)
    >>> bool(detector.anomaly_score([[0, 0, 5, -5]])[0] > np.median(detector.anomaly_score(rows)))
    True
    """

    network_: AutoencodingMixture

    def __init__(
        self,
        preset: Preset = "default",
        *,
        widths: Sequence[int] | None = None,
        estimation_widths: Sequence[int] | None = None,
        components: int | None = None,
        dropout: float | None = None,
        energy_weight: float | None = None,
        covariance_weight: float | None = None,
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
        self.estimation_widths = estimation_widths
        self.components = components
        self.dropout = dropout
        self.energy_weight = energy_weight
        self.covariance_weight = covariance_weight
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

    def _build(self, features: int) -> AutoencodingMixture:
        self.settings_ = self._resolve(features)
        return AutoencodingMixture(features, self.settings_)

    def _resolve(self, features: int) -> Settings:
        if self.preset not in PRESETS:
            raise ParameterError(f"preset is {self.preset!r} but must be one of {', '.join(PRESETS)}.")
        if self.epochs is not None and self.steps is not None:
            raise ParameterError("epochs and steps are both given; give the budget in one of the two.")
        given = {
            field.name: tuple(value) if isinstance(value, Sequence) else value
            for field in fields(Settings)
            if (value := getattr(self, field.name)) is not None
        }
        if "epochs" in given:
            given["steps"] = None
        elif "steps" in given:
            given["epochs"] = None
        settings = replace(PRESETS[self.preset](features), **given)  # type: ignore[arg-type]  # checked below
        _check(settings)
        return settings

    def _schedule(self, network: AutoencodingMixture, rows: int, known: int) -> list[Phase]:
        s = network.settings
        return [
            Phase(
                name="joint",
                updates=[
                    Update(
                        name="objective",
                        trains=[network.compression, network.estimation],
                        loss=network.objective,
                        optimizer=partial(Adam, lr=s.learning_rate),
                    )
                ],
                epochs=s.epochs,
                steps=s.steps,
                batch_size=s.batch_size,
                monitor=network.terms,
                finish=network.fit_mixture,
            )
        ]


def kdd(features: int) -> Settings:
    """The paper's network for KDD Cup 99, whose rows have 120 features there."""
    return Settings(widths=(60, 30, 10, 1), components=4, epochs=200)


def thyroid(features: int) -> Settings:
    """The paper's network for Thyroid, whose rows have 6 features there."""
    return Settings(widths=(12, 4, 1), components=2, epochs=20_000)


def default(features: int) -> Settings:
    """A wider code than the paper's, sized by the table's width, and a short budget.

    Behind a hidden layer of tanh the code is bounded. If it is a single number, rows far off are hardly told
    apart from those at the border.
    """
    width = min(60, max(16, 4 * features))
    code = min(8, max(2, features // 2))
    return Settings(
        widths=(width, width // 2, code), components=2, steps=2000, batch_size=256, learning_rate=1e-3
    )


PRESETS: Mapping[Preset, Callable[[int], Settings]] = {"default": default, "kdd": kdd, "thyroid": thyroid}
"""Settings by name, each a function of the row's width."""


def _check(s: Settings) -> None:
    for name in ("widths", "estimation_widths"):
        if not getattr(s, name) or min(getattr(s, name)) < 1:
            raise ParameterError(f"{name} is {getattr(s, name)} but must hold positive layer widths.")
    for name in ("components", "batch_size", "learning_rate"):
        if not getattr(s, name) > 0:
            raise ParameterError(f"{name} is {getattr(s, name)} but must be positive.")
    for name in ("energy_weight", "covariance_weight", "epochs", "steps"):
        if getattr(s, name) is not None and not getattr(s, name) >= 0:
            raise ParameterError(f"{name} is {getattr(s, name)} but must be at least 0.")
    if not 0 <= s.dropout < 1:
        raise ParameterError(f"dropout is {s.dropout} but must lie in [0, 1).")
