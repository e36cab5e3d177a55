"""What detectors without a network share: columns of one scale, and a bound on the rows."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from da3d.detectors.base import Detector

__all__ = ["Rows", "Standardised"]

Rows = NDArray[np.float64]


class Standardised(Detector):
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
