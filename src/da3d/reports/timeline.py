"""Training over its steps, as `da3d.reports.figures` shows it: a panel per column, a band per phase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from da3d.errors import InputError
from da3d.reports.drawing import BAND, BLUE, FAINT, INK, dress

__all__ = ["draw_history"]


@dataclass
class Stretch:
    """A phase on the time axis: its name, its first and last step, and its records with their steps."""

    name: str
    start: float
    end: float
    steps: list[float] = field(default_factory=list)
    records: list[Mapping[str, Any]] = field(default_factory=list)


def draw_history(figure: Figure, records: Sequence[Mapping[str, Any]], wide: int) -> None:
    """One panel per column of the records, so many side by side, with phases as bands."""
    columns = list(dict.fromkeys(key for record in records for key in record if key not in ("phase", "step")))
    if not columns:
        raise InputError("The history is empty; there is nothing to draw before a detector has been fitted.")
    stretches = _stretches(records)
    for place, column in enumerate(columns):
        axes = figure.add_subplot(-(-len(columns) // wide), wide, place + 1)
        _draw_column(axes, stretches, column)
        axes.set_title(column, loc="left", fontsize=10, fontweight="bold", color=INK, pad=6)
        if place < wide:
            axes.set_title(column, loc="left", fontsize=10, fontweight="bold", color=INK, pad=32)
            _name_phases(axes, stretches)
        if place + wide < len(columns):
            axes.tick_params(labelbottom=False)
        else:
            axes.set_xlabel("step", color=INK, fontsize=9)


def _stretches(records: Sequence[Mapping[str, Any]]) -> list[Stretch]:
    """The records by phase, with steps counted through all phases."""
    stretches: list[Stretch] = []
    for record in records:
        name = str(record["phase"])
        if not stretches or stretches[-1].name != name:
            start = stretches[-1].end if stretches else 0.0
            stretches.append(Stretch(name, start, start))
        current = stretches[-1]
        current.end = current.start + float(record["step"])
        current.steps.append(current.end)
        current.records.append(record)
    return stretches


def _draw_column(axes: Axes, stretches: list[Stretch], column: str) -> None:
    """One column over all phases; its line breaks between phases."""
    dress(axes)
    for place, stretch in enumerate(stretches):
        if place % 2 == 0:
            axes.axvspan(stretch.start, stretch.end, color=BAND, linewidth=0, zorder=0)
        there = [i for i, record in enumerate(stretch.records) if column in record]
        values = [float(stretch.records[i][column]) for i in there]
        marker = "o" if len(values) == 1 else ""
        axes.plot(
            [stretch.steps[i] for i in there], values, color=BLUE, linewidth=1.5, marker=marker, markersize=4
        )
    axes.set_xlim(0, max(stretches[-1].end, 1.0) * 1.01)


def _name_phases(axes: Axes, stretches: list[Stretch]) -> None:
    """Names above their bands, on two levels in turn so that a short phase has room for its name."""
    for place, stretch in enumerate(stretches):
        axes.annotate(
            stretch.name,
            xy=((stretch.start + stretch.end) / 2, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3 + 11 * (place % 2)),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8,
            color=FAINT,
        )
