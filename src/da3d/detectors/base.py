"""Arrays outside, tensors inside: the face that every detector shows, and the way a network fills it.

Scores have one direction in this library: `anomaly_score` is higher for stranger rows. scikit-learn's
convention (higher is more normal) is kept under scikit-learn's names; the sign flips in `score_samples` and
nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn
from torch.nn import functional as F

from da3d.errors import LabelError, LabelWarning, ParameterError, TableError
from da3d.seeding import seeded
from da3d.training import Callback, Checkpoint, Phase, train

__all__ = ["Detector", "NetworkDetector", "known_anomalies", "pick_device"]

# Rows per forward pass: small enough for the cache and for bounded memory, large enough for the BLAS.
_CHUNK = 512
# Passes are padded to a multiple of this, so that a row meets the same kernels whatever its neighbours.
_PAD = 64
# Values beyond so many deviations are as far as it gets: their squares still fit a float32.
_FAR = 1e9


class Detector(OutlierMixin, BaseEstimator, ABC):
    """What every detector promises.

    A subclass stores its parameters in `__init__`, learns in `_learn` and scores in `_score`; this class
    does validation, labels, seeds, sign and threshold.

    Attributes
    ----------
    offset_ : float
        `decision_function` is `score_samples - offset_`; a share `contamination` of the training rows
        believed normal lies below zero.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if the training rows had names.
    seed_ : int
        The integer that `random_state` came to.
    """

    uses_known_anomalies: ClassVar[bool] = False
    """Whether `y` changes what is learned; otherwise known anomalies are only left out."""

    contamination: float
    random_state: int | np.random.RandomState | None

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learn what is normal.

        Parameters
        ----------
        X : array-like of shape (rows, features)
            Finite numbers, at least two rows.
        y : array-like of shape (rows,), optional
            1 marks a known anomaly, 0 a row believed normal. Known anomalies are never treated as normal.

        Raises
        ------
        TableError
            `X` is not a finite two-dimensional array of numbers.
        LabelError
            `y` has missing values or another length, or leaves fewer than two normal rows.
        ParameterError
            A parameter is out of its range.
        """
        if not 0 < self.contamination <= 0.5:
            raise ParameterError(
                f"contamination is {self.contamination} but must lie in (0, 0.5]: the share of training rows "
                "that fall below the offset."
            )
        rows = self._validated(X, reset=True)
        anomalous = known_anomalies(y, len(rows))
        self.seed_ = _seed(self.random_state)
        self._learn(rows[~anomalous], rows[anomalous])
        self.offset_ = float(np.quantile(self.score_samples_of(rows[~anomalous]), self.contamination))
        return self

    def anomaly_score(self, X: ArrayLike) -> NDArray[np.float64]:
        """Strangeness of each row, shape (rows,): higher is stranger, without bounds."""
        check_is_fitted(self)
        return self._score(self._validated(X, reset=False)).astype(np.float64)

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """scikit-learn's direction: higher is more normal."""
        return -self.anomaly_score(X)

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """`score_samples` minus `offset_`: negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """+1 for inliers and -1 for outliers, by `offset_`."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def score_samples_of(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """`score_samples` of rows that have been validated."""
        return -self._score(rows).astype(np.float64)

    def _validated(self, X: ArrayLike, *, reset: bool) -> NDArray[np.float64]:
        try:
            return validate_data(self, X, reset=reset, dtype=np.float64, ensure_min_samples=2 if reset else 1)
        except ValueError as error:
            raise TableError(str(error)) from error

    @abstractmethod
    def _learn(self, normal: NDArray[np.float64], known: NDArray[np.float64]) -> None:
        """Learn from rows believed normal and from known anomalies (possibly none)."""

    @abstractmethod
    def _score(self, rows: NDArray[np.float64]) -> NDArray[np.floating[Any]]:
        """Strangeness of validated rows."""

    @abstractmethod
    def fitted_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that `_learn` found, as arrays: what a model file keeps beside the parameters."""

    def fitted_estimators(self) -> dict[str, BaseEstimator]:
        """scikit-learn objects that `_learn` fitted and that are more than arrays; none as a rule."""
        return {}

    @abstractmethod
    def restore(self, arrays: dict[str, NDArray[Any]], estimators: dict[str, BaseEstimator]) -> None:
        """Put back what `fitted_arrays` and `fitted_estimators` returned.

        The parameters, `n_features_in_`, `feature_names_in_`, `offset_` and `seed_` are already set.
        """


class NetworkDetector(Detector):
    """A detector that is a module and a schedule.

    A subclass builds its module in `_build` and its phases in `_schedule`.

    Attributes
    ----------
    network_ : Module
        Maps a tensor of rows to one score each.
    history_ : History
        Losses and monitored values of the training.
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
        device = pick_device(self.device)
        checkpoint = self._checkpoint(normal, known)
        with seeded(self.seed_, device), _threads(self.threads):
            self.network_ = self._build(normal.shape[1]).to(device)
            self.center_, self.unit_ = normal.mean(0), normal.std(0)
            self.unit_[~(self.unit_ > 1e-12 * np.abs(self.center_))] = 1.0
            rows, anomalies = self._tensor(normal, device), self._tensor(known, device)
            rows = self._prepare(self.network_, rows)
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

    def _prepare(self, network: Any, rows: Tensor) -> Tensor:
        """The rows to learn from, of those believed normal: all of them unless a subclass leaves some out."""
        return rows

    def _tensor(self, rows: NDArray[np.float64], device: torch.device) -> Tensor:
        """Rows in float32, shifted and scaled first so that a large offset does not eat a column's digits."""
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


def _seed(random_state: int | np.random.RandomState | None) -> int:
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])  # fresh entropy, not the global generator
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def known_anomalies(y: ArrayLike | None, rows: int) -> NDArray[np.bool_]:
    """Which rows `y` marks as anomalies, shape (rows,); none if there is no `y`.

    Labels of another kind than 0/1 are ignored with a `LabelWarning`: generic tools hand class labels to
    every estimator, and scikit-learn's outlier detectors ignore them.

    Raises
    ------
    LabelError
        `y` has missing values or another length, or leaves fewer than two normal rows.
    """
    if y is None:
        return np.zeros(rows, dtype=bool)
    labels = np.asarray(y)
    if labels.shape != (rows,):
        raise LabelError(f"y has shape {labels.shape} but there are {rows} rows; give one label per row.")
    if pd.isna(labels).any():
        raise LabelError(
            f"y has {int(pd.isna(labels).sum())} missing labels; mark known anomalies with 1 and all other "
            "rows with 0."
        )
    if not np.isin(labels, (0, 1)).all():
        warnings.warn(
            "y holds values other than 0 and 1 and is ignored; mark known anomalies with 1 and all other "
            "rows with 0.",
            LabelWarning,
            stacklevel=3,
        )
        return np.zeros(rows, dtype=bool)
    anomalous = labels.astype(bool)
    if rows - anomalous.sum() < 2:
        raise LabelError(
            f"y marks {anomalous.sum()} of {rows} rows as anomalies; at least two rows must be believed "
            "normal."
        )
    return anomalous
