"""One cell: its rows, its numbers, its record."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from da3d.datasets import load_dataset, splits
from da3d.detectors import KNN
from da3d.errors import FileError, InputError, LabelError, TableError
from da3d.experiments import Record, Records, read_experiment
from da3d.experiments.cell import run_cell
from da3d.experiments.data import split_of
from da3d.experiments.record import scores_digest
from da3d.experiments.resolve import as_json
from da3d.metrics import summarise
from da3d.pipeline import AnomalyPipeline

HEAD = 'title = "Trial"\nbudget = "quick"\nseeds = [3]\n'
KNN_ENTRY = '[[detector]]\nlabel = "near"\nname = "knn"\n'


def one_cell(folder, data='name = "breast_cancer"\n', detector=KNN_ENTRY, contamination=0.0):
    path = folder / "trial.toml"
    path.write_text(f"{HEAD}contamination = [{contamination}]\n[[data]]\n{data}{detector}", encoding="utf-8")
    return read_experiment(path).cells()[0]


def write_own(folder, kinds=("fine", "attack"), name="own.csv"):
    """A file of 60 normal rows and 12 anomalies with a column ``kind``."""
    random = np.random.default_rng(0)
    rows = np.concatenate([random.normal(size=(60, 3)), random.normal(6, 1, size=(12, 3))])
    frame = pd.DataFrame(rows, columns=["a", "b", "c"]).assign(
        kind=np.repeat(np.array(kinds, object), [60, 12])
    )
    frame.to_csv(folder / name, index=False)


def test_a_cell_is_what_one_would_do_by_hand(tmp_path):
    record, scores = run_cell(one_cell(tmp_path, contamination=0.05))
    split = splits.one_class(load_dataset("breast_cancer"), 3, contamination=0.05)
    by_hand = AnomalyPipeline(KNN(), random_state=3).fit(split.train).anomaly_score(split.test)
    assert np.array_equal(scores, by_hand)
    assert record.metrics == summarise(split.test_labels, by_hand)
    assert record.scores_sha256 == scores_digest(by_hand)
    assert record.contamination_reached == split.contamination_reached
    assert (record.train.rows, record.train.anomalies) == (len(split.train), split.hidden_anomalies.sum())
    assert (record.test.rows, record.test.anomalies) == (len(split.test), split.test_labels.sum())
    assert (record.columns, record.error) == (30, None)


def test_a_record_says_what_it_took(tmp_path):
    record, _ = run_cell(one_cell(tmp_path))
    assert set(record.versions) == {"da3d", "torch", "numpy", "scikit-learn", "python"}
    assert record.peak_memory_mib > 50
    assert 0 <= record.seconds.fit <= record.seconds_total
    assert record.configuration["detector"]["parameters"]["neighbors"] == 5
    assert record.configuration["seed"] == 3


def test_a_cell_is_reproducible(tmp_path):
    cell = one_cell(tmp_path, detector=KNN_ENTRY.replace('"knn"', '"isolation-forest"'))
    first, again = run_cell(cell)[0], run_cell(cell)[0]
    assert first.scores_sha256 == again.scores_sha256
    assert run_cell(replace(cell, seed=4))[0].scores_sha256 != first.scores_sha256


def test_settings_of_a_detector_that_resolves_them(tmp_path):
    detector = KNN_ENTRY.replace('"knn"', '"da3d"') + "parameters = { steps = [2, 2, 2], sigma = 1.25 }\n"
    record, _ = run_cell(one_cell(tmp_path, detector=detector))
    assert (record.settings["sigma"], record.settings["steps"]) == (1.25, [2, 2, 2])


def test_a_failing_cell_is_a_record(tmp_path):
    record, scores = run_cell(one_cell(tmp_path, detector=KNN_ENTRY + "parameters = { neighbors = 0 }\n"))
    assert scores is None
    assert record.error.type == "ParameterError"
    assert "neighbors is 0" in record.error.message
    assert record.error.where.endswith(tuple("0123456789"))
    assert (record.metrics, record.seconds) == (None, None)


def test_a_record_names_no_folder_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DA3D_CACHE", raising=False)
    monkeypatch.delenv("DA3D_DATA", raising=False)
    record, _ = run_cell(one_cell(tmp_path, data='name = "doh"\nsplit = "paper"\n'))
    assert record.error.type == "UnavailableError"
    assert "put them into ~/cache/da3d" in record.error.message
    assert str(tmp_path) not in record.error.message


def test_a_data_set_that_is_not_here_fails_with_its_sentence(tmp_path):
    record, _ = run_cell(one_cell(tmp_path, data='name = "no_such_table"\n'))
    assert record.error.type == "InputError"
    assert "no_such_table" in record.error.message


def test_a_contamination_that_cannot_be_reached_is_said(tmp_path):
    write_own(tmp_path)
    cell = one_cell(tmp_path, 'path = "own.csv"\nlabel = "kind"\nanomaly = "attack"\n', contamination=0.4)
    record, _ = run_cell(cell)
    assert record.contamination_reached == pytest.approx(11 / 41)
    assert len(record.warnings) == 1
    assert "Contamination of 0.4" in record.warnings[0]


@pytest.mark.parametrize(
    ("kinds", "anomaly"),
    [(("fine", "attack"), '["attack", "worm"]'), ((0, 1), "1"), ((0, 1.5), '"1.5"'), ((False, True), "true")],
)
def test_a_file_of_ones_own(tmp_path, kinds, anomaly):
    write_own(tmp_path, kinds)
    cell = one_cell(tmp_path, f'path = "own.csv"\nlabel = "kind"\nanomaly = {anomaly}\n')
    assert cell.id == "own/0/near/3"
    split = split_of(cell)
    assert (split.test_labels.sum(), len(split.test)) == (12, 42)
    assert list(split.train.columns) == ["a", "b", "c"]
    assert run_cell(cell)[0].metrics["auc"] > 0.99


def test_known_anomalies_of_a_file_of_ones_own(tmp_path):
    write_own(tmp_path, (0, 7))
    entry = 'path = "own.csv"\nlabel = "kind"\nanomaly = 7\nknown = 4\nknown_groups = 7\n'
    split = split_of(one_cell(tmp_path, entry))
    assert (split.train_labels.sum(), split.test_labels.sum()) == (4, 8)


def test_faults_of_a_file_of_ones_own(tmp_path):
    write_own(tmp_path)
    entry = 'path = "own.csv"\nlabel = "kind"\nanomaly = "attack"\n'
    with pytest.raises(TableError, match=r"no column 'sort'; it has 'a', 'b', 'c', 'kind'"):
        split_of(one_cell(tmp_path, entry.replace("kind", "sort")))
    with pytest.raises(LabelError, match="holds 'fine', 'attack' and none of them is 'worm'"):
        split_of(one_cell(tmp_path, entry.replace("attack", "worm")))
    with pytest.raises(FileError):
        split_of(one_cell(tmp_path, entry.replace("own", "none")))
    write_own(tmp_path, ("fine", None))
    with pytest.raises(LabelError, match="12 of 72 labels"):
        split_of(one_cell(tmp_path, entry))


def test_a_changed_file_is_read_again_and_makes_its_record_stale(tmp_path):
    write_own(tmp_path)
    entry = 'path = "own.csv"\nlabel = "kind"\nanomaly = "attack"\n'
    records, cell = Records(tmp_path / "r"), one_cell(tmp_path, entry)
    first, _ = run_cell(cell)
    records.put(cell, first)
    assert records.find(one_cell(tmp_path, entry)).state == "finished"
    text = (tmp_path / "own.csv").read_text().splitlines()
    (tmp_path / "own.csv").write_text("\n".join(text[:1] + text[5:]))
    changed = one_cell(tmp_path, entry)
    assert records.find(changed).state == "stale"
    assert run_cell(changed)[0].train.rows < first.train.rows
    (tmp_path / "own.csv").unlink()
    assert records.find(one_cell(tmp_path, entry)).state == "finished"  # tables outlive the data


def test_max_train_and_max_test_keep_the_shares(tmp_path):
    data = 'name = "breast_cancer"\nsplit = "paper"\nmax_train = 100\nmax_test = 40\n'
    whole = split_of(one_cell(tmp_path, data.split("max_train")[0], contamination=0.1))
    split = split_of(one_cell(tmp_path, data, contamination=0.1))
    assert (~split.hidden_anomalies).sum() == 100
    assert split.contamination_reached == pytest.approx(0.1, abs=0.006)
    assert len(split.test) == 40
    assert split.test_labels.mean() == pytest.approx(whole.test_labels.mean(), abs=0.02)
    assert set(split.train.index) <= set(whole.train.index)
    assert (split.test_labels == (load_dataset("breast_cancer").labels[split.test.index])).all()
    assert np.array_equal(
        split.hidden_anomalies, load_dataset("breast_cancer").labels[split.train.index] == 1
    )


def test_the_tested_rows_of_the_papers_split_do_not_depend_on_the_seed(tmp_path):
    cell = one_cell(tmp_path, 'name = "breast_cancer"\nsplit = "paper"\nmax_test = 40\n')
    assert split_of(cell).test.index.equals(split_of(replace(cell, seed=9)).test.index)


def test_known_anomalies_reach_the_detector(tmp_path, monkeypatch):
    seen = []
    fit = AnomalyPipeline.fit
    monkeypatch.setattr(AnomalyPipeline, "fit", lambda self, X, y=None: (seen.append(y), fit(self, X, y))[1])
    data = 'name = "breast_cancer"\nsplit = "a3"\nmax_train = 100\n'
    record, _ = run_cell(one_cell(tmp_path, data + 'known = 5\nknown_groups = "malignant"\n'))
    assert (record.error, record.train.rows, seen[0].sum()) == (None, 105, 5)
    assert record.configuration["data"]["known"] == 5
    assert record.configuration["data"]["known_groups"] == ["malignant"]
    run_cell(one_cell(tmp_path, data))
    assert seen[1] is None


def test_a_smaller_training_set_keeps_its_known_anomalies(tmp_path):
    data = 'name = "breast_cancer"\nsplit = "paper"\nmax_train = 50\nknown = 20\n'
    split = split_of(one_cell(tmp_path, data, contamination=0.1))
    labels = load_dataset("breast_cancer").labels[split.train.index]
    assert split.train_labels.sum() == 20
    assert (labels == (split.hidden_anomalies | (split.train_labels == 1))).all()
    assert split.contamination_reached == pytest.approx(0.1, abs=0.02)
    without = split_of(one_cell(tmp_path, data.replace("known = 20\n", ""), contamination=0.1))
    assert set(without.train.index) == set(split.train.index[split.train_labels == 0])


@pytest.mark.parametrize(
    "split", ["one_class", "paper", "preprint", "a3", "fence_kdd99", "fence_mnist", "fence_cifar10"]
)
def test_every_split_of_chosen_classes(tmp_path, split):
    data = f'name = "digits"\nsplit = "{split}"\nnormal = [0, 1, 2]\nanomalous = [8, 9]\n'
    made = split_of(one_cell(tmp_path, data))
    digits = load_dataset("digits").groups
    assert set(digits[made.train.index]) == {"0", "1", "2"}
    assert set(digits[made.test.index][made.test_labels == 1]) == {"8", "9"}
    assert set(made.test_groups) == {"0", "1", "2", "8", "9"}
    assert made.image_shape == (1, 8, 8)


def test_images_go_to_the_detector_as_they_are(tmp_path):
    data = 'name = "digits"\nmax_train = 200\nmax_test = 300\nanomalous = [6, 7, 8, 9]\n'
    cell = one_cell(tmp_path, data + "known = 25\nknown_groups = [6, 7]\n")
    record, scores = run_cell(cell)
    split = split_of(cell)
    detector = KNN(random_state=3)
    detector.fit(split.train.to_numpy().reshape(-1, 1, 8, 8), split.train_labels)
    assert detector.image_shape_ == (1, 8, 8)
    assert np.array_equal(scores, detector.anomaly_score(split.test.to_numpy().reshape(-1, 1, 8, 8)))
    assert record.metrics["auc"] > 0.8
    assert (record.columns, record.features, record.train.rows) == (64, 64, 225)
    assert record.configuration["data"]["known_groups"] == ["6", "7"]


def test_options_reach_the_data_set(tmp_path):
    record, _ = run_cell(one_cell(tmp_path, 'name = "digits"\noptions = { pooled = true }\n'))
    assert record.error.type == "ParameterError"
    assert record.error.message == "the data set digits has no option 'pooled'; it has none."


def test_an_official_split_needs_an_official_test_set(tmp_path):
    with pytest.raises(InputError, match="no official test set"):
        split_of(one_cell(tmp_path, 'name = "breast_cancer"\nsplit = "official"\n'))


def test_records_are_sorted_json_and_come_back_equal(tmp_path):
    cell, records = one_cell(tmp_path), Records(tmp_path / "results")
    record, scores = run_cell(cell)
    records.put(cell, record, scores)
    path = tmp_path / "results" / "breast_cancer" / "0" / "near" / "3.json"
    assert records.path(cell) == path
    assert Record.read(path) == record
    entries = json.loads(path.read_text())
    assert list(entries) == sorted(entries)
    assert path.read_text() == record.to_text()
    assert np.array_equal(np.load(records.scores_path(cell)), scores)
    assert sorted(each.name for each in path.parent.iterdir()) == ["3.json", "3.npy"]
    records.put(cell, record)
    assert not records.scores_path(cell).exists()  # not of this record


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"seconds_total"', '"second_total"'),
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"metrics": {', '"metrics": null, "warnings_": {'),
        lambda text: "[]",
    ],
)
def test_what_is_no_record_is_refused_and_counts_as_stale(tmp_path, damage):
    cell, records = one_cell(tmp_path), Records(tmp_path / "results")
    records.put(cell, run_cell(cell)[0])
    path = records.path(cell)
    path.write_text(damage(path.read_text()))
    with pytest.raises(FileError, match="is no record of a cell"):
        Record.read(path)
    assert records.find(cell).state == "stale"


def test_a_record_without_error_needs_its_numbers(tmp_path):
    record, _ = run_cell(one_cell(tmp_path))
    entries = record.model_dump() | {"metrics": None}
    with pytest.raises(ValueError, match="without an error needs"):
        Record.model_validate(entries)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "results").write_text("a file")
    cell = one_cell(tmp_path)
    with pytest.raises(FileError, match="cannot be written"):
        Records(tmp_path / "results").put(cell, run_cell(cell)[0])


def test_the_digest_of_scores_forgives_the_last_digits_only():
    scores = np.array([0.1234564, 1e300, -0.0, -7.0])
    assert scores_digest(scores) == scores_digest(scores * (1 + 1e-12))
    assert scores_digest(scores) == scores_digest(np.array([0.1234564, 1e300, 0.0, -7.0]))
    assert scores_digest(scores) != scores_digest(scores * (1 + 1e-4))
    assert scores_digest(scores) != scores_digest(scores[::-1])


def test_values_as_json():
    given = {"a": (1, np.float64(2)), "b": np.arange(2), "c": KNN(neighbors=3), "d": SimpleNamespace()}
    assert as_json(given)["c"]["parameters"]["neighbors"] == 3
    assert {key: value for key, value in as_json(given).items() if key != "c"} == {
        "a": [1, 2.0],
        "b": [0, 1],
        "d": "SimpleNamespace",
    }


def test_what_decides_nothing_does_not_make_a_record_stale(tmp_path):
    from da3d.experiments.record import _what

    base = {
        "detector": {"name": "da3d", "parameters": {"sigma": 2.0, "threads": 1, "device": "cpu"}},
        "seed": 0,
    }
    other = {"detector": {"name": "da3d", "parameters": {"sigma": 2.0, "alarm": None}}, "seed": 0}
    changed = {"detector": {"name": "da3d", "parameters": {"sigma": 3.0}}, "seed": 0}
    assert _what(base) == _what(other) != _what(changed)
