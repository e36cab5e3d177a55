"""Pictures of experiments: detectors beside each other, over data sets, known anomalies or contamination.

Every function takes plain numbers and returns a matplotlib `Figure` of its own.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from da3d.errors import InputError
from da3d.reports.drawing import (
    BLUE,
    CURVES,
    FAINT,
    GREEN,
    INK,
    VERMILION,
    draw_roc,
    dress,
    scatter_codes,
)

__all__ = [
    "code_planes",
    "comparison_figure",
    "curves_figure",
    "group_figure",
    "ranks_figure",
    "roc_figure",
    "scores_figure",
]

Floats = npt.NDArray[np.floating]
Point = tuple[float | None, float | None, float | None]
_MARKERS = "osD^vP*Xph<>"
_COLUMNS = 3
_BINS = 40
_LETTERS = 9.5  # of a title, per inch


def comparison_figure(marks: Mapping[str, Mapping[str, Point]], metric: str, title: str = "") -> Figure:
    """Every detector on every data set: a mark with its spread, and a stroke at the published number.

    Parameters
    ----------
    marks : mapping of str to mapping of str to tuple
        By data set and detector: mean, deviation and published number; None where there is none.
    metric : str
        What the axis is called.
    title : str
        Above the picture.

    Raises
    ------
    InputError
        There is nothing to draw.
    """
    _something(marks)
    labels = list(dict.fromkeys(label for row in marks.values() for label in row))
    figure = Figure(
        figsize=(7.6, 1.9 + len(marks) * (0.2 * len(labels) + 0.25)), layout="constrained", facecolor="white"
    )
    axes = figure.add_subplot()
    for row, (name, of_row) in enumerate(marks.items()):
        if row % 2:
            axes.axhspan(row - 0.5, row + 0.5, color="#f3f3f3", linewidth=0, zorder=0)
        for place, label in enumerate(labels):
            mean, deviation, published = of_row.get(label, (None, None, None))
            y = row + 0.8 * ((place + 0.5) / len(labels) - 0.5)
            colour, marker = CURVES[place % len(CURVES)][0], _MARKERS[place % len(_MARKERS)]
            if mean is not None:
                spread = deviation or 0.0
                reach = [[min(spread, mean)], [min(spread, 1 - mean)]]  # metrics end at 0 and 1
                axes.errorbar(mean, y, xerr=reach, color=colour, marker=marker, markersize=5, elinewidth=1.2)
            if published is not None:
                axes.plot(published, y, marker="|", color=INK, markersize=9, markeredgewidth=1.6, zorder=4)
        axes.text(-0.012, row, name, transform=axes.get_yaxis_transform(), ha="right", va="center", size=9)
    axes.set(ylim=(len(marks) - 0.5, -0.5), yticks=[])
    dress(axes)
    strokes = any(published is not None for row in marks.values() for _, _, published in row.values())
    meaning = f"{metric}; bars: sample deviation over seeds" + "; |: published" * strokes
    axes.set_xlabel(meaning, color=INK, fontsize=9.5)
    handles = [
        axes.plot([], [], marker=_MARKERS[place % len(_MARKERS)], color=CURVES[place % len(CURVES)][0], lw=0)[
            0
        ]
        for place in range(len(labels))
    ]
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False, fontsize=8.5
    )
    _title(figure, title)
    return figure


def curves_figure(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float, float | None]]]],
    across: str,
    metric: str,
    title: str = "",
) -> Figure:
    """One panel each, one curve per detector with its spread.

    Parameters
    ----------
    panels : mapping of str to mapping of str to sequence of tuples
        By panel and detector: x, mean and deviation (None for a single seed), with rising x.
    across, metric : str
        What the axes are called.
    title : str
        Above the picture.

    Raises
    ------
    InputError
        There is nothing to draw.
    """
    _something(panels)
    figure, places = _grid(len(panels), 3.9, 3.2)
    labels = list(dict.fromkeys(label for panel in panels.values() for label in panel))
    for axes, (name, panel) in zip(places, panels.items(), strict=False):
        for label, points in panel.items():
            place = labels.index(label)
            colour, dash = CURVES[place % len(CURVES)]
            x, means, spread = (np.array([point[part] or 0.0 for point in points]) for part in range(3))
            axes.plot(
                x,
                means,
                color=colour,
                linestyle=dash,
                marker=_MARKERS[place % len(_MARKERS)],
                ms=4,
                label=label,
            )
            low, high = np.clip([means - spread, means + spread], 0, 1)
            axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
        dress(axes)
        axes.set_title(name, loc="left", fontsize=10, color=INK)
        axes.set_xlabel(across, color=INK, fontsize=9)
        axes.set_ylabel(metric, color=INK, fontsize=9)
    _common_legend(figure, places)
    _title(figure, title)
    return figure


def ranks_figure(
    ranks: Sequence[tuple[str, float]], alike: Sequence[Sequence[str]], note: str, title: str = ""
) -> Figure:
    """Critical-difference diagram: mean ranks on a line, bars over those that do not differ.

    Parameters
    ----------
    ranks : sequence of (str, float)
        Label and mean rank, best first.
    alike : sequence of sequences of str
        Groups of labels that a bar joins.
    note : str
        What the bars mean, below the picture.
    title : str
        Above the picture.

    Raises
    ------
    InputError
        There are fewer than two detectors.
    """
    if len(ranks) < 2:
        raise InputError("Ranks need at least two detectors; give more.")
    where = dict(ranks)
    left = ranks[: -(-len(ranks) // 2)]
    depth = 0.5 + 0.22 * len(alike)
    figure = Figure(
        figsize=(7.2, 1.5 + 0.24 * len(left) + 0.2 * len(alike)), layout="constrained", facecolor="white"
    )
    axes = figure.add_subplot()
    low, high = 1, len(ranks)
    for tick in range(low, high + 1):
        axes.plot([tick, tick], [0, 0.12], color=INK, linewidth=1)
        axes.text(tick, 0.2, str(tick), ha="center", va="bottom", fontsize=8.5, color=INK)
    axes.plot([low, high], [0, 0], color=INK, linewidth=1)
    for place, (label, rank) in enumerate(ranks):
        on_left = place < len(left)
        row = place if on_left else len(ranks) - 1 - place
        y, end = -depth - 0.35 * row, low - 0.15 if on_left else high + 0.15
        axes.plot([rank, rank, end], [0, y, y], color=FAINT, linewidth=0.9)
        text, side = (f"{label}  {rank:.2f}", "right") if on_left else (f"{rank:.2f}  {label}", "left")
        axes.text(end, y, f" {text} ", ha=side, va="center", fontsize=9, color=INK)
    for level, group in enumerate(alike):
        y = -0.25 - 0.22 * level
        ends = [where[label] for label in group]
        axes.plot(
            [min(ends) - 0.04, max(ends) + 0.04], [y, y], color=BLUE, linewidth=3, solid_capstyle="butt"
        )
    margin = 0.32 * (high - low) + 0.5
    axes.set(xlim=(low - margin, high + margin), ylim=(-depth - 0.35 * len(left), 0.7))
    axes.axis("off")
    figure.supxlabel(note, fontsize=8.5, color=INK)
    _title(figure, title)
    return figure


def roc_figure(
    panels: Mapping[str, tuple[npt.ArrayLike, Mapping[str, npt.ArrayLike]]], title: str = ""
) -> Figure:
    """ROC curves, one panel each.

    Parameters
    ----------
    panels : mapping of str to (labels, mapping of str to scores)
        By panel: labels of its rows, 1 = anomaly, and their scores by detector.
    title : str
        Above the picture.

    Raises
    ------
    InputError, LabelError
        There is nothing to draw; or as in `da3d.metrics.roc_auc`.
    """
    _something(panels)
    figure, places = _grid(len(panels), 4.4, 4.4)
    for axes, (name, (labels, scores)) in zip(places, panels.items(), strict=False):
        draw_roc(axes, labels, scores)
        axes.set_title(name, loc="left", fontsize=10, color=INK, pad=16)
    _title(figure, title)
    return figure


def scores_figure(panels: Mapping[str, Mapping[str, Floats]], title: str = "") -> Figure:
    """Histograms of scores by kind of row, each of area one, one panel each.

    Parameters
    ----------
    panels : mapping of str to mapping of str to array
        By panel: scores of the kinds ``normal``, ``anomaly`` and perhaps ``generated``.
    title : str
        Above the picture.

    Raises
    ------
    InputError
        There is nothing to draw.
    """
    _something(panels)
    figure, places = _grid(len(panels), 3.9, 3.2)
    colours = {"normal": BLUE, "generated": GREEN, "anomaly": VERMILION}
    for axes, (name, kinds) in zip(places, panels.items(), strict=False):
        every = np.concatenate(list(kinds.values()))
        low, high = map(float, np.quantile(every, [0.005, 0.995]))
        edges = np.linspace(low, high, _BINS + 1)
        for kind, scores in kinds.items():
            density, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges, density=True)
            axes.stairs(density, edges, color=colours[kind], linewidth=1.5, label=kind)
            axes.stairs(density, edges, color=colours[kind], alpha=0.15, fill=True)
        dress(axes)
        axes.set_title(name, loc="left", fontsize=10, color=INK)
        axes.set_xlabel("score, higher = stranger", color=INK, fontsize=9)
        axes.set_ylabel("density", color=INK, fontsize=9)
    _common_legend(figure, places)
    _title(figure, title)
    return figure


def group_figure(
    panels: Mapping[str, Mapping[str, float]], strange: Mapping[str, Collection[str]], title: str = ""
) -> Figure:
    """Mean score of each group of rows as a bar, one panel each.

    Parameters
    ----------
    panels : mapping of str to mapping of str to float
        By panel: mean score of each group, in the order of the bars.
    strange : mapping of str to collection of str
        By panel: the groups that are anomalies.
    title : str
        Above the picture.

    Raises
    ------
    InputError
        There is nothing to draw.
    """
    _something(panels)
    most = max(len(means) for means in panels.values())
    figure, places = _grid(len(panels), 3.9, 0.9 + 0.24 * most)
    for axes, (name, means) in zip(places, panels.items(), strict=False):
        colours = [
            VERMILION if group in strange[name] else GREEN if group == "generated" else BLUE
            for group in means
        ]
        axes.barh(range(len(means)), list(means.values()), color=colours, alpha=0.8, height=0.7)
        axes.set_yticks(range(len(means)), list(means))
        dress(axes)
        axes.set_title(name, loc="left", fontsize=10, color=INK)
        axes.set_xlabel("mean score, higher = stranger", color=INK, fontsize=9)
    _title(figure, title)
    return figure


def code_planes(panels: Mapping[str, Mapping[str, Floats]], title: str = "") -> Figure:
    """The plane of codes, as `figures.code_plane` has it, one panel each.

    Raises
    ------
    InputError
        There is nothing to draw.
    """
    _something(panels)
    figure, places = _grid(len(panels), 4.2, 4.3)
    for axes, (name, codes) in zip(places, panels.items(), strict=False):
        scatter_codes(axes, codes)
        axes.set_title(name, loc="left", fontsize=10, color=INK)
    _common_legend(figure, places)
    _title(figure, title)
    return figure


def _something(given: Mapping[str, object]) -> None:
    if not given:
        raise InputError("There is nothing to draw; run the experiment first.")


def _grid(count: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, at most three in a row."""
    columns = min(count, _COLUMNS)
    width = width if count > 1 else 1.4 * width
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows + 0.6), layout="constrained", facecolor="white")
    return figure, [figure.add_subplot(rows, columns, place + 1) for place in range(count)]


def _common_legend(figure: Figure, places: Sequence[Axes]) -> None:
    """Each label once, below all panels."""
    found: dict[str, Artist] = {}
    for axes in places:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(str(label), handle)
    figure.legend(
        list(found.values()),
        list(found),
        loc="outside lower center",
        ncols=max(1, min(len(found), int(figure.get_figwidth() / 1.5))),
        frameon=False,
        fontsize=9,
    )


def _title(figure: Figure, title: str) -> None:
    if title:
        lines = textwrap.wrap(title, int(_LETTERS * figure.get_figwidth()))
        figure.suptitle("\n".join(lines), fontsize=11.5, fontweight="bold", color=INK, x=0.01, ha="left")
