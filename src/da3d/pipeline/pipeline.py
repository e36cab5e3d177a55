"""One object that a user keeps: encode -> detect -> calibrate -> verdicts."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from da3d.detectors import Detector, default_detector, known_anomalies
from da3d.errors import TableError
from da3d.pipeline.calibrate import Calibration, hold_out
from da3d.pipeline.thresholds import ResolutionWarning, Threshold
from da3d.preprocessing import TableEncoder, to_frame

__all__ = ["AnomalyPipeline"]

_FPR = 0.01


class AnomalyPipeline(OutlierMixin, BaseEstimator):
    """From a mixed table to verdicts.

    `fit` learns the columns, trains the detector on most of the rows that are believed normal and keeps the
    others to calibrate it. From then on a score has a p-value, and which rows raise an alarm can be chosen
    and changed at will, without fitting again.

    Parameters
    ----------
    detector : Detector, optional
        Cloned before it is fitted; `detectors.default_detector()` if left out.
    encoder : TableEncoder, optional
        Cloned before it is fitted.
    threshold : Threshold, optional
        The rule in force for `predict` and for `verdicts` without arguments; assign another at any time,
        also after `fit`. If left out, a false-positive rate of 1 %, or the smallest one that the held-out
        rows can resolve.
    contamination : float
        Share of the rows that you believe to be unmarked anomalies, in [0, 0.5). A prior: calibration drops
        so many of its strangest rows.
    random_state : int, RandomState or None
        Seed of the detector and of the choice of calibration rows; overrides the detector's own if given.

    Attributes
    ----------
    encoder_ : TableEncoder
    detector_ : Detector
    calibration_ : Calibration
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if the table had column names.

    Examples
    --------
    >>> from da3d.datasets import toy
    >>> table = toy.mixed(rows=300, seed=0)
    >>> pipeline = AnomalyPipeline(random_state=0).fit(table.frame)  # doctest: +SKIP
    >>> pipeline.verdicts(table.frame, top=5).query("is_anomaly")  # doctest: +SKIP
    """

    def __init__(
        self,
        detector: Detector | None = None,
        *,
        encoder: TableEncoder | None = None,
        threshold: Threshold | None = None,
        contamination: float = 0.0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.detector = detector
        self.encoder = encoder
        self.threshold = threshold
        self.contamination = contamination
        self.random_state = random_state

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Learn what is normal in a table.

        Parameters
        ----------
        X : table of shape (rows, columns)
            pandas, polars or pyarrow table, array, list of dicts.
        y : array-like of shape (rows,), optional
            1 marks a known anomaly, 0 a row believed normal.

        Raises
        ------
        TableError
            The table has fewer than two rows believed normal, no column that can be used, or only rows that
            are all equal.
        LabelError
            `y` does not mark the rows with 0 and 1.
        """
        frame = _table(X)
        if len(frame) < 2:
            raise TableError("the table has 1 sample; at least two rows are needed to learn what is normal.")
        anomalous = known_anomalies(y, len(frame))
        normal = frame[~anomalous]
        seed = self.random_state if isinstance(self.random_state, int | np.integer) else 0
        held_out = hold_out(len(normal), int(seed))
        encoder = (TableEncoder() if self.encoder is None else clone(self.encoder)).fit(normal[~held_out])
        detector = default_detector() if self.detector is None else clone(self.detector)
        if self.random_state is not None or self.detector is None:
            detector.set_params(random_state=self.random_state)
        self.n_features_in_ = encoder.n_features_in_
        if _has_names(X):
            self.feature_names_in_ = np.asarray(frame.columns, dtype=object)
        features = encoder.transform(normal)
        if (features == features[0]).all():
            raise TableError(
                f"all {len(normal)} rows of the table are equal, so nothing can be learned about what varies "
                "among normal rows; give rows that differ."
            )
        known = encoder.transform(frame[anomalous]) if anomalous.any() else features[:0]
        rows = np.concatenate([features[~held_out], known])
        labels = np.repeat([0, 1], [len(rows) - len(known), len(known)])
        detector.fit(rows, labels if len(known) else None)
        reference = features[held_out] if held_out.any() else features
        if not held_out.any():
            warnings.warn(
                f"All {len(features)} rows were needed to learn from, so none was left to calibrate with and "
                "p-values are too small; give at least 40 rows for calibrated ones.",
                ResolutionWarning,
                stacklevel=2,
            )
        self.calibration_ = Calibration(detector.anomaly_score(reference), self.contamination)
        self.encoder_, self.detector_ = encoder, detector
        return self

    @property
    def rule(self) -> Threshold:
        """The threshold in force."""
        return self.threshold or self._default_rule()

    def _default_rule(self) -> Threshold:
        return Threshold("fpr", max(_FPR, self.calibration_.resolution))

    @property
    def offset_(self) -> float:
        """`decision_function` is `score_samples` minus this, under the rule in force."""
        rule = self.rule if self.rule.by_row else self._default_rule()
        return -rule.cut(self.calibration_)

    def anomaly_score(self, X: Any) -> NDArray[np.float64]:
        """Strangeness of each row, shape (rows,): higher is stranger, without bounds."""
        check_is_fitted(self)
        return self.detector_.anomaly_score(self.encoder_.transform(self._checked(X)))

    def p_value(self, X: Any) -> NDArray[np.float64]:
        """Share of normal rows that are at least as strange, shape (rows,), in (0, 1]."""
        return self.calibration_.p_values(self.anomaly_score(X))

    def verdicts(
        self,
        X: Any,
        *,
        fpr: float | None = None,
        budget: float | None = None,
        top: int | None = None,
        fdr: float | None = None,
    ) -> pd.DataFrame:
        """Judge every row of a table.

        Parameters
        ----------
        X : table of shape (rows, columns)
        fpr, budget, top, fdr : float, optional
            At most one, as in `Threshold`; the rule in force if there is none.

        Returns
        -------
        DataFrame
            With the table's index and the columns `anomaly_score`, `p_value` and `is_anomaly`.
        """
        frame = to_frame(X)
        return self.judge(
            self.anomaly_score(frame if _has_names(X) else X),
            Threshold.of(fpr=fpr, budget=budget, top=top, fdr=fdr),
            frame.index,
        )

    def judge(
        self, scores: NDArray[np.float64], threshold: Threshold | None = None, index: pd.Index | None = None
    ) -> pd.DataFrame:
        """The verdicts that belong to scores of this pipeline."""
        flags = (threshold or self.rule).flags(scores, self.calibration_)
        columns = {
            "anomaly_score": scores,
            "p_value": self.calibration_.p_values(scores),
            "is_anomaly": flags,
        }
        return pd.DataFrame(columns, index=index)

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """scikit-learn's direction: higher is more normal."""
        return -self.anomaly_score(X)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """`score_samples` minus `offset_`: negative for rows that raise an alarm."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """+1 for normal rows and -1 for those that raise an alarm under the rule in force."""
        check_is_fitted(self)
        return np.where(self.rule.flags(self.anomaly_score(X), self.calibration_), -1, 1)

    def _checked(self, X: Any) -> pd.DataFrame:
        frame = _table(X)
        width = frame.shape[1]
        if not hasattr(self, "feature_names_in_") and width != self.n_features_in_:
            raise TableError(
                f"X has {width} features, but {type(self).__name__} is expecting {self.n_features_in_} "
                "features as input."
            )
        return frame

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        return tags


def _table(X: Any) -> pd.DataFrame:
    if issparse(X):
        raise TypeError("X is a sparse matrix, but dense rows are required; use X.toarray() to convert it.")
    if isinstance(X, np.ndarray) and X.ndim == 1:
        raise TableError(
            f"X is one-dimensional (shape {X.shape}), but rows and columns are needed. Reshape your data: "
            "X.reshape(1, -1) for one row, X.reshape(-1, 1) for one column."
        )
    if isinstance(X, np.ndarray) and np.iscomplexobj(X):
        raise TableError("Complex data not supported: give real and imaginary parts as two columns.")
    if isinstance(X, np.ndarray) and X.ndim == 2 and 0 in X.shape:
        what = "feature" if X.shape[1] == 0 else "sample"
        raise TableError(f"Found array with 0 {what}(s) (shape={X.shape}) while a minimum of 1 is required.")
    return to_frame(X)


def _has_names(X: Any) -> bool:
    return not isinstance(X, np.ndarray | list | tuple)
