"""``da3d experiment run | status | table``."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from da3d.cli.main import app

PLAN = """
title = "Trial"
budget = "quick"
seeds = [0, 1]
contamination = [0.0]
metric = ["auc", "average_precision"]
[[data]]
name = "breast_cancer"
[[detector]]
label = "near"
name = "knn"
[[detector]]
label = "broken"
name = "knn"
parameters = { neighbors = 0 }
"""
HEAVY = ("torch", "sklearn", "pandas", "scipy", "numpy", "da3d.experiments")


def run(*arguments):
    """The result of ``da3d experiment ARGUMENTS`` in this process."""
    return CliRunner().invoke(app, ["experiment", *(str(argument) for argument in arguments)])


def refused(result, *words):
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr


@pytest.fixture
def trial(tmp_path, monkeypatch):
    """A folder with ``trial.toml``, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trial.toml").write_text(PLAN)
    return tmp_path


def test_from_nothing_to_a_document(trial):
    done = run("run", "trial.toml", "--only", "near", "--jobs", "2")
    assert done.exit_code == 0, done.output
    assert " ".join(done.stdout.split()) == "2 cells finished; their records are in results/trial."
    assert "2 of 2: breast_cancer/0/near/" in done.stderr
    assert (trial / "results" / "trial" / "breast_cancer" / "0" / "near" / "1.json").exists()
    again = run("run", "trial.toml", "--json", "--seeds", "1")
    assert again.exit_code == 1  # the broken one
    assert json.loads(again.stdout) == {
        "experiment": "trial",
        "records": "results/trial",
        "skipped": 1,
        "finished": 0,
        "failed": 1,
        "unavailable": 0,
    }
    assert again.stderr.startswith("Warning: breast_cancer/0/broken/1 failed: ParameterError: ")
    counts = json.loads(run("status", "trial.toml", "--json").stdout)
    assert counts["detectors"] == [
        {"detector": "near", "finished": 2, "failed": 0, "absent": 0, "stale": 0, "missing": 0},
        {"detector": "broken", "finished": 0, "failed": 1, "absent": 0, "stale": 0, "missing": 1},
    ]
    assert [each["cell"] for each in counts["failures"]] == ["breast_cancer/0/broken/1"]
    shown = run("status", "trial.toml").stdout
    assert "ParameterError" in shown
    check_tables(trial)


def check_tables(trial):
    table = run("table", "trial.toml")
    assert table.exit_code == 0
    assert table.stdout.count("| breast_cancer ") == 2
    document = trial / "results.md"
    document.write_text(
        "<!-- table: trial -->\n<!-- /table -->\n<!-- table: trial/auc -->\n<!-- /table -->\n"
    )
    assert run("table", "trial.toml", "--into", "results.md").stdout == ""
    assert table.stdout.strip() in document.read_text()
    run("table", "trial.toml", "--metric", "auc", "--into", "results.md", "--quiet")
    assert document.read_text().count("| breast_cancer ") == 3
    data = json.loads(run("table", "trial.toml", "--json").stdout)
    assert [each["metric"] for each in data] == ["auc", "average_precision"]
    assert data[0]["rows"][0]["detectors"]["near"]["finished"] == 2
    assert data[0]["tests"] == []


def test_results_may_lie_elsewhere(trial):
    assert run("run", "trial.toml", "--only", "near/0", "--results", "else").exit_code == 0
    assert (trial / "else" / "trial" / "breast_cancer" / "0" / "near" / "0.json").exists()
    assert '"finished": 1' in run("status", "trial.toml", "--results", "else", "--json").stdout


def test_images_with_known_anomalies_from_nothing_to_a_table(trial):
    (trial / "images.toml").write_text(
        'title = "Digits"\nbudget = "quick"\nseeds = [0]\ncontamination = [0.0, 0.01]\n'
        '[[data]]\nname = "digits"\nsplit = "a3"\nmax_train = 150\nmax_test = 200\n'
        "normal = [0, 1, 2, 3]\nanomalous = [6, 7, 8, 9]\nknown = 25\nknown_groups = [6, 7]\n"
        '[[detector]]\nlabel = "near"\nname = "knn"\n'
        '[[detector]]\nlabel = "da3d"\nname = "da3d"\nparameters = { steps = [5, 5, 5] }\n'
    )
    done = run("run", "images.toml")
    assert done.exit_code == 0, done.output
    record = json.loads((trial / "results" / "images" / "digits" / "0.01" / "da3d" / "0.json").read_text())
    assert record["configuration"]["data"] == {
        "name": "digits",
        "split": "a3",
        "max_train": 150,
        "max_test": 200,
        "normal": ["0", "1", "2", "3"],
        "anomalous": ["6", "7", "8", "9"],
        "known": 25,
        "known_groups": ["6", "7"],
    }
    assert record["train"] == {"rows": 150 + 1 + 25, "anomalies": 1}
    assert (record["columns"], record["error"]) == (64, None)
    assert "| digits " in run("table", "images.toml").stdout


def test_long_lines_of_a_table_are_neither_broken_nor_cut(trial):
    labels = [f"a detector with a long name {number}" for number in range(6)]
    entries = "".join(f'[[detector]]\nlabel = "{label}"\nname = "knn"\n' for label in labels)
    (trial / "trial.toml").write_text(PLAN.split("[[detector]]")[0] + entries)
    lines = [line for line in run("table", "trial.toml").stdout.splitlines() if line.startswith("| data set")]
    assert len(lines) == 2
    assert all(label in lines[0] for label in labels)


def test_mistakes_are_sentences(trial):
    refused(run("run", "none.toml"), "'none.toml' cannot be read")
    refused(run("run", "trial.toml", "--seeds", "a"), "--seeds is 'a'")
    refused(run("run", "trial.toml", "--seeds", "5"), "seed 5 is none of the file's: 0, 1")
    refused(run("run", "trial.toml", "--only", "da3d"), "no cell's name holds 'da3d'")
    refused(run("table", "trial.toml", "--metric", "f2"), "metric is 'f2'")
    refused(run("table", "trial.toml", "--into", "none.md"), "'none.md' cannot be read")
    (trial / "trial.toml").write_text(PLAN + "\nneighbours = 3\n")
    refused(
        run("status", "trial.toml"), "[[detector]] 2", "unknown key 'neighbours'", "allowed are label, name"
    )
    assert not (trial / "results").exists()


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom da3d.cli.main import run\n"
        "sys.argv = ['da3d', 'experiment', 'run', '--help']\n"
        "try:\n    run()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "--jobs" in done.stdout
