"""What is drawn inside the panels of `da3d.reports.figures`.

Colours are those of Okabe and Ito, which remain distinct for colour-blind readers; markers, line styles and
hatching tell apart what colour cannot when printed in grey.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from sklearn.metrics import roc_curve

from da3d.errors import InputError
from da3d.metrics import roc_auc

__all__ = [
    "Codes",
    "bulk",
    "draw_codes",
    "draw_histogram",
    "draw_roc",
    "draw_threshold",
    "dress",
    "project_codes",
    "scatter_codes",
]

Floats = npt.NDArray[np.float64]
Codes = Mapping[str, npt.NDArray[Any]]

INK, FAINT, BAND = "#333333", "#767676", "#f3f3f3"
BLUE, VERMILION, GREEN, PURPLE, SKY, AMBER = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
CURVES: tuple[tuple[str, Any], ...] = (
    (BLUE, "-"),
    (VERMILION, (0, (5, 1.5))),
    (GREEN, (0, (3, 1.2, 1, 1.2))),
    (PURPLE, (0, (1.2, 1.2))),
    (AMBER, (0, (7, 1.5, 1.5, 1.5))),
    (SKY, "-"),
)
POINTS: dict[str, dict[str, Any]] = {
    "normal": {"c": BLUE, "marker": "o", "s": 9, "alpha": 0.45, "linewidths": 0, "zorder": 2},
    "generated": {"c": GREEN, "marker": "+", "s": 26, "alpha": 0.8, "linewidths": 0.9, "zorder": 3},
    "anomaly": {"c": VERMILION, "marker": "x", "s": 22, "alpha": 0.85, "linewidths": 1.0, "zorder": 4},
}
POINTS["alarm"] = POINTS["anomaly"]
POINTS["judged"] = {"c": PURPLE, "marker": "^", "s": 9, "alpha": 0.45, "linewidths": 0, "zorder": 1.5}
OTHER_POINTS = {"c": PURPLE, "marker": "^", "s": 16, "alpha": 0.7, "linewidths": 0, "zorder": 3}
MOST_POINTS = 2000  # of a kind in the code plane; more only turn it into a blot
FEWEST_AND_MOST_BINS = (16, 48)  # few rows of a kind need wider bins to show a shape


def _title(axes: Axes, title: str) -> None:
    """A bold title at the left, above a strip that is free for a legend."""
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK, pad=28)


def dress(axes: Axes) -> None:
    """The common look: two thin spines, small numbers."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=FAINT, linewidth=0.8)
    axes.tick_params(labelsize=8.5, color=FAINT, labelcolor=INK, length=3)


def _legend_above(axes: Axes, columns: int) -> None:
    """The legend in the strip between title and axes, where no data can be."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=columns,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=1.2,
        handletextpad=0.5,
        columnspacing=1.4,
        borderaxespad=0.2,
    )


def draw_roc(axes: Axes, labels: npt.ArrayLike, scores: Mapping[str, npt.ArrayLike]) -> None:
    """All ROC curves, the best area on top of the legend."""
    if not scores:
        raise InputError("There are no scores to draw; give those of at least one detector.")
    areas = {name: roc_auc(labels, values) for name, values in scores.items()}
    styles = {name: CURVES[place % len(CURVES)] for place, name in enumerate(scores)}
    first = next(iter(scores))
    for name in sorted(areas, key=lambda each: -areas[each]):
        false_positive, true_positive, _ = roc_curve(np.asarray(labels), np.asarray(scores[name]))
        colour, dash = styles[name]
        axes.plot(
            false_positive,
            true_positive,
            color=colour,
            linestyle=dash,
            linewidth=2.4 if name == first else 1.5,
            zorder=3 if name == first else 2,
            label=f"{areas[name]:.3f}  {name}",
        )
    axes.annotate(
        "dotted line: chance", (0, 1), (0, 5), "axes fraction", "offset points", color=FAINT, fontsize=9
    )
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=":", zorder=1)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    dress(axes)
    _title(axes, "Detection")
    axes.set_xlabel("false-positive rate", color=INK, fontsize=9.5)
    axes.set_ylabel("recall", color=INK, fontsize=9.5)
    legend = axes.legend(
        loc="lower right",
        title="area under the curve",
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=2.2,
    )
    legend.get_title().set(fontsize=8.5, color=FAINT)


def draw_histogram(
    axes: Axes, labels: npt.ArrayLike, scores: npt.ArrayLike, threshold: float | None, name: str
) -> None:
    """Two histograms over the same bins, the threshold, and a word on what lies beyond the axis."""
    roc_auc(labels, scores)  # refuses what cannot be drawn
    truth, values = np.asarray(labels).astype(bool), np.asarray(scores, dtype=np.float64)
    threshold = threshold if threshold is not None and np.isfinite(threshold) else None
    low, high = bulk(values[~truth], values[truth], threshold)
    fewest = min(truth.sum(), (~truth).sum())
    edges = np.linspace(low, high, int(np.clip(4 * np.sqrt(fewest), *FEWEST_AND_MOST_BINS)) + 1)
    for kind, rows, colour, hatch in (("normal", ~truth, BLUE, None), ("anomaly", truth, VERMILION, "////")):
        counts, _ = np.histogram(np.clip(values[rows], low, high), edges)
        label = f"{kind} ({int(rows.sum()):,} rows)".replace(",", "\u202f")
        share = 100.0 * counts / rows.sum()
        axes.stairs(
            share, edges, fill=True, facecolor=colour, alpha=0.22, hatch=hatch, edgecolor=colour, linewidth=0
        )
        axes.stairs(share, edges, color=colour, linewidth=1.5, label=label)
    dress(axes)
    _title(axes, "Scores")
    axes.set_ylabel("share of its kind per bin, %", color=INK, fontsize=9.5)
    beyond = float(((values < low) | (values > high)).mean())
    note = f"\n{100 * beyond:.1f} % of rows lie beyond the axis: counted in its end bins" if beyond else ""
    axes.set_xlabel(f"{name}, higher = stranger{note}", color=INK, fontsize=9.5)
    axes.set_xlim(low - 0.01 * (high - low), high + 0.01 * (high - low))
    axes.set_ylim(0, 1.12 * axes.dataLim.y1)
    _legend_above(axes, 2)
    if threshold is not None:
        draw_threshold(axes, threshold, low, high)


def draw_threshold(axes: Axes, threshold: float, low: float, high: float) -> None:
    """A dashed line with its name on the roomier side."""
    axes.axvline(threshold, color=INK, linewidth=1.1, linestyle=(0, (4, 2)), zorder=4)
    side: Literal["left", "right"] = "left" if threshold < (low + high) / 2 else "right"
    axes.annotate(
        f"threshold {threshold:.3g}".replace("-", "\u2212"),
        xy=(threshold, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(5 if side == "left" else -5, -2),
        textcoords="offset points",
        ha=side,
        va="top",
        fontsize=8.5,
        color=INK,
    )


def bulk(normal: Floats, others: Floats, threshold: float | None) -> tuple[float, float]:
    """Range that shows the body of both kinds without letting a few far rows squeeze it."""
    q05, q95 = np.quantile(normal, [0.05, 0.95])
    both = np.concatenate([normal, others])
    spread = float(q95 - q05) or float(np.ptp(both)) or 1.0
    low = min(np.quantile(normal, 0.002), np.quantile(others, 0.05))
    high = max(np.quantile(normal, 0.998), np.quantile(others, 0.95))
    low, high = max(low, q05 - 4.0 * spread), min(high, q95 + 4.0 * spread)
    marks = (
        [low, high] if threshold is None else [low, high, threshold - 0.1 * spread, threshold + 0.1 * spread]
    )
    return float(min(marks)), float(max(max(marks), min(marks) + spread))


def draw_codes(axes: Axes, codes: Codes) -> None:
    """A scatter of every kind of code over the prior's circles, with title and legend."""
    scatter_codes(axes, codes)
    _title(axes, "Codes")
    _legend_above(axes, 3)


def scatter_codes(axes: Axes, codes: Codes) -> None:
    """A scatter of every kind of code over the prior's circles."""
    if not codes or not any(len(values) for values in codes.values()):
        raise InputError("There are no codes to draw; give those of at least one kind of row.")
    plane = project_codes(codes)
    rng = np.random.default_rng(0)
    shown = {kind: points[_some(len(points), rng)] for kind, points in plane.items() if len(points)}
    for kind, points in shown.items():
        axes.scatter(points[:, 0], points[:, 1], label=kind, **POINTS.get(kind, OTHER_POINTS))
    reach = _reach(shown)
    for radius in (1, 2, 3):
        axes.add_patch(
            Circle((0, 0), radius, fill=False, edgecolor=FAINT, linewidth=0.8, linestyle=":", zorder=1)
        )
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    wide = next(iter(codes.values())).shape[1] > 2
    dress(axes)
    beyond = sum(int((np.abs(points) > reach).any(axis=1).sum()) for points in shown.values())
    note = f"; off the frame: {beyond}" if beyond else ""
    ordinal = ("1st principal axis", "2nd principal axis") if wide else ("1st coordinate", "2nd coordinate")
    axes.set_xlabel(
        f"{ordinal[0]} of the code\ncircles: prior at 1, 2 and 3 σ{note}", color=INK, fontsize=9.5
    )
    axes.set_ylabel(ordinal[1], color=INK, fontsize=9.5)


def _some(count: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """At most `MOST_POINTS` positions of so many."""
    return np.arange(count) if count <= MOST_POINTS else rng.choice(count, MOST_POINTS, replace=False)


def _reach(shown: Mapping[str, Floats]) -> float:
    """Half width of the plane: the prior's circles and nearly all points, but no far stragglers."""
    far = max(float(np.quantile(np.abs(points).max(axis=1), 0.98)) for points in shown.values())
    return 1.08 * float(np.clip(far, 3.0, 8.0))


def project_codes(codes: Codes) -> dict[str, Floats]:
    """Codes in the plane in which the normal ones vary most.

    The axes are the first two principal components of the ``normal`` codes (of all codes where there are
    none). Codes are rotated, not shifted: the origin stays where it is, and a standard normal prior remains
    one.

    Parameters
    ----------
    codes : mapping of str to array, shape (points, width)
        Codes of any width; those of width 2 are returned as they are, those of width 1 get a second
        coordinate of 0.

    Returns
    -------
    dict of str to float array, shape (points, 2)

    Raises
    ------
    InputError
        There are no codes, they are not finite, or their widths differ.
    """
    from sklearn.decomposition import PCA

    matrices = {kind: np.asarray(values, dtype=np.float64) for kind, values in codes.items()}
    widths = {matrix.shape[1] if matrix.ndim == 2 else 0 for matrix in matrices.values()}
    if len(widths) != 1 or 0 in widths:
        raise InputError("Codes must be given as matrices (points × width), all of one width.")
    if not all(np.isfinite(matrix).all() for matrix in matrices.values()):
        raise InputError("Codes contain NaN or infinite values; every code must be finite.")
    (width,) = widths
    if width <= 2:
        return {kind: np.pad(matrix, ((0, 0), (0, 2 - width))) for kind, matrix in matrices.items()}
    basis = matrices.get("normal", np.empty((0, width)))
    basis = basis if len(basis) > 1 else np.vstack(list(matrices.values()))
    axes = PCA(n_components=min(2, len(basis)), svd_solver="full").fit(basis).components_
    return {kind: matrix @ np.pad(axes, ((0, 2 - len(axes)), (0, 0))).T for kind, matrix in matrices.items()}
