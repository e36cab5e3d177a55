"""The pictures of a report page: small, without titles, for `da3d.reports.inline`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from da3d.reports.bands import Band, Ranking
from da3d.reports.drawing import (
    BAND,
    BLUE,
    FAINT,
    INK,
    VERMILION,
    Codes,
    bulk,
    draw_threshold,
    dress,
    scatter_codes,
)

__all__ = ["code_chart", "p_value_chart", "panel", "precision_recall_chart", "roc_chart", "score_chart"]

Floats = npt.NDArray[np.float64]
Kinds = Mapping[str, Floats]

_WIDTH = 4.4  # inches of 72 units each: about as wide as a telephone, so that its letters stay readable there
_BINS, _P_BINS = 40, 20
_RUG = 300  # alarms marked one by one; more would be a bar
STYLES: dict[str, dict[str, Any]] = {
    "held-out normal": {"color": BLUE, "fill": True, "alpha": 0.2, "linewidth": 1.2, "linestyle": "-"},
    "judged": {"color": INK, "fill": False, "alpha": 1.0, "linewidth": 1.4, "linestyle": "-"},
    "judged, normal": {
        "color": INK,
        "fill": False,
        "alpha": 1.0,
        "linewidth": 1.2,
        "linestyle": (0, (3, 1.5)),
    },
    "judged, anomaly": {"color": VERMILION, "fill": True, "alpha": 0.2, "linewidth": 1.4, "linestyle": "-"},
}
"""How rows of each kind are drawn, under the names that the legend gives them."""


def _figure(height: float, width: float = _WIDTH) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02))
    axes = figure.add_subplot()
    dress(axes)
    return figure, axes


def _label(axes: Axes, across: str, up: str) -> None:
    axes.set_xlabel(across, color=INK, fontsize=9)
    axes.set_ylabel(up, color=INK, fontsize=9)


def panel(steps: Sequence[float], values: Sequence[float]) -> Figure:
    """One column of the history over the steps of its phase."""
    figure, axes = _figure(1.35, 2.2)
    axes.plot(
        steps, values, color=BLUE, linewidth=1.3, marker="o" if len(values) == 1 else "", markersize=3.5
    )
    axes.set_xlim(0, 1.03 * max([*steps, 1]))
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=7.5)
    return figure


def score_chart(kinds: Kinds, threshold: float | None, alarms: Floats) -> tuple[Figure, float]:
    """Scores by kind, each as shares of its own rows, over one axis that shows the body of all.

    Parameters
    ----------
    kinds : mapping of str to ndarray, shape (rows,)
        By the names of `STYLES`; the held-out normal rows first.
    threshold : float or None
        The least score that raises an alarm, if it is one for all rows.
    alarms : ndarray of shape (alarms,)
        Scores marked one by one below the axis.

    Returns
    -------
    tuple of Figure and float
        The share of all rows that lie beyond the axis; they are counted in its end bins.
    """
    figure, axes = _figure(2.7)
    everything = [values for values in kinds.values() if len(values)]
    threshold = threshold if threshold is not None and np.isfinite(threshold) else None
    low, high = _range([*everything, alarms] if len(alarms) else everything, threshold)
    edges = np.linspace(low, high, _BINS + 1)
    for name, values in kinds.items():
        _outline(axes, name, np.clip(values, low, high), edges)
    if len(alarms):
        marked = np.clip(alarms[:_RUG], low, high)
        axes.plot(marked, np.zeros_like(marked), "|", color=VERMILION, markersize=9, clip_on=False, alpha=0.6)
    axes.set_xlim(low - 0.01 * (high - low), high + 0.01 * (high - low))
    axes.set_ylim(0, 1.15 * axes.dataLim.y1)
    _label(axes, "score, higher = stranger", "share of its kind, %")
    if threshold is not None:
        draw_threshold(axes, threshold, low, high)
    values = np.concatenate(everything)
    return figure, float(((values < low) | (values > high)).mean())


def _range(kinds: Sequence[Floats], threshold: float | None) -> tuple[float, float]:
    """An axis on which the body of every kind is seen beside that of the first."""
    ends = [bulk(kinds[0], values, threshold) for values in kinds]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _outline(axes: Axes, name: str, values: Floats, edges: Floats) -> None:
    """A histogram as an outline, over a light area where its kind has one."""
    counts, _ = np.histogram(values, edges)
    style = dict(STYLES[name])
    share = 100.0 * counts / max(len(values), 1)
    fill, alpha = style.pop("fill"), style.pop("alpha")
    if fill:
        axes.stairs(share, edges, fill=True, facecolor=style["color"], alpha=alpha, linewidth=0)
    axes.stairs(share, edges, label=name, **style)


def p_value_chart(kinds: Kinds) -> Figure:
    """p-values by kind in bins of equal width; rows like the held-out ones would fill all bins alike."""
    figure, axes = _figure(2.7)
    edges = np.linspace(0.0, 1.0, _P_BINS + 1)
    for name, values in kinds.items():
        _outline(axes, name, values, edges)
    axes.axhline(100.0 / _P_BINS, color=FAINT, linewidth=0.9, linestyle=":", zorder=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.15 * max(axes.dataLim.y1, 100.0 / _P_BINS))
    _label(axes, "p-value, lower = stranger", "share of its kind, %")
    return figure


def roc_chart(ranking: Ranking) -> Figure:
    """Recall against false-positive rate with its band."""
    figure, axes = _figure(3.3)
    _curve(axes, ranking.roc, "post")
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=":", zorder=1)
    _label(axes, "false-positive rate", "recall")
    return figure


def precision_recall_chart(ranking: Ranking) -> Figure:
    """Precision against recall with its band."""
    figure, axes = _figure(3.3)
    _curve(axes, ranking.precision_recall, "pre")
    axes.axhline(ranking.share, color=FAINT, linewidth=0.9, linestyle=":", zorder=1)
    _label(axes, "recall", "precision")
    return figure


def _curve(axes: Axes, band: Band, steps: Any) -> None:
    axes.fill_between(band.x, band.low, band.high, step=steps, color=BLUE, alpha=0.18, linewidth=0)
    axes.plot(band.x, band.y, drawstyle=f"steps-{steps}", color=BLUE, linewidth=1.6)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.03))
    axes.grid(color=BAND, linewidth=0.8)
    axes.set_axisbelow(True)


def code_chart(codes: Codes) -> Figure:
    """The plane in which the normal codes vary most."""
    figure, axes = _figure(4.3)
    scatter_codes(axes, codes)
    return figure
