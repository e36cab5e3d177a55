r"""Deep SVDD (Ruff et al. 2018) and Deep SAD (Ruff et al. 2020): normal rows gather around a centre.

An autoencoder is trained first. Its encoder phi goes on to draw the codes of normal rows towards their first
mean c; Deep SAD also pushes the codes of known anomalies (y = 1) away from it:

.. math::
    L_{reconstruction} &= E|x - dec(\phi(x))|^2 \\
    c                  &= E[\phi(x)]    \qquad \text{(then fixed)} \\
    d(x)               &= |\phi(x) - c|^2 \\
    L_{SVDD}           &= E[d(x)] \\
    L_{SAD}            &= E[(1 - y)\,d(x) + y\,\eta / d(x)]

The score of a row is d. Neither network has a bias: with one, a constant phi = c would be the perfect answer.

References
----------
L. Ruff, R. A. Vandermeulen, N. Görnitz, L. Deecke, S. A. Siddiqui, A. Binder, E. Müller, M. Kloft: Deep
One-Class Classification. ICML 2018.
L. Ruff, R. A. Vandermeulen, N. Görnitz, A. Binder, E. Müller, K.-R. Müller, M. Kloft: Deep Semi-Supervised
Anomaly Detection. ICLR 2020. What differs here is listed in docs/methods/deep-svdd.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from da3d.detectors.network import NetworkDetector
from da3d.errors import ParameterError
from da3d.losses import reconstruction
from da3d.losses.hypersphere import hypersphere
from da3d.networks import MLP, Views
from da3d.networks.hypersphere import Hypersphere, without_biases
from da3d.networks.lenet import lenet, mirrored_lenet
from da3d.training import Adam, Batch, Callback, Phase, Update

__all__ = ["DeepSAD", "DeepSVDD", "OneClass"]

Rows = Float[Tensor, "row feature"]
Loss = Float[Tensor, ""]
Shape = tuple[int, int, int]


class OneClass(nn.Module):
    """Encoder with its centre, decoder, and the losses of both phases.

    Parameters
    ----------
    features : int
        Width of a raw row.
    image : tuple of three ints or None
        Channels, height and width, if rows are pixels: they lie in [0, 1] already. Of a table, the range of
        every column is scaled to it.
    widths : sequence of int
        Layers of the encoder, for images the channels of its convolutions; the last is the code.
    eta : float
        Weight of known anomalies.
    """

    def __init__(self, features: int, image: Shape | None, widths: Sequence[int], eta: float) -> None:
        super().__init__()
        self.eta = eta
        *hidden, code = widths
        self.view = nn.Identity() if image else Views(features, ("minmax",))
        if image and hidden and min(image[1:]) >= 2 ** len(hidden):
            self.sphere = Hypersphere(lenet(image, hidden, code), code)
            self.decoder: nn.Module = mirrored_lenet(image, hidden, code)
        else:
            self.sphere = Hypersphere(MLP(features, hidden, code), code)
            self.decoder = without_biases(MLP(code, hidden[::-1], features))

    def forward(self, x: Rows) -> Float[Tensor, " row"]:
        """Strangeness of raw rows: the squared distance of their codes to the centre."""
        return self.sphere(self.view(x))

    def reconstruct(self, batch: Batch) -> Loss:
        """Autoencoder: copy normal rows."""
        v = self.view(batch.normal)
        return reconstruction.squared(v, self.decoder(self.sphere.body(v)).sigmoid()).mean()

    def gather(self, batch: Batch) -> Loss:
        """Encoder: normal rows to the centre, known anomalies away from it."""
        distance = self(torch.cat([batch.normal, batch.known]))
        target = torch.cat([distance.new_zeros(len(batch.normal)), distance.new_ones(len(batch.known))])
        return hypersphere(distance, target, self.eta)

    def fit_center(self, x: Rows) -> None:
        """Put the centre at the mean code of the normal rows."""
        self.sphere.fit(self.view(x))


class DeepSVDD(NetworkDetector):
    """Deep support vector data description, one-class objective.

    Known anomalies are left out; nothing else is learned from them (`DeepSAD` does).

    Parameters
    ----------
    widths : sequence of int, optional
        Layers of the encoder; the last is the code and the decoder mirrors them. For images the earlier ones
        are channels of convolutions, each with a maximum over 2 x 2 pixels. By default the sizes of the
        papers: by the width of a table, for grey images (8, 4, 32), for colour images (32, 64, 128, 128).
    steps : sequence of two ints
        Budget of the autoencoder and of the one-class phase in batches.
    epochs : sequence of two ints, optional
        The same in passes over the rows; takes the place of `steps`. The papers' is (150, 150).
    batch_size : int
    learning_rate, weight_decay : float
        Of Adam. The rate falls to zero along each phase.
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
    network_ : OneClass
    history_ : History

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(300, 4))
    >>> detector = DeepSVDD(steps=(100, 100), random_state=0).fit(rows)
    >>> bool(detector.anomaly_score([[9.0, 9, 9, 9]])[0] > detector.anomaly_score(rows).max())
    True
    """

    network_: OneClass

    def __init__(
        self,
        *,
        widths: Sequence[int] | None = None,
        steps: Sequence[int] = (2000, 2000),
        epochs: Sequence[int] | None = None,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-6,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        threads: int = 1,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | Path | None = None,
    ) -> None:
        self.widths = widths
        self.steps = steps
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.contamination = contamination
        self.random_state = random_state
        self.device = device
        self.threads = threads
        self.callbacks = callbacks
        self.checkpoint = checkpoint

    def _build(self, features: int) -> OneClass:
        self._check()
        image = self.image_shape_
        widths = _usual_widths(features, image) if self.widths is None else self.widths
        return OneClass(features, image, widths, self._labels()[0])

    def _labels(self) -> tuple[float, float]:
        """Weight of known anomalies, and how many come with a normal row."""
        return 1.0, 0.0

    def _check(self) -> None:
        if self.widths is not None and (not self.widths or min(self.widths) < 1):
            raise ParameterError(f"widths is {self.widths} but must hold positive layer widths.")
        for name in ("steps", "epochs"):
            budget = getattr(self, name)
            if budget is not None and (len(budget) != 2 or min(budget) < 0):
                raise ParameterError(
                    f"{name} is {budget} but must be two numbers >= 0: autoencoder, one-class phase."
                )
        for name in ("batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ParameterError(f"{name} is {getattr(self, name)} but must be positive.")
        if not self.weight_decay >= 0:
            raise ParameterError(f"weight_decay is {self.weight_decay} but must be at least 0.")

    def _schedule(self, network: OneClass, rows: int, known: int) -> list[Phase]:
        adam = partial(Adam, lr=self.learning_rate, weight_decay=self.weight_decay)
        update, phase = (
            partial(Update, optimizer=adam),
            partial(Phase, batch_size=self.batch_size, anneal=True),
        )
        phases = [
            phase(
                name="autoencoder",
                updates=[
                    update(
                        name="reconstruction",
                        trains=[network.sphere, network.decoder],
                        loss=network.reconstruct,
                    )
                ],
                finish=network.fit_center,
                **self._budget(0),
            ),
            phase(
                name="one-class",
                updates=[update(name="distance", trains=[network.sphere], loss=network.gather)],
                known=self._labels()[1],
                **self._budget(1),
            ),
        ]
        if isinstance(network.view, Views):
            phases.insert(0, Phase(name="views", finish=network.view.fit))
        return phases

    def _budget(self, phase: int) -> dict[str, Any]:
        return {"steps": self.steps[phase]} if self.epochs is None else {"epochs": self.epochs[phase]}


class DeepSAD(DeepSVDD):
    """Deep semi-supervised anomaly detection: Deep SVDD that pushes known anomalies away from the centre.

    Without known anomalies it is `DeepSVDD`.

    Parameters
    ----------
    eta : float
        Weight of known anomalies, > 0.
    known_share : float
        Known anomalies per normal row in a batch, if `y` marks any, > 0.
    widths, steps, epochs, batch_size, learning_rate, weight_decay
        As in `DeepSVDD`.
    contamination, random_state, device, threads, callbacks, checkpoint
        As in `DeepSVDD`.

    Attributes
    ----------
    network_ : OneClass
    history_ : History

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(300, 4))
    >>> rows[:10] += [2, 0, 0, 0]
    >>> detector = DeepSAD(steps=(100, 200), random_state=0).fit(rows, np.arange(300) < 10)
    >>> left, right = detector.anomaly_score([[-2, 0, 0, 0], [2, 0, 0, 0]])
    >>> bool(right > left)
    True
    """

    uses_known_anomalies = True

    def __init__(
        self,
        *,
        eta: float = 1.0,
        known_share: float = 0.1,
        widths: Sequence[int] | None = None,
        steps: Sequence[int] = (2000, 2000),
        epochs: Sequence[int] | None = None,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-6,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        threads: int = 1,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | Path | None = None,
    ) -> None:
        super().__init__(
            widths=widths,
            steps=steps,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            contamination=contamination,
            random_state=random_state,
            device=device,
            threads=threads,
            callbacks=callbacks,
            checkpoint=checkpoint,
        )
        self.eta = eta
        self.known_share = known_share

    def _labels(self) -> tuple[float, float]:
        return self.eta, self.known_share

    def _check(self) -> None:
        super()._check()
        for name in ("eta", "known_share"):
            if not getattr(self, name) > 0:
                raise ParameterError(f"{name} is {getattr(self, name)} but must be positive.")


def _usual_widths(features: int, image: Shape | None) -> tuple[int, ...]:
    """The papers' sizes: for grey and colour images, and for tables by their width."""
    if image is not None and min(image[1:]) >= 8:
        return (8, 4, 32) if image[0] == 1 else (32, 64, 128, 128)
    return (128, 64, 32) if features >= 100 else (32, 16, 8)
