"""Figures: what they show is what was given, and a file is written whole or not at all."""

import itertools
import re
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from da3d.errors import FileError, InputError, LabelError, ParameterError
from da3d.metrics import roc_auc
from da3d.reports import drawing, figures


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [500, 40])
    good = rng.normal(labels * 3.0)
    return labels, {"DA3D": good, "kNN-5": good + rng.normal(size=540), "chance": rng.random(540)}


@pytest.fixture
def codes():
    rng = np.random.default_rng(1)
    return {kind: rng.normal(size=(60, 5)) for kind in ("normal", "generated", "anomaly")}


def texts(axes):
    """Everything that is written in a panel."""
    legend = axes.get_legend()
    words = [
        axes.get_title(loc="left"),
        axes.get_xlabel(),
        axes.get_ylabel(),
        *(t.get_text() for t in axes.texts),
    ]
    return words + ([] if legend is None else [t.get_text() for t in legend.get_texts()])


def record(phase, step, **values):
    return {"phase": phase, "step": step, **values}


HISTORY = [
    record("autoencoder", 10, reconstruction=1.0, prior=0.1),
    record("autoencoder", 20, reconstruction=0.5, prior=0.2),
    record("warm-up", 10, alarm=0.7),
    record("adversarial", 10, alarm=0.6, generator=-1.0),
    record("adversarial", 30, alarm=0.5, generator=-2.0),
]


def test_the_roc_names_every_detector_with_its_area_best_first(scored):
    labels, scores = scored
    (axes,) = figures.roc_curve_figure(labels, scores).axes
    written = [text.get_text() for text in axes.get_legend().get_texts()]
    assert written == [f"{roc_auc(labels, scores[name]):.3f}  {name}" for name in ("DA3D", "kNN-5", "chance")]
    x, y = axes.lines[0].get_data()
    assert np.trapezoid(y, x) == pytest.approx(roc_auc(labels, scores["DA3D"]))
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines[:3]}) == 3


def test_the_histogram_counts_every_row_of_each_kind(scored):
    labels, scores = scored
    (axes,) = figures.score_histogram(labels, scores["DA3D"], threshold=2.0).axes
    outlines = [patch for patch in axes.patches if patch.get_label().startswith(("normal", "anomaly"))]
    assert [patch.get_data().values.sum() for patch in outlines] == pytest.approx([100.0, 100.0])
    assert any("threshold 2" in text for text in texts(axes))
    assert "500 rows" in outlines[0].get_label()


def test_heavy_tails_neither_squeeze_the_histogram_nor_go_unmentioned(scored):
    labels, scores = scored
    values = scores["DA3D"].copy()
    values[-10:] = 10.0 ** np.arange(3, 13)
    (axes,) = figures.score_histogram(labels, values, threshold=2.0).axes
    assert axes.get_xlim()[1] < 30.0
    beyond = re.search(r"([0-9.]+) % of rows lie beyond the axis", axes.get_xlabel())
    assert 100 * 10 / 540 <= float(beyond.group(1)) + 0.05 < 2.3  # the ten, and hardly another
    (calm,) = figures.score_histogram(labels, np.clip(scores["DA3D"], -1, 4)).axes
    assert "beyond" not in calm.get_xlabel()


@pytest.mark.parametrize("threshold", [None, -50.0, 50.0, float("inf")])
def test_a_threshold_is_always_inside_the_axis(scored, threshold):
    labels, scores = scored
    (axes,) = figures.score_histogram(labels, scores["DA3D"], threshold).axes
    if threshold is not None and np.isfinite(threshold):
        assert axes.get_xlim()[0] < threshold < axes.get_xlim()[1]


@pytest.mark.parametrize(
    "values", [np.zeros(20), np.r_[np.zeros(10), np.ones(10)], np.r_[np.full(10, 1e9), np.zeros(10)]]
)
def test_scores_that_tie_can_be_drawn(values):
    (axes,) = figures.score_histogram(np.repeat([0, 1], 10), values, threshold=0.5).axes
    low, high = axes.get_xlim()
    assert np.isfinite([low, high]).all()
    assert low < high


def test_the_code_plane_shows_every_kind(codes):
    (axes,) = figures.code_plane({**codes, "simple": codes["normal"][:5]}).axes
    assert [len(points.get_offsets()) for points in axes.collections] == [60, 60, 60, 5]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "normal",
        "generated",
        "anomaly",
        "simple",
    ]
    assert "principal axis" in axes.get_xlabel()


def test_the_code_plane_thins_crowds_and_counts_what_is_off_the_frame():
    rng = np.random.default_rng(2)
    far = np.r_[rng.normal(size=(97, 2)), np.full((3, 2), 1000.0)]
    (axes,) = figures.code_plane({"normal": rng.normal(size=(5000, 2)), "anomaly": far}).axes
    assert len(axes.collections[0].get_offsets()) == drawing.MOST_POINTS
    assert "off the frame: 3" in axes.get_xlabel()
    assert axes.get_xlim()[1] < 10.0


def test_projection_rotates_and_keeps_the_origin(codes):
    stretched = {kind: values * np.array([5.0, 1.0, 3.0, 0.1, 0.1]) for kind, values in codes.items()}
    stretched["zero"] = np.zeros((1, 5))
    plane = figures.project_codes(stretched)
    np.testing.assert_array_equal(plane["zero"], 0.0)
    kept = np.linalg.norm(stretched["normal"][:, [0, 2]], axis=1)
    np.testing.assert_allclose(np.linalg.norm(plane["normal"], axis=1), kept, atol=1.5)
    assert plane["normal"][:, 0].std() > plane["normal"][:, 1].std()


def test_narrow_codes_are_left_alone():
    flat = {"normal": np.array([[1.0], [2.0]])}
    np.testing.assert_array_equal(figures.project_codes(flat)["normal"], [[1.0, 0.0], [2.0, 0.0]])
    plane = {"normal": np.array([[1.0, 3.0]]), "generated": np.zeros((0, 2))}
    np.testing.assert_array_equal(figures.project_codes(plane)["normal"], plane["normal"])
    (axes,) = figures.code_plane(plane).axes
    assert len(axes.collections) == 1


def test_the_history_has_a_panel_per_column_and_a_name_per_phase():
    figure = figures.history_figure(iter(HISTORY))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "reconstruction",
        "prior",
        "alarm",
        "generator",
    ]
    assert [text.get_text() for text in figure.axes[0].texts] == ["autoencoder", "warm-up", "adversarial"]
    alarm = [line.get_data() for line in figure.axes[2].lines]
    assert [(list(x), list(y)) for x, y in alarm] == [([], []), ([30.0], [0.7]), ([40.0, 60.0], [0.6, 0.5])]


def test_the_summary_stands_side_by_side(scored, codes):
    labels, scores = scored
    figure = figures.summary_figure(labels, scores, 2.0, codes)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Detection", "Scores", "Codes"]
    assert "score of DA3D" in figure.axes[1].get_xlabel()
    assert len(figures.summary_figure(labels, scores).axes) == 2


def test_no_words_overlap_in_the_summary(scored, codes):
    labels, scores = scored
    figure = figures.summary_figure(labels, scores, 2.0, codes)
    figure.canvas.draw()
    for axes in figure.axes:
        boxes = [
            t.get_window_extent()
            for t in (axes.xaxis.label, axes.yaxis.label, *axes.texts, axes.get_legend())
        ]
        boxes.append(axes._left_title.get_window_extent())
        clashes = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.overlaps(b)]
        assert clashes == []
    labels_below = [axes.xaxis.label.get_window_extent() for axes in figure.axes]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(labels_below))


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.SVG", b"<?xml")])
def test_a_figure_is_saved_by_its_ending(tmp_path, scored, name, start):
    path = figures.save_figure(figures.roc_curve_figure(*scored), tmp_path / name)
    assert path.read_bytes().startswith(start)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_figure_that_cannot_be_saved_leaves_the_old_one(tmp_path, scored):
    figure = figures.roc_curve_figure(*scored)
    with pytest.raises(ParameterError, match=r"\.png or \.svg"):
        figures.save_figure(figure, tmp_path / "a.jpg")
    with pytest.raises(FileError, match="cannot be written"):
        figures.save_figure(figure, tmp_path / "absent" / "a.png")
    old = tmp_path / "a.png"
    old.write_bytes(b"old")

    class Broken(Figure):
        def savefig(self, *_, **__):
            raise OSError(28, "No space left on device")

    with pytest.raises(FileError, match="No space left"):
        figures.save_figure(Broken(), old)
    assert old.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_drawn_is_refused(scored):
    labels, scores = scored
    with pytest.raises(InputError, match="no scores"):
        figures.roc_curve_figure(labels, {})
    with pytest.raises(InputError, match="no scores"):
        figures.summary_figure(labels, {})
    with pytest.raises(LabelError, match="needs both kinds"):
        figures.score_histogram(np.zeros(540), scores["DA3D"])
    with pytest.raises(InputError, match="no codes"):
        figures.code_plane({})
    with pytest.raises(InputError, match="all of one width"):
        figures.code_plane({"normal": np.zeros((3, 2)), "generated": np.zeros((3, 4))})
    with pytest.raises(InputError, match="finite"):
        figures.code_plane({"normal": np.full((3, 2), np.nan)})
    with pytest.raises(InputError, match="history is empty"):
        figures.history_figure([])


def test_pyplot_is_not_imported():
    code = "import sys, da3d.reports.figures; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
