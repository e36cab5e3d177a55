"""`da3d drift`, `recalibrate`, `suppress` and `refit`."""

import json

import numpy as np
import pandas as pd
import pytest

from da3d.datasets import toy
from da3d.persistence import load
from da3d.preprocessing import read_table
from test_cli_main import refused, run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a model, the table that it learned from, a fresh one, and one whose amounts doubled."""
    folder = tmp_path_factory.mktemp("made")
    tables = {
        name: toy.mixed(rows=600, seed=seed, anomalies=0).frame for seed, name in enumerate(("old", "new"))
    }
    tables["moved"] = tables["new"].assign(amount=2 * tables["new"]["amount"])
    for name, frame in tables.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    line = ["fit", folder / "old.csv", "-o", folder / "m.da3d", "--detector", "mahalanobis"]
    assert run(*line).exit_code == 0
    return folder


@pytest.fixture
def triage(made, tmp_path):
    """Verdicts of a table with strange rows, of which someone marked three."""
    strange = toy.mixed(rows=300, seed=5, anomalies=30).frame
    strange.to_csv(tmp_path / "strange.csv", index=False)
    run("score", made / "m.da3d", tmp_path / "strange.csv", "-o", tmp_path / "verdicts.csv")
    verdicts = read_table(tmp_path / "verdicts.csv")
    order = verdicts["anomaly_score"].argsort()[::-1].to_numpy()
    verdicts["feedback"] = ""
    verdicts.loc[order[:3], "feedback"] = ["anomaly", "benign", "normal"]
    verdicts.to_csv(tmp_path / "feedback.csv", index=False)
    return tmp_path


class TestDrift:
    def test_worst_first_and_a_sentence(self, made):
        result = run("drift", made / "m.da3d", made / "moved.csv")
        assert result.exit_code == 0, result.stderr
        lines = result.stdout.splitlines()
        assert lines[0].startswith("600 rows. 1 of 6 columns drifted: `amount`")
        columns = [
            line.split()[0]
            for line in lines
            if line.split()[:1] and line.split()[0] in read_table(made / "new.csv")
        ]
        assert columns[0] == "amount"
        assert len(columns) == 6
        assert "moved" in result.stdout

    def test_json_is_the_report_of_the_library(self, made):
        found = json.loads(
            run("drift", made / "m.da3d", made / "moved.csv", "--json", "--level", 0.05).stdout
        )
        model = load(made / "m.da3d")
        frame = read_table(made / "moved.csv", kinds=model.encoder_.schema_.kinds)
        assert found == json.loads(json.dumps(model.drift(frame, level=0.05).to_dict()))

    def test_exit_codes(self, made):
        model = made / "m.da3d"
        assert run("drift", model, made / "new.csv", "--fail").exit_code == 0
        failed = run("drift", model, made / "moved.csv", "--fail", "--json")
        assert failed.exit_code == 1
        assert json.loads(failed.stdout)["drifted"] is True
        assert failed.stderr == ""

    def test_columns_left_out_and_columns_not_shown(self, made):
        text = run("drift", made / "m.da3d", made / "moved.csv", "--ignore", "amount", "--columns", 2).stdout
        assert "amount" not in text
        assert "and 3 columns more" in text

    def test_values_are_shown_as_they_are(self, made, tmp_path):
        """Square brackets are no markup of the terminal's."""
        frame = read_table(made / "new.csv").assign(country="[red]X")
        frame.to_csv(tmp_path / "t.csv", index=False)
        result = run("drift", made / "m.da3d", tmp_path / "t.csv")
        assert result.exit_code == 0, result.stderr
        assert "[red]X" in result.stdout

    def test_other_columns_do_no_harm(self, made, tmp_path):
        read_table(made / "new.csv").assign(more=1).to_csv(tmp_path / "t.csv", index=False)
        result = run("drift", made / "m.da3d", tmp_path / "t.csv")
        assert (result.exit_code, result.stderr) == (0, "")

    @pytest.mark.parametrize(
        ("options", "words"),
        [(["--level", "0"], "level is 0"), (["--ignore", "nope"], "ignore names 'nope'")],
    )
    def test_bad_options(self, made, options, words):
        refused(run("drift", made / "m.da3d", made / "new.csv", *options), words)

    def test_bad_files(self, made, tmp_path):
        refused(run("drift", made / "m.da3d", tmp_path / "none.csv"), "no file")
        refused(run("drift", made / "new.csv", made / "new.csv"), "not a model file")
        read_table(made / "new.csv").drop(columns="items").to_csv(tmp_path / "t.csv", index=False)
        refused(run("drift", made / "m.da3d", tmp_path / "t.csv"), "lacks 1 of 6 columns", "'items'")


class TestRecalibrate:
    def test_a_new_model_with_other_p_values(self, made, tmp_path):
        result = run("recalibrate", made / "m.da3d", made / "moved.csv", "-o", tmp_path / "m2.da3d", "--json")
        assert result.exit_code == 0, result.stderr
        data = json.loads(result.stdout)
        assert data["calibration_rows"] == 600
        assert data["score_now"] != data["score_before"]
        old, new = load(made / "m.da3d"), load(tmp_path / "m2.da3d")
        rows = read_table(made / "new.csv")
        assert np.array_equal(old.anomaly_score(rows), new.anomaly_score(rows))
        assert not np.array_equal(old.p_value(rows), new.p_value(rows))

    def test_a_model_may_take_its_own_place(self, made, tmp_path):
        (tmp_path / "m.da3d").write_bytes((made / "m.da3d").read_bytes())
        result = run("recalibrate", tmp_path / "m.da3d", made / "new.csv", "-o", tmp_path / "m.da3d")
        assert "Recalibrated" in result.stdout
        assert len(load(tmp_path / "m.da3d").calibration_.scores) == 600

    def test_bad_input(self, made, tmp_path):
        read_table(made / "new.csv").head(5).to_csv(tmp_path / "few.csv", index=False)
        out = tmp_path / "m2.da3d"
        refused(run("recalibrate", made / "m.da3d", tmp_path / "few.csv", "-o", out), "5 rows; at least 10")
        refused(run("recalibrate", made / "m.da3d", made / "new.csv", "-o", tmp_path / "no" / "m"), "folder")
        assert not out.exists()


class TestSuppress:
    def test_benign_rows_raise_no_alarm_any_more(self, made, triage):
        quiet = triage / "quiet.da3d"
        result = run("suppress", made / "m.da3d", triage / "feedback.csv", "-o", quiet, "--json")
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["suppressed_patterns"] == 1
        marked = read_table(triage / "feedback.csv")["feedback"]
        benign = marked == "benign"
        for rule in (["--fpr", 0.05], ["--top", 10]):
            run("score", quiet, triage / "strange.csv", "-o", triage / "after.csv", "--chunk", 50, *rule)
            after = read_table(triage / "after.csv")
            assert after["suppressed"].tolist() == benign.tolist()
            assert not after["is_anomaly"][benign].any()
            assert after["is_anomaly"].sum() >= 9
        assert "benign rows and those like them" in run("inspect", quiet).stdout

    def test_evaluate_counts_no_suppressed_alarm(self, made, triage):
        run("suppress", made / "m.da3d", triage / "feedback.csv", "-o", triage / "quiet.da3d")
        feedback = read_table(triage / "feedback.csv")
        feedback.assign(label=(feedback["feedback"] == "benign").astype(int)).to_csv(
            triage / "t.csv", index=False
        )
        recall = [
            json.loads(run("evaluate", model, triage / "t.csv", "--label", "label", "--json").stdout)[
                "recall"
            ]
            for model in (made / "m.da3d", triage / "quiet.da3d")
        ]
        assert recall == [1.0, 0.0]

    def test_bad_input(self, made, triage):
        out = triage / "quiet.da3d"
        refused(run("suppress", made / "m.da3d", triage / "strange.csv", "-o", out), "no column 'feedback'")
        feedback = read_table(triage / "feedback.csv")
        for marks, words in (("anomaly", "is marked benign"), ("maybe", "holds 'maybe'"), (None, "is empty")):
            feedback.assign(feedback=marks).to_csv(triage / "bad.csv", index=False)
            refused(run("suppress", made / "m.da3d", triage / "bad.csv", "-o", out), words)
        assert not out.exists()


class TestRefit:
    def test_a_model_with_feedback(self, made, triage):
        result = run(
            "refit", made / "m.da3d", made / "new.csv", "--feedback", triage / "feedback.csv",
            "-o", triage / "m2.da3d", "--json",
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        assert "learns nothing from known anomalies" in result.stderr
        data = json.loads(result.stdout)
        assert data["feedback"] == {"anomaly": 1, "normal": 1, "benign": 1}
        again = load(triage / "m2.da3d")
        assert (again.profile_.rows, len(again.suppression_.rows)) == (602, 1)
        assert again.get_params(deep=False)["random_state"] == 0

    def test_labels_of_the_table(self, made, tmp_path):
        labelled = toy.mixed(rows=300, seed=6, anomalies=20)
        labelled.frame.assign(kind=labelled.groups).to_csv(tmp_path / "t.csv", index=False)
        out = tmp_path / "m2.da3d"
        line = ["refit", made / "m.da3d", tmp_path / "t.csv", "-o", out, "--label", "kind"]
        result = run(*line, "--normal", "normal")
        assert result.exit_code == 0, result.stderr
        assert "Learned again" in result.stdout
        assert load(out).profile_.rows == 280
        refused(run(*line[:-2], "--anomaly", "amount"), "--anomaly is given without --label")
        refused(run(*line[:-1], "nope"), "no column 'nope'")

    def test_bad_feedback(self, made, tmp_path):
        pd.DataFrame({"amount": [1.0], "feedback": ["normal"]}).to_csv(tmp_path / "f.csv", index=False)
        line = ["refit", made / "m.da3d", made / "new.csv", "-o", tmp_path / "m2.da3d", "--feedback"]
        refused(run(*line, tmp_path / "f.csv"), "lacks 5 of 6 columns")
        refused(run(*line, made / "new.csv"), "no column 'feedback'")
        assert not (tmp_path / "m2.da3d").exists()
