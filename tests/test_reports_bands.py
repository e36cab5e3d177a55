"""Curves with bands: exact where there is nothing to guess, honest where there is."""

import numpy as np
import pytest

from da3d.errors import LabelError
from da3d.metrics import average_precision, recall_at_fpr, roc_auc
from da3d.reports.bands import rank


@pytest.fixture
def scored():
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], [200, 30])
    return labels, np.round(random.normal(1.2 * labels), 1)  # with ties


def test_areas_are_those_of_the_metrics_and_lie_in_their_intervals(scored):
    ranking = rank(*scored)
    assert ranking.auc.value == roc_auc(*scored)
    assert ranking.average_precision.value == average_precision(*scored)
    for area in (ranking.auc, ranking.average_precision):
        assert 0 < area.low < area.value < area.high < 1
    assert ranking.share == 30 / 230


def test_an_interval_is_as_wide_as_theory_says(scored):
    """The standard error of an AUC of two normal samples, by Hanley and McNeil 1982."""
    ranking, a, n, m = rank(*scored), roc_auc(*scored), 30, 200
    variance = a * (1 - a) + (n - 1) * (a / (2 - a) - a * a) + (m - 1) * (2 * a * a / (1 + a) - a * a)
    width = 2 * 1.96 * np.sqrt(variance / (n * m))
    assert ranking.auc.high - ranking.auc.low == pytest.approx(width, rel=0.25)


def test_curves_go_through_what_thresholds_can_reach(scored):
    ranking = rank(*scored)
    for place in (2, 20, 100, 200):
        assert ranking.roc.y[place] == recall_at_fpr(*scored, fpr=ranking.roc.x[place])
    labels, scores = scored
    flagged = scores >= np.sort(scores[labels == 1])[-15]  # the highest threshold that finds half of them
    assert ranking.precision_recall.y[100] == labels[flagged].mean()
    assert ranking.precision_recall.y[-1] == labels[scores >= scores[labels == 1].min()].mean()


def test_bands_hold_their_curves_nearly_everywhere(scored):
    for band in (rank(*scored).roc, rank(*scored).precision_recall):
        assert (band.low <= band.high).all()
        assert ((band.low <= band.y) & (band.y <= band.high)).mean() > 0.95
        assert (band.low >= 0).all()
        assert (band.high <= 1).all()


def test_a_perfect_ranking_is_perfect_whatever_is_drawn():
    ranking = rank([0, 0, 0, 1, 1], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert (ranking.auc.low, ranking.auc.high, ranking.average_precision.low) == (1.0, 1.0, 1.0)
    assert (ranking.roc.y == 1).all()
    assert (ranking.precision_recall.low == 1).all()


def test_equal_scores_say_nothing():
    ranking = rank(np.repeat([0, 1], [30, 10]), np.zeros(40))
    assert (ranking.auc.low, ranking.auc.value, ranking.auc.high) == (0.5, 0.5, 0.5)
    assert ranking.precision_recall.y[1] == 0.25


def test_the_seed_decides_and_large_tables_are_drawn_less_often(scored):
    assert rank(*scored, seed=1).auc == rank(*scored, seed=1).auc != rank(*scored, seed=2).auc
    assert rank(*scored).resamplings == 500
    random = np.random.default_rng(0)
    assert rank(random.integers(0, 2, 400_000), random.normal(size=400_000)).resamplings == 100


def test_one_kind_cannot_be_ranked():
    with pytest.raises(LabelError):
        rank([1, 1], [0.0, 1.0])
