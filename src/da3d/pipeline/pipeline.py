"""One object that a user keeps: encode -> detect -> calibrate -> verdicts."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from da3d.detectors import Detector, default_detector, known_anomalies
from da3d.errors import LabelWarning, ParameterError, SchemaError, TableError
from da3d.pipeline.calibrate import Calibration, Groups, ResolutionWarning, hold_out
from da3d.pipeline.drift import DriftReport, drift
from da3d.pipeline.explain import Explanation, explain
from da3d.pipeline.feedback import Feedback, Suppression, with_feedback
from da3d.pipeline.operating import operating_table
from da3d.pipeline.profile import Profile
from da3d.pipeline.reference import Reference
from da3d.pipeline.thresholds import Threshold
from da3d.preprocessing import Kind, TableEncoder, to_frame
from da3d.preprocessing.frames import collected, like
from da3d.preprocessing.values import texts

__all__ = ["AnomalyPipeline"]

_FPR = 0.01
_FEWEST = 10


class AnomalyPipeline(OutlierMixin, BaseEstimator):
    """From a mixed table to verdicts.

    `fit` learns the columns, trains the detector on most of the rows that are believed normal and keeps the
    others to calibrate it. From then on a score has a p-value, and which rows raise an alarm can be chosen
    and changed at will, without fitting again.

    Parameters
    ----------
    detector : Detector, optional
        Cloned before it is fitted; `detectors.default_detector(quality)` if left out.
    quality : {"fast", "balanced"}, optional
        Which default detector, if none is given; "balanced" if left out. ``"fast"`` leaves out the networks:
        it fits in about a second instead of some seven, and docs/methods/da3d.md says what that costs.
    encoder : TableEncoder, optional
        Cloned before it is fitted.
    threshold : Threshold, optional
        The rule in force for `predict` and for `verdicts` without arguments; assign another at any time,
        also after `fit`. If left out, a false-positive rate of 1 %, or the smallest one that the held-out
        rows can resolve.
    contamination : float
        Share of the rows that you believe to be unmarked anomalies, in [0, 0.5). A prior: calibration drops
        so many of its strangest rows.
    calibrate_by : str, optional
        A column whose values divide the rows into groups, such as a customer's segment: a row is then
        compared with held-out rows of its own group, and a false-positive rate holds within every group that
        has at least 20 of them. All other rows are compared with all held-out ones.
    reference_rows : int
        How many of the held-out rows are remembered, with the values of all their columns, so that `explain`
        has normal rows to compare with; 0 if none may be.
    random_state : int, RandomState or None
        Seed of the detector and of the choice of calibration rows; overrides the detector's own if given.

    Attributes
    ----------
    encoder_ : TableEncoder
    detector_ : Detector
    calibration_ : Calibration
    reference_ : Reference
        Remembered normal rows, and what is usual in every column.
    profile_ : Profile
        How the numbers were distributed, for `drift`.
    suppression_ : Suppression
        Rows that raise no alarm because others like them are known to be benign; none after `fit`.
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
        quality: str | None = None,
        encoder: TableEncoder | None = None,
        threshold: Threshold | None = None,
        contamination: float = 0.0,
        calibrate_by: str | None = None,
        reference_rows: int = 256,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.detector = detector
        self.quality = quality
        self.encoder = encoder
        self.threshold = threshold
        self.contamination = contamination
        self.calibrate_by = calibrate_by
        self.reference_rows = reference_rows
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
        ParameterError
            A parameter is out of its range.
        """
        self._check_parameters()
        frame = _table(X)
        self._groups(frame.iloc[:1])  # a column that is not there is said now, not after the training
        if len(frame) < 2:
            raise TableError("the table has 1 sample; at least two rows are needed to learn what is normal.")
        anomalous = known_anomalies(y, len(frame))
        normal = frame[~anomalous]
        seed = self.random_state if isinstance(self.random_state, int | np.integer) else 0
        held_out = hold_out(len(normal), int(seed))
        encoder = (TableEncoder() if self.encoder is None else clone(self.encoder)).fit(normal[~held_out])
        detector = self._unfitted()
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
        self.encoder_, self.detector_ = encoder, detector
        compared = normal[held_out] if held_out.any() else normal
        scores = detector.anomaly_score(reference)
        self.calibration_ = self._calibration(scores, compared)
        self.profile_ = Profile.learn(normal, encoder.schema_)
        self.suppression_ = Suppression.learn(
            features[~held_out], features[held_out], encoder.schema_, int(seed)
        )
        self.reference_ = Reference.learn(
            normal, compared, scores, encoder.schema_, most=self.reference_rows, seed=int(seed)
        )
        return self

    def _unfitted(self) -> Detector:
        if self.detector is None:
            return default_detector(self.quality or "balanced")
        if self.quality is not None:
            raise ParameterError(
                f"quality is {self.quality!r}, which chooses the default detector, but a detector is given "
                "as well; give one of the two."
            )
        detector: Detector = clone(self.detector)
        return detector

    def _check_parameters(self) -> None:
        most = self.reference_rows
        if isinstance(most, bool) or not isinstance(most, int | np.integer) or most < 0:
            raise ParameterError(f"reference_rows is {most!r} but must be a whole number of at least 0.")
        Calibration(np.zeros(1), self.contamination)  # refuses a share out of range before the training

    def _calibration(self, scores: NDArray[np.float64], rows: pd.DataFrame) -> Calibration:
        groups = self._groups(rows)
        if groups is None:
            return Calibration(scores, self.contamination)
        return Calibration.by_group(scores, groups, self.contamination)

    def _groups(self, frame: pd.DataFrame) -> Groups | None:
        """The group of each row as text, None where it is missing; None if there are no groups at all."""
        if self.calibrate_by is None:
            return None
        if self.calibrate_by not in frame.columns:
            raise SchemaError(
                f"the table lacks the column '{self.calibrate_by}', by which the rows are calibrated "
                "(calibrate_by); add it, or name one of the table's columns."
            )
        return np.array(texts(frame[self.calibrate_by]).to_pylist(), dtype=object)

    @property
    def columns(self) -> list[str]:
        """All columns of the fitted table, those that were left out included."""
        return [str(name) for name in self.encoder_.feature_names_in_]

    @property
    def kinds(self) -> dict[str, Kind]:
        """Kind of each column in use by its name: what `stream_table` takes as ``kinds``."""
        return self.encoder_.schema_.kinds

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
        X = collected(X)
        return self.calibration_.p_values(self.anomaly_score(X), self.groups(X))

    def groups(self, X: Any) -> Groups | None:
        """The group in which each row is calibrated, shape (rows,), None where it is missing.

        None if `calibrate_by` is not set.
        """
        check_is_fitted(self)
        return self._groups(self._checked(X))

    def benign(self, X: Any) -> NDArray[np.bool_] | None:
        """Which rows are like one that was suppressed, shape (rows,); None if none was."""
        check_is_fitted(self)
        if not len(self.suppression_.rows):
            return None
        return self.suppression_.holds(self.encoder_.transform(self._checked(X)))

    def verdicts(
        self,
        X: Any,
        *,
        fpr: float | None = None,
        budget: float | None = None,
        top: int | None = None,
        fdr: float | None = None,
    ) -> Any:
        """Judge every row of a table.

        Parameters
        ----------
        X : table of shape (rows, columns)
        fpr, budget, top, fdr : float, optional
            At most one, as in `Threshold`; the rule in force if there is none.

        Returns
        -------
        table
            Of the same kind as `X`: pandas (with the table's index), polars, pyarrow or what else narwhals
            knows; a lazy table is collected, and arrays and lists give pandas. The columns are
            `anomaly_score`, `p_value`, `severity` (0 to 100, see `Calibration.severity`) and `is_anomaly`. If
            benign rows were suppressed also `suppressed`: rows that would raise an alarm if they were not
            like one of those. Rules that rank the table rank such rows last.
        """
        table = collected(X)
        frame = to_frame(table)
        X = frame if _has_names(table) else table
        threshold = Threshold.of(fpr=fpr, budget=budget, top=top, fdr=fdr)
        judged = self.judge(self.anomaly_score(X), threshold, frame.index, self.groups(X), self.benign(X))
        return like(judged, table)

    def judge(
        self,
        scores: NDArray[np.float64],
        threshold: Threshold | None = None,
        index: pd.Index | None = None,
        groups: Groups | None = None,
        benign: NDArray[np.bool_] | None = None,
    ) -> pd.DataFrame:
        """The verdicts that belong to scores of this pipeline, and to the rows' `groups` and `benign`."""
        if groups is None and self.calibrate_by is not None:
            raise ParameterError(
                f"the rows are calibrated by column '{self.calibrate_by}', so scores alone cannot be judged; "
                "give their groups, too."
            )
        if benign is None and len(self.suppression_.rows):
            raise ParameterError(
                "benign rows were suppressed, so scores alone cannot be judged; say which rows are like them "
                "(AnomalyPipeline.benign), too."
            )
        rule = threshold or self.rule
        p_values = self.calibration_.p_values(scores, groups)
        columns: dict[str, NDArray[Any]] = {
            "anomaly_score": scores,
            "p_value": p_values,
            "severity": self.calibration_.severity(p_values),
            "is_anomaly": rule.flags(scores, self.calibration_, groups),
        }
        if benign is not None:
            columns["suppressed"] = columns["is_anomaly"] & benign
            columns["is_anomaly"] = self._unsuppressed(rule, scores, groups, benign)
        return pd.DataFrame(columns, index=index)

    def _unsuppressed(
        self,
        rule: Threshold,
        scores: NDArray[np.float64],
        groups: Groups | None,
        benign: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Which rows raise an alarm if benign ones do not, but leave their place to others."""
        others = np.where(benign, -np.inf, scores)
        return np.asarray(rule.flags(others, self.calibration_, groups) & ~benign)

    def explain(
        self, X: Any, *, top: int | None = None, rows: Sequence[int] | None = None
    ) -> list[Explanation]:
        """Say which columns make rows strange, and which normal row each is most like.

        A row is compared with the remembered normal row that is most like it. What lies between their scores
        is divided among the columns: by integrated gradients if the detector is a network without trees, else
        by switching columns from one row to the other in random orders (`da3d.pipeline.attribute` has the
        equations).
        Explaining a row takes tens to hundreds of passes of the detector.

        Parameters
        ----------
        X : table of shape (rows, columns)
        top : int, optional
            Explain the strangest rows only, this many, the strangest first.
        rows : sequence of int, optional
            Explain the rows at these positions only, counted from 0. Without `top` and `rows` all are
            explained.

        Returns
        -------
        list of Explanation

        Raises
        ------
        ParameterError
            `top` or `rows` is out of its range, or no normal rows are remembered (`reference_rows`).
        """
        check_is_fitted(self)
        return explain(self, self._checked(X), top=top, rows=rows)

    def operating_table(
        self,
        X: Any = None,
        y: ArrayLike | None = None,
        *,
        per_day: float | None = None,
        thresholds: Sequence[Threshold] | None = None,
    ) -> pd.DataFrame:
        """Compare thresholds: alerts, and with labels precision and recall. Nothing is fitted.

        Parameters
        ----------
        X : table of shape (rows, columns), optional
            Rows that resemble those to be judged; without it the held-out normal rows answer.
        y : array-like of shape (rows,), optional
            1 = anomaly, 0 = normal.
        per_day : float, optional
            How many rows are judged on a day, > 0.
        thresholds : sequence of Threshold, optional
            What to compare, instead of a usual choice.

        Returns
        -------
        DataFrame
            pandas, whatever `X` is. One row per threshold; `da3d.pipeline.operating_table` documents the
            columns.
        """
        check_is_fitted(self)
        if X is None:
            return operating_table(self.calibration_, None, y, per_day=per_day, thresholds=thresholds)
        X = collected(X)
        return operating_table(
            self.calibration_,
            self.anomaly_score(X),
            y,
            groups=self.groups(X),
            benign=self.benign(X),
            per_day=per_day,
            thresholds=thresholds,
        )

    def drift(self, X: Any, *, level: float = 0.01, ignore: Sequence[str] = ()) -> DriftReport:
        """Say whether a table still looks like the normal rows that were learned from.

        Parameters
        ----------
        X : table of shape (rows, columns)
            Its rows in the order in which they came. Anomalies among them make their scores drift.
        level : float
            Probability, at most, of a report that says drift where there is none, in (0, 1): where the rows
            are independent and like those learned from.
        ignore : sequence of str
            Columns that are not compared, such as a date: the weekdays of a single day always differ.

        Returns
        -------
        DriftReport
            Per column how much it changed and whether by chance (`da3d.pipeline.drift` has the equations);
            the scores beside those of the held-out rows; and whether the order of the rows matters
            (`da3d.pipeline.stream`). What `contamination` dropped from the held-out rows is missing there.

        Raises
        ------
        ParameterError
            `level` is out of its range.
        SchemaError
            The table lacks a column, one holds values of another kind, or `ignore` names none in use.
        """
        check_is_fitted(self)
        return drift(self, self._checked(X), level=level, ignore=ignore)

    def recalibrate(self, X: Any) -> Self:
        """The same pipeline with p-values by other normal rows. Nothing is fitted, no score changes.

        Parameters
        ----------
        X : table of shape (rows, columns)
            Fresh normal rows, at least 10. None of them may have been learned from: the scores of such rows
            are too low.

        Returns
        -------
        AnomalyPipeline
            A copy, which shares detector and encoder with this one. Groups (`calibrate_by`) and
            `contamination` count as in `fit`. Columns are still compared with those of `fit` by `drift`,
            scores with those of the fresh rows.

        Raises
        ------
        TableError
            There are fewer than 10 rows.
        """
        check_is_fitted(self)
        frame = self._checked(X)
        if len(frame) < _FEWEST:
            raise TableError(
                f"the table has {len(frame)} rows; at least {_FEWEST} fresh normal rows are needed to "
                "calibrate, and hundreds for small false-positive rates."
            )
        fresh = copy.copy(self)
        fresh.calibration_ = self._calibration(self.anomaly_score(frame), frame)
        return fresh

    def suppress(self, X: Any, *, reach: float = 1.0) -> Self:
        """The same pipeline, in which rows like the given ones raise no alarm.

        Their scores and p-values stay what they are, and `verdicts` says which rows were suppressed.

        Parameters
        ----------
        X : table of shape (rows, columns)
            Rows known to be benign, such as those marked so in a triage. They are kept in the model file.
        reach : float
            How far from one of them a row still is the same, at least 0: in units of the median distance of
            normal rows to the nearest one that was learned from, as features of deviation 1. With 0
            only equal rows are suppressed.

        Returns
        -------
        AnomalyPipeline
            A copy, which shares everything else with this one. What it suppressed before stays so.

        Raises
        ------
        SchemaError
            The table lacks a column, or one holds values of another kind.
        ParameterError
            `reach` is out of its range.
        """
        check_is_fitted(self)
        fresh = copy.copy(self)
        fresh.suppression_ = self.suppression_.adding(self._checked(X), reach, self.encoder_)
        return fresh

    def refit(self, X: Any, feedback: Any = None, y: ArrayLike | None = None) -> Self:
        """A pipeline with the same parameters that learns again, also from what people said about alarms.

        Parameters
        ----------
        X : table of shape (rows, columns)
            What to learn from: the table of the first fit, or a newer one.
        feedback : table, optional
            Rows with the same columns and one more, `feedback`: "anomaly" rows are known anomalies
            (so are rows of `X` that are equal to one), "normal" and "benign" ones are normal rows more, and
            rows without a mark count for nothing. Benign rows are suppressed as well, as are those that
            this pipeline suppressed.
        y : array-like of shape (rows,), optional
            As for `fit`.

        Returns
        -------
        AnomalyPipeline
            Fitted; this one stays as it is.

        Raises
        ------
        TableError, SchemaError, LabelError
            As for `fit`; or the feedback lacks a column, or has other marks.

        Warns
        -----
        LabelWarning
            There are anomalies in the feedback, but the detector learns nothing from them.
        """
        check_is_fitted(self)
        frame = self._checked(X)
        labels = known_anomalies(y, len(frame))
        before = self.suppression_
        fresh: Self = clone(self)
        if feedback is None:
            fresh.fit(frame, labels.astype(np.int64))
            given = None
        else:
            given = Feedback.of(feedback)
            self._check_use(given)
            fresh.fit(*with_feedback(frame, labels, given, self.encoder_.schema_))
        if len(before.rows):
            fresh.suppression_ = fresh.suppression_.adding(before.rows, before.reach, fresh.encoder_)
        if given is not None and len(benign := given.found("benign")):
            fresh.suppression_ = fresh.suppression_.adding(benign, 1.0, fresh.encoder_)
        return fresh

    def _check_use(self, feedback: Feedback) -> None:
        anomalies = len(feedback.found("anomaly"))
        if anomalies and not self.detector_.uses_known_anomalies:
            warnings.warn(
                f"{type(self.detector_).__name__} learns nothing from known anomalies: the {anomalies} of "
                "the feedback are only kept from being taken for normal.",
                LabelWarning,
                stacklevel=3,
            )

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """scikit-learn's direction: higher is more normal."""
        return -self.anomaly_score(X)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """`score_samples` minus `offset_`: negative for rows that raise an alarm.

        Where `calibrate_by` is set, every group has an offset of its own.
        """
        X = collected(X)
        groups = self.groups(X)
        if groups is None:
            return self.score_samples(X) - self.offset_
        rule = self.rule if self.rule.by_row else self._default_rule()
        return self.score_samples(X) + self.calibration_.cuts(rule.value, len(groups), groups)

    def predict(self, X: Any) -> NDArray[np.int64]:
        """+1 for normal rows and -1 for those that raise an alarm under the rule in force.

        Suppressed rows raise none, although their `decision_function` is negative.
        """
        check_is_fitted(self)
        X = collected(X)
        scores, groups, benign = self.anomaly_score(X), self.groups(X), self.benign(X)
        if benign is None:
            benign = np.zeros(len(scores), dtype=bool)
        return np.where(self._unsuppressed(self.rule, scores, groups, benign), -1, 1)

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
