"""Splits: nobody is in two parts, contamination is what was asked for, the test of the paper never moves."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from da3d.datasets import splits
from da3d.datasets.base import LabelledTable
from da3d.errors import LabelError, ParameterError, TableError


def make(normal, anomalies, test=None):
    """A table whose only feature is the row's number; anomalies come last."""
    rows = normal + anomalies
    labels = (np.arange(rows) >= normal).astype(np.int64)
    groups = np.where(labels == 1, "attack", "normal").astype(object)
    return LabelledTable(pd.DataFrame({"id": np.arange(rows)}), labels, groups=groups, test=test)


TABLE = make(1000, 100)
WITH_TEST = make(1000, 100, test=make(30, 20))
SPLITS = [
    pytest.param(lambda seed, p: splits.one_class(TABLE, seed, contamination=p), id="one_class"),
    pytest.param(lambda seed, p: splits.paper_split(TABLE, seed, contamination=p), id="paper"),
    pytest.param(lambda seed, p: splits.paper_split(WITH_TEST, seed, contamination=p), id="paper with test"),
    pytest.param(lambda seed, p: splits.official(WITH_TEST, seed, contamination=p), id="official"),
]


@pytest.mark.parametrize("split", SPLITS)
def test_training_rows_are_believed_normal_and_the_truth_is_known(split):
    for p in (0.0, 0.01, 0.05):
        made = split(3, p)
        assert made.train_labels.sum() == 0
        truth = made.train["id"].to_numpy() >= 1000
        np.testing.assert_array_equal(made.hidden_anomalies, truth)
        normal = int((~truth).sum())
        assert truth.sum() == round(normal * p / (1 - p))
        assert made.contamination_reached == truth.mean() == pytest.approx(p, abs=1 / normal)
        assert made.train["id"].is_unique


@pytest.mark.parametrize("split", SPLITS)
def test_the_seed_fixes_everything_and_nothing_global_moves(split):
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what must not move
    first, again, other = split(5, 0.02), split(5, 0.02), split(6, 0.02)
    pd.testing.assert_frame_equal(first.train, again.train)
    pd.testing.assert_frame_equal(first.test, again.test)
    assert not first.train["id"].reset_index(drop=True).equals(other.train["id"].reset_index(drop=True))
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@pytest.mark.parametrize("split", SPLITS[:2])
def test_no_row_is_in_two_parts(split):
    made = split(0, 0.03)
    parts = [made.train, made.test] + ([] if made.validation is None else [made.validation])
    ids = np.concatenate([part["id"] for part in parts])
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("split", SPLITS)
def test_test_labels_and_groups_belong_to_the_rows(split):
    made = split(1, 0.01)
    limit = 1000 if len(made.test) != 50 else 30
    np.testing.assert_array_equal(made.test_labels, made.test["id"] >= limit)
    np.testing.assert_array_equal(made.test_groups == "attack", made.test_labels == 1)


def test_hidden_anomalies_have_no_place_of_their_own():
    made = splits.official(WITH_TEST, 0, contamination=0.05)
    assert not made.hidden_anomalies[-made.hidden_anomalies.sum() :].all()


def test_one_class_tests_all_that_does_not_train():
    made = splits.one_class(TABLE, 0, train_share=0.3, contamination=0.1)
    assert len(made.train) == 300 + 33
    assert (made.test_labels == 0).sum() == 700
    assert made.test_labels.sum() == 100 - 33
    capped = splits.one_class(TABLE, 0, train_share=0.3, max_train=50)
    assert len(capped.train) == 50
    assert len(capped.test) == 1050


def test_the_paper_split_is_80_5_15_with_the_authors_test_rows():
    first, second = splits.paper_split(TABLE, 110), splits.paper_split(TABLE, 210)
    _, expected = train_test_split(np.arange(1100), test_size=0.15, random_state=42)
    assert list(first.test["id"]) == list(expected)
    pd.testing.assert_frame_equal(first.test, second.test)
    assert len(first.test) == 165
    assert len(first.validation) == 47
    assert set(first.validation["id"]) != set(second.validation["id"])
    np.testing.assert_array_equal(first.validation_labels, first.validation["id"] >= 1000)
    accounted = len(first.test) + len(first.validation) + len(first.train)
    dropped = 100 - int(first.test_labels.sum()) - int(first.validation_labels.sum())
    assert accounted + dropped == 1100


def test_the_paper_split_of_a_table_with_an_official_test_set_is_95_5():
    made = splits.paper_split(WITH_TEST, 110)
    assert len(made.validation) == 55
    assert len(made.train) == 1000 - int((made.validation_labels == 0).sum())
    assert list(made.test["id"]) == list(range(50))


def test_official_trains_on_every_normal_row():
    made = splits.official(WITH_TEST, 0)
    assert sorted(made.train["id"]) == list(range(1000))
    assert list(made.test["id"]) == list(range(50))
    with pytest.raises(TableError, match="no official test set"):
        splits.official(TABLE, 0)


def test_too_few_anomalies_are_used_once_each_and_reported():
    table = make(1000, 4, test=make(5, 5))
    with pytest.warns(
        UserWarning, match=r"asks for 111 anomalies, but only 4 are to spare: 0.0040 is reached"
    ):
        made = splits.official(table, 0, contamination=0.1)
    assert made.hidden_anomalies.sum() == 4
    assert made.contamination_reached == 4 / 1004
    with pytest.raises(LabelError, match="none can be spared"):
        splits.official(make(1000, 0, test=make(5, 5)), 0, contamination=0.1)


def test_one_class_leaves_an_anomaly_to_be_found():
    with pytest.warns(UserWarning, match="only 1 are to spare"):
        made = splits.one_class(make(100, 2), 0, contamination=0.2)
    assert made.test_labels.sum() == 1


@pytest.mark.parametrize("contamination", [-0.1, 0.5, 1.0, float("nan")])
@pytest.mark.parametrize("split", SPLITS)
def test_impossible_contamination_is_refused(split, contamination):
    with pytest.raises(ParameterError, match="contamination"):
        split(0, contamination)


def test_impossible_parameters_and_tables_are_refused():
    with pytest.raises(ParameterError, match="train_share"):
        splits.one_class(TABLE, 0, train_share=1.0)
    with pytest.raises(ParameterError, match="max_train"):
        splits.one_class(TABLE, 0, max_train=0)
    with pytest.raises(LabelError, match="cannot be divided"):
        splits.one_class(make(100, 0), 0)
    with pytest.raises(LabelError, match="no normal row"):
        splits.paper_split(make(0, 50), 0)
