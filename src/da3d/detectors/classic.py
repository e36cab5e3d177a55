"""Simple detectors that every deep one has to beat, with the same face: trees, kernels and tails.

Neighbours and covariance are in `reference`.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.base import BaseEstimator
from sklearn.ensemble import IsolationForest as _IsolationForest
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.svm import OneClassSVM as _OneClassSVM
from sklearn.utils import gen_batches

from da3d.detectors.base import Detector, some_rows
from da3d.detectors.parameters import at_least
from da3d.detectors.standardised import Rows, Standardised
from da3d.errors import ParameterError

__all__ = ["ECOD", "IsolationForest", "OneClassSVM"]

Tails = Literal["column", "row"]

# Rows whose distances to all support vectors are held at a time.
_CHUNK = 2048


class IsolationForest(Detector):
    """scikit-learn's isolation forest (Liu, Ting and Zhou 2008).

    Parameters
    ----------
    trees : int
        Number of trees, >= 1.
    contamination : float
        Share of the training rows that lie below `offset_`, in (0, 0.5].
    random_state : int, RandomState or None
        Grows the trees.
    """

    def __init__(
        self,
        *,
        trees: int = 100,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.trees = trees
        self.contamination = contamination
        self.random_state = random_state

    def _learn(self, normal: Rows, known: Rows) -> None:
        at_least(1, trees=self.trees)
        self.forest_ = _IsolationForest(n_estimators=self.trees, random_state=self.seed_ % 2**32).fit(normal)

    def _score(self, rows: Rows) -> Rows:
        return -np.asarray(self.forest_.score_samples(rows))

    def fitted_arrays(self) -> dict[str, NDArray[Any]]:
        """Nothing: the forest is a scikit-learn object."""
        return {}

    def fitted_estimators(self) -> dict[str, BaseEstimator]:
        """The forest."""
        return {"forest": self.forest_}

    def restore(self, arrays: dict[str, NDArray[Any]], estimators: dict[str, BaseEstimator]) -> None:
        """Put back the forest."""
        self.forest_ = estimators["forest"]


class OneClassSVM(Standardised):
    r"""One-class support vector machine with a Gaussian kernel (Schölkopf et al. 2001).

    With support vectors s, their weights w and the level rho that scikit-learn's solver finds, the score is

    .. math:: \log \rho - \log \sum_i w_i \exp(-\gamma |x - s_i|^2)

    It is zero on the boundary and the other way round in the order of scikit-learn's decision function, which
    is the sum minus rho. Far away that sum is zero in floating point, and its logarithm still tells rows
    apart.

    Parameters
    ----------
    nu : float
        Largest share of the training rows outside the boundary, and smallest share that become support
        vectors, in (0, 1].
    gamma : float, optional
        Inverse squared width of the kernel, > 0; 1 / number of columns if left out.
    most_rows : int
        Of a larger table so many random rows are learned from, >= 2: the solver's cost is quadratic.
    contamination : float
        Share of the training rows that lie below `offset_`, in (0, 0.5].
    random_state : int, RandomState or None
        Draws the rows of a larger table.
    """

    def __init__(
        self,
        *,
        nu: float = 0.5,
        gamma: float | None = None,
        most_rows: int = 5000,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.nu = nu
        self.gamma = gamma
        self.most_rows = most_rows
        self.contamination = contamination
        self.random_state = random_state

    def _learn_standardised(self, rows: Rows) -> None:
        at_least(2, most_rows=self.most_rows)
        if not 0 < self.nu <= 1:
            raise ParameterError(f"nu is {self.nu} but must lie in (0, 1]: a share of the training rows.")
        if self.gamma is not None and not self.gamma > 0:
            raise ParameterError(f"gamma is {self.gamma} but must be positive, or None for 1 / columns.")
        width = 1 / rows.shape[1] if self.gamma is None else self.gamma
        machine = _OneClassSVM(nu=self.nu, gamma=width)
        machine.random_state = 0  # or it draws a seed that it does not need from NumPy's global generator
        machine.fit(some_rows(rows, self.most_rows, self.seed_))
        self.vectors_, self.weights_ = machine.support_vectors_, machine.dual_coef_[0]
        self.gamma_, self.level_ = np.float64(width), -machine.intercept_[0]

    def _score_standardised(self, rows: Rows) -> Rows:
        return np.log(self.level_) - np.concatenate(
            [self._log_density(rows[part]) for part in gen_batches(len(rows), _CHUNK)]
        )

    def _log_density(self, rows: Rows) -> Rows:
        distances = euclidean_distances(rows, self.vectors_, squared=True)
        return np.asarray(logsumexp(-self.gamma_ * distances, axis=1, b=self.weights_))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "vectors": self.vectors_,
            "weights": self.weights_,
            "scalars": np.array([self.gamma_, self.level_]),
        }

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.vectors_, self.weights_ = arrays["vectors"], arrays["weights"]
        self.gamma_, self.level_ = arrays["scalars"]


class ECOD(Detector):
    r"""Tail probabilities of each column, multiplied as if columns were independent (Li et al. 2022).

    With n training rows, the tails of a value x in a column are

    .. math::
        left(x) = \frac{1 + \#\{rows \le x\}}{n + 1} \qquad right(x) = \frac{1 + \#\{rows \ge x\}}{n + 1}

    in which x itself counts as one row, so that they are never zero. The scale of a column does not matter.

    Parameters
    ----------
    tails : {"column", "row"}
        ``"column"`` adds up, over columns, the negative logarithm of the smaller tail, as PyOD does.
        ``"row"`` is the paper's Algorithm 1: the largest of three sums, over the left tails, over the right
        tails, and over the tail on the longer side of each column's distribution, by its skewness.
    contamination : float
        Share of the training rows that lie below `offset_`, in (0, 0.5].
    random_state
        Not used: the detector is deterministic.
    """

    def __init__(
        self,
        *,
        tails: Tails = "column",
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.tails = tails
        self.contamination = contamination
        self.random_state = random_state

    def _learn(self, normal: Rows, known: Rows) -> None:
        if self.tails not in get_args(Tails):
            raise ParameterError(f"tails is {self.tails!r} but must be one of {', '.join(get_args(Tails))}.")
        self.sorted_ = np.sort(normal, axis=0)
        centered = normal / np.maximum(np.abs(normal).max(0), 1e-300)  # their cubes stay within range
        self.skewness_ = np.sign(((centered - centered.mean(0)) ** 3).mean(0))

    def _score(self, rows: Rows) -> Rows:
        left, right = self._log_tails(rows)
        if self.tails == "column":
            return np.asarray(np.maximum(left, right).sum(1))
        longer = np.where(self.skewness_ < 0, left, right)
        return np.max([left.sum(1), right.sum(1), longer.sum(1)], axis=0)

    def _log_tails(self, rows: Rows) -> tuple[Rows, Rows]:
        """Negative logarithms of left and right tails, each of the shape of the rows."""
        learned = len(self.sorted_)
        left, right = np.empty_like(rows), np.empty_like(rows)
        for j, column in enumerate(self.sorted_.T):
            left[:, j] = 1 + np.searchsorted(column, rows[:, j], side="right")
            right[:, j] = 1 + learned - np.searchsorted(column, rows[:, j], side="left")
        return -np.log(left / (learned + 1)), -np.log(right / (learned + 1))

    def fitted_arrays(self) -> dict[str, NDArray[Any]]:
        """The sorted columns and the signs of their skewness."""
        return {"sorted": self.sorted_, "skewness": self.skewness_}

    def restore(self, arrays: dict[str, NDArray[Any]], estimators: dict[str, BaseEstimator]) -> None:
        """Put back what `fitted_arrays` returned."""
        self.sorted_, self.skewness_ = arrays["sorted"], arrays["skewness"]
