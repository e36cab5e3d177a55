"""The pictures of ``da3d experiment figures``: what `experiments.shown` found, drawn by `reports`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from da3d.experiments import Experiment, Records
    from da3d.experiments.entries import FigureEntry
    from da3d.experiments.shown import Shown

__all__ = ["draw"]

Rows = dict[str, dict[str, dict[str, Any]]]


def draw(plan: Experiment, records: Records, entry: FigureEntry) -> Figure | None:
    """The figure of an entry; None while there are no records for it."""
    from da3d.experiments import shown

    about = shown.shown(plan, records, entry)
    if entry.needs_rows:
        rows = shown.rows_of(plan, records, about)
        return _OF_ROWS[entry.kind](about, rows) if rows else None
    return _OF_RECORDS[entry.kind](about)


def _title(about: Shown) -> str:
    budget = "quick budget, not the paper's" if about.table.budget == "quick" else "the paper's budget"
    return f"{about.entry.title or about.table.title} ({budget})"


def _comparison(about: Shown) -> Figure | None:
    from da3d.experiments.shown import marks
    from da3d.reports.benchmark import comparison_figure

    found = {
        data: {label: (mark.mean, mark.deviation, mark.published) for label, mark in row.items()}
        for data, row in marks(about).items()
    }
    return comparison_figure(found, about.metric, _title(about)) if found else None


def _curves(about: Shown) -> Figure | None:
    from da3d.experiments.shown import curves
    from da3d.reports.benchmark import curves_figure

    across = "known anomalies" if about.entry.kind == "known-anomalies" else "share of hidden anomalies"
    found = curves(about)
    return curves_figure(found, across, about.metric, _title(about)) if found else None


def _ranks(about: Shown) -> Figure | None:
    from da3d.experiments.shown import ranking
    from da3d.reports.benchmark import ranks_figure

    found = ranking(about)
    if found is None:
        return None
    note = (
        f"mean rank in {about.metric} over {found.rows} data sets, 1 = best; a bar joins detectors that do "
        f"not differ\n(Wilcoxon's signed-rank test of all pairs, Holm's correction, {100 * found.level:g} %)"
    )
    return ranks_figure(found.ranks, found.alike, note, _title(about))


def _roc(about: Shown, rows: Rows) -> Figure:
    from da3d.reports.benchmark import roc_figure

    panels = {
        data: (
            next(iter(by_label.values()))["labels"],
            {label: kept["scores"] for label, kept in by_label.items()},
        )
        for data, by_label in rows.items()
    }
    return roc_figure(panels, _title(about))


def _scores(about: Shown, rows: Rows) -> Figure:
    from da3d.reports.benchmark import scores_figure

    panels = {}
    for name, kept in _each(rows):
        labels, scores = kept["labels"], kept["scores"].astype(np.float64)
        panels[name] = {"normal": scores[labels == 0], "anomaly": scores[labels == 1]}
        if "generated" in kept:
            panels[name]["generated"] = kept["generated"].astype(np.float64)
    return scores_figure(panels, _title(about))


def _groups(about: Shown, rows: Rows) -> Figure | None:
    from da3d.experiments.shown import group_scores
    from da3d.reports.benchmark import group_figure

    panels = {name: group_scores(kept) for name, kept in _each(rows) if "groups" in kept}
    strange = {
        name: {str(group) for group in np.unique(kept["groups"][kept["labels"] == 1])}
        for name, kept in _each(rows)
        if "groups" in kept
    }
    return group_figure(panels, strange, _title(about)) if panels else None


def _codes(about: Shown, rows: Rows) -> Figure | None:
    from da3d.reports.benchmark import code_planes

    panels = {
        name: {kind: kept[f"codes_{kind}"] for kind in ("normal", "anomaly", "generated")}
        for name, kept in _each(rows)
        if "codes_generated" in kept
    }
    return code_planes(panels, _title(about)) if panels else None


def _fence(about: Shown, rows: Rows) -> Figure | None:
    from da3d.reports.fence import FencePanel, fence_figure

    panels, ends = [], []
    for name, kept in _each(rows):
        if "grid" in kept and "generated_rows" in kept:
            panels.append(FencePanel(name, kept["rows"], kept["generated_rows"], _belief(kept)))
            ends.append(kept["window"])
    if not panels:
        return None
    window = float(min(end.min() for end in ends)), float(max(end.max() for end in ends))
    return fence_figure(panels, window)


def _belief(kept: dict[str, Any]) -> Callable[[Any], Any]:
    """The discriminator's output between the points of the grid that was kept."""
    from scipy.interpolate import RegularGridInterpolator
    from scipy.special import expit

    low, high = kept["window"][:, 0], kept["window"][:, 1]
    grid = kept["grid"].astype(np.float64)
    ticks = [np.linspace(low[axis], high[axis], grid.shape[1 - axis]) for axis in (1, 0)]
    between = RegularGridInterpolator(ticks, expit(-grid))
    return lambda points: between(np.clip(points, low, high)[:, ::-1])


def _each(rows: Rows) -> list[tuple[str, dict[str, Any]]]:
    """Every cell's arrays with a name: of the data set, of the detector, or of both where both vary."""
    labels = {label for by_label in rows.values() for label in by_label}
    named = []
    for data, by_label in rows.items():
        for label, kept in by_label.items():
            name = f"{data}, {label}" if len(rows) > 1 and len(labels) > 1 else data
            named.append((label if len(rows) == 1 and len(labels) > 1 else name, kept))
    return named


_OF_RECORDS: dict[str, Callable[[Any], Figure | None]] = {
    "comparison": _comparison,
    "known-anomalies": _curves,
    "contamination": _curves,
    "ranks": _ranks,
}
_OF_ROWS: dict[str, Callable[[Any, Rows], Figure | None]] = {
    "roc": _roc,
    "scores": _scores,
    "groups": _groups,
    "codes": _codes,
    "fence": _fence,
}
