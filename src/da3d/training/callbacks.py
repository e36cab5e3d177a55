"""Watchers of training. They may ask to end a phase; they never change a weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from da3d.training.history import History

__all__ = ["Callback", "Event", "ProgressBar", "StopEarly"]


@dataclass(frozen=True, slots=True)
class Event:
    """A record has been added to the history.

    Attributes
    ----------
    phase : str
    step, total : int
        Batches done in this phase, and its budget.
    values : mapping
        Mean losses and monitored values since the last record.
    history : History
        Everything up to now.
    """

    phase: str
    step: int
    total: int
    values: Mapping[str, float]
    history: History


class Callback(Protocol):
    """What the loop calls."""

    def start(self, plan: Sequence[tuple[str, int]]) -> None:
        """Training begins; `plan` holds the phases and their budgets in batches."""

    def record(self, event: Event) -> bool:
        """A record was added; True ends the phase here."""

    def end(self) -> None:
        """Training is over, whether well or not."""


class ProgressBar:
    """A progress bar per phase on standard error; silent if that is not a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            TextColumn("{task.completed:>6.0f}/{task.total:.0f}"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[losses]}", table_column=Column(no_wrap=True, max_width=44)),
            console=console or Console(stderr=True),
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __deepcopy__(self, memo: object) -> ProgressBar:
        return self  # copies of a detector share the one display

    def start(self, plan: Sequence[tuple[str, int]]) -> None:
        """Open the display."""
        self._progress.disable = not self._progress.console.is_terminal
        self._tasks = {
            name: self._progress.add_task(name, total=total, losses="") for name, total in plan if total
        }
        self._progress.start()

    def record(self, event: Event) -> bool:
        """Move the bar of the running phase."""
        losses = "  ".join(f"{name} {value:.3g}" for name, value in list(event.values.items())[:3])
        self._progress.update(self._tasks[event.phase], completed=event.step, losses=losses)
        return False

    def end(self) -> None:
        """Close the display."""
        self._progress.stop()


class StopEarly:
    """End a phase when one of its columns has stopped falling.

    It reads the history only, so that a resumed fit decides as an uninterrupted one.

    Parameters
    ----------
    phase, column : str
        What to watch, such as "autoencoder" and "reconstruction".
    patience : int
        Records to wait for an improvement.
    tolerance : float
        Least relative improvement that counts.
    """

    def __init__(self, phase: str, column: str, *, patience: int = 5, tolerance: float = 1e-3) -> None:
        self.phase, self.column, self.patience, self.tolerance = phase, column, patience, tolerance

    def start(self, plan: Sequence[tuple[str, int]]) -> None:
        """Nothing to prepare."""

    def record(self, event: Event) -> bool:
        """True if the best of the last `patience` records is no better than the best before them."""
        if event.phase != self.phase:
            return False
        values = event.history.column(self.phase, self.column)
        if len(values) <= self.patience:
            return False
        before, lately = min(values[: -self.patience]), min(values[-self.patience :])
        return lately > before - self.tolerance * abs(before)

    def end(self) -> None:
        """Nothing to close."""
