"""TOML files: what they may say, and the cells that they ask for."""

from pathlib import Path

import numpy as np
import pytest

from da3d.errors import FileError, ParameterError
from da3d.experiments import METRICS, read_experiment, select
from da3d.metrics import summarise

HEAD = 'title = "Trial"\nbudget = "quick"\nseeds = [0, 1]\ncontamination = [0.0, 0.01]\n'
DATA = '[[data]]\nname = "breast_cancer"\n'
KNN = '[[detector]]\nlabel = "near"\nname = "knn"\n'
SHIPPED = sorted((Path(__file__).parents[1] / "experiments").glob("*.toml"))


def read(folder, *parts):
    path = folder / "trial.toml"
    path.write_text("".join(parts), encoding="utf-8")
    return read_experiment(path)


def refused(folder, *parts):
    """The sentence with which a file is refused."""
    with pytest.raises(ParameterError) as caught:
        read(folder, *parts)
    return str(caught.value)


def test_cells_are_all_combinations_with_readable_unique_names(tmp_path):
    experiment = read(tmp_path, HEAD, DATA, KNN, '[[detector]]\nlabel = "M d"\nname = "mahalanobis"\n')
    names = [cell.id for cell in experiment.cells()]
    assert experiment.name == "trial"
    assert names[:4] == [
        f"breast_cancer/{level}/{label}/0" for level in ("0", "0.01") for label in ("near", "M-d")
    ]
    assert [name[:-1] + "1" for name in names[:4]] == names[4:]


def test_a_list_of_names_stands_for_several_data_sets(tmp_path):
    experiment = read(tmp_path, HEAD, '[[data]]\nname = ["digits", "adbench/cardio"]\nmax_train = 5\n', KNN)
    assert {cell.id.split("/")[0] for cell in experiment.cells()} == {"digits", "adbench-cardio"}
    assert experiment.cells()[0].configuration["data"] == {
        "name": "digits",
        "split": "one_class",
        "max_train": 5,
    }


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (("sedes = [0]\n", HEAD, DATA, KNN), ["unknown key 'sedes'", "seeds", "keep_scores"]),
        ((HEAD, DATA, "colour = 1\n", KNN), ["[[data]] 1", "unknown key 'colour'", "max_train"]),
        (
            (HEAD, DATA, KNN, KNN, "neighbors = 3\n"),
            ["[[detector]] 2", "unknown key 'neighbors'", "parameters"],
        ),
        ((HEAD, DATA, 'split = "random"\n', KNN), ["[[data]] 1, split: should be", "'paper'", "is 'random'"]),
        ((HEAD, DATA, "max_train = 0\n", KNN), ["max_train: should be", "is 0"]),
        ((HEAD.replace("0.01", "0.5"), DATA, KNN), ["contamination: should be less than 0.5"]),
        ((HEAD.replace("[0, 1]", '["0"]'), DATA, KNN), ["seeds: should be a valid integer", "'0'"]),
        ((HEAD.replace("[0, 1]", "[]"), DATA, KNN), ["seeds", "at least 1"]),
        ((HEAD.replace("[0, 1]", "[1, 1]"), DATA, KNN), ["1 occurs twice in seeds"]),
        ((HEAD, 'metric = ["f2"]\n', DATA, KNN), ["metric: 'f2' is none of auc"]),
        ((HEAD, KNN), ["data: field required"]),
        ((HEAD, DATA, DATA, KNN), ["'breast_cancer' occurs twice in data"]),
        ((HEAD, DATA, KNN, KNN.replace("near", "near!"), KNN), ["'near' occurs twice in detector"]),
        ((HEAD, DATA, KNN, 'published = { "iris" = { "0.0" = 0.9 } }\n'), ["'iris'", "none of the data"]),
        ((HEAD, DATA, KNN, 'published = { "breast_cancer" = { "none" = 0.9 } }\n'), ["published", "'none'"]),
        ((HEAD, DATA, KNN, "parameters = { random_state = 1 }\n"), ["random_state is decided by seeds"]),
        ((HEAD, "[[data]]\n", KNN), ["[[data]] 1: give either name"]),
        ((HEAD, '[[data]]\npath = "x.csv"\nanomaly = 1\n', KNN), ["label is needed with path"]),
        ((HEAD, DATA, 'label = "kind"\n', KNN), ["label belongs to path"]),
        (
            (HEAD, '[[data]]\npath = "x.csv"\nlabel = "k"\nanomaly = 1\nsplit = "official"\n', KNN),
            ["no official"],
        ),
        ((HEAD, '[[data]]\nname = ["a", "b"]\ntitle = "t"\n', KNN), ["title stands for one"]),
        (
            (HEAD, '[[data]]\nname = ["a", "b"]\noptions = { pooled = true }\n', KNN),
            ["options stands for one data set"],
        ),
        ((HEAD, DATA, 'options = { week = "yes" }\n', KNN), ["[[data]] 1, options: should be", "boolean"]),
        ((HEAD, DATA, "known = 0\n", KNN), ["known: should be greater", "is 0"]),
        ((HEAD, DATA, "known_groups = [6]\n", KNN), ["say in known how many"]),
        ((HEAD, DATA, "normal = []\n", KNN), ["normal", "at least 1"]),
        ((HEAD, DATA, "normal = [1, 2]\nanomalous = [2]\n", KNN), ["'2' is in both normal and anomalous"]),
        (
            (HEAD, DATA, "normal = [1]\nknown = 5\nknown_groups = [1]\n", KNN),
            ["'1' is in known_groups but is no anomaly"],
        ),
        (
            (HEAD, DATA, "anomalous = [6, 7]\nknown = 5\nknown_groups = [7, 8]\n", KNN),
            ["'8' is in known_groups but is no anomaly"],
        ),
        (
            (HEAD, '[[data]]\npath = "x.csv"\nlabel = "k"\nanomaly = 1\nnormal = [0]\n', KNN),
            ["normal belongs to name"],
        ),
    ],
)
def test_a_faulty_plan_is_refused_with_one_sentence(tmp_path, parts, words):
    sentence = refused(tmp_path, *parts)
    assert "trial.toml" in sentence
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


def test_an_unknown_detector_or_parameter_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ParameterError, match=r"'kn' but must be one of default, da3d, .*did you mean 'knn'"):
        read(tmp_path, HEAD, DATA, KNN.replace('"knn"', '"kn"')).cells()
    with pytest.raises(ParameterError, match="knn has no parameter depth"):
        read(tmp_path, HEAD, DATA, KNN, "parameters = { depth = 3 }\n").cells()
    with pytest.raises(ParameterError, match="default has no parameter depth"):
        read(tmp_path, HEAD, DATA, KNN.replace('"knn"', '"default"'), "parameters = { depth = 3 }\n").cells()


def test_files_that_are_no_toml(tmp_path):
    with pytest.raises(FileError, match="cannot be read"):
        read_experiment(tmp_path / "none.toml")
    with pytest.raises(FileError, match=r"trial\.toml' is not TOML .*line 1"):
        read(tmp_path, "title = = 3\n")


def digests(folder, *parts):
    return [cell.digest for cell in read(folder, *parts).cells()]


def test_the_digest_is_that_of_the_resolved_configuration(tmp_path):
    before = digests(tmp_path, HEAD, DATA, KNN)
    assert len(set(before)) == len(before)
    same = [
        (HEAD, DATA, 'title = "Cancer"\n', KNN.replace("near", "far")),
        (HEAD.replace("quick", "paper").replace("Trial", "Other"), DATA, KNN),
        (HEAD, DATA, KNN, "parameters = { neighbors = 5 }\n"),
    ]
    other = [
        (HEAD, DATA, KNN, "parameters = { neighbors = 6 }\n"),
        (HEAD, DATA, 'split = "paper"\n', KNN),
        (HEAD, DATA, "max_test = 50\n", KNN),
        (HEAD.replace("[0, 1]", "[2, 3]"), DATA, KNN),
        (HEAD.replace("0.0,", "0.1,").replace("0.01", "0.2"), DATA, KNN),
        (HEAD, DATA.replace("breast_cancer", "digits"), KNN),
    ]
    assert all(digests(tmp_path, *parts) == before for parts in same)
    assert all(not set(digests(tmp_path, *parts)) & set(before) for parts in other)


def test_keys_for_classes_change_a_digest_only_where_they_are_used(tmp_path):
    before = digests(tmp_path, HEAD, DATA, KNN)
    keys = (
        "normal = [1]",
        'anomalous = ["2"]',
        "known = 5",
        "options = { unique_rows = true }",
        'split = "a3"',
    )
    changed = [digests(tmp_path, HEAD, DATA, f"{key}\n", KNN) for key in keys]
    assert len({*before, *(digest for each in changed for digest in each)}) == 4 * 6
    for nothing in ("options = {}", "options = { unique_rows = false }"):
        assert digests(tmp_path, HEAD, DATA, f"{nothing}\n", KNN) == before
    assert digests(tmp_path, HEAD, DATA, 'normal = ["1"]\n', KNN) == changed[0]  # a digit is the text of it
    assert set(read(tmp_path, HEAD, DATA, KNN).cells()[0].configuration["data"]) == {"name", "split"}


def test_the_default_detector_is_resolved(tmp_path):
    cell = read(tmp_path, HEAD, DATA, KNN.replace('"knn"', '"default"')).cells()[0]
    detector = cell.configuration["detector"]
    assert detector["name"] == "default"
    assert detector["type"] == "DA3D"
    assert detector["parameters"]["preset"] == "default"
    assert not {"callbacks", "checkpoint", "random_state"} & set(detector["parameters"])


def test_published_numbers_are_found_by_title_or_name_and_by_the_value_of_the_contamination(tmp_path):
    for key in ("Cancer", "breast_cancer"):
        published = f'published = {{ "{key}" = {{ "0.00" = 0.9 }} }}\n'
        plan = read(tmp_path, HEAD, DATA, 'title = "Cancer"\n', KNN, published).plan
        assert plan.detector[0].printed(plan.data_sets[0], 0.0) == 0.9
        assert plan.detector[0].printed(plan.data_sets[0], 0.01) is None


def test_select(tmp_path):
    cells = read(tmp_path, HEAD, DATA, KNN).cells()
    assert select(cells) == cells
    assert [cell.seed for cell in select(cells, seeds=[1])] == [1, 1]
    assert [cell.id for cell in select(cells, [0], ["0.01/NEAR", "nothing"])] == ["breast_cancer/0.01/near/0"]
    with pytest.raises(ParameterError, match="seed 7 is none of the file's: 0, 1"):
        select(cells, seeds=[0, 7])
    with pytest.raises(ParameterError, match="no cell's name holds 'da3d'"):
        select(cells, only=["da3d"])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_experiment_is_valid(path):
    experiment = read_experiment(path)
    assert len(experiment.cells()) == len({cell.id for cell in experiment.cells()}) > 0


def test_shipped_experiments_are_there():
    assert {path.stem for path in SHIPPED} >= {"foundation", "mammography-paper", "adbench-quick"}


def test_every_metric_has_a_name():
    assert set(METRICS) == set(summarise([0, 1], np.array([0.0, 1.0])))
