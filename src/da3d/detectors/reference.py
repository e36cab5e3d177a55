"""Simple detectors that every deep one has to beat, with the same face: neighbours and covariance.

All standardise the columns first. They are what a table of results must show beside a learned detector:
nearest neighbours on standardised rows lead most deep detectors on most tables. Trees, kernels and tails are
in `classic`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from da3d.detectors.base import some_rows
from da3d.detectors.parameters import at_least
from da3d.detectors.standardised import Rows, Standardised
from da3d.errors import ParameterError

__all__ = ["KNN", "LOF", "MCD", "PCA", "BaggedNN", "Mahalanobis"]

# C-steps of the covariance determinant end by themselves, usually after fewer than ten.
_MOST_STEPS = 100


class KNN(Standardised):
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
        at_least(1, neighbors=self.neighbors)
        self.rows_ = rows
        self._index = NearestNeighbors(n_neighbors=min(self.neighbors, len(rows))).fit(rows)

    def _score_standardised(self, rows: Rows) -> Rows:
        return np.asarray(self._index.kneighbors(rows)[0].mean(1))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"rows": self.rows_}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._learn_standardised(arrays["rows"])


class BaggedNN(Standardised):
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
        at_least(1, bags=self.bags, size=self.size)
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


class LOF(Standardised):
    """Local outlier factor (Breunig, Kriegel, Ng and Sander 2000), for rows that were not learned from.

    How much sparser it is around a row than around its neighbours: about 1 inside a cluster of any density.

    Parameters
    ----------
    neighbors : int
        Size of a neighbourhood, >= 1; all other training rows if there are fewer.
    most_rows : int
        Of a larger table so many random rows are learned from, >= 2: the cost is quadratic in wide tables.
    contamination : float
        Share of the training rows that lie below `offset_`, in (0, 0.5].
    random_state : int, RandomState or None
        Draws the rows of a larger table.
    """

    def __init__(
        self,
        *,
        neighbors: int = 20,
        most_rows: int = 10_000,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.neighbors = neighbors
        self.most_rows = most_rows
        self.contamination = contamination
        self.random_state = random_state

    def _learn_standardised(self, rows: Rows) -> None:
        at_least(1, neighbors=self.neighbors)
        at_least(2, most_rows=self.most_rows)
        self._index_rows(some_rows(rows, self.most_rows, self.seed_))

    def _index_rows(self, rows: Rows) -> None:
        self.rows_ = rows
        self._factor = LocalOutlierFactor(n_neighbors=min(self.neighbors, len(rows) - 1), novelty=True)
        self._factor.fit(rows)

    def _score_standardised(self, rows: Rows) -> Rows:
        return -np.asarray(self._factor.score_samples(rows))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"rows": self.rows_}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._index_rows(arrays["rows"])


class Mahalanobis(Standardised):
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


class MCD(Standardised):
    """Squared distance by a mean and covariance that outlying training rows cannot pull.

    The minimum covariance determinant (Rousseeuw and Van Driessen 1999): mean and covariance are those of
    the rows that lie nearest by that very mean and covariance. The search starts from the rows nearest to the
    columns' medians, so that it draws nothing (after Hubert, Rousseeuw and Verdonck 2012). The covariance is
    ridged at every step, so that there may be more columns than rows and columns that are constant among the
    rows that are kept (after Boudt, Rousseeuw, Vanduffel and Verdonck 2020).

    Parameters
    ----------
    support : float
        Share of the rows that mean and covariance are taken from, in (0.5, 1].
    ridge : float
        Added to the diagonal of the covariance of standardised columns, > 0. It decides how strange a value
        is in a column that hardly varies among the rows that are kept.
    contamination : float
        Share of the training rows that lie below `offset_`, in (0, 0.5].
    random_state
        Not used: the detector is deterministic.
    """

    location_: Rows
    precision_: Rows

    def __init__(
        self,
        *,
        support: float = 0.75,
        ridge: float = 0.01,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.support = support
        self.ridge = ridge
        self.contamination = contamination
        self.random_state = random_state

    def _learn_standardised(self, rows: Rows) -> None:
        if not 0.5 < self.support <= 1:
            raise ParameterError(
                f"support is {self.support} but must lie in (0.5, 1]: the share of rows believed clean."
            )
        if not self.ridge > 0:
            raise ParameterError(f"ridge is {self.ridge} but must be positive.")
        self.location_, self.precision_ = np.median(rows, 0), np.eye(rows.shape[1])
        kept = self._nearest(rows)
        for _ in range(_MOST_STEPS):
            self.location_ = rows[kept].mean(0)
            covariance = np.atleast_2d(np.cov(rows[kept], rowvar=False, bias=True))
            self.precision_ = np.asarray(np.linalg.inv(covariance + self.ridge * np.eye(len(covariance))))
            before, kept = kept, self._nearest(rows)
            if np.array_equal(before, kept):
                break

    def _nearest(self, rows: Rows) -> NDArray[np.int64]:
        """Indices of the `support` share of the rows that lie nearest, in ascending order."""
        count = max(1, round(self.support * len(rows)))
        return np.sort(np.argsort(self._score_standardised(rows), kind="stable")[:count])

    def _score_standardised(self, rows: Rows) -> Rows:
        centered = rows - self.location_
        return np.asarray(np.einsum("ij,jk,ik->i", centered, self.precision_, centered))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"location": self.location_, "precision": self.precision_}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.location_, self.precision_ = arrays["location"], arrays["precision"]


class PCA(Standardised):
    """Squared distance to the subspace of the principal components: the error of a linear reconstruction.

    Normal rows hardly vary along the minor components (Shyu, Chen, Sarinnapakorn and Chang 2003), so what a
    row has there is strange. What is far off along the major ones only is not seen.

    Parameters
    ----------
    explained : float
        Share of the variance that the principal components explain, in (0, 1); half of it, as in the paper.
        At least one component along which rows vary is left out of them.
    contamination : float
        Share of the training rows that lie below `offset_`, in (0, 0.5].
    random_state
        Not used: the detector is deterministic.
    """

    def __init__(
        self,
        *,
        explained: float = 0.5,
        contamination: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.explained = explained
        self.contamination = contamination
        self.random_state = random_state

    def _learn_standardised(self, rows: Rows) -> None:
        if not 0 < self.explained < 1:
            raise ParameterError(
                f"explained is {self.explained} but must lie in (0, 1): the share of the variance."
            )
        variances, components = np.linalg.eigh(np.atleast_2d(np.cov(rows, rowvar=False)))  # ascending
        unexplained = np.cumsum(variances) / max(variances.sum(), 1e-12)
        without_any = int((unexplained < 1e-9).sum())  # columns that are constant or sums of others
        count = max(without_any + 1, int((unexplained <= 1 - self.explained).sum()))
        self.minor_ = np.ascontiguousarray(components[:, :count])

    def _score_standardised(self, rows: Rows) -> Rows:
        return np.asarray(np.square(rows @ self.minor_).sum(1))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"minor": self.minor_}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.minor_ = arrays["minor"]
