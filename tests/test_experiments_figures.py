"""Figures of experiments, what is kept for them, classifiers as targets, and data that are not here."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from da3d.cli.main import app
from da3d.errors import FileError, ParameterError
from da3d.experiments import Records, Summary, make_table, read_experiment, run_cells, to_markdown
from da3d.experiments.classifier import train_classifier
from da3d.experiments.compare import rank_detectors
from da3d.experiments.shown import curves, rows_of, shown
from da3d.experiments.tables import Entry, Row, Table

HEAD = 'title = "Trial"\nbudget = "quick"\nseeds = [0, 1]\ncontamination = [0.0, 0.05]\n'
ROWS = 'title = "Trial"\nbudget = "quick"\nseeds = [0]\ncontamination = [0.0]\nkeep_for_figures = true\n'
SIMPLE = """
[[detector]]
label = "knn"
name = "knn"
published = { "breast_cancer" = { "0.0" = 0.9 } }
[[detector]]
label = "mahalanobis"
name = "mahalanobis"
"""
CANCER = '[[data]]\nname = "breast_cancer"\n'
PLANE = '[[data]]\nname = "plane"\nraw = true\nmax_test = 600\n'
FENCE = '[[detector]]\nlabel = "fence"\nname = "fencegan"\nparameters = { preset = "2d", steps = [2, 20] }\n'
DA3D = '[[detector]]\nlabel = "da3d"\nname = "da3d"\nparameters = { steps = [5, 2, 5] }\n'


def experiment(folder, text):
    path = folder / "trial.toml"
    path.write_text(text, encoding="utf-8")
    return read_experiment(path)


def draw(folder, text):
    """Run an experiment, draw its figures, and list the files."""
    plan, records = experiment(folder, text), Records(folder / "results" / "trial")
    run_cells(plan.cells(), records, keep_for_figures=plan.plan.keep_for_figures)
    line = ["experiment", "figures", str(folder / "trial.toml"), "-o", str(folder / "out")]
    done = CliRunner().invoke(app, [*line, "--results", str(folder / "results"), "--json"])
    assert done.exit_code == 0, done.output
    assert all((folder / "out" / name).stat().st_size for name in names_in(folder / "out"))
    return [name.rpartition("/")[2] for name in json.loads(done.stdout)["figures"]], records, plan


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_figures_of_records_are_written_as_svg_and_png_and_nothing_else(tmp_path):
    text = HEAD + CANCER + SIMPLE
    text += '[[figure]]\nkind = "comparison"\n[[figure]]\nkind = "contamination"\nname = "polluted"\n'
    text += '[[figure]]\nkind = "ranks"\n'  # one data set is too few for this
    files, records, _ = draw(tmp_path, text)
    expected = [f"trial-{name}.{ending}" for name in ("comparison", "polluted") for ending in ("svg", "png")]
    assert files == expected
    assert names_in(tmp_path / "out") == sorted(expected)
    drawn = (tmp_path / "out" / "trial-comparison.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<?xml")
    assert not list(records.folder.rglob("*.npz"))


def test_a_file_without_figures_gets_a_comparison_and_without_records_nothing(tmp_path):
    path = tmp_path / "trial.toml"
    path.write_text(HEAD + CANCER + SIMPLE, encoding="utf-8")
    line = ["experiment", "figures", str(path), "-o", str(tmp_path / "out"), "--results", str(tmp_path)]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0
    assert "no records for the figure 'comparison'" in " ".join(done.stderr.split())
    assert names_in(tmp_path / "out") == []


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    path = tmp_path / "trial.toml"
    path.write_text(HEAD + CANCER + SIMPLE, encoding="utf-8")
    (tmp_path / "out").write_text("a file")
    line = ["experiment", "figures", str(path), "-o", str(tmp_path / "out"), "--results", str(tmp_path)]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 2
    assert "cannot be made (File exists); give another with -o" in " ".join(done.stderr.split())
    assert (tmp_path / "out").read_text() == "a file"


def test_rows_are_kept_for_figures_and_only_what_is_missing_is_run_again(tmp_path):
    text = ROWS + PLANE + FENCE + DA3D
    kinds = ("roc", "scores", "codes", "fence")
    text += "".join(f'[[figure]]\nkind = "{kind}"\n' for kind in kinds)
    files, records, plan = draw(tmp_path, text)
    assert {name.split("-")[1].split(".")[0] for name in files} == set(kinds)
    fence, da3d = (records.kept(cell) for cell in plan.cells())
    assert fence["grid"].shape == (61, 61)
    assert fence["generated_rows"].shape == (500, 2)
    assert fence["window"][:, 0].min() >= 0
    assert fence["window"][:, 1].max() <= 40
    assert set(np.unique(fence["labels"])) == {0, 1}
    assert len(fence["scores"]) == len(fence["labels"]) == 600
    assert da3d["codes_generated"].shape[1] == da3d["codes_normal"].shape[1]
    cells = plan.cells()
    assert run_cells(cells, records, keep_for_figures=True) == Summary(2, 0, 0)
    records.kept_path(cells[0]).unlink()
    assert run_cells(cells, records, keep_for_figures=True) == Summary(1, 1, 0)
    records.kept_path(cells[0]).write_bytes(b"PK damaged")
    with pytest.raises(FileError, match="damaged"):
        records.kept(cells[0])


def test_the_grid_holds_the_scores_of_its_points(tmp_path):
    _, records, plan = draw(tmp_path, ROWS + PLANE + '[[detector]]\nlabel = "knn"\nname = "knn"\n')
    kept = records.kept(plan.cells()[0])
    low, high = kept["window"].T
    y, x = np.unravel_index(kept["grid"].argmin(), kept["grid"].shape)
    calm = low + np.array([x, y]) / 60 * (high - low)
    assert np.abs(calm - 20).max() < 6  # the centre of the normal points
    assert kept["grid"][0, 0] > kept["grid"].min() + 5


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        ('kind = "bars"', "figure"),
        ('kind = "ranks"\ncolour = "red"', "unknown key 'colour'"),
        ('kind = "roc"', "set keep_for_figures = true"),
        ('kind = "ranks"\ndetectors = ["nobody"]', "'nobody', which is none of knn, mahalanobis"),
        ('kind = "ranks"\ncontamination = 0.2', "contamination 0.2, which is none of 0.0, 0.05"),
        ('kind = "ranks"\nmetric = "beauty"', "metric 'beauty'"),
        ('kind = "ranks"\n[[figure]]\nkind = "ranks"', "'ranks' occurs twice in figure"),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_refused(tmp_path, figure, said):
    with pytest.raises(ParameterError, match=said):
        experiment(tmp_path, f"{HEAD}{CANCER}{SIMPLE}[[figure]]\n{figure}\n")


def table(means):
    """A table of one seed: one row of means per data set, detectors a, b, c."""
    rows = [
        Row(str(place), 0.0, 0.0, {label: Entry((value,), 1, 0, (1.0,)) for label, value in row.items()}, {})
        for place, row in enumerate(means)
    ]
    return Table("trial", "Trial", "quick", "auc", (0,), tuple(means[0]), tuple(rows), ())


def test_ranks_join_only_detectors_that_do_not_differ():
    means = [
        {"a": 0.5 + step, "b": 0.9 + step, "c": 0.9 + step + (0.01 if place % 2 else -0.01)}
        for place, step in enumerate(np.linspace(0, 0.05, 10))
    ]
    found = rank_detectors(table(means), 0.0)
    assert found.rows == 10
    assert dict(found.ranks) == {"b": 1.5, "c": 1.5, "a": 3.0}
    assert found.alike == (("b", "c"),)
    assert rank_detectors(table(means[:5]), 0.0) is None


def test_curves_join_entries_that_differ_in_known_anomalies_alone(tmp_path):
    data = "".join(
        f'[[data]]\nname = "breast_cancer"\ntitle = "cancer, {count} known"\n'
        + (f"known = {count}\n" if count else "")
        for count in (20, 0, 5)
    )
    plan = experiment(tmp_path, ROWS + data + SIMPLE.replace('"breast_cancer"', '"cancer, 5 known"')
                      + '[[figure]]\nkind = "known-anomalies"\n')  # fmt: skip
    records = Records(tmp_path / "results")
    run_cells(plan.cells(), records)
    found = curves(shown(plan, records, plan.plan.figure[0]))
    assert list(found) == ["cancer"]
    assert [x for x, _, _ in found["cancer"]["knn"]] == [0.0, 5.0, 20.0]


def test_data_that_are_not_here_are_skipped_and_said_so(tmp_path, monkeypatch):
    monkeypatch.setenv("DA3D_DATA", str(tmp_path))
    monkeypatch.setenv("DA3D_CACHE", str(tmp_path))
    text = HEAD.replace(", 0.05", "") + '[[data]]\nname = ["doh", "adbench/wine", "breast_cancer"]\n' + SIMPLE
    plan, records = experiment(tmp_path, text), Records(tmp_path / "results" / "trial")
    cells = [cell for cell in plan.cells() if cell.seed == 0 and cell.detector.label == "knn"]
    assert run_cells(cells, records) == Summary(skipped=0, finished=1, failed=0, unavailable=2)
    assert "not available here" in to_markdown(make_table(plan, records))
    line = [str(tmp_path / "trial.toml"), "--results", str(tmp_path / "results")]
    done = CliRunner().invoke(app, ["experiment", "run", *line, "--only", "doh/", "--seeds", "0"])
    assert done.exit_code == 0, done.output
    status = CliRunner().invoke(app, ["experiment", "status", *line, "--json"])
    knn = json.loads(status.stdout)["detectors"][0]
    assert (knn["finished"], knn["absent"], knn["failed"], knn["missing"]) == (1, 2, 0, 3)


def test_a_classifier_of_normal_images_is_the_target(tmp_path):
    text = ROWS.replace("keep_for_figures = true\n", "")
    text += '[[data]]\nname = "digits"\nmax_train = 200\nmax_test = 200\n'
    text += '[[detector]]\nlabel = "a3"\nname = "a3"\nclassifier = { epochs = 2 }\n'
    text += 'parameters = { counterexamples = "gaussian", steps = [1, 30] }\n'
    plan, records = experiment(tmp_path, text), Records(tmp_path / "results")
    (cell,) = plan.cells()
    assert cell.configuration["detector"]["classifier"] == {"epochs": 2}
    assert run_cells([cell], records).finished == 1
    assert records.find(cell).record.metrics["auc"] > 0.6
    tables = experiment(tmp_path, text.replace("digits", "breast_cancer")).cells()
    run_cells(tables, records)
    assert "needs a data set of images" in records.find(tables[0]).record.error.message
    with pytest.raises(ParameterError, match="classifier is the target"):
        experiment(tmp_path, text.replace("parameters = {", 'parameters = { target = "adversarial",'))


def test_a_classifier_learns_the_groups_and_the_seed_decides_it():
    rng = np.random.default_rng(0)
    groups = np.array(["dark", "light"], object)[rng.integers(2, size=300)]
    images = rng.uniform(0, 100, (300, 1, 8, 8)) + 120 * (groups == "light")[:, None, None, None]
    images = images.astype(np.float32)
    first, again = (train_classifier(images, groups, 20, seed=1) for _ in range(2))
    with torch.inference_mode():
        logits = first(torch.from_numpy(images))
        assert torch.equal(logits, again(torch.from_numpy(images)))
    right = logits.argmax(1).numpy() == (groups == "light")
    assert right.mean() > 0.95
    with pytest.raises(ParameterError, match="at least two groups"):
        train_classifier(images, np.full(300, "dark", object), 1, seed=0)


def test_detectors_are_drawn_on_the_rows_of_one_seed(tmp_path):
    detectors = "".join(f'[[detector]]\nlabel = "{name}"\nname = "{name}"\n' for name in ("knn", "ecod"))
    text = ROWS.replace("[0]", "[0, 1]") + '[[data]]\nname = "breast_cancer"\n' + detectors
    plan = experiment(tmp_path, text + '[[figure]]\nkind = "roc"\n')
    records = Records(tmp_path / "results" / "trial")
    done = {("knn", 0), ("knn", 1), ("ecod", 1)}
    cells = [cell for cell in plan.cells() if (cell.detector.label, cell.seed) in done]
    run_cells(cells, records, keep_for_figures=True)
    about = shown(plan, records, plan.plan.figure[0])
    (by_label,) = rows_of(plan, records, about).values()
    assert set(by_label) == {"knn", "ecod"}
    np.testing.assert_array_equal(by_label["knn"]["labels"], by_label["ecod"]["labels"])
    second = records.kept(next(cell for cell in cells if cell.seed == 1))
    np.testing.assert_array_equal(by_label["knn"]["labels"], second["labels"])
