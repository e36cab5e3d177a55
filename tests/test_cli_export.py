"""``da3d export``, and what other commands make of its files."""

import json

import pandas as pd
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from da3d import AnomalyPipeline, Mahalanobis, save
from da3d.datasets import toy
from test_cli_main import refused, run, write_toy


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Paths of a model, of its ONNX file and of a table."""
    folder = tmp_path_factory.mktemp("export")
    _, test = write_toy(folder)
    table = toy.mixed(rows=300, seed=0, anomalies=30)
    pipeline = AnomalyPipeline(Mahalanobis(), random_state=0).fit(table.frame[table.labels == 0])
    model = save(pipeline, folder / "model.da3d")
    result = run("export", model, "-o", folder / "model.bin")  # known by its content, not by its name
    assert result.exit_code == 0, result.stderr
    assert "anomaly_score, p_value, severity, is_anomaly" in result.stderr
    return model, folder / "model.bin", test


def scored(model, table, *options):
    out = table.parent / f"{model.name}.csv"
    result = run("score", model, table, "-o", out, *options)
    assert result.exit_code == 0, result.stderr
    return pd.read_csv(out)


@pytest.mark.parametrize(
    "options", [(), ("--fpr", "0.1"), ("--top", "7"), ("--fdr", "0.2"), ("--budget", "50", "--chunk", "64")]
)
def test_both_files_score_alike(files, options):
    model, exported, table = files
    ours, theirs = scored(exported, table, *options), scored(model, table, *options)
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-9)
    assert "kind" in ours.columns  # a column that the fitted table did not have stays


def test_inspect_says_what_it_is(files):
    _, exported, _ = files
    found = json.loads(run("inspect", exported, "--json").stdout)
    assert (found["kind"], found["detector"]) == ("onnx", "mahalanobis")
    said = run("inspect", exported).stdout
    assert "a whole pipeline as ONNX" in said
    assert "amount (number)" in said


def test_export_as_json(files, tmp_path):
    found = json.loads(run("export", files[0], "-o", tmp_path / "model.onnx", "--json").stdout)
    assert found["path"] == str(tmp_path / "model.onnx")


def test_mistakes_are_one_sentence(files, tmp_path):
    model, exported, table = files
    refused(run("export", exported, "-o", tmp_path / "x.onnx"), "not a model file")
    refused(run("export", model, "-o", tmp_path / "none" / "x.onnx"), "none")
    other = tmp_path / "other.csv"
    pd.read_csv(table).drop(columns="amount").to_csv(other, index=False)
    refused(run("score", exported, other), "'amount'")
    refused(run("score", exported, tmp_path / "none.csv"), "none.csv")
