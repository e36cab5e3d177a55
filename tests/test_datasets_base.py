"""What every data set promises, and the ones that are bundled or generated."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from da3d import datasets
from da3d.datasets import toy
from da3d.datasets.base import Dataset, LabelledTable, register
from da3d.errors import FileError, InputError, LabelError, ParameterError, TableError

BUNDLED = ("breast_cancer", "plane", "digits")
TABLES = """
    breast_cancer census_income covertype creditcard creditcard_part doh ids2018 kddcup99 mammography
    nsl_kdd plane unsw_nb15 unsw_nb15_part url
"""
IMAGES = "cifar10 cifar10_part digits emnist_letters fashion_mnist mnist mnist_letters"
NAMES = [*TABLES.split(), *IMAGES.split()]


@pytest.fixture(autouse=True)
def _nothing_cached(monkeypatch, tmp_path):
    monkeypatch.delenv("DA3D_DATA", raising=False)
    monkeypatch.setenv("DA3D_CACHE", str(tmp_path / "cache"))


def test_the_list_holds_every_registered_set_with_its_papers():
    listed = datasets.list_datasets()
    assert [dataset.name for dataset in listed] == NAMES
    for dataset in listed:
        assert dataset.source.startswith("https://")
        assert all((dataset.title, dataset.licence, dataset.citation, dataset.normal_rule))
        assert 0 < dataset.anomalies < dataset.rows


def arrival(dataset):
    """How the rows get to a machine."""
    if not (dataset.files or dataset.prepared or dataset.by_hand):
        return "bundled"
    return "download" if dataset.files else "by hand" if dataset.by_hand else "prepared elsewhere"


def test_the_document_has_the_table_of_all_sets():
    document = (Path(__file__).parents[1] / "docs" / "datasets.md").read_text(encoding="utf-8")
    shown = document.split("<!-- sets -->\n")[1].split("<!-- /sets -->")[0].splitlines()[2:]
    expected = [
        f"| `{each.name}` | [{each.title}]({each.source}) | {each.rows:,} | {each.features:,} | "
        f"{each.anomalies:,} | {each.normal_rule} | {each.licence} | {arrival(each)} |"
        for each in datasets.list_datasets()
    ]
    assert shown == expected, "\n".join(expected)


def test_names_are_found_with_either_dash():
    assert datasets.get_dataset("NSL-KDD") is datasets.get_dataset("nsl_kdd")


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(
        InputError, match=r"'mamography'. Did you mean 'mammography'\? Known: breast_cancer, census_income"
    ):
        datasets.get_dataset("mamography")
    with pytest.raises(InputError, match="adbench/cardio"):
        datasets.get_dataset("adbench/cardio")


def test_a_name_is_given_only_once():
    with pytest.raises(InputError, match="already"):
        register(datasets.get_dataset("digits"))


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets_are_as_large_as_they_say(name):
    dataset = datasets.get_dataset(name)
    table = datasets.load_dataset(name)
    assert datasets.state(dataset) == "bundled"
    assert (*table.frame.shape, table.anomalies) == (dataset.rows, dataset.features, dataset.anomalies)
    assert table.labels.dtype == np.int64
    assert all(isinstance(column, str) for column in table.frame.columns)
    assert table.test is None


def test_malignant_is_the_anomaly():
    table = datasets.load_dataset("breast_cancer")
    assert set(table.groups[table.labels == 1]) == {"malignant"}
    assert set(table.groups[table.labels == 0]) == {"benign"}
    area = table.frame["mean area"]
    assert area[table.labels == 1].mean() > 1.5 * area[table.labels == 0].mean()
    assert "target" not in table.frame


def test_digits_six_to_nine_are_the_anomalies():
    table = datasets.load_dataset("digits")
    assert sorted(set(table.groups[table.labels == 0])) == list("012345")
    assert sorted(set(table.groups[table.labels == 1])) == list("6789")
    assert "target" not in table.frame


def test_what_is_not_here_is_downloadable():
    states = {dataset.name: datasets.state(dataset) for dataset in datasets.list_datasets()}
    by_hand = {"doh", "url", "unsw_nb15", "unsw_nb15_part", "creditcard_part", "cifar10_part"}
    assert {name for name, state in states.items() if state == "not available here"} == by_hand
    assert {name for name, state in states.items() if state == "downloadable"} == {*NAMES} - by_hand - {
        *BUNDLED
    }


def test_a_data_folder_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("DA3D_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileError, match=r"DA3D_DATA names .*nowhere, which is not a folder"):
        datasets.load_dataset("mammography")
    assert len(datasets.load_dataset("digits").frame) == 1797


def test_importing_the_package_is_light():
    heavy = {"pandas", "sklearn", "scipy", "pooch", "torch"}
    code = f"import sys, da3d.datasets; print(sorted({heavy} & set(sys.modules)))"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "[]"


def test_a_table_whose_parts_do_not_fit_is_refused():
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    with pytest.raises(LabelError, match="2 rows needs 2 labels"):
        LabelledTable(frame, np.array([0]))
    with pytest.raises(LabelError, match=r"0 .normal. or 1 .anomaly."):
        LabelledTable(frame, np.array([0, 2]))
    with pytest.raises(LabelError, match="group names"):
        LabelledTable(frame, np.array([0, 1]), groups=np.array(["x"], dtype=object))
    other = LabelledTable(pd.DataFrame({"b": [1.0]}), np.array([0]))
    with pytest.raises(TableError, match="other columns"):
        LabelledTable(frame, np.array([0, 1]), test=other)


def test_records_cannot_be_changed():
    with pytest.raises(AttributeError):
        datasets.get_dataset("digits").rows = 3
    assert isinstance(datasets.get_dataset("digits"), Dataset)


@pytest.mark.parametrize("make", [toy.blobs, toy.ring, toy.mixed])
def test_generated_tables_depend_on_the_seed_alone(make):
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what must not move
    first, again, other = make(rows=200, seed=1), make(rows=200, seed=1), make(rows=200, seed=2)
    pd.testing.assert_frame_equal(first.frame, again.frame)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert not first.frame.equals(other.frame)
    assert len(first.frame) == 200
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert 0 < first.labels[:100].sum() < first.anomalies  # shuffled


def test_anomalies_of_blobs_lie_outside_the_clusters():
    table = toy.blobs(rows=600, features=5, anomalies=40, seed=4)
    assert table.anomalies == 40
    normal = table.frame[table.labels == 0].to_numpy()
    strange = table.frame[table.labels == 1].to_numpy()
    nearest = np.linalg.norm(strange[:, None] - normal, axis=2).min(axis=1)
    among = np.sort(np.linalg.norm(normal[:, None] - normal, axis=2), axis=1)[:, 1]
    assert np.median(nearest) > 3 * np.median(among)


def test_anomalies_of_the_ring_lie_in_its_hole_and_outside():
    table = toy.ring(rows=400, anomalies=31, seed=0)
    radius = np.linalg.norm(table.frame, axis=1)
    assert radius[table.groups == "hole"].max() < radius[table.labels == 0].min()
    assert radius[table.groups == "outside"].min() > radius[table.labels == 0].max()
    assert (table.groups == "hole").sum() == 15


def test_the_mixed_table_has_every_kind_of_column_and_its_anomalies():
    table = toy.mixed(rows=900, seed=5)
    frame, groups = table.frame, table.groups
    assert [frame[column].dtype.kind for column in ("amount", "items", "member", "paid_at")] == [
        "f",
        "i",
        "b",
        "M",
    ]
    assert pd.api.types.is_string_dtype(frame["channel"])
    for column in ("amount", "country", "paid_at"):
        assert 0 < frame[column].isna().sum() < 60
        assert not frame.loc[table.labels == 1, column].isna().any()
    assert table.anomalies == 45
    assert frame.loc[groups == "amount", "amount"].min() >= 5000
    assert set(frame.loc[groups == "place", "country"]) == {"XK"}
    assert "XK" not in set(frame.loc[groups == "normal", "country"])
    assert (frame.loc[groups == "night", "paid_at"].dt.hour == 3).all()
    assert frame.loc[groups == "normal", "paid_at"].dropna().dt.hour.between(8, 21).all()


@pytest.mark.parametrize("make", [toy.blobs, toy.ring, toy.mixed])
def test_impossible_sizes_are_refused(make):
    with pytest.raises(ParameterError, match="more rows than anomalies"):
        make(rows=10, anomalies=10)
