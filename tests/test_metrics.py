"""Metrics against definitions that are spelled out by brute force."""

import itertools

import numpy as np
import pandas as pd
import pytest

from da3d import metrics
from da3d.errors import InputError, LabelError, ParameterError

ALL = (
    metrics.roc_auc,
    metrics.average_precision,
    metrics.recall_at_fpr,
    metrics.f1_at_true_rate,
    metrics.summarise,
)


@pytest.fixture
def tied():
    """Labels and scores of 300 rows in which only 12 different scores occur."""
    rng = np.random.default_rng(3)
    labels = (rng.random(300) < 0.3).astype(int)
    return labels, np.floor(rng.normal(labels * 2.0, 2.0)).clip(-5, 6)


def test_auc_is_the_share_of_pairs_in_order_and_ties_count_half(tied):
    labels, scores = tied
    pairs = list(itertools.product(scores[labels == 1], scores[labels == 0]))
    expected = np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs])
    assert metrics.roc_auc(labels, scores) == pytest.approx(expected, abs=1e-12)


def test_average_precision_sums_precision_over_gained_recall(tied):
    labels, scores = tied
    expected, found = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        flagged = labels[scores >= threshold]
        recall = flagged.sum() / labels.sum()
        expected += flagged.mean() * (recall - found)
        found = recall
    assert metrics.average_precision(labels, scores) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("fpr", [0.0, 0.01, 0.07, 0.1, 0.5, 1.0])
def test_recall_at_fpr_is_the_best_of_all_thresholds(tied, fpr):
    labels, scores = tied
    recalls = [
        (scores[labels == 1] >= threshold).mean()
        for threshold in [np.inf, *set(scores)]
        if (scores[labels == 0] >= threshold).mean() <= fpr
    ]
    assert metrics.recall_at_fpr(labels, scores, fpr) == max(recalls)


def test_recall_at_fpr_may_use_the_whole_allowance_and_not_a_row_more():
    labels = np.repeat([0, 1], [100, 4])
    scores = np.concatenate([np.arange(100.0), [98.5, 99.5, 97.5, 50.0]])
    assert metrics.recall_at_fpr(labels, scores, 0.01) == 0.5  # 99 is flagged, 98 is not
    assert metrics.recall_at_fpr(labels, scores, 0.0099) == 0.25
    assert metrics.recall_at_fpr(labels, scores, 0.02) == 0.75


def test_recall_at_fpr_is_zero_when_everything_ties():
    assert metrics.recall_at_fpr([0] * 50 + [1], np.zeros(51)) == 0.0


def test_f1_flags_as_many_rows_as_there_are_anomalies():
    assert metrics.f1_at_true_rate([1, 1, 0, 1, 0], [5, 4, 3, 2, 1]) == pytest.approx(2 / 3)


def test_f1_resolves_ties_against_the_detector():
    assert metrics.f1_at_true_rate([1, 0, 1, 0], [1, 1, 1, 1]) == 0.0
    assert metrics.f1_at_true_rate([1, 0, 1], [2, 1, 1]) == 0.5


def test_summary_holds_the_four_figures(tied):
    labels, scores = tied
    assert metrics.summarise(labels, scores) == {
        "auc": metrics.roc_auc(labels, scores),
        "average_precision": metrics.average_precision(labels, scores),
        "recall_at_1pct_fpr": metrics.recall_at_fpr(labels, scores, 0.01),
        "f1_at_true_rate": metrics.f1_at_true_rate(labels, scores),
        "precision_at_20pct": metrics.precision_recall_of_top(labels, scores)[0],
        "recall_at_20pct": metrics.precision_recall_of_top(labels, scores)[1],
    }


@pytest.mark.parametrize(
    "labels",
    [
        [False, True, False],
        [0.0, 1.0, 0.0],
        pd.Series([0, 1, 0], index=[7, 8, 9]),
        np.array([0, 1, 0], dtype=object),
    ],
)
def test_labels_may_be_booleans_floats_and_series(labels):
    assert metrics.roc_auc(labels, [1.0, 2.0, 1.5]) == 1.0


def test_only_the_order_of_scores_counts(tied):
    labels, scores = tied
    assert metrics.summarise(labels, np.exp(scores)) == metrics.summarise(labels, scores)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 0, 0], "All 3 labelled rows are normal rows"),
        ([1, 1, 1], "All 3 labelled rows are anomalies"),
        ([0, 1, np.nan], "1 labels are missing"),
        ([0, 1, 2], "contain 2"),
        ([0, 1, -1], "contain -1"),
        ([0, 1], "2 labels but 3 scores"),
        (["0", "1", "0"], "not numbers"),
        ([0, 1, None], "missing"),
        ([[0], [1], [0]], "shape"),
        ([], "shape"),
    ],
)
def test_bad_labels_give_one_clear_sentence(metric, labels, message):
    with pytest.raises(LabelError, match=message) as caught:
        metric(labels, [1.0, 2.0, 3.0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0, np.nan, 2.0], "1 of 3 scores are NaN"),
        ([1.0, np.inf, 2.0], "infinite"),
        ([[1.0], [2.0], [3.0]], "shape"),
        (["a", "b", "c"], "not numbers"),
    ],
)
def test_bad_scores_give_one_clear_sentence(metric, scores, message):
    with pytest.raises(InputError, match=message):
        metric([0, 1, 0], scores)


@pytest.mark.parametrize("fpr", [-0.1, 1.1, float("nan")])
def test_an_impossible_rate_is_refused(fpr):
    with pytest.raises(ParameterError, match="between 0 and 1"):
        metrics.recall_at_fpr([0, 1], [0.0, 1.0], fpr)


def test_precision_and_recall_of_the_strangest_share():
    labels, scores = [1, 1, 0, 0, 0, 0, 1, 0, 0, 0], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert metrics.precision_recall_of_top(labels, scores, 0.2) == (1.0, pytest.approx(2 / 3))
    assert metrics.precision_recall_of_top(labels, scores, 0.3) == (
        pytest.approx(2 / 3),
        pytest.approx(2 / 3),
    )
    assert metrics.precision_recall_of_top([1, 0, 0, 1, 0], [1, 1, 1, 1, 1], 0.4) == (0.0, 0.0)
    with pytest.raises(ParameterError, match="share is 0"):
        metrics.precision_recall_of_top(labels, scores, 0.0)
