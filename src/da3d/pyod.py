"""Detectors with PyOD's face, for code that is written for PyOD.

scikit-learn and PyOD give the same names to different things: `decision_function` has the opposite sign, and
`predict` says 0 and 1 instead of +1 and -1. So a detector cannot be both at once. `PyODDetector` puts PyOD's
face before any detector of this library; everything that PyOD derives from scores is PyOD's own code.

Needs PyOD: ``pip install "da3d[bench]"``.

References
----------
Y. Zhao, Z. Nasrullah, Z. Li: PyOD: A Python Toolbox for Scalable Outlier Detection. JMLR 20(96), 2019.
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from da3d.detectors import Detector, default_detector, make_detector
from da3d.errors import ExtraError, LabelWarning, ParameterError
from da3d.pipeline import AnomalyPipeline

try:
    from pyod.models.base import BaseDetector
except ImportError as error:
    raise ExtraError('da3d.pyod needs PyOD, which is not installed; pip install "da3d[bench]".') from error

__all__ = ["PyODDetector", "as_pyod"]


class PyODDetector(BaseDetector):
    """A detector or a pipeline of this library that behaves as one of PyOD.

    Parameters
    ----------
    detector : Detector or AnomalyPipeline, optional
        Cloned before it is fitted; `detectors.default_detector()` if left out. Its parameters can be set as
        ``detector__NAME``.
    contamination : float
        Share of the rows of `fit` that lie above `threshold_`, in (0, 0.5]; or a thresholder of PyOD. The
        `contamination` of `detector` is another one and stays what it is.

    Attributes
    ----------
    detector_ : Detector or AnomalyPipeline
        Fitted. `da3d.save` keeps it in a model file.
    decision_scores_ : ndarray of shape (rows,)
        Anomaly scores of the rows of `fit`: higher is stranger. A detector has seen these rows, so the scores
        are lower than those of fresh rows, and much lower if it remembers rows, as nearest neighbours do.
    threshold_ : float
    labels_ : ndarray of shape (rows,)
        1 for rows of `fit` whose score is above `threshold_`, else 0.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if the rows had names.

    Raises
    ------
    ValueError
        `contamination` is out of its range.
    """

    def __init__(
        self, detector: Detector | AnomalyPipeline | None = None, *, contamination: Any = 0.1
    ) -> None:
        super().__init__(contamination=contamination)
        self.detector = detector

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Learn what is normal.

        Parameters
        ----------
        X : array-like of shape (rows, features)
            Finite numbers; for a pipeline any table.
        y : array-like of shape (rows,), optional
            1 marks a known anomaly. Detectors that learn nothing from known anomalies ignore it, as PyOD's
            do: labels that exist for the evaluation must not help.

        Raises
        ------
        TableError, LabelError, ParameterError
            As `fit` of the detector.

        Warns
        -----
        LabelWarning
            `y` is ignored.
        """
        detector = default_detector() if self.detector is None else clone(self.detector)
        if y is not None and not _uses_known_anomalies(detector):
            warnings.warn(
                f"{type(detector).__name__} learns nothing from known anomalies, so y is ignored.",
                LabelWarning,
                stacklevel=2,
            )
            y = None
        self.detector_ = detector.fit(X, y)
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if hasattr(detector, name):
                setattr(self, name, getattr(detector, name))
        self.decision_scores_ = self.detector_.anomaly_score(X)
        self._set_n_classes(None)
        self._process_decision_scores()
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Strangeness of each row, shape (rows,): PyOD's direction, higher is stranger."""
        check_is_fitted(self, "detector_")
        return self.detector_.anomaly_score(X)


def as_pyod(
    detector: str | Detector | AnomalyPipeline, *, contamination: Any = 0.1, **parameters: Any
) -> PyODDetector:
    """The detector with PyOD's face.

    Parameters
    ----------
    detector : str, Detector or AnomalyPipeline
        A name is one of `detectors.DETECTORS`.
    contamination
        As in `PyODDetector`.
    **parameters
        Arguments of the detector that is named.

    Raises
    ------
    ParameterError
        There is no such detector, it has no such parameter, or there are parameters for one that was not
        given by name.
    """
    if isinstance(detector, str):
        return PyODDetector(make_detector(detector, **parameters), contamination=contamination)
    if parameters:
        raise ParameterError(
            f"{', '.join(sorted(parameters))} was given beside a {type(detector).__name__}; give it to that "
            "one's constructor, or give the detector by its name."
        )
    return PyODDetector(detector, contamination=contamination)


def _uses_known_anomalies(detector: Detector | AnomalyPipeline) -> bool:
    inner = detector.detector if isinstance(detector, AnomalyPipeline) else detector
    return (inner or default_detector()).uses_known_anomalies
