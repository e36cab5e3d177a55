"""`da3d fit`: options become a model, and an interruption leaves no half a file."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from da3d.detectors import DA3D, KNN
from da3d.persistence import inspect, load
from da3d.pipeline import AnomalyPipeline, Threshold
from da3d.preprocessing import read_table
from test_cli_main import refused, run, write_toy

BRIEF = ("--param", "steps=[20,5,10]")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("tables"))


def fitted(train, model, *options):
    result = run("fit", train, "-o", model, "--detector", "knn", *options)
    assert result.exit_code == 0, result.stderr
    return load(model)


def test_the_model_is_the_one_that_the_library_fits(tables, tmp_path):
    train, test = tables
    pipeline = fitted(train, tmp_path / "m.da3d", "--param", "neighbors=3", "--seed", 7)
    wanted = AnomalyPipeline(KNN(neighbors=3), random_state=7).fit(read_table(train))
    rows = read_table(test).drop(columns="kind")
    assert np.array_equal(pipeline.anomaly_score(rows), wanted.anomaly_score(rows))
    assert pipeline.rule == Threshold("fpr", pipeline.calibration_.resolution)  # 1 % is out of reach


def test_json_says_what_was_learned(tables, tmp_path):
    train, _ = tables
    model = tmp_path / "m.da3d"
    result = run("fit", train, "-o", model, "--detector", "knn", "--json", "--quiet", "--fdr", 0.1)
    said = json.loads(result.stdout)
    assert result.stderr == ""
    assert said["model"] == str(model)
    assert said["bytes"] == model.stat().st_size
    assert said["rows"] == 270
    assert said["detector"] == "knn"
    assert said["columns"] == dict(load(model).encoder_.schema_.kinds)
    assert said["threshold"] == {
        "rule": "fdr",
        "value": 0.1,
        "score": None,
        "text": "false-discovery rate 0.1",
    }


def test_summary_and_quiet(tables, tmp_path):
    train, _ = tables
    result = run("fit", train, "-o", tmp_path / "m.da3d", "--detector", "knn")
    for words in ("270", "numbers", "knn", "false-positive rate 0.0244", "m.da3d"):
        assert "".join(words.split()) in "".join(result.stdout.split())  # a long path is wrapped
    quiet = run("fit", train, "-o", tmp_path / "m.da3d", "--detector", "knn", "-q")
    assert (quiet.exit_code, quiet.output) == (0, "")


@pytest.mark.parametrize(
    ("option", "rule", "value"), [("fpr", "fpr", 0.05), ("budget", "budget", 4.0), ("top", "top", 9)]
)
def test_the_threshold_is_kept_in_the_model(tables, tmp_path, option, rule, value):
    pipeline = fitted(tables[0], tmp_path / "m.da3d", f"--{option}", value)
    assert pipeline.rule == Threshold(rule, value)


def test_known_anomalies_are_not_taken_for_normal(tables, tmp_path):
    _, test = tables
    pipeline = fitted(test, tmp_path / "m.da3d", "--label", "kind", "--anomaly", "odd")
    frame = read_table(test)
    y = (frame["kind"] == "odd").to_numpy(dtype=int)
    wanted = AnomalyPipeline(KNN(), random_state=0).fit(frame.drop(columns="kind"), y)
    rows = frame.drop(columns="kind")
    assert np.array_equal(pipeline.anomaly_score(rows), wanted.anomaly_score(rows))
    assert "kind" not in pipeline.encoder_.schema_.names
    everything = AnomalyPipeline(KNN(), random_state=0).fit(rows)
    assert not np.array_equal(pipeline.anomaly_score(rows), everything.anomaly_score(rows))


@pytest.mark.parametrize(
    ("labels", "options", "known"),
    [
        (["1", "0"], [], 1),
        (["1.0", "0.0"], [], 1),
        (["true", "False"], [], 1),
        (["Anomaly", "benign"], [], 1),
        (["a", "b"], ["--anomaly", "a", "--anomaly", "c"], 1),
        (["2", "3"], ["--anomaly", "2.0"], 1),
        (["NA", "none"], ["--anomaly", "NA"], 1),
        (["normal", "normal"], [], 0),
        (["b", "b"], ["--anomaly", "a"], 0),
    ],
)
def test_what_counts_as_an_anomaly(tmp_path, labels, options, known):
    frame = pd.DataFrame({"x": np.arange(40.0), "y": [labels[0]] * 3 + [labels[1]] * 37})
    frame.to_csv(tmp_path / "t.csv", index=False)
    line = [
        "fit",
        tmp_path / "t.csv",
        "-o",
        tmp_path / "m.da3d",
        "--detector",
        "knn",
        "--label",
        "y",
        "--json",
    ]
    said = json.loads(run(*line, *options).stdout)
    assert said["known_anomalies"] == 3 * known


def test_columns_can_be_dropped(tables, tmp_path):
    pipeline = fitted(tables[1], tmp_path / "m.da3d", "--drop", "kind")
    assert "kind" not in pipeline.feature_names_in_


def test_columns_that_are_left_out_are_named_once_with_the_reason(tmp_path):
    pd.DataFrame({"x": np.arange(40.0), "void": None}).to_csv(tmp_path / "t.csv", index=False)
    result = run("fit", tmp_path / "t.csv", "-o", tmp_path / "m.da3d", "--detector", "knn")
    assert result.stderr.count("Warning: columns are left out") == 1
    assert "void: it holds no value at all" in result.stdout


def test_the_default_detector_takes_parameters(tables, tmp_path):
    result = run("fit", tables[0], "-o", tmp_path / "m.da3d", *BRIEF, "--param", "device=cpu")
    assert result.exit_code == 0, result.stderr
    facts = inspect(tmp_path / "m.da3d")
    assert facts["detector"] == "da3d"
    assert list(facts["parameters"]["steps"]) == [20, 5, 10]


def test_standard_input(tables, tmp_path):
    text = tables[0].read_text()
    result = run("fit", "-", "-o", tmp_path / "m.da3d", "--detector", "knn", input=text)
    assert result.exit_code == 0, result.stderr
    assert load(tmp_path / "m.da3d").n_features_in_ == load_width(tables[0])


def load_width(path):
    return len(path.read_text().splitlines()[0].split(","))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--detector", "nope"], ["nope", "one of da3d, "]),
        (["--detector", "mahalanobi"], ["did you mean 'mahalanobis'?"]),
        (["--detector", "pyod:ECOD"], ["pyod:ECOD", "cannot be kept in a model file"]),
        (["--detector", "knn", "--param", "trees=3"], ["knn has no parameter trees", "neighbors"]),
        (["--param", "steps"], ["KEY=VALUE"]),
        (["--quality", "superb"], ["quality is 'superb'", "fast, balanced"]),
        (["--quality", "fast", "--detector", "knn"], ["--quality fast", "--detector knn"]),
        (["--param", "preset=nope"], ["preset is 'nope'"]),
        (["--detector", "knn", "--param", "neighbors=abc"], ["neighbors is 'abc'", "a whole number"]),
        (["--detector", "devnet", "--param", "learning_rate=abc"], ["learning_rate is 'abc'", "a number"]),
        (["--detector", "mahalanobis", "--param", "ridge=NaN"], ["'ridge=NaN'", "finite"]),
        (["--detector", "ocsvm", "--param", "gamma=1e400"], ["'gamma=1e400'", "finite"]),
        (["--detector", "isolation-forest", "--param", f"trees={10**30}"], ["below 2^63"]),
        (["--detector", "knn", "--param", f"neighbors={'9' * 5000}"], ["neighbors is", "a whole number"]),
        (["--param", "critic_weights=[1, [Infinity]]"], ["finite"]),
        (["--param", 'evidence={"critic": NaN}'], ["finite"]),
        (["--detector", "knn", "--device", "cuda:9"], ["device"]),
        (["--device", "abacus", *BRIEF], ["abacus"]),
        (["--detector", "knn", "--contamination", "0.9"], ["contamination is 0.9"]),
        (["--fpr", "2"], ["fpr is 2"]),
        (["--fpr", "0.1", "--top", "3"], ["fpr and top"]),
        (["--detector", "knn", "--label", "kidn"], ["no column 'kidn'", "did you mean 'kind'"]),
        (["--detector", "knn", "--drop", "absent"], ["no column 'absent'"]),
        (["--detector", "knn", "--label", "kind"], ["'normal', 'odd'", "--anomaly"]),
        (["--detector", "knn", "--label", "kind", "--anomaly", "od"], ["none of them is 'od'"]),
        (["--detector", "knn", "--anomaly", "odd"], ["--label"]),
    ],
)
def test_mistakes_in_options(tables, tmp_path, options, words):
    refused(run("fit", tables[1], "-o", tmp_path / "m.da3d", *options), *words)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_output_is_refused_before_the_work(tables, tmp_path, monkeypatch):
    monkeypatch.setattr("da3d.preprocessing.read_table", lambda path: pytest.fail("the table was read"))
    missing = tmp_path / "missing" / "m.da3d"
    refused(run("fit", tables[0], "-o", missing), "folder does not exist")
    refused(run("fit", tables[0], "-o", tmp_path), "is a folder")
    refused(run("fit", tables[0], "-o", "/dev/null"), "device")
    refused(run("fit", tables[0], "-o", tmp_path / "m", "--checkpoint", missing), "folder does not exist")
    assert list(tmp_path.iterdir()) == []


def interrupted(script, line, started):
    """Start, press Ctrl-C a second after `started` appeared; exit code and last words."""
    arguments = [sys.executable, str(script), *(str(each) for each in line)]
    running = subprocess.Popen(
        arguments, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        deadline = time.monotonic() + 120
        while not started.exists() and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.0)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    finally:
        running.kill()
    return running.returncode, errors.splitlines()[-1]


@pytest.mark.parametrize("keep", [False, True])
def test_ctrl_c_leaves_no_half_a_model(tables, tmp_path, keep):
    model, checkpoint, started = tmp_path / "m.da3d", tmp_path / "fit.ckpt", tmp_path / "started"
    code = (
        "import sys, pathlib\nfrom da3d.training import callbacks\n"
        "from da3d.detectors import DA3D\nbegin = DA3D._schedule\n"
        "def schedule(self, *rest):\n"
        f"    pathlib.Path({str(started)!r}).touch()\n    return begin(self, *rest)\n"
        "DA3D._schedule = schedule\n"
        "from da3d.cli.main import run\nrun()\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    line = ["fit", tables[0], "-o", model, "--param", "steps=[100000,5,5]"]
    line += ["--checkpoint", checkpoint] if keep else []
    code, words = interrupted(script, line, started)
    assert code == 130
    assert words.startswith("Interrupted: no model was written; ")
    assert (f"continue from '{checkpoint}'" in words) == keep
    left = {path.name for path in tmp_path.iterdir()} - {"script.py", "started"}
    assert left == ({"fit.ckpt"} if keep else set())


def test_quality_chooses_the_default_detector(tables, tmp_path):
    train, test = tables
    model = tmp_path / "m.da3d"
    result = run("fit", train, "-o", model, "--quality", "fast", "--param", "trim=0.0")
    assert result.exit_code == 0, result.stderr
    wanted = AnomalyPipeline(DA3D("fast", trim=0.0), random_state=0).fit(read_table(train))
    rows = read_table(test).drop(columns="kind")
    assert np.array_equal(load(model).anomaly_score(rows), wanted.anomaly_score(rows))
    same = AnomalyPipeline(quality="fast", random_state=0).fit(read_table(train))
    assert same.detector_.preset == "fast"
