"""How well scores tell anomalies from normal rows.

Every function takes labels (1 = anomaly, 0 = normal) and scores (higher = stranger) of the same rows. Scores
are only compared with each other, so a logit, a distance and a probability serve alike. Rows with equal
scores are never ordered in the detector's favour.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from da3d.errors import InputError, LabelError, ParameterError

__all__ = ["average_precision", "f1_at_true_rate", "recall_at_fpr", "roc_auc", "summarise"]

Labels = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


def roc_auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Chance that a random anomaly scores higher than a random normal row; a tie counts one half.

    Parameters
    ----------
    labels : array_like, shape (rows,)
        1 = anomaly, 0 = normal; both must occur.
    scores : array_like, shape (rows,)
        Finite numbers, higher = stranger.

    Returns
    -------
    float
        Area under the ROC curve, in [0, 1]; 0.5 is chance.

    Raises
    ------
    LabelError
        Labels are not 0/1, contain only one class, or do not match the scores in number.
    InputError
        Scores are not one finite number per row.
    """
    checked_labels, checked_scores = _checked(labels, scores)
    return float(roc_auc_score(checked_labels, checked_scores))


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Precision averaged over the recall that each threshold adds.

    Parameters, range and errors as in `roc_auc`; the value of chance is the share of anomalies.
    """
    checked_labels, checked_scores = _checked(labels, scores)
    return float(average_precision_score(checked_labels, checked_scores))


def recall_at_fpr(labels: npt.ArrayLike, scores: npt.ArrayLike, fpr: float = 0.01) -> float:
    """Highest recall that any threshold reaches while at most a share `fpr` of the normal rows is flagged.

    Exact: only thresholds that the scores allow are considered (rows with equal scores are flagged together),
    and nothing is interpolated.

    Parameters
    ----------
    labels, scores : array_like, shape (rows,)
        As in `roc_auc`.
    fpr : float
        Largest permitted false-positive rate, in [0, 1].

    Returns
    -------
    float
        Share of the anomalies that is found, in [0, 1].

    Raises
    ------
    ParameterError
        `fpr` lies outside [0, 1].
    LabelError, InputError
        As in `roc_auc`.
    """
    if not 0.0 <= fpr <= 1.0:
        raise ParameterError(f"fpr is {fpr}, but a false-positive rate lies between 0 and 1.")
    checked_labels, checked_scores = _checked(labels, scores)
    false_positive, true_positive, _ = roc_curve(checked_labels, checked_scores, drop_intermediate=False)
    return float(true_positive[false_positive <= fpr].max())


def f1_at_true_rate(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """F1 when exactly as many rows are flagged as there are anomalies.

    Then precision, recall and F1 are one number. Where equal scores straddle the cut, the normal rows are
    flagged first, so ties cost and never help.

    Parameters, range and errors as in `roc_auc`.
    """
    checked_labels, checked_scores = _checked(labels, scores)
    flagged = np.lexsort((checked_labels, -checked_scores))[: checked_labels.sum()]
    return float(checked_labels[flagged].mean())


def precision_recall_of_top(
    labels: npt.ArrayLike, scores: npt.ArrayLike, share: float = 0.2
) -> tuple[float, float]:
    """Precision and recall when this share of all rows is flagged, the strangest first.

    The rule of DAGMM, ALAD and Fence GAN on KDD99. Where equal scores straddle the cut, the normal rows are
    flagged first.

    Parameters
    ----------
    labels, scores : array_like, shape (rows,)
        As in `roc_auc`.
    share : float
        Share of the rows that is flagged, in (0, 1]; at least one row is.

    Raises
    ------
    ParameterError
        `share` lies outside (0, 1].
    LabelError, InputError
        As in `roc_auc`.
    """
    if not 0.0 < share <= 1.0:
        raise ParameterError(f"share is {share}, but the share of flagged rows lies in (0, 1].")
    checked_labels, checked_scores = _checked(labels, scores)
    count = max(1, round(share * len(checked_scores)))
    found = checked_labels[np.lexsort((checked_labels, -checked_scores))[:count]].sum()
    return float(found / count), float(found / checked_labels.sum())


def summarise(labels: npt.ArrayLike, scores: npt.ArrayLike) -> dict[str, float]:
    """All figures of this module for one set of scores.

    Returns
    -------
    dict of str to float
        ``auc``, ``average_precision``, ``recall_at_1pct_fpr``, ``f1_at_true_rate``, and
        ``precision_at_20pct`` and ``recall_at_20pct`` of `precision_recall_of_top`, each in [0, 1].

    Raises
    ------
    LabelError, InputError
        As in `roc_auc`.
    """
    precision, recall = precision_recall_of_top(labels, scores, share=0.2)
    return {
        "auc": roc_auc(labels, scores),
        "average_precision": average_precision(labels, scores),
        "recall_at_1pct_fpr": recall_at_fpr(labels, scores, fpr=0.01),
        "f1_at_true_rate": f1_at_true_rate(labels, scores),
        "precision_at_20pct": precision,
        "recall_at_20pct": recall,
    }


def _checked(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Labels, Scores]:
    """Both arrays in their working types, or the reason why they cannot be used."""
    checked_labels, checked_scores = _checked_labels(labels), _checked_scores(scores)
    if len(checked_labels) != len(checked_scores):
        raise LabelError(
            f"There are {len(checked_labels)} labels but {len(checked_scores)} scores; give one each per row."
        )
    return checked_labels, checked_scores


def _checked_labels(labels: npt.ArrayLike) -> Labels:
    """Labels as int64 zeros and ones, both present."""
    given = np.asarray(labels)
    if given.ndim != 1 or given.size == 0:
        raise LabelError(f"Labels have shape {given.shape}; give a non-empty list with one label per row.")
    numbers = _as_float(given)
    if numbers is None:
        raise LabelError("Labels are not numbers; give 1 for an anomaly and 0 for a normal row.")
    if np.isnan(numbers).any():
        raise LabelError(
            f"{int(np.isnan(numbers).sum())} labels are missing (NaN); give 0 or 1 for every row."
        )
    strange = np.setdiff1d(numbers, [0.0, 1.0])
    if strange.size:
        raise LabelError(f"Labels contain {strange[0]:g}; only 1 (anomaly) and 0 (normal) are allowed.")
    if numbers.min() == numbers.max():
        kind = "anomalies" if numbers[0] else "normal rows"
        raise LabelError(f"All {len(numbers)} labelled rows are {kind}; an evaluation needs both kinds.")
    return numbers.astype(np.int64)


def _checked_scores(scores: npt.ArrayLike) -> Scores:
    """Scores as finite float64, one per row."""
    given = np.asarray(scores)
    if given.ndim != 1:
        raise InputError(f"Scores have shape {given.shape}; give one number per row.")
    numbers = _as_float(given)
    if numbers is None:
        raise InputError("Scores are not numbers; give one finite number per row.")
    bad = int((~np.isfinite(numbers)).sum())
    if bad:
        raise InputError(f"{bad} of {len(numbers)} scores are NaN or infinite; every score must be finite.")
    return numbers


def _as_float(values: npt.NDArray[Any]) -> Scores | None:
    """The values as float64, or None where they are not numbers; text never is one."""
    if values.dtype.kind in "USMmc" or any(isinstance(value, str) for value in values.flat):
        return None
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError):
        return None
