"""`da3d fit` on tables larger than what it may take, and `da3d score` beside its reading and writing."""

import json

import numpy as np
import pandas as pd
import pytest

from da3d.detectors import Mahalanobis
from da3d.persistence import load
from da3d.pipeline import AnomalyPipeline
from da3d.preprocessing import sample_table
from test_cli_main import refused, run

ROWS = 6_000


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Numbers and a category, with thirty known anomalies."""
    random = np.random.default_rng(0)
    values = random.normal(size=(ROWS, 3))
    values[:30] += 9
    frame = pd.DataFrame(values, columns=["a", "b", "c"])
    frame["place"] = random.choice(["home", "work"], ROWS)
    frame["kind"] = np.where(np.arange(ROWS) < 30, "attack", "normal")
    frame = frame.sample(frac=1, random_state=0)
    path = tmp_path_factory.mktemp("large") / "table.parquet"
    frame.to_parquet(path, index=False, row_group_size=500)
    return path


def learned(table, model, *options):
    """The fitted pipeline, and what was said about it."""
    line = ["fit", table, "-o", model, "--detector", "mahalanobis", "--json", *options]
    result = run(*line)
    assert result.exit_code == 0, result.stderr
    return load(model), json.loads(result.stdout), result.stderr


def scores(pipeline, table):
    return pipeline.anomaly_score(pd.read_parquet(table))


def test_the_model_is_the_one_of_the_sample(table, tmp_path):
    pipeline, said, told = learned(table, tmp_path / "m.da3d", "--max-rows", 800, "--drop", "kind")
    sample = sample_table(table, rows=800, drop=["kind"])
    wanted = AnomalyPipeline(Mahalanobis(), random_state=0).fit(sample.frame)
    rows = pd.read_parquet(table).drop(columns="kind")
    assert np.array_equal(pipeline.anomaly_score(rows), wanted.anomaly_score(rows))
    assert (said["rows"], said["table_rows"]) == (800, ROWS)
    assert "Learning from 800 of 6,000 rows, a random sample: --max-rows 800 allows no more." in told


def test_a_ceiling_on_memory(table, tmp_path):
    _, said, told = learned(table, tmp_path / "m.da3d", "--max-memory", "513MiB", "--drop", "kind")
    assert 100 < said["rows"] < said["table_rows"] == ROWS
    assert "--max-memory 513MiB allows no more." in told


def test_a_table_that_fits_is_learned_from_as_a_whole(table, tmp_path):
    pipeline, said, told = learned(table, tmp_path / "m.da3d", "--max-memory", "1GiB", "--drop", "kind")
    rows = pd.read_parquet(table).drop(columns="kind")
    wanted = AnomalyPipeline(Mahalanobis(), random_state=0).fit(rows)
    assert np.array_equal(pipeline.anomaly_score(rows), wanted.anomaly_score(rows))
    assert (said["rows"], said["table_rows"], told) == (ROWS, ROWS, "")


def test_known_anomalies_are_kept(table, tmp_path):
    options = ("--label", "kind", "--anomaly", "attack", "--max-rows", 400)
    _, said, _ = learned(table, tmp_path / "m.da3d", *options)
    assert (said["rows"], said["known_anomalies"]) == (400, 30)
    _, again, _ = learned(table, tmp_path / "m.da3d", *options[:2], "--normal", "normal", *options[4:])
    assert again["known_anomalies"] == 30


def test_the_seed_draws_the_sample(table, tmp_path):
    one, again, other = (
        scores(learned(table, tmp_path / "m.da3d", "--max-rows", 500, "--seed", seed)[0], table)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_view_says_how_many_rows(table, tmp_path):
    result = run("fit", table, "-o", tmp_path / "m.da3d", "--detector", "mahalanobis", "--max-rows", 500)
    assert "500 of 6,000 (a random sample)" in result.stdout


def test_csv_from_standard_input(table, tmp_path):
    content = pd.read_parquet(table).to_csv(index=False)
    line = ["fit", "-", "-o", tmp_path / "m.da3d", "--detector", "mahalanobis", "--max-rows", 500, "--json"]
    result = run(*line, input=content)
    assert json.loads(result.stdout)["rows"] == 500, result.stderr


def test_p_values_of_a_sample_hold_on_the_whole_table(table, tmp_path):
    options = ("--label", "kind", "--anomaly", "attack", "--max-rows", 1_500)
    pipeline, _, _ = learned(table, tmp_path / "m.da3d", *options)
    frame = pd.read_parquet(table)
    p_values = pipeline.p_value(frame[frame["kind"] == "normal"].drop(columns="kind"))
    # 220 held-out rows: the share of rows below 0.1 deviates by 0.02 on average.
    assert (p_values <= 0.1).mean() == pytest.approx(0.1, abs=0.06)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max-memory", "lots"], ["'lots'", "such as 2GiB"]),
        (["--max-memory", "-2GiB"], ["'-2GiB'", "above 0"]),
        (["--max-memory", "10MiB"], ["limited to 10 MiB", "allow at least"]),
        (["--label", "kind", "--anomaly", "attack", "--normal", "normal"], ["name one kind"]),
        (["--label", "kin"], ["no column 'kin'", "'kind'"]),
        (["--drop", "d"], ["no column 'd'"]),
    ],
)
def test_mistakes(table, tmp_path, options, words):
    refused(run("fit", table, "-o", tmp_path / "m.da3d", "--detector", "mahalanobis", *options), *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", ["1", "0", "-5", "many"])
def test_a_number_of_rows_is_at_least_two(table, tmp_path, rows):
    result = run("fit", table, "-o", tmp_path / "m.da3d", "--max-rows", rows)
    assert result.exit_code == 2
    assert "--max-rows" in result.stderr


@pytest.fixture(scope="module")
def model(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.da3d"
    learned(table, path, "--drop", "kind")
    return path


@pytest.mark.parametrize("rule", [("--fpr", 0.01), ("--top", 30)])
@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_scores_in_a_file_are_those_on_standard_output(table, model, tmp_path, rule, ending):
    """Reading and writing are done in threads of their own in the one case and not in the other."""
    out = tmp_path / f"v.{ending}"
    assert run("score", model, table, "-o", out, *rule, "--chunk", 97, "-q").exit_code == 0
    printed = tmp_path / "printed.csv"
    printed.write_text(run("score", model, table, *rule, "-q").stdout)
    read = {
        "csv": pd.read_csv,
        "parquet": pd.read_parquet,
        "jsonl": lambda path: pd.read_json(path, lines=True, precise_float=True),
    }
    pd.testing.assert_frame_equal(read[ending](out), pd.read_csv(printed), check_exact=True)


def test_a_damaged_chunk_leaves_no_file(model, tmp_path):
    lines = ["a,b,c,place", *["0.1,0.2,0.3,home"] * 300_000, "0.1,oops,0.3,home"]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    refused(run("score", model, tmp_path / "t.csv", "-o", tmp_path / "v.csv", "--fpr", 0.01), "'oops'")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_full_disk_is_one_sentence(table, model, tmp_path, monkeypatch):
    from da3d.preprocessing.write import TableWriter

    def full(self, table):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TableWriter, "_write_parquet", full)
    line = ["score", model, table, "-o", tmp_path / "v.parquet", "--fpr", 0.01, "--chunk", 100]
    refused(run(*line), "the disk is full")
    assert list(tmp_path.iterdir()) == []
