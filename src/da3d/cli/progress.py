"""Moving displays, for those who look on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from da3d.cli.terminal import Terminal

if TYPE_CHECKING:
    from da3d.detectors import Detector

__all__ = ["counter", "learning"]


@contextmanager
def learning(terminal: Terminal, what: str, detector: "Detector | None") -> Iterator[None]:
    """Show that a detector learns: its phases if it has any, else that something is going on."""
    from da3d.detectors import NetworkDetector
    from da3d.training import ProgressBar

    if isinstance(detector, NetworkDetector) and terminal.shows_progress:
        detector.set_params(callbacks=(ProgressBar(terminal.err),))
        yield
    else:
        with terminal.working(what):
            yield


@contextmanager
def counter(terminal: Terminal) -> Iterator[Callable[[int], None]]:
    """Show how many rows are done; the block calls what it gets with every further number."""
    if not terminal.shows_progress:
        yield lambda rows: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    text = TextColumn("Judged {task.completed:,.0f} rows")
    progress = Progress(SpinnerColumn(), text, TimeElapsedColumn(), console=terminal.err, transient=True)
    with progress:
        task = progress.add_task("", total=None)
        yield lambda rows: progress.advance(task, rows)
