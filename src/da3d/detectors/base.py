"""The face that every detector shows.

Scores have one direction in this library: `anomaly_score` is higher for stranger rows. scikit-learn's
convention (higher is more normal) is kept under scikit-learn's names; the sign flips in `score_samples` and
nowhere else.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from da3d.detectors.parameters import check_kinds
from da3d.errors import LabelError, LabelWarning, ParameterError, TableError

__all__ = ["Detector", "known_anomalies", "some_rows"]

_OFFSET_ROWS = 2000  # scoring all of a large table would cost as much as learning from it


class Detector(OutlierMixin, BaseEstimator, ABC):
    """What every detector promises.

    A subclass stores its parameters in `__init__`, learns in `_learn` and scores in `_score`; this class
    does validation, labels, seeds, sign and threshold.

    Attributes
    ----------
    offset_ : float
        `decision_function` is `score_samples - offset_`; a share `contamination` of the training rows
        believed normal lies below zero. Of more than 2 000 such rows, 2 000 drawn by `seed_` decide.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if the training rows had names.
    image_shape_ : tuple of three ints, or None
        (channels, height, width) if it learned from images. An image is a row of its pixels.
    seed_ : int
        The integer that `random_state` came to.
    """

    contamination: float
    random_state: int | np.random.RandomState | None

    @property
    def uses_known_anomalies(self) -> bool:
        """Whether `y` changes what is learned; otherwise known anomalies are only left out."""
        return False

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learn what is normal.

        Parameters
        ----------
        X : array-like of shape (rows, features) or (rows, channels, height, width)
            Finite numbers, at least two rows.
        y : array-like of shape (rows,), optional
            1 marks a known anomaly, 0 a row believed normal. Known anomalies are never treated as normal.

        Raises
        ------
        TableError
            `X` is not a finite array of numbers with two axes, or four for images.
        LabelError
            `y` has missing values or another length, or leaves fewer than two normal rows.
        ParameterError
            A parameter is of the wrong kind or out of its range.
        """
        check_kinds(self)
        if not 0 < self.contamination <= 0.5:
            raise ParameterError(
                f"contamination is {self.contamination} but must lie in (0, 0.5]: the share of training rows "
                "that fall below the offset."
            )
        rows = self._validated(X, reset=True)
        anomalous = known_anomalies(y, len(rows))
        self.seed_ = _seed(self.random_state)
        self._learn(rows[~anomalous], rows[anomalous])
        # Not the rows that a detector which learns from a part has drawn with its seed.
        asked = some_rows(rows[~anomalous], _OFFSET_ROWS, self.seed_ + 1)
        self.offset_ = float(np.quantile(self.score_samples_of(asked), self.contamination))
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
        shape = None
        if isinstance(X, np.ndarray) and X.ndim == 4:
            shape, X = (X.shape[1], X.shape[2], X.shape[3]), X.reshape(len(X), -1)
        if reset:
            self.image_shape_: tuple[int, int, int] | None = shape
        elif shape is not None and shape != self.image_shape_:
            learned = f"{self.image_shape_} images" if self.image_shape_ else "rows of a table"
            raise TableError(
                f"X holds images of shape {shape} (channels, height, width), but the detector learned from "
                f"{learned}; give the same kind."
            )
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


def some_rows(rows: NDArray[np.float64], most: int, seed: int) -> NDArray[np.float64]:
    """All rows, or `most` of them drawn without replacement; it keeps what costs much per row usable."""
    if len(rows) <= most:
        return rows
    return np.asarray(rows[np.random.default_rng(seed).choice(len(rows), most, replace=False)])


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
