"""`da3d explain`, and what `fit` and `evaluate` have to do with explanations and thresholds."""

import json

import numpy as np
import pytest

from da3d.persistence import inspect, load
from da3d.preprocessing import read_table
from test_cli_main import refused, run, write_toy


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Model, labelled table, and the table's rows without the label."""
    folder = tmp_path_factory.mktemp("made")
    train, test = write_toy(folder)
    assert run("fit", train, "-o", folder / "m.da3d", "--detector", "knn").exit_code == 0
    return folder / "m.da3d", test, read_table(test).drop(columns="kind")


def test_json_is_what_the_library_says(made):
    model, table, rows = made
    said = json.loads(run("explain", model, table, "--top", 2, "--json").stdout)
    wanted = [each.to_dict() for each in load(model).explain(rows, top=2)]
    assert said == json.loads(json.dumps(wanted))
    said = json.loads(run("explain", model, table, "--rows", "7,0", "--json").stdout)
    assert [each["row"] for each in said] == [7, 0]


def test_the_strangest_three_unless_told_otherwise(made):
    model, table, rows = made
    result = run("explain", model, table)
    assert result.exit_code == 0, result.stderr
    found = load(model).explain(rows, top=3)
    shown = " ".join(result.stdout.split())
    for each in found:
        assert f"Row {each.row} alarm" in shown
        assert " ".join(each.sentence.split()[:6]) in shown
    assert "normal row" in shown
    assert "generated" not in shown


def test_generated_rows_are_shown_beside(made, tmp_path):
    _, table, _ = made
    line = ["fit", table, "-o", tmp_path / "m", "--drop", "kind", "--param", "steps=[20,5,10]"]
    assert run(*line).exit_code == 0
    result = run("explain", tmp_path / "m", table, "--top", 1, "--columns", 2)
    assert "generated" in result.stdout
    assert "By evidence: " in result.stdout
    assert sum(name in result.stdout.split("─")[-1] for name in read_table(table).columns) == 2


def test_standard_input(made):
    model, table, rows = made
    said = json.loads(run("explain", model, "-", "--top", 1, "--json", input=table.read_text()).stdout)
    assert said[0]["row"] == load(model).explain(rows, top=1)[0].row


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rows", "1,x"], "--rows is '1,x' but must be row numbers"),
        (["--rows", ""], "--rows is ''"),
        (["--rows", "0,300"], "row 300, but the table has 300 rows"),
        (["--rows", "-1"], "row -1"),
        (["--top", "0"], "top is 0"),
        (["--rows", "0", "--top", "1"], "both given"),
    ],
)
def test_mistakes(made, options, words):
    refused(run("explain", made[0], made[1], *options), words)


def test_a_model_without_rows_is_refused(made, tmp_path):
    _, table, _ = made
    line = ["fit", table, "-o", tmp_path / "m", "--drop", "kind", "--detector", "knn", "--reference-rows", 0]
    assert run(*line).exit_code == 0
    assert inspect(tmp_path / "m")["reference_rows"] == 0
    refused(run("explain", tmp_path / "m", table), "reference_rows is 0")


def test_evaluate_compares_thresholds(made):
    model, table, rows = made
    line = ["evaluate", model, table, "--label", "kind", "--anomaly", "odd"]
    assert "operating_table" not in json.loads(run(*line, "--json").stdout)
    labels = (read_table(table)["kind"] == "odd").to_numpy(dtype=int)
    said = json.loads(run(*line, "--per-day", 5000, "--json").stdout)["operating_table"]
    wanted = load(model).operating_table(rows, labels, per_day=5000)
    assert [each["rule"] for each in said] == wanted["rule"].tolist()
    for name in ("score", "alerts_per_day", "precision", "recall_high"):
        assert [np.nan if each[name] is None else each[name] for each in said] == pytest.approx(
            wanted[name].tolist(), nan_ok=True
        )
    view = run(*line, "--operating-table").stdout
    assert "Other thresholds" in view
    assert "budget 10" in view
    assert "Other thresholds" not in run(*line).stdout
    refused(run(*line, "--per-day", -1), "per_day is -1")


@pytest.mark.filterwarnings("ignore::da3d.pipeline.ResolutionWarning")
@pytest.mark.parametrize("rule", [["--fpr", "0.05"], ["--top", "9"]])
def test_groups_are_judged_alike_in_chunks(made, tmp_path, rule):
    _, table, rows = made
    line = ["fit", table, "-o", tmp_path / "m", "--drop", "kind", "--detector", "mahalanobis"]
    assert run(*line, "--calibrate-by", "channel").exit_code == 0
    model = load(tmp_path / "m")
    assert model.calibrate_by == "channel"
    assert model.calibration_.groups
    result = run("score", tmp_path / "m", table, "-o", tmp_path / "out.csv", *rule, "--chunk", 17)
    assert result.exit_code == 0, result.stderr
    wanted = model.verdicts(rows, **{rule[0][2:]: float(rule[1])})
    found = read_table(tmp_path / "out.csv")
    for name in wanted:
        assert found[name].tolist() == wanted[name].tolist()
    line = ["evaluate", tmp_path / "m", table, "--label", "kind", "--anomaly", "odd", *rule, "--json"]
    assert json.loads(run(*line).stdout)["alarms"] == wanted["is_anomaly"].sum()
    assert "by channel" in run("inspect", tmp_path / "m").stdout
