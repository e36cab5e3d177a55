"""Chosen classes, known anomalies, and the protocols of A3 and Fence GAN."""

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import train_test_split

from da3d.datasets import census_income, get_dataset, load_dataset, splits, state
from da3d.datasets.base import LabelledTable
from da3d.datasets.classes import choose_classes
from da3d.datasets.splits import Known
from da3d.errors import LabelError, ParameterError, TableError


def make(rows, test=None, first=0):
    """Rows whose feature is their number; groups are the last digit, 0 to 5 normal."""
    numbers = np.arange(first, first + rows)
    digits = numbers % 10
    groups = digits.astype(str).astype(object)
    return LabelledTable(pd.DataFrame({"id": numbers}), (digits > 5).astype(np.int64), groups, test=test)


TABLE = make(1000)
WITH_TEST = make(1000, make(200, first=1000))
PROTOCOLS = {
    "one_class": lambda table, **more: splits.one_class(table, 3, **more),
    "paper": lambda table, **more: splits.paper_split(table, 3, **more),
    "preprint": lambda table, **more: splits.preprint_split(table, 3, **more),
    "a3": lambda table, **more: splits.a3_split(table, 3, **more),
    "fence_kdd99": lambda table, **more: splits.fence_gan(table, 3, **more),
}


def parts(split):
    """Numbers of the rows of each part."""
    frames = [split.train, split.test, *([] if split.validation is None else [split.validation])]
    return [set(frame["id"]) for frame in frames]


def test_classes_are_chosen_by_their_groups():
    table = choose_classes(WITH_TEST, normal=["1", "7"], anomalous=["0", "8"])
    for part in (table, table.test):
        assert set(part.groups[part.labels == 0]) == {"1", "7"}
        assert set(part.groups[part.labels == 1]) == {"0", "8"}
        assert list(part.frame["id"] % 10) == [int(group) for group in part.groups]
    assert (len(table.frame), len(table.test.frame)) == (400, 80)


def test_without_anomalous_groups_all_others_are_anomalies():
    table = choose_classes(TABLE, normal=["9"])
    assert set(table.groups[table.labels == 1]) == set("012345678")
    assert len(table.frame) == 1000


def test_without_normal_groups_normal_stays_what_it_was():
    table = choose_classes(TABLE, anomalous=["6", "0"])
    assert set(table.groups[table.labels == 0]) == set("12345")
    assert set(table.groups[table.labels == 1]) == {"6", "0"}
    assert choose_classes(TABLE) is TABLE


def test_groups_that_cannot_be_chosen_are_refused():
    with pytest.raises(LabelError, match=r"no group 'x' in this table; it has 0, 1, 2"):
        choose_classes(TABLE, normal=["0", "x"])
    with pytest.raises(LabelError, match="'1' cannot be both"):
        choose_classes(TABLE, normal=["0", "1"], anomalous=["1"])
    with pytest.raises(LabelError, match="no normal row or no anomaly"):
        choose_classes(TABLE, normal=list("0123456789"))
    with pytest.raises(TableError, match="has no groups"):
        choose_classes(LabelledTable(TABLE.frame, TABLE.labels), normal=["0"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("table", [TABLE, WITH_TEST], ids=["alone", "with test"])
def test_known_anomalies_come_from_their_groups_and_are_in_no_other_part(protocol, table):
    split = PROTOCOLS[protocol](table, known=Known(25, ("6", "7")), contamination=0.02)
    marked = split.train[split.train_labels == 1]["id"]
    assert len(set(marked)) == 25
    assert set(marked % 10) == {6, 7}
    assert not split.hidden_anomalies[split.train_labels == 1].any()
    assert sum(map(len, parts(split))) == len(set().union(*parts(split)))
    believed = split.train["id"][split.train_labels == 0] % 10
    assert ((believed > 5) == split.hidden_anomalies[split.train_labels == 0]).all()
    assert split.contamination_reached == pytest.approx(0.02, abs=0.003)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_known_anomalies_change_nothing_else(protocol):
    without = PROTOCOLS[protocol](TABLE, contamination=0.02)
    few, many = (PROTOCOLS[protocol](TABLE, contamination=0.02, known=Known(count)) for count in (5, 50))
    rows = [set(split.train["id"][split.train_labels == 0]) for split in (without, few, many)]
    assert rows[0] == rows[1] == rows[2]
    marked = [set(split.train["id"][split.train_labels == 1]) for split in (few, many)]
    assert marked[0] < marked[1]
    assert without.train_labels.sum() == 0


def test_an_official_test_set_has_no_known_anomalies():
    split = splits.official(WITH_TEST, 0, known=Known(100, ["9"]))
    assert set(split.test["id"]) == set(range(1000, 1200))
    assert set(split.train["id"][split.train_labels == 1]) == set(range(9, 1000, 10))


def test_too_many_known_anomalies_and_unknown_groups_are_refused():
    with pytest.raises(LabelError, match="101 anomalies should be known, but only 100"):
        splits.official(WITH_TEST, 0, known=Known(101, ("9",)))
    with pytest.raises(LabelError, match="cannot be of group 'x'"):
        splits.official(WITH_TEST, 0, known=Known(1, ("x",)))
    with pytest.raises(LabelError, match="1 anomalies should be known, but only 0"):
        splits.official(WITH_TEST, 0, known=Known(1, ("0",)))  # normal
    with pytest.raises(TableError, match="has no groups"):
        splits.one_class(LabelledTable(TABLE.frame, TABLE.labels), 0, known=Known(1, ("0",)))


def test_the_split_of_a3_tests_20_percent_with_the_seed_of_the_run():
    split = splits.a3_split(TABLE, 2409)
    rest, test = train_test_split(np.arange(1000), test_size=0.2, random_state=2409)
    _, validation = train_test_split(rest, test_size=0.05, random_state=2409)
    assert list(split.test["id"]) == list(test)
    assert list(split.validation["id"]) == list(validation)
    assert set(split.train["id"]) == {row for row in rest if row % 10 < 6} - set(validation)
    assert set(splits.a3_split(TABLE, 706).test["id"]) != set(test)
    with_test = splits.a3_split(WITH_TEST, 2409)
    assert list(with_test.test["id"]) == list(range(1000, 1200))
    assert len(with_test.validation) == 50


@pytest.mark.parametrize(
    ("name", "options", "rows"),
    [
        ("mammography", {}, 8296),
        ("nsl_kdd", {}, 63930),
        ("census_income", {"train_on_test_file": True}, 88902),
    ],
)
def test_the_training_rows_of_da3ds_preprint(monkeypatch, tmp_path, name, options, rows):
    monkeypatch.setenv("DA3D_CACHE", str(tmp_path))
    if state(get_dataset(name)) != "cached":
        pytest.skip(f"{name} is not in DA3D_DATA")
    split = splits.preprint_split(load_dataset(name, **options), 110)
    assert (len(split.train), split.hidden_anomalies.sum()) == (rows, 0)


def test_the_width_of_census_in_da3ds_preprint(monkeypatch, tmp_path):
    monkeypatch.setenv("DA3D_CACHE", str(tmp_path))
    if state(get_dataset("census_income")) != "cached":
        pytest.skip("census_income is not in DA3D_DATA")
    table = load_dataset("census_income", instance_weight=True, train_on_test_file=True)
    widths = {
        name: 1 if name in census_income.NUMBERS else table.frame[name].nunique() for name in table.frame
    }
    assert sum(widths.values()) == 510


@pytest.mark.parametrize(
    ("made_for", "sizes"),
    [
        # normal rows that train, are tested, validate; anomalies that are tested, validate
        ("kdd99", (300, 300, 0, 200, 0)),
        ("mnist", (480, 90, 30, 300, 100)),
        ("cifar10", (450, 120, 30, 320, 80)),
    ],
)
def test_the_protocols_of_fence_gan(made_for, sizes):
    split = splits.fence_gan(TABLE, 0, made_for=made_for)
    checked = np.zeros(0) if split.validation_labels is None else split.validation_labels
    counts = [(labels == value).sum() for value in (0, 1) for labels in (split.test_labels, checked)]
    assert (len(split.train), *counts) == sizes
    assert sum(map(len, parts(split))) == len(set().union(*parts(split)))
    assert (split.validation is None) == (made_for == "kdd99")


def test_fence_gans_digits_are_divided_in_their_order():
    split = splits.fence_gan(TABLE, 0, made_for="mnist")
    normal = [row for row in range(1000) if row % 10 < 6]
    assert set(split.train["id"]) == set(normal[:480])
    assert set(split.test["id"][split.test_labels == 0]) == set(normal[480:570])
    kdd, other = (set(splits.fence_gan(TABLE, seed).train["id"]) for seed in (0, 1))
    assert kdd != other


def test_fence_gan_counts_kdd_cup_as_published():
    """The paper's test set has 247 011 rows, 48 639 of them anomalies."""
    labels = np.repeat([0, 1], [396743, 97278])
    table = LabelledTable(pd.DataFrame({"id": np.arange(len(labels))}), labels)
    split = splits.fence_gan(table, 0)
    assert (len(split.test), split.test_labels.sum()) == (247011, 48639)


def test_fence_gan_refuses_what_it_cannot_divide():
    with pytest.raises(LabelError, match="none can be spared"):
        splits.fence_gan(TABLE, 0, contamination=0.1, made_for="mnist")
    with pytest.raises(LabelError, match="too few for Fence GAN"):
        splits.fence_gan(make(7), 0)
    with pytest.raises(ParameterError, match="contamination"):
        splits.fence_gan(TABLE, 0, contamination=0.7)
