"""A table of any size -> rows that fit: whole where it fits, else a uniform sample that the seed decides."""

import gzip
import io
import sys

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy import stats

from da3d.datasets import toy
from da3d.errors import ParameterError, TableError
from da3d.preprocessing import memory, read_table, sample_table
from da3d.preprocessing import sample as module
from da3d.preprocessing.memory import machine_memory, memory_size, spelled

ROWS = 20_000


def numbered(rows, **columns):
    """A table in which `place` is the number of the row."""
    return pd.DataFrame({"place": np.arange(rows), "half": np.arange(rows) / 2, **columns})


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A Parquet file of many row groups, with a hundred known anomalies at its end."""
    path = tmp_path_factory.mktemp("sample") / "table.parquet"
    kinds = np.where(np.arange(ROWS) < ROWS - 100, "normal", "attack")
    numbered(ROWS, kind=kinds).to_parquet(path, row_group_size=1_000)
    return path


def write(frame, path):
    """Write a table in the form that its name says."""
    if path.suffix == ".parquet":
        frame.to_parquet(path, row_group_size=50)
    elif ".jsonl" in path.name:
        frame.to_json(path, orient="records", lines=True, date_format="iso")
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.tsv", "t.csv.gz", "t.jsonl"])
def test_a_table_that_fits_is_the_one_that_is_read_whole(tmp_path, name):
    write(toy.mixed(rows=300, seed=0).frame, tmp_path / name)
    for limits in ({}, {"memory": "1GiB"}, {"rows": 300}, {"rows": 10_000}):
        sample = sample_table(tmp_path / name, **limits)
        assert sample.is_whole
        assert sample.rows == 300
        assert_frame_equal(sample.frame, read_table(tmp_path / name))


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.tsv", "t.csv.gz", "t.jsonl"])
def test_the_sample_is_the_same_in_every_form(tmp_path, name):
    write(numbered(500), tmp_path / name)
    write(numbered(500), tmp_path / "other.csv")
    one, other = (sample_table(tmp_path / each, rows=60) for each in (name, "other.csv"))
    assert (len(one.frame), one.rows) == (60, 500)
    assert not one.is_whole
    assert_frame_equal(one.frame, other.frame)
    assert one.frame["place"].is_monotonic_increasing
    assert one.frame["place"].is_unique
    assert (one.frame["half"] == one.frame["place"] / 2).all()
    assert list(one.frame.index) == list(range(60))


def test_a_folder_is_one_table(tmp_path):
    (tmp_path / "t").mkdir()
    write(numbered(500), tmp_path / "whole.parquet")
    for part in range(5):
        write(numbered(500).iloc[100 * part : 100 * (part + 1)], tmp_path / "t" / f"{part}.parquet")
    one, other = (sample_table(tmp_path / each, rows=60).frame for each in ("t", "whole.parquet"))
    assert_frame_equal(one[["place", "half"]], other)


def test_standard_input(tmp_path, monkeypatch):
    write(numbered(500), tmp_path / "t.csv")
    content = (tmp_path / "t.csv").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert_frame_equal(sample_table("-", rows=60).frame, sample_table(tmp_path / "t.csv", rows=60).frame)


def test_the_types_are_those_of_the_whole_table(tmp_path):
    lines = [*map(str, range(999)), "0.5"]
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(("x\n" + "\n".join(lines) + "\n").encode()))
    for seed in range(3):
        assert sample_table(tmp_path / "t.csv.gz", rows=10, seed=seed).frame["x"].dtype == np.float64


def test_the_sample_is_uniform(table):
    """The places of the rows, in a hundred cells over many seeds: no part of the file is preferred."""
    counts = np.zeros(100)
    for seed in range(40):
        places = sample_table(table, rows=1_000, seed=seed).frame["place"].to_numpy()
        counts += np.bincount(places // (ROWS // 100), minlength=100)
    assert stats.chisquare(counts).pvalue > 0.001
    # Without replacement, cells vary less than independent draws would: not more, in any case.
    assert counts.sum() == 40 * 1_000


def test_the_seed_decides(table):
    one, again, other = (sample_table(table, rows=500, seed=seed).frame for seed in (1, 1, 2))
    assert_frame_equal(one, again)
    assert not one.equals(other)


@pytest.mark.parametrize("chunk", [137, 1_000, 5_000, 100_000])
def test_the_size_of_chunks_does_not_matter(table, monkeypatch, chunk):
    wanted = sample_table(table, rows=777, label="kind", anomaly=["attack"]).frame
    monkeypatch.setattr(module, "ROWS", chunk)
    assert_frame_equal(sample_table(table, rows=777, label="kind", anomaly=["attack"]).frame, wanted)


def test_a_smaller_sample_is_part_of_a_larger_one(table):
    small, large = (set(sample_table(table, rows=rows).frame["place"]) for rows in (300, 3_000))
    assert small < large


@pytest.mark.parametrize("named", [{"anomaly": ["attack"]}, {"normal": ["normal"]}])
def test_known_anomalies_are_all_kept(table, named):
    sample = sample_table(table, rows=600, label="kind", **named).frame
    assert (sample["kind"] == "attack").sum() == 100
    assert len(sample) == 600
    few = sample_table(table, rows=200, label="kind", **named).frame
    assert (few["kind"] == "attack").sum() == 50  # a quarter
    assert len(few) == 200


def test_normal_rows_are_uniform_beside_known_anomalies(table):
    counts = np.zeros(50)
    for seed in range(20):
        sample = sample_table(table, rows=1_000, seed=seed, label="kind", anomaly=["attack"]).frame
        places = sample.loc[sample["kind"] == "normal", "place"].to_numpy()
        counts += np.bincount(places * 50 // (ROWS - 100), minlength=50)
    assert stats.chisquare(counts).pvalue > 0.001


def test_rows_without_a_label_are_kept_to_be_refused(tmp_path):
    kinds = np.where(np.arange(5_000) == 4_321, None, "normal")
    write(numbered(5_000, kind=kinds), tmp_path / "t.parquet")
    sample = sample_table(tmp_path / "t.parquet", rows=50, label="kind").frame
    assert sample["kind"].isna().sum() == 1


def test_the_ceiling_says_how_many_rows(table):
    sizes = [len(sample_table(table, memory=amount).frame) for amount in ("512.5MiB", "513MiB", "514MiB")]
    assert sizes[0] < sizes[1] < sizes[2] < ROWS
    assert sizes[2] == pytest.approx(2 * sizes[1], rel=0.05)
    assert sample_table(table, memory="1GiB").is_whole
    assert len(sample_table(table, memory="513MiB", rows=100).frame) == 100


def test_columns_that_are_left_out_make_room(table):
    all_columns, fewer = (
        sample_table(table, memory="513MiB", drop=drop).frame for drop in ((), ("half", "kind"))
    )
    assert list(fewer.columns) == ["place"]
    assert len(fewer) > len(all_columns)


def test_rows_that_grow_longer_are_fewer(tmp_path):
    short, long = (np.array(["x" * size] * 70_000) for size in (10, 300))
    numbered(140_000, text=np.r_[short, long]).to_parquet(tmp_path / "t.parquet")
    numbered(140_000, text=np.r_[short, short]).to_parquet(tmp_path / "s.parquet")
    grown, same = (
        len(sample_table(tmp_path / name, memory="530MiB").frame) for name in ("t.parquet", "s.parquet")
    )
    assert grown < 0.5 * same


@pytest.mark.parametrize("given", ["2 apples", "", "GiB", "-1GiB", "0", "0.0001KB", True, "1e3", "nan"])
def test_what_is_no_amount_of_memory(table, given):
    with pytest.raises(ParameterError, match="such as 2GiB"):
        sample_table(table, memory=given)


@pytest.mark.parametrize(
    ("given", "size"),
    [("2GiB", 2 << 30), ("1.5 gb", 1_500_000_000), ("800M", 800_000_000), ("64kib", 65_536), (4096, 4096)],
)
def test_amounts_of_memory(given, size):
    assert memory_size(given) == size


@pytest.mark.parametrize("size", [1, 512 << 20, (1 << 30) + 1, 5 * 10**10])
def test_an_amount_in_words_may_be_given_as_a_limit(size):
    assert memory_size(spelled(size)) >= size


def test_a_ceiling_that_is_too_low_says_what_is_needed(table):
    with pytest.raises(ParameterError, match=r"allow at least 5.* MiB") as error:
        sample_table(table, memory="100MiB")
    needed = str(error.value).split("allow at least ")[1].split(",")[0]
    assert len(sample_table(table, memory=needed).frame) >= 100


def test_other_mistakes(table):
    with pytest.raises(ParameterError, match="rows is 1 but must be at least 2"):
        sample_table(table, rows=1)
    with pytest.raises(ParameterError, match="name one kind"):
        sample_table(table, label="kind", anomaly=["attack"], normal=["normal"])
    for names in ({"label": "kinds"}, {"drop": ["kinds"]}):
        with pytest.raises(TableError, match="no column 'kinds'; did you mean 'kind'"):
            sample_table(table, **names)


def test_the_machine_or_its_container_is_asked(tmp_path, monkeypatch):
    physical = machine_memory()
    assert physical > 1 << 28
    (tmp_path / "limit").write_text("1073741824\n")
    monkeypatch.setattr(memory, "_LIMITS", (tmp_path / "limit", tmp_path / "absent"))
    assert machine_memory() == 1 << 30
    assert memory.default_ceiling() == 1 << 30
    (tmp_path / "limit").write_text("max\n")
    assert machine_memory() >= physical
