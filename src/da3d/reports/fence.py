"""Pictures of a fence in the plane: real rows, generated rows, and what the discriminator says in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure

from da3d.errors import InputError
from da3d.reports.drawing import INK, POINTS, dress

__all__ = ["FencePanel", "draw_fence", "fence_figure"]

Floats = npt.NDArray[np.float64]

_LEVELS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0)
# From the colour of anomalies to that of normal rows, pale enough for points on top of them.
_TINTS = ("#f3c3a5", "#f8dbc9", "#fcefe7", "#e8f1f8", "#cfe3f0", "#abcfe6")
_GRID = 121


@dataclass(frozen=True)
class FencePanel:
    """What one panel shows.

    Attributes
    ----------
    title : str
    real, generated : float array, shape (rows, 2)
        Points in the plane.
    belief : callable
        Rows of shape (rows, 2) -> the discriminator's output in [0, 1], shape (rows,); 1 = real.
    """

    title: str
    real: Floats
    generated: Floats
    belief: Callable[[Floats], Floats]


def draw_fence(axes: Axes, panel: FencePanel, window: tuple[float, float]) -> QuadContourSet:
    """Draw a panel into axes that reach from one end of `window` to the other, both ways.

    Returns
    -------
    QuadContourSet
        The filled contours of the discriminator's output, for a colour bar.

    Raises
    ------
    InputError
        The points do not lie in a plane, or the window is empty.
    """
    low, high = window
    if not low < high:
        raise InputError(f"window is {window} but must be two numbers, the smaller one first.")
    for points in (panel.real, panel.generated):
        if points.ndim != 2 or points.shape[1] != 2:
            raise InputError(f"points have the shape {points.shape} but must have two columns.")
    ticks = np.linspace(low, high, _GRID)
    x, y = np.meshgrid(ticks, ticks)
    belief = panel.belief(np.column_stack([x.ravel(), y.ravel()])).reshape(x.shape)
    filled = axes.contourf(x, y, belief, levels=_LEVELS, colors=_TINTS)
    axes.contour(x, y, belief, levels=[0.5], colors=INK, linewidths=0.9)
    axes.scatter(*panel.real.T, **POINTS["normal"] | {"s": 6}, label="real")
    axes.scatter(*panel.generated.T, **POINTS["generated"], label="generated")
    axes.set(xlim=window, ylim=window, aspect="equal")
    dress(axes)
    axes.set_title(panel.title, loc="left", fontsize=9.5, color=INK)
    beyond = int(((panel.generated < low) | (panel.generated > high)).any(axis=1).sum())
    if beyond:
        axes.set_xlabel(f"generated points off the frame: {beyond}", color=INK, fontsize=8.5)
    return filled


def fence_figure(panels: Sequence[FencePanel], window: tuple[float, float]) -> Figure:
    """All panels in a row over one window, with a common legend and colour bar.

    The line is where the discriminator says one half.

    Raises
    ------
    InputError
        There are no panels; or as in `draw_fence`.
    """
    if not panels:
        raise InputError("There are no panels to draw; give at least one.")
    figure = Figure(figsize=(2.9 * len(panels) + 0.9, 3.5), layout="constrained", facecolor="white")
    axes = [figure.add_subplot(1, len(panels), place + 1) for place in range(len(panels))]
    for each, panel in zip(axes, panels, strict=True):
        filled = draw_fence(each, panel, window)
    bar = figure.colorbar(filled, ax=axes, ticks=_LEVELS, shrink=0.8, pad=0.01)
    bar.ax.tick_params(labelsize=8.5, labelcolor=INK)
    bar.set_label("discriminator", color=INK, fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    return figure
