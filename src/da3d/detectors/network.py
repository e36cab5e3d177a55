"""Arrays outside, tensors inside: the way a network fills a detector's face."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional as F

from da3d.detectors.base import Detector
from da3d.detectors.parameters import at_least
from da3d.errors import ParameterError
from da3d.seeding import seeded
from da3d.training import Callback, Checkpoint, Phase, train
from da3d.training.ranks import agreed

__all__ = ["NetworkDetector", "pick_device"]

# Rows per forward pass: small enough for the cache and for bounded memory, large enough for the BLAS.
_CHUNK = 512
# Passes are padded to a multiple of this, so that a row meets the same kernels whatever its neighbours.
_PAD = 64
# Values beyond so many deviations are as far as it gets: their squares still fit a float32.
_FAR = 1e9


class NetworkDetector(Detector):
    """A detector that is a module and a schedule.

    A subclass builds its module in `_build` and its phases in `_schedule`.

    Attributes
    ----------
    network_ : Module
        Maps a tensor of rows to one score each.
    history_ : History
        Losses and monitored values of the training.
    center_, unit_ : ndarray of shape (features,)
        How rows are shifted and scaled before the module sees them: to zero mean and unit deviation in a
        table, to [0, 1] in images.
    """

    device: str
    threads: int
    callbacks: Sequence[Callback]
    checkpoint: str | Path | None

    @abstractmethod
    def _build(self, features: int) -> nn.Module:
        """The untrained module for rows of this width."""

    @abstractmethod
    def _schedule(self, network: Any, rows: int, known: int) -> Sequence[Phase]:
        """How the module learns from so many normal rows and known anomalies."""

    def _learn(self, normal: NDArray[np.float64], known: NDArray[np.float64]) -> None:
        at_least(1, threads=self.threads)
        device = pick_device(self.device)
        checkpoint = self._checkpoint(normal, known)
        self.seed_ = agreed(self.seed_)
        with seeded(self.seed_, device), _threads(self.threads):
            self.network_ = self._build(normal.shape[1]).to(device)
            self.center_, self.unit_ = self._scales(normal)
            rows, anomalies = self._tensor(normal, device), self._tensor(known, device)
            rows = self._prepare(self.network_, rows, anomalies)
            self.history_ = train(
                self.network_,
                self._schedule(self.network_, len(rows), len(anomalies)),
                rows,
                anomalies,
                callbacks=self.callbacks,
                checkpoint=checkpoint,
            )
        if checkpoint is not None:
            checkpoint.remove()

    def _scales(self, normal: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What is subtracted from every column, and what it is divided by.

        All pixels share one scale, from 0 or a darker pixel to 1 or a brighter one: 255 in most images.
        """
        if self.image_shape_ is not None:
            low, high = min(0.0, normal.min()), max(1.0, normal.max())
            return np.full(normal.shape[1], low), np.full(normal.shape[1], high - low)
        center, unit = normal.mean(0), normal.std(0)
        unit[~(unit > 1e-12 * np.abs(center))] = 1.0
        return center, unit

    def _prepare(self, network: Any, rows: Tensor, known: Tensor) -> Tensor:
        """The rows to learn from, of those believed normal: all of them unless a subclass leaves some out."""
        return rows

    def _tensor(self, rows: NDArray[np.float64], device: torch.device) -> Tensor:
        """Rows in float32, scaled first so that a large offset does not eat a column's digits."""
        scaled = np.clip((rows - self.center_) / self.unit_, -_FAR, _FAR)
        return torch.from_numpy(scaled.astype(np.float32)).to(device)

    def _checkpoint(self, normal: NDArray[np.float64], known: NDArray[np.float64]) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        if self.random_state is None:
            raise ParameterError(
                "checkpoint is set but random_state is None: a fit can only be continued under the same "
                "seed. Give random_state an integer."
            )
        parameters = {
            k: repr(v) for k, v in self.get_params().items() if k not in ("callbacks", "checkpoint")
        }
        digest = hashlib.sha256(json.dumps([type(self).__name__, parameters], sort_keys=True).encode())
        digest.update(np.ascontiguousarray(normal).tobytes() + b"|" + np.ascontiguousarray(known).tobytes())
        return Checkpoint(Path(self.checkpoint), digest.hexdigest())

    def _score(self, rows: NDArray[np.float64]) -> NDArray[np.floating[Any]]:
        scores = np.empty(len(rows), dtype=np.float32)
        device = next(self.network_.parameters()).device
        with torch.inference_mode():
            for start in range(0, len(rows), _CHUNK):
                chunk = self._tensor(rows[start : start + _CHUNK], device)
                padded = F.pad(chunk, (0, 0, 0, -len(chunk) % _PAD))
                scores[start : start + len(chunk)] = self.network_(padded)[: len(chunk)].cpu().numpy()
        return scores

    @property
    def smooth(self) -> bool:
        """Whether the fitted score changes along its slope only, without steps."""
        return True

    def gradients(self, X: ArrayLike) -> NDArray[np.float64]:
        """Slope of each row's score along each feature, shape (rows, features), per unit of the feature.

        Not finite where the network's score has no slope, such as on top of a remembered row.
        """
        check_is_fitted(self)
        rows = self._validated(X, reset=False)
        slopes = np.empty(rows.shape)
        device = next(self.network_.parameters()).device
        for start in range(0, len(rows), _CHUNK):
            chunk = self._tensor(rows[start : start + _CHUNK], device).requires_grad_()
            (slope,) = torch.autograd.grad(self.network_(chunk).sum(), chunk)
            slopes[start : start + len(chunk)] = slope.cpu().numpy()
        return slopes / self.unit_

    def fitted_arrays(self) -> dict[str, NDArray[Any]]:
        """The columns' centers and units, and the module's parameters and buffers."""
        state = {name: tensor.cpu().numpy() for name, tensor in self.network_.state_dict().items()}
        return {"center": self.center_, "unit": self.unit_} | {f"network.{k}": v for k, v in state.items()}

    def restore(self, arrays: dict[str, NDArray[Any]], estimators: dict[str, BaseEstimator]) -> None:
        """Build the module and load its parameters and buffers."""
        device = pick_device(self.device)
        with seeded(0, torch.device("cpu")):
            self.network_ = self._build(self.n_features_in_)
        self.center_, self.unit_ = arrays["center"], arrays["unit"]
        self.network_.load_state_dict(
            {
                k.removeprefix("network."): torch.from_numpy(v)
                for k, v in arrays.items()
                if k.startswith("network.")
            }
        )
        self.network_.to(device).eval()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" is CUDA if there is one, else the CPU.

    Raises
    ------
    ParameterError
        The device is unknown or not available here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(name.split(":")[0], False):
        usable = ", ".join(kind for kind, usable in available.items() if usable)
        raise ParameterError(
            f"device is {name!r}, which is not available here; use 'auto' or one of: {usable}."
        )
    return torch.device(name)
