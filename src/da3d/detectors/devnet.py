r"""DevNet: deviation networks (Pang, Shen and van den Hengel, 2019).

A network gives a row x its score without a detour over a copy or a density. Reference scores r drawn from a
prior say what scores normal rows should have; known anomalies must stand out from them:

.. math::
    d(x) &= (\phi(x) - mean(r)) / std(r), \qquad r \sim N(0, 1) \\
    L    &= E[(1 - y)\,|d(x)| + y \max(0, m - d(x))]

Each batch holds as many anomalies as normal rows. They are known anomalies if there are any. The authors of
DA3D (section 6.3) feed it *simple counterexamples* instead: rows that an adversarial autoencoder with decoder
``dec`` and discriminator ``D`` makes from random codes,

.. math::
    L_{reconstruction} &= E[H(dec(enc(x)), x)] \\
    L_{prior}          &= E[D(enc(x))] - E[D(n)]   &n \sim N(0, 1) \\
    L_{disguise}       &= -E[D(enc(x))] \\
    \bar x             &= dec(h)                   &h \sim N(0, \sigma^2)

References
----------
G. Pang, C. Shen, A. van den Hengel: Deep Anomaly Detection with Deviation Networks. KDD 2019. The differences
between the paper, the authors' code and this file are listed in docs/methods/devnet.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from da3d.counterexamples import latent, noise
from da3d.detectors.da3d_presets import preprint
from da3d.detectors.network import NetworkDetector
from da3d.errors import ParameterError
from da3d.losses import adversarial, reconstruction
from da3d.losses.deviation import deviation
from da3d.networks import MLP, Autoencoder, Views
from da3d.networks.autoencoder import AnyAutoencoder
from da3d.networks.convolution import ConvolutionalAutoencoder
from da3d.training import Adam, Batch, Callback, Phase, Update

__all__ = ["DevNet", "DeviationNetwork"]

Rows = Float[Tensor, "row feature"]
Loss = Float[Tensor, ""]
Reference = Literal["once", "batch"]

_HIDDEN = {1: (), 2: (20,), 4: (1000, 250, 20)}
_REFERENCES = 5000
_SHRINKAGE = 0.01


class DeviationNetwork(nn.Module):
    """The scoring network, where its anomalies come from, and the losses.

    Parameters
    ----------
    features : int
        Width of a raw row.
    image : tuple of three ints or None
        Channels, height and width, if rows are pixels: they lie in [0, 1] already. Of a table, the range of
        every column is scaled to it.
    depth, margin, reference, simple, sigma
        As in `DevNet`. Without simple counterexamples there is no autoencoder.
    """

    def __init__(
        self,
        features: int,
        image: tuple[int, int, int] | None,
        *,
        depth: int,
        margin: float,
        reference: Reference,
        simple: int,
        sigma: float,
    ) -> None:
        super().__init__()
        self.margin, self.reference, self.sigma = margin, reference, sigma
        self.view = nn.Identity() if image else Views(features, ("minmax",))
        self.scorer = MLP(features, _HIDDEN[depth], 1, activation="relu")
        self.reference_mean: Tensor
        self.reference_std: Tensor
        self.simple: Tensor
        for name, moment in zip(("reference_mean", "reference_std"), self._draw_moments(), strict=True):
            self.register_buffer(name, moment)
        self.register_buffer("simple", torch.zeros(simple, features))
        if simple:
            s = preprint(features)  # the autoencoder of DA3D, as in its authors' ablation
            self.target: AnyAutoencoder = (
                ConvolutionalAutoencoder(image, unit=True)
                if image
                else Autoencoder(features, s.widths, unit=True, activation=s.activation, dropout=s.dropout)
            )
            self.discriminator = MLP(
                self.target.code_width, s.discriminator_widths, 1, activation=s.activation, dropout=s.dropout
            )

    def forward(self, x: Rows) -> Float[Tensor, " row"]:
        """Strangeness of raw rows: about 0 if they are normal, the margin or more if they are not."""
        return self.scorer(self.view(x)).squeeze(1)

    # ---- the scoring network

    def deviate(self, batch: Batch) -> Loss:
        """Scorer: normal rows at the reference and anomalies far above it, with small hidden weights."""
        normal, anomalous = self.view(batch.normal), self.anomalous(batch)
        scores = self.scorer(torch.cat([normal, anomalous])).squeeze(1)
        target = torch.cat([scores.new_zeros(len(normal)), scores.new_ones(len(anomalous))])
        if self.reference == "batch":
            mean, std = self._draw_moments()
        else:
            mean, std = self.reference_mean, self.reference_std
        loss = deviation(scores, target, mean, std, self.margin)
        for weight in self.scorer.hidden.parameters():
            if weight.ndim == 2:  # and not a bias
                loss = loss + _SHRINKAGE * weight.square().sum()
        return loss

    def anomalous(self, batch: Batch) -> Rows:
        """Known anomalies of a batch, filled up to the number of its normal rows.

        Filled up with simple counterexamples, or with noise if there are none.
        """
        known = self.view(batch.known)
        missing = len(batch.normal) - len(known)
        if not missing:
            return known
        if len(self.simple):
            chosen = torch.randint(len(self.simple), (missing,), device=known.device)
            return torch.cat([known, self.simple[chosen]])
        return torch.cat([known, noise.trivial(batch.normal[:missing])])

    def _draw_moments(self) -> tuple[Loss, Loss]:
        drawn = torch.randn(_REFERENCES, device=self.scorer.output.weight.device)
        return drawn.mean(), drawn.std(correction=0)

    # ---- the autoencoder that makes simple counterexamples

    def encode(self, x: Rows) -> Float[Tensor, "row code"]:
        """Codes of raw rows."""
        return self.target.encoder(self.view(x))

    def reconstruct(self, batch: Batch) -> Loss:
        """Autoencoder: copy normal rows."""
        v = self.view(batch.normal)
        return reconstruction.bernoulli(v, self.target(v)).mean()

    def prior(self, batch: Batch) -> Loss:
        """Discriminator: tell codes from the prior."""
        codes = self.encode(batch.normal)
        of_codes, of_prior = self.discriminator(codes), self.discriminator(torch.randn_like(codes))
        return adversarial.prior(of_codes.squeeze(1), of_prior.squeeze(1))

    def disguise(self, batch: Batch) -> Loss:
        """Encoder: make codes look like the prior."""
        return adversarial.disguise(self.discriminator(self.encode(batch.normal)).squeeze(1))

    def make_simple(self, x: Rows) -> None:
        """Decode random codes, once."""
        codes = latent.simple(len(self.simple), self.target.code_width, self.sigma, x.device)
        self.simple.copy_(self.target.decode(codes))


class DevNet(NetworkDetector):
    """Deviation network.

    It is made for known anomalies (`y`), and `simple` counterexamples join them in proportion to their
    number. Without either, noise N(1/2, 1) around rows scaled to [0, 1] takes their place: no paper's choice,
    but it works without labels.

    Parameters
    ----------
    depth : {1, 2, 4}
        Layers of the scoring network: linear, one hidden layer of 20, or three of 1000, 250 and 20.
    margin : float
        Standard deviations of the reference scores by which anomalies are to stand out, > 0.
    reference : {"once", "batch"}
        Whether reference scores are drawn once, as in the authors' code, or for each batch, as in the paper.
    simple : int
        Simple counterexamples that count as known anomalies: random codes, decoded by an adversarial
        autoencoder that is trained first. The authors of DA3D used 100.
    sigma : float
        Standard deviation of the random codes, > 0.
    target_epochs : int
        Budget of the autoencoder in passes over the rows. Its sizes are those of `DA3D("preprint")`.
    steps : int
        Budget of the scoring network in batches.
    batch_size : int
        Normal rows per batch; as many anomalies come with them.
    learning_rate : float
        Of RMSprop for the scoring network.
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
    network_ : DeviationNetwork
    history_ : History

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(300, 4))
    >>> rows[:10] += [2, 0, 0, 0]
    >>> detector = DevNet(steps=200, random_state=0).fit(rows, np.arange(300) < 10)
    >>> left, right = detector.anomaly_score([[-2, 0, 0, 0], [2, 0, 0, 0]])
    >>> bool(right > left)
    True
    """

    uses_known_anomalies = True
    network_: DeviationNetwork

    def __init__(
        self,
        *,
        depth: int = 2,
        margin: float = 5.0,
        reference: Reference = "once",
        simple: int = 0,
        sigma: float = 1.5,
        target_epochs: int = 500,
        steps: int = 1000,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        threads: int = 1,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | Path | None = None,
    ) -> None:
        self.depth = depth
        self.margin = margin
        self.reference = reference
        self.simple = simple
        self.sigma = sigma
        self.target_epochs = target_epochs
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.contamination = contamination
        self.random_state = random_state
        self.device = device
        self.threads = threads
        self.callbacks = callbacks
        self.checkpoint = checkpoint

    def _build(self, features: int) -> DeviationNetwork:
        self._check()
        return DeviationNetwork(
            features,
            self.image_shape_,
            depth=self.depth,
            margin=self.margin,
            reference=self.reference,
            simple=self.simple,
            sigma=self.sigma,
        )

    def _check(self) -> None:
        if self.depth not in _HIDDEN:
            raise ParameterError(f"depth is {self.depth} but must be one of {', '.join(map(str, _HIDDEN))}.")
        if self.reference not in get_args(Reference):
            raise ParameterError(
                f"reference is {self.reference!r} but must be one of {', '.join(get_args(Reference))}."
            )
        for name in ("margin", "sigma", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ParameterError(f"{name} is {getattr(self, name)} but must be positive.")
        for name in ("simple", "target_epochs", "steps"):
            if not getattr(self, name) >= 0:
                raise ParameterError(f"{name} is {getattr(self, name)} but must be at least 0.")

    def _schedule(self, network: DeviationNetwork, rows: int, known: int) -> list[Phase]:
        phases = [self._deviation(network, known)]
        if self.simple:
            phases.insert(0, self._autoencoder(network))
        if isinstance(network.view, Views):
            phases.insert(0, Phase(name="views", finish=network.view.fit))
        return phases

    def _deviation(self, network: DeviationNetwork, known: int) -> Phase:
        rmsprop = partial(torch.optim.RMSprop, lr=self.learning_rate, alpha=0.9, eps=1e-7)
        return Phase(
            name="deviation",
            updates=[
                Update(
                    name="deviation",
                    trains=[network.scorer],
                    loss=network.deviate,
                    optimizer=rmsprop,
                    clip=1.0,
                )
            ],
            steps=self.steps,
            batch_size=self.batch_size,
            known=known / max(1, known + self.simple),
        )

    def _autoencoder(self, network: DeviationNetwork) -> Phase:
        s = preprint(self.n_features_in_)
        adam = partial(Adam, lr=s.learning_rate, eps=1e-7)
        pretend = partial(Update, optimizer=adam, clip=s.clip)
        return Phase(
            name="autoencoder",
            updates=[
                Update(
                    name="reconstruction",
                    trains=[network.target],
                    loss=network.reconstruct,
                    optimizer=adam,
                ),
                pretend(name="prior", trains=[network.discriminator], loss=network.prior),
                pretend(name="disguise", trains=[network.target.encoder], loss=network.disguise),
            ],
            epochs=self.target_epochs,
            batch_size=s.batch_size,
            finish=network.make_simple,
        )
