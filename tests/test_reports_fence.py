"""A fence in the plane: panels show the points, the frame and the discriminator that were given."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from da3d.errors import InputError
from da3d.reports.fence import FencePanel, fence_figure

EXAMPLE = Path(__file__).parents[1] / "examples" / "fence_gan_figure1.py"


def round_panel(title="round", generated=((0.0, 4.0), (4.0, 0.0))):
    """The discriminator believes in what lies within 4 of the origin."""
    return FencePanel(
        title,
        np.random.default_rng(0).normal(size=(30, 2)),
        np.array(generated),
        lambda points: (np.linalg.norm(points, axis=1) < 4).astype(float),
    )


def test_panels_show_what_was_given():
    figure = fence_figure([round_panel("first"), round_panel("second")], (-10.0, 10.0))
    first, second, bar = figure.axes
    assert [axes.get_title(loc="left") for axes in (first, second)] == ["first", "second"]
    assert first.get_xlim() == first.get_ylim() == (-10.0, 10.0)
    assert bar.get_ylabel() == "discriminator"
    real, generated = first.collections[-2:]
    np.testing.assert_array_equal(real.get_offsets(), round_panel().real)
    np.testing.assert_array_equal(generated.get_offsets(), round_panel().generated)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["real", "generated"]


def test_the_line_is_where_the_discriminator_says_one_half():
    figure = fence_figure([round_panel()], (-10.0, 10.0))
    filled, line = figure.axes[0].collections[:2]
    (boundary,) = line.get_paths()
    apart = np.linalg.norm(boundary.vertices, axis=1)
    assert 3.8 < apart.min() < apart.max() < 4.3
    assert len({to_hex(colour) for colour in filled.get_facecolor()}) == 6


def test_points_off_the_frame_are_counted():
    figure = fence_figure([round_panel(generated=((0.0, 11.0), (4.0, 0.0), (-30.0, 2.0)))], (-10.0, 10.0))
    assert figure.axes[0].get_xlabel() == "generated points off the frame: 2"
    assert fence_figure([round_panel()], (-10.0, 10.0)).axes[0].get_xlabel() == ""


@pytest.mark.parametrize(
    ("panels", "window", "says"),
    [
        ([], (0.0, 1.0), "no panels"),
        ([round_panel()], (1.0, 1.0), "the smaller one first"),
        ([round_panel(generated=((1.0, 2.0, 3.0),))], (0.0, 1.0), r"shape \(1, 3\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(panels, window, says):
    with pytest.raises(InputError, match=says):
        fence_figure(panels, window)


def test_the_example_draws_five_panels(tmp_path):
    target = tmp_path / "fence.svg"
    line = [sys.executable, str(EXAMPLE), str(target), "--steps", "5"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    picture = target.read_text(encoding="utf-8")
    settings = runpy.run_path(str(EXAMPLE))["SETTINGS"]
    assert len(settings) == 5
    assert all(f"<!-- {title} -->" in picture for title in settings)
