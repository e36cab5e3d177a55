"""Simple detectors that every deep one has to beat, with the same face.

All standardise the columns first. They are what a table of results must show beside a learned detector:
nearest neighbours on standardised rows lead most deep detectors on most tables.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble import IsolationForest as _IsolationForest
from sklearn.neighbors import NearestNeighbors

from da3d.detectors.base import Detector

__all__ = ["KNN", "BaggedNN", "IsolationForest", "Mahalanobis"]

Rows = NDArray[np.float64]


class _Standardised(Detector):
    """A detector of standardised rows; constant columns are only shifted."""

    def _learn(self, normal: Rows, known: Rows) -> None:
        self.mean_ = normal.mean(0)
        deviation = normal.std(0)
        self.deviation_ = np.where(deviation > 1e-12, deviation, 1.0)
        self._learn_standardised((normal - self.mean_) / self.deviation_)

    def _score(self, rows: Rows) -> Rows:
        return self._score_standardised((rows - self.mean_) / self.deviation_)

    @abstractmethod
    def _learn_standardised(self, rows: Rows) -> None: ...

    @abstractmethod
    def _score_standardised(self, rows: Rows) -> Rows: ...

    def fitted_arrays(self) -> dict[str, NDArray[Any]]:
        """Scales and what `_learn_standardised` found."""
        return {"mean": self.mean_, "deviation": self.deviation_, **self._arrays()}

    def restore(self, arrays: dict[str, NDArray[Any]], estimators: dict[str, BaseEstimator]) -> None:
        """Put back what `fitted_arrays` returned."""
        self.mean_, self.deviation_ = arrays["mean"], arrays["deviation"]
        self._restore(arrays)

    @abstractmethod
    def _arrays(self) -> dict[str, NDArray[Any]]: ...

    @abstractmethod
    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None: ...


class KNN(_Standardised):
    """Mean distance to the nearest training rows (Ramaswamy et al. 2000; Angiulli and Pizzuti 2002).

    Parameters
    ----------
    neighbors : int
        How many distances are averaged, >= 1; all training rows if there are fewer.
    contamination : float
        Share of the training rows that lie below `offset_`, in (0, 0.5].
    random_state
        Not used: the detector is deterministic.
    """

    def __init__(
        self,
        *,
        neighbors: int = 5,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.neighbors = neighbors
        self.contamination = contamination
        self.random_state = random_state

    def _learn_standardised(self, rows: Rows) -> None:
        self.rows_ = rows
        self._index = NearestNeighbors(n_neighbors=min(self.neighbors, len(rows))).fit(rows)

    def _score_standardised(self, rows: Rows) -> Rows:
        return np.asarray(self._index.kneighbors(rows)[0].mean(1))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"rows": self.rows_}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._learn_standardised(arrays["rows"])


class BaggedNN(_Standardised):
    """Mean over random subsamples of the distance to the nearest row.

    Sugiyama and Borgwardt 2013; Ting et al. 2017.
    A few polluting rows are in few subsamples, so it bears contamination better than `KNN`.

    Parameters
    ----------
    bags, size : int
        Number of subsamples and rows in each, >= 1; at most half of the rows, so that subsamples differ.
    contamination : float
        Share of the training rows that lie below `offset_`, in (0, 0.5].
    random_state : int, RandomState or None
        Draws the subsamples.
    """

    def __init__(
        self,
        *,
        bags: int = 30,
        size: int = 256,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.bags = bags
        self.size = size
        self.contamination = contamination
        self.random_state = random_state

    def _learn_standardised(self, rows: Rows) -> None:
        random = np.random.default_rng(self.seed_)
        size = min(self.size, len(rows) // 2)
        self._index_bags(
            np.stack([rows[random.choice(len(rows), size, replace=False)] for _ in range(self.bags)])
        )

    def _index_bags(self, bags: NDArray[np.float64]) -> None:
        self.bags_ = bags
        self._indices = [NearestNeighbors(n_neighbors=1).fit(bag) for bag in bags]

    def _score_standardised(self, rows: Rows) -> Rows:
        return np.column_stack([index.kneighbors(rows)[0] for index in self._indices]).mean(1)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"bags": self.bags_}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._index_bags(arrays["bags"])


class Mahalanobis(_Standardised):
    """Squared distance to the mean in units of the covariance, slightly ridged so that it can be inverted.

    Parameters
    ----------
    ridge : float
        Added to the diagonal of the correlation matrix, >= 0.
    contamination : float
        Share of the training rows that lie below `offset_`, in (0, 0.5].
    random_state
        Not used: the detector is deterministic.
    """

    def __init__(
        self,
        *,
        ridge: float = 1e-3,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.ridge = ridge
        self.contamination = contamination
        self.random_state = random_state

    def _learn_standardised(self, rows: Rows) -> None:
        covariance = np.atleast_2d(np.cov(rows, rowvar=False))
        self.precision_ = np.linalg.pinv(covariance + self.ridge * np.eye(len(covariance)))

    def _score_standardised(self, rows: Rows) -> Rows:
        return np.asarray(np.einsum("ij,jk,ik->i", rows, self.precision_, rows))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"precision": self.precision_}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.precision_ = arrays["precision"]


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
