"""`da3d evaluate`, `inspect`, `datasets` and `demo`: what they say is what the library says."""

import json
import subprocess
import sys

import numpy as np
import pytest

from da3d.cli.demo import _verdict
from da3d.datasets import list_datasets, load_dataset
from da3d.datasets.splits import one_class
from da3d.detectors import DA3D
from da3d.metrics import summarise
from da3d.persistence import inspect, load
from da3d.preprocessing import read_table
from test_cli_main import refused, run, write_toy


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    train, test = write_toy(folder)
    model = folder / "m.da3d"
    assert run("fit", train, "-o", model, "--detector", "knn", "--param", "neighbors=3").exit_code == 0
    return model, test


def test_evaluate_is_the_metrics_and_the_alarms(made):
    model, test = made
    line = ["evaluate", model, test, "--label", "kind", "--anomaly", "odd", "--top", 20]
    said = json.loads(run(*line, "--json").stdout)
    frame = read_table(test)
    labels, pipeline = (frame["kind"] == "odd").to_numpy(dtype=int), load(model)
    verdicts = pipeline.verdicts(frame.drop(columns="kind"), top=20)
    found = int(verdicts["is_anomaly"][labels == 1].sum())
    for name, value in summarise(labels, verdicts["anomaly_score"]).items():
        assert said[name] == value
    assert (said["rows"], said["anomalies"], said["alarms"]) == (300, 30, 20)
    assert said["precision"] == found / 20
    assert said["recall"] == found / 30
    assert said["false_positive_rate"] == (20 - found) / 270
    view = run(*line, "--quiet").stdout
    for words in ("300 rows, 30 of them anomalies", f"{said['auc']:.3f}", "strangest rows 20", "precision"):
        assert words in view


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--label", "kind"], "--anomaly"),
        (["--label", "absent"], "no column 'absent'"),
        (["--label", "kind", "--anomaly", "odd", "--fpr", "7"], "fpr is 7"),
    ],
)
def test_evaluate_refuses(made, options, words):
    refused(run("evaluate", *made, *options), words)


@pytest.mark.parametrize(("label", "words"), [("normal", "normal rows"), ("odd", "anomalies")])
def test_evaluate_needs_both_kinds(made, tmp_path, label, words):
    frame = read_table(made[1])
    frame[frame["kind"] == label].to_csv(tmp_path / "t.csv", index=False)
    line = ["evaluate", made[0], tmp_path / "t.csv", "--label", "kind", "--anomaly", "odd"]
    refused(run(*line), f"All {(frame['kind'] == label).sum()} labelled rows are {words}")


@pytest.mark.parametrize("gap", ["", "NaN"])
def test_evaluate_counts_missing_labels(made, tmp_path, gap):
    frame = read_table(made[1])
    frame["kind"] = ["1", gap, "0"] * 100
    frame.to_csv(tmp_path / "t.csv", index=False)
    refused(run("evaluate", made[0], tmp_path / "t.csv", "--label", "kind"), "100 of 300 labels", "missing")


def test_inspect_shows_the_facts(made):
    model, _ = made
    facts = json.loads(run("inspect", model, "--json").stdout)
    assert facts == json.loads(json.dumps(inspect(model)))
    view = run("inspect", model).stdout
    for words in (
        "a whole pipeline",
        "numbers",
        "knn",
        "neighbors = 3",
        "false-positive rate 0.0",
        "da3d 0.",
    ):
        assert words in view


def test_inspect_shows_a_training(made, tmp_path):
    line = ["fit", made[1], "-o", tmp_path / "m.da3d", "--param", "steps=[20,5,10]", "--drop", "kind"]
    assert run(*line).exit_code == 0
    records = inspect(tmp_path / "m.da3d")["history"]
    assert records > 0
    assert f"{records} records" in run("inspect", tmp_path / "m.da3d").stdout


def test_datasets_lists_all():
    said = json.loads(run("datasets", "--json").stdout)
    assert [each["name"] for each in said] == [each.name for each in list_datasets()]
    view = run("datasets").stdout
    for each in said:
        assert each["name"] in view
    assert "bundled" in view


def test_datasets_get():
    said = json.loads(run("datasets", "get", "breast-cancer", "--json").stdout)
    assert said == {
        "name": "breast_cancer",
        "train": {"rows": 569, "columns": 30, "anomalies": 212},
        "test": None,
    }
    assert "569 rows, 30 columns, 212 anomalies" in run("datasets", "get", "breast_cancer").stdout
    refused(run("datasets", "get", "brest_cancer"), "Did you mean 'breast_cancer'")


@pytest.fixture
def brief(monkeypatch):
    monkeypatch.setattr("da3d.detectors.default_detector", lambda: DA3D(steps=(40, 10, 20)))


@pytest.mark.filterwarnings("ignore::da3d.pipeline.ResolutionWarning")
def test_demo_leaves_a_model_scores_and_a_picture(brief, tmp_path):
    folder = tmp_path / "a" / "demo"
    result = run("demo", "-o", folder, "--json", "--seed", 3)
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert sorted(path.name for path in folder.iterdir()) == ["demo.png", "model.da3d", "scored.csv"]
    names = ["da3d", "knn", "bagged-nn", "mahalanobis", "isolation-forest"]
    assert [each["detector"] for each in said["results"]] == names
    split = one_class(load_dataset("breast_cancer"), 3)
    pipeline, scored = load(folder / "model.da3d"), read_table(folder / "scored.csv")
    verdicts = pipeline.verdicts(split.test)
    assert np.array_equal(scored["anomaly_score"], verdicts["anomaly_score"])
    assert np.array_equal(scored["is_anomaly"], verdicts["is_anomaly"])
    assert np.array_equal(scored["label"], split.test_labels)
    wanted = summarise(split.test_labels, verdicts["anomaly_score"])
    assert {key: said["results"][0][key] for key in wanted} == wanted
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_demo_says_how_to_go_on(brief, tmp_path):
    result = run("demo", "-o", tmp_path / "demo")
    for words in ("isolation-forest", "has the best AUC", "one split", "da3d score", "da3d inspect"):
        assert words in result.stdout


def test_demo_mistakes(tmp_path):
    refused(run("demo", "--dataset", "nope", "-o", tmp_path / "x"), "no data set named 'nope'")
    (tmp_path / "file").touch()
    refused(run("demo", "-o", tmp_path / "file"), "cannot be made")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("own", "rival", "sentence"),
    [
        (0.95, 0.90, "da3d has the best AUC, 0.050 above knn"),
        (0.90, 0.95, "knn has the best AUC, 0.050 above da3d"),
        (0.90, 0.9001, "da3d and knn share the best AUC"),
    ],
)
def test_the_verdict_is_honest(own, rival, sentence):
    results = [{"detector": "da3d", "auc": own}, {"detector": "knn", "auc": rival}]
    assert _verdict([*results, {"detector": "other", "auc": 0.5}]).startswith(sentence)


def test_inspect_loads_no_torch(made):
    script = (
        "import sys; from da3d.cli.main import app; "
        f"app(['inspect', {str(made[0])!r}], standalone_mode=False); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
