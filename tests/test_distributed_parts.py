"""Parts of a Parquet table: cut, judged, noted, found again; without a cluster."""

import datetime
import json
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from da3d import AnomalyPipeline, Mahalanobis, save
from da3d.datasets import toy
from da3d.distributed import parts as rooms
from da3d.distributed.parts import Job, complete, cut, prepare
from da3d.errors import FileError, ParameterError, TableError
from da3d.pipeline import Threshold
from da3d.preprocessing import read_table
from test_cli_main import refused, run

RULE = Threshold("fpr", 0.05)


@pytest.fixture(scope="module")
def pipeline():
    return AnomalyPipeline(Mahalanobis(), random_state=0).fit(toy.mixed(rows=300, anomalies=0, seed=0).frame)


@pytest.fixture
def table(tmp_path):
    """A folder of two files, the first with three row groups; a file without rows lies between."""
    folder = tmp_path / "table"
    folder.mkdir()
    rows = toy.mixed(rows=100, anomalies=10, seed=1).frame
    first = pa.Table.from_pandas(rows[:60], preserve_index=False)
    pq.write_table(first, folder / "a.parquet", row_group_size=20)
    pq.write_table(first.slice(0, 0), folder / "b.parquet")
    pq.write_table(pa.Table.from_pandas(rows[60:], preserve_index=False), folder / "c.parquet")
    return folder


def job_in(tmp_path, **how):
    return Job(**{"output": tmp_path / "out", "model": "m", "threshold": RULE, "chunk": 7, **how})


def all_worked(job, table, pipeline, rows=20):
    parts = cut(table, rows)
    prepare(job, table, parts)
    notes = [job.work(part, pipeline) for part in parts]
    complete(job, parts)
    return parts, notes


def test_parts_hold_every_row_once_in_order(table):
    parts = cut(table, 20)
    assert [part.rows.rows for part in parts] == [20, 20, 20, 40]
    assert [part.rows.first for part in parts] == [0, 20, 40, 60]
    assert [part.rows.rows for part in cut(table, 30)] == [40, 20, 40]
    assert [part.rows.rows for part in cut(table)] == [60, 40]


@pytest.mark.parametrize("how", [{}, {"keep": False}, {"only_anomalies": True}])
def test_verdicts_are_those_of_the_command(table, tmp_path, pipeline, how):
    _, notes = all_worked(job_in(tmp_path, **how), table, pipeline)
    model, whole = save(pipeline, tmp_path / "m.da3d"), tmp_path / "whole.parquet"
    options = ["--no-columns"] if "keep" in how else ["--only-anomalies"] if how else []
    assert run("score", model, table, "-o", whole, "--fpr", 0.05, *options).exit_code == 0
    pd.testing.assert_frame_equal(read_table(tmp_path / "out"), read_table(whole))
    assert sum(note.rows for note in notes) == 100
    assert sum(note.alarms for note in notes) == read_table(whole)["is_anomaly"].sum() > 0


def test_folders_are_columns_of_their_own_type(tmp_path, pipeline):
    rows = toy.mixed(rows=40, anomalies=0, seed=1).frame
    for day, part in (("3", rows[:20]), ("x", rows[20:])):
        (tmp_path / "table" / f"day={day}").mkdir(parents=True)
        part.to_parquet(tmp_path / "table" / f"day={day}" / "rows.parquet", index=False)
    all_worked(job_in(tmp_path), tmp_path / "table", pipeline)
    assert read_table(tmp_path / "out")["day"].tolist() == ["3"] * 20 + ["x"] * 20


def test_a_finished_part_is_found_and_no_other(table, tmp_path, pipeline):
    job = job_in(tmp_path)
    parts, notes = all_worked(job, table, pipeline)
    assert [job.found(part) for part in parts] == notes
    for how in (
        {"model": "n"},
        {"threshold": Threshold("fpr", 0.04)},
        {"keep": False},
        {"only_anomalies": True},
    ):
        assert job_in(tmp_path, **how).found(parts[0]) is None


def test_other_rows_of_one_group_leave_the_parts_of_others_finished(table, tmp_path, pipeline):
    job = job_in(tmp_path)
    all_worked(job, table, pipeline)
    rows = pq.read_table(table / "a.parquet").to_pandas()
    rows.loc[25, "amount"] += 1
    changed = pa.Table.from_pandas(rows, preserve_index=False)
    pq.write_table(changed, table / "a.parquet", row_group_size=20)
    assert [job.found(part) is None for part in cut(table, 20)] == [False, True, False, False]


@pytest.mark.parametrize("what", ["verdicts", "note", "no verdicts", "no note"])
def test_a_damaged_part_is_not_finished(table, tmp_path, pipeline, what):
    job = job_in(tmp_path)
    parts, _ = all_worked(job, table, pipeline)
    path = job.file(parts[1]) if "verdicts" in what else job.note(parts[1])
    if what.startswith("no "):
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-3])
    assert [job.found(part) is None for part in parts] == [False, True, False, False]


def test_the_folder_says_whether_all_parts_are_there(table, tmp_path, pipeline):
    job = job_in(tmp_path)
    parts, _ = all_worked(job, table, pipeline)
    assert (job.output / "_SUCCESS").exists()
    litter = job.output / ".part-00001.parquet.0.part"
    litter.touch()
    prepare(job, table, parts)
    assert not (job.output / "_SUCCESS").exists()
    assert not litter.exists()
    job.file(parts[2]).unlink()
    with pytest.raises(FileError, match=r"1 of 4 parts .* storage that all machines"):
        complete(job, parts)


def test_verdicts_of_more_rows_than_the_table_has_are_refused(table, tmp_path, pipeline):
    job = job_in(tmp_path)
    all_worked(job, table, pipeline)
    with pytest.raises(ParameterError, match=r"part-00002\.parquet' is no part of this job"):
        prepare(job, table, cut(table))
    assert (job.output / "_SUCCESS").exists()  # nothing was touched


def test_verdicts_among_the_rows_are_refused(table, tmp_path):
    with pytest.raises(ParameterError, match="among the rows"):
        prepare(job_in(tmp_path, output=table / "out"), table, cut(table))


def test_only_parquet_is_cut(tmp_path):
    (tmp_path / "table.csv").write_text("a\n1\n")
    with pytest.raises(ParameterError, match="only Parquet can be cut"):
        cut(tmp_path / "table.csv")
    pq.write_table(pa.table({"a": pa.array([], pa.float64())}), tmp_path / "empty.parquet")
    with pytest.raises(TableError, match="no rows"):
        cut(tmp_path / "empty.parquet")


def test_a_note_holds_two_digests(table, tmp_path, pipeline):
    job = job_in(tmp_path)
    parts, _ = all_worked(job, table, pipeline)
    note = json.loads(job.note(parts[0]).read_text())
    assert set(note) == {"rows", "alarms", "made_of", "sha256"}
    assert note["made_of"] == job.made_of(parts[0]) != job.made_of(parts[1])


@pytest.mark.parametrize("columns", ["numbers", "texts", "dates"])
def test_the_digest_sees_every_kind_of_column(tmp_path, columns):
    values = {
        "numbers": np.arange(4.0),
        "texts": ["a", "b", "a", None],
        "dates": [datetime.datetime(2026, 1, day) for day in (1, 2, 3, 4)],
    }[columns]
    digests = set()
    for order in ([0, 1, 2, 3], [1, 0, 2, 3]):
        pq.write_table(pa.table({"x": [values[i] for i in order]}), tmp_path / "t.parquet")
        digests.add(job_in(tmp_path).made_of(cut(tmp_path / "t.parquet")[0]))
    assert len(digests) == 2


def test_another_version_works_again(table, tmp_path, pipeline, monkeypatch):
    job = job_in(tmp_path)
    parts, _ = all_worked(job, table, pipeline)
    monkeypatch.setattr(rooms, "__version__", "0.0.0")
    assert job.found(parts[0]) is None


def test_standard_input_cannot_be_cut(tmp_path):
    refused(run("score", tmp_path / "m", "-", "-o", tmp_path / "out", "--ray", "local"), "--ray", "Parquet")
    refused(run("score", tmp_path / "m", tmp_path, "--ray", "local"), "--ray", "folder as OUT")


def test_rules_that_rank_are_refused(table, tmp_path, pipeline):
    model = save(pipeline, tmp_path / "m.da3d")
    refused(run("score", model, table, "-o", tmp_path / "o", "--ray", "local", "--top", 3), "ranks all rows")


def test_without_ray_the_extra_is_named(table, tmp_path, pipeline, monkeypatch):
    model = save(pipeline, tmp_path / "m.da3d")
    monkeypatch.setitem(sys.modules, "ray", None)
    refused(run("score", model, table, "-o", tmp_path / "o", "--ray", "auto"), "pip install 'da3d[ray]'")


def test_a_model_that_is_not_there_is_a_sentence(table, tmp_path):
    line = ["score", tmp_path / "none.da3d", table, "-o", tmp_path / "o", "--fpr", 0.1, "--ray", "auto"]
    refused(run(*line), "none.da3d")
    assert not (tmp_path / "o").exists()


def test_a_cluster_that_is_not_there_is_a_sentence(table, tmp_path, pipeline):
    pytest.importorskip("ray")
    model = save(pipeline, tmp_path / "m.da3d")
    line = ["score", model, table, "-o", tmp_path / "o", "--ray"]
    refused(run(*line, "127.0.0.1:1"), "no Ray cluster answers at '127.0.0.1:1'", "ray start")
    refused(run(*line, "nonsense:port"), "no Ray cluster answers")
