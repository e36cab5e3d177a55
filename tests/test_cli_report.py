"""`da3d report`: the page that the library writes, or one sentence and exit code 2."""

import json

import pytest

from da3d.persistence import inspect, load
from da3d.preprocessing import read_table
from da3d.reports.page import report_page
from test_cli_main import refused, run, write_toy


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    train, test = write_toy(folder)
    model = folder / "m.da3d"
    assert run("fit", train, "-o", model, "--detector", "knn", "--fpr", 0.05).exit_code == 0
    return model, test


def without_date(page):
    head, _, tail = page.partition("<footer>")
    return head, tail.partition("</footer>")[2]


def test_the_page_is_that_of_the_library(made, tmp_path):
    model, test = made
    target = tmp_path / "page.html"
    line = ["report", model, "--data", test, "--label", "kind", "--anomaly", "odd", "-o", target, "--top", 4]
    result = run(*line, "--json")
    assert result.exit_code == 0, result.stderr
    page = target.read_text(encoding="utf-8")
    said = json.loads(result.stdout)
    assert said == {"report": str(target), "bytes": target.stat().st_size, "rows": 300}
    frame = read_table(test)
    wanted = report_page(
        load(model),
        frame.drop(columns="kind"),
        (frame["kind"] == "odd").to_numpy(dtype=int),
        top=4,
        name="m.da3d",
        source=str(test),
        file=inspect(model),
    )
    assert without_date(page) == without_date(wanted)
    assert page.count("an anomaly by its label") + page.count("normal by its label") == 4


def test_without_a_table_the_model_alone_is_reported(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("report", made[0])
    assert result.exit_code == 0, result.stderr
    assert "report.html" in result.stdout
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "No rows were given to judge" in page
    assert 'id="alerts"' not in page


def test_a_table_may_come_from_standard_input(made, tmp_path):
    text = read_table(made[1]).drop(columns="kind").to_csv(index=False)
    result = run("report", made[0], "--data", "-", "-o", tmp_path / "r.html", "--top", 1, "-q", input=text)
    assert result.exit_code == 0, result.stderr
    assert "Of 300 rows" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--label", "kind"], "--label is given without a table"),
        (["--data", "TEST", "--anomaly", "odd"], "give --label, too"),
        (["--data", "TEST", "--label", "absent"], "no column 'absent'"),
        (["--data", "TEST", "--label", "kind", "--anomaly", "even"], "none of them is 'even'"),
        (["--data", "absent.csv"], "absent.csv"),
        (["-o", "absent/page.html"], "absent"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_the_old_page(made, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report.html").write_text("old")
    refused(run("report", made[0], *(made[1] if each == "TEST" else each for each in options)), words)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "old"


def test_a_table_of_one_kind_has_no_ranking(made, tmp_path):
    frame = read_table(made[1])
    frame[frame["kind"] == "normal"].to_csv(tmp_path / "t.csv", index=False)
    line = ["report", made[0], "--data", tmp_path / "t.csv", "--label", "kind", "--anomaly", "odd"]
    refused(run(*line, "-o", tmp_path / "r.html"), "labelled rows are normal rows")


def test_a_number_of_rows_must_be_one(made):
    result = run("report", made[0], "--top", 0)
    assert result.exit_code == 2
    assert "--top" in result.stderr


def test_a_model_that_is_none_is_refused(tmp_path):
    (tmp_path / "m.da3d").write_text("no model")
    refused(run("report", tmp_path / "m.da3d", "-o", tmp_path / "r.html"), "m.da3d")
    assert not (tmp_path / "r.html").exists()
