"""The list of bad input: each gives code 2, one sentence, and no file."""

import pickle

import numpy as np
import pandas as pd
import pytest

from da3d.preprocessing import read_table
from test_cli_main import refused, run, write_toy

X = np.linspace(0.0, 1.0, 30)


def fit_refused(tmp_path, content, *words, options=()):
    """Fit on a file of this content; it must be refused and leave nothing."""
    table, folder = tmp_path / "t.csv", tmp_path / "out"
    folder.mkdir()
    if isinstance(content, pd.DataFrame):
        content.to_csv(table, index=False)
    else:
        table.write_bytes(content)
    refused(run("fit", table, "-o", folder / "m.da3d", "--detector", "knn", *options), *words)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"a,b\n", "no rows"),
        (b"a,b\n1,2\n", "1 sample"),
        (pd.DataFrame({"a": [1.0] * 20, "b": ["x"] * 20}), "rows of the table are equal"),
        (pd.DataFrame({"id": [f"row {i}" for i in range(200)]}), "no column of the table can be used"),
        (pd.DataFrame({"a": [None] * 5, "b": [None] * 5}), "no column of the table can be used"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 fields"),
        ("größe,b\n1,2\n".encode("latin-1"), "UTF-8"),
        ("a,b\nä,2\n".encode("latin-1"), "UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"a,a\n1,2\n3,4\n", "more than one column named 'a'"),
        (b"PAR1\x00\x01\x02 nonsense", "t.csv"),
    ],
)
def test_tables_that_nothing_can_be_learned_from(tmp_path, content, words):
    fit_refused(tmp_path, content, words)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["1", ""] * 15, "15 of 30 labels in column 'y' are missing"),
        (["0", "NaN"] * 15, "15 of 30 labels in column 'y' are missing"),
        (["odd", ""] * 15, "15 of 30 labels in column 'y' are missing"),
        (["1"] * 30, "all 30 rows are anomalies"),
        (["1"] * 29 + ["0"], "at least two rows must be believed normal"),
    ],
)
def test_labels_that_do_not_serve(tmp_path, labels, words):
    fit_refused(tmp_path, pd.DataFrame({"x": X, "y": labels}), words, options=["--label", "y"])


def test_a_file_that_is_not_there(tmp_path):
    refused(run("fit", tmp_path / "none.csv", "-o", tmp_path / "m"), "there is no file")
    refused(run("fit", tmp_path, "-o", tmp_path / "m"), "no .parquet file")
    (tmp_path / "t.xlsx").touch()
    refused(run("fit", tmp_path / "t.xlsx", "-o", tmp_path / "m"), "no known ending")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"only": X}),
        pd.DataFrame({"x": X, "many": [f"c{i % 1000}" for i in range(30)]}),
        pd.DataFrame({"x": np.r_[X[:-2], np.inf, -np.inf], "y": X[::-1]}),
        pd.DataFrame({"x": X, "gone": [None] * 30}),
    ],
)
def test_odd_tables_that_are_learned_from(tmp_path, frame):
    frame.to_csv(tmp_path / "t.csv", index=False)
    result = run("fit", tmp_path / "t.csv", "-o", tmp_path / "m", "--detector", "knn")
    assert result.exit_code == 0, result.stderr
    assert run("score", tmp_path / "m", tmp_path / "t.csv", "-o", tmp_path / "s.csv").exit_code == 0


def test_a_hundred_thousand_categories(tmp_path):
    names = [f"c{i}" for i in range(50_000)] * 2
    frame = pd.DataFrame({"x": np.tile(X, 3334)[:100_000], "many": names})
    frame.to_parquet(tmp_path / "t.parquet")
    line = ["fit", tmp_path / "t.parquet", "-o", tmp_path / "m", "--detector", "mahalanobis"]
    result = run(*line)
    assert result.exit_code == 0, result.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    train, test = write_toy(folder)
    assert run("fit", train, "-o", folder / "m.da3d", "--detector", "knn").exit_code == 0
    return folder / "m.da3d", test


def number_column(frame):
    return next(name for name in frame.columns if frame[name].dtype == float)


@pytest.mark.parametrize("rule", [[], ["--top", "3"]])
@pytest.mark.parametrize("damage", ["missing column", "other kind", "no rows", "none of the columns"])
def test_tables_that_are_not_like_the_fitted_one(made, tmp_path, damage, rule):
    model, test = made
    frame = read_table(test)
    name = number_column(frame)
    frame, words = {
        "missing column": (frame.drop(columns=name), f"lacks 1 of {frame.shape[1] - 1} columns"),
        "other kind": (frame.assign(**{name: "text"}), f"column '{name}' holds 'text'"),
        "no rows": (frame.iloc[:0], "no rows"),
        "none of the columns": (frame[["kind"]], "lacks"),
    }[damage]
    (tmp_path / "out").mkdir()
    frame.to_csv(tmp_path / "t.csv", index=False)
    refused(run("score", model, tmp_path / "t.csv", "-o", tmp_path / "out" / "s.csv", *rule), words)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("damage", ["half", "flipped byte", "pickle", "empty", "text", "absent", "folder"])
@pytest.mark.parametrize("name", ["score", "evaluate", "inspect"])
def test_files_that_are_no_model(made, tmp_path, damage, name):
    good, test = made
    content = good.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    contents = {
        "half": content[:middle],
        "flipped byte": flipped,
        "pickle": pickle.dumps({"a": 1}),
        "empty": b"",
        "text": b"hello",
    }
    model = tmp_path / "m.da3d"
    if damage == "folder":
        model.mkdir()
    elif damage != "absent":
        model.write_bytes(contents[damage])
    line = {
        "score": ["score", model, test, "-o", tmp_path / "s.csv"],
        "evaluate": ["evaluate", model, test, "--label", "kind"],
        "inspect": ["inspect", model],
    }[name]
    refused(run(*line), "m.da3d")
    assert not (tmp_path / "s.csv").exists()
