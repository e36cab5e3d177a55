"""`da3d score`: streams, rules, outputs."""

import contextlib
import gzip
import json
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from da3d.persistence import load
from da3d.preprocessing import read_table
from test_cli_main import process, refused, run, write_toy

VERDICTS = ["anomaly_score", "p_value", "severity", "is_anomaly"]
RULES = {"fpr": 0.05, "budget": 100, "top": 7, "fdr": 0.5}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Model, labelled table, and the table's rows without the label as the model's encoder reads them."""
    folder = tmp_path_factory.mktemp("made")
    train, test = write_toy(folder)
    assert run("fit", train, "-o", folder / "m.da3d", "--detector", "mahalanobis").exit_code == 0
    return folder / "m.da3d", test, read_table(test).drop(columns="kind")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("chunk", [7, 1000])
def test_verdicts_are_those_of_the_library_whatever_the_chunk(made, tmp_path, rule, chunk):
    model, table, rows = made
    out = tmp_path / "out.csv"
    result = run("score", model, table, "-o", out, f"--{rule}", RULES[rule], "--chunk", chunk)
    assert result.exit_code == 0, result.stderr
    wanted = load(model).verdicts(rows, **{rule: RULES[rule]})
    assert 0 < wanted["is_anomaly"].sum() < len(wanted)
    found = read_table(out)
    assert list(found.columns) == [*rows.columns, "kind", *VERDICTS]
    for name in VERDICTS:
        assert np.array_equal(found[name], wanted[name])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_standard_input_to_standard_output(made, tmp_path, rule, form):
    model, table, rows = made
    text = table.read_text()
    if form == "jsonl":
        text = read_table(table).to_json(orient="records", lines=True, date_format="iso", double_precision=15)
    result = run("score", model, "-", f"--{rule}", RULES[rule], "--chunk", 50, input=text)
    assert result.exit_code == 0, result.stderr
    wanted = load(model).verdicts(rows, **{rule: RULES[rule]})
    (tmp_path / "found.csv").write_text(result.stdout)
    found = read_table(tmp_path / "found.csv")
    assert found["is_anomaly"].tolist() == wanted["is_anomaly"].tolist()
    assert found["anomaly_score"].tolist() == wanted["anomaly_score"].tolist()


def test_the_model_rule_holds_unless_another_is_given(made, tmp_path):
    _, table, _ = made
    line = ["fit", table, "-o", tmp_path / "m", "--detector", "knn", "--drop", "kind", "--top", 5]
    assert run(*line).exit_code == 0
    assert "5 alarms" in run("score", tmp_path / "m", table, "-o", tmp_path / "a.csv").stderr
    assert "9 alarms" in run("score", tmp_path / "m", table, "-o", tmp_path / "a.csv", "--top", 9).stderr


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
def test_only_anomalies_without_columns_are_numbered(made, tmp_path, ending):
    model, table, rows = made
    out = tmp_path / f"out.{ending}"
    run("score", model, table, "-o", out, "--top", 4, "--only-anomalies", "--no-columns", "--chunk", 9)
    wanted = load(model).verdicts(rows, top=4)
    found = read_table(out)
    assert list(found.columns) == ["row", *VERDICTS]
    assert found["row"].tolist() == wanted.index[wanted["is_anomaly"]].tolist()
    assert found["is_anomaly"].all()


def test_no_alarm_at_all_is_a_table_without_rows(made, tmp_path):
    model, table, _ = made
    out = tmp_path / "out.csv"
    result = run("score", model, table, "-o", out, "--budget", 0.1, "--only-anomalies")
    assert result.exit_code == 0, result.stderr
    assert len(out.read_text().splitlines()) == 1
    assert out.read_text().rstrip().endswith('"is_anomaly"')
    assert "0 alarms" in result.stderr


def test_json(made, tmp_path):
    model, table, _ = made
    lines = run("score", model, table, "--top", 3, "--json").stdout.splitlines()
    assert len(lines) == 300
    assert sum(json.loads(line)["is_anomaly"] for line in lines) == 3
    result = run("score", model, table, "-o", tmp_path / "o.csv", "--top", 3, "--json", "-q")
    summary = json.loads(result.stdout)
    assert (summary["rows"], summary["alarms"]) == (300, 3)
    assert result.stderr == ""


def test_verdicts_of_an_earlier_scoring_give_way(made, tmp_path):
    model, table, _ = made
    run("score", model, table, "-o", tmp_path / "a.csv", "--top", 3)
    run("score", model, tmp_path / "a.csv", "-o", tmp_path / "b.csv", "--top", 5)
    found = read_table(tmp_path / "b.csv")
    assert list(found.columns) == list(read_table(tmp_path / "a.csv").columns)
    assert found["is_anomaly"].sum() == 5


def test_compressed_and_reordered_tables_are_the_same_table(made, tmp_path):
    model, table, rows = made
    with gzip.open(tmp_path / "t.csv.gz", "wb") as packed:
        packed.write(table.read_bytes())
    read_table(table).iloc[:, ::-1].to_parquet(tmp_path / "t.parquet")
    wanted = load(model).anomaly_score(rows)
    for name in ("t.csv.gz", "t.parquet"):
        assert run("score", model, tmp_path / name, "-o", tmp_path / "out.parquet").exit_code == 0
        assert np.array_equal(read_table(tmp_path / "out.parquet")["anomaly_score"], wanted)


def test_an_existing_file_survives_a_failure(made, tmp_path):
    model, table, _ = made
    lines = table.read_text().splitlines()
    ragged, out = tmp_path / "ragged.csv", tmp_path / "out.csv"
    ragged.write_text("\n".join([*lines, lines[1] + ",1"]))
    out.write_text("precious")
    refused(run("score", model, ragged, "-o", out, "--chunk", 10), "fields")
    assert out.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "ragged.csv"]


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("x.docx", "ending"),
        ("missing/x.csv", "folder does not exist"),
        ("/dev/full", "device"),
        (".", "folder"),
    ],
)
def test_an_output_that_cannot_be(made, tmp_path, out, words):
    model, table, _ = made
    refused(run("score", model, table, "-o", tmp_path / out), words)
    assert list(tmp_path.iterdir()) == []


def test_a_detector_without_a_pipeline_is_refused(made, tmp_path):
    from da3d import KNN, save

    save(KNN().fit(np.random.default_rng(0).normal(size=(30, 3))), tmp_path / "bare.da3d")
    refused(run("score", tmp_path / "bare.da3d", made[1]), "KNN alone", "AnomalyPipeline")


def test_a_reader_that_stops_is_no_failure(made, tmp_path):
    model, table, _ = made
    long = tmp_path / "long.csv"
    header, *lines = table.read_text().splitlines()
    long.write_text("\n".join([header, *lines * 200]))
    scoring = process("score", model, long, "--chunk", 500, "-q", env={**os.environ, "OMP_NUM_THREADS": "1"})
    scoring.stdout.readline()
    scoring.stdout.close()
    errors = scoring.stderr.read()
    scoring.stderr.close()
    assert (scoring.wait(60), errors) == (0, b"")


def test_verdicts_leave_while_rows_still_arrive(made):
    """Verdicts come out although standard input stays open; the reader takes its rows in large blocks."""
    model, table, _ = made
    header, *lines = table.read_bytes().splitlines(keepends=True)
    line = [sys.executable, "-m", "da3d", "score", str(model), "-", "-q"]
    scoring = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    watchdog = threading.Timer(60, scoring.kill)
    watchdog.start()

    def feed():
        with contextlib.suppress(BrokenPipeError):
            scoring.stdin.write(header)
            while True:
                scoring.stdin.write(b"".join(lines))

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        assert scoring.stdout.readline().rstrip().endswith(b'"is_anomaly"')
        assert scoring.stdout.readline().rstrip().endswith((b"true", b"false"))
    finally:
        watchdog.cancel()
        scoring.kill()
        feeder.join()
        scoring.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            scoring.stdin.close()
        scoring.wait()


@pytest.fixture
def piped(made, tmp_path):
    """The rows as JSON lines in a named pipe."""
    path = tmp_path / "rows.jsonl"
    os.mkfifo(path)
    rows = read_table(made[1]).to_json(orient="records", lines=True, date_format="iso")
    with subprocess.Popen(["/bin/sh", "-c", f"cat > '{path}'"], stdin=subprocess.PIPE, text=True) as writer:
        writer.stdin.write(rows)
        writer.stdin.close()
        yield path
        writer.kill()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_named_pipe_is_read_once(made, piped, tmp_path):
    model, table, _ = made
    run("score", model, piped, "-o", tmp_path / "piped.csv", "--fpr", 0.05)
    run("score", model, table, "-o", tmp_path / "file.csv", "--fpr", 0.05)
    names = ["anomaly_score", "is_anomaly"]
    found, wanted = (pd.read_csv(tmp_path / f"{name}.csv")[names] for name in ("piped", "file"))
    pd.testing.assert_frame_equal(found, wanted)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_named_pipe_is_not_ranked(made, piped, tmp_path):
    result = run("score", made[0], piped, "-o", tmp_path / "o.csv", "--top", 5)
    refused(result, "rows.jsonl", "is a pipe, which can be read only once", "- < PIPE")
    assert not (tmp_path / "o.csv").exists()


def test_memory_does_not_grow_with_the_table(made, tmp_path):
    model, table, _ = made
    frame = read_table(table)
    peaks = []
    for times in (20, 200):
        pd.concat([frame] * times).to_parquet(tmp_path / "t.parquet", row_group_size=1000)
        run("score", model, tmp_path / "t.parquet", "-o", tmp_path / "o.parquet", "--chunk", 1000)
        tracemalloc.start()
        result = run("score", model, tmp_path / "t.parquet", "-o", tmp_path / "o.parquet", "--chunk", 1000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert f"{times * 300:,} rows" in result.stderr
    assert peaks[1] < 1.5 * peaks[0]


def test_a_full_disk_is_a_sentence(made):
    model, table, _ = made
    with Path("/dev/full").open("w") as full:
        line = [sys.executable, "-m", "da3d", "score", str(model), str(table), "-q"]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "the disk is full" in done.stderr
