"""All cells of an experiment, several at a time; what is finished is never done again.

Every cell has a process of its own: its memory can be measured, and a cell that crashes takes nothing with
it. Records are written whole or not at all, so a run that is killed loses at most the cells in work, and
running it again continues it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from da3d.errors import ParameterError
from da3d.experiments.cell import blank
from da3d.experiments.plan import Cell
from da3d.experiments.record import Failure, Record, Records
from da3d.experiments.worker import work

__all__ = ["Crew", "Forecast", "Job", "Progress", "Summary", "run_cells"]

_GRACE = 5.0  # seconds that a process has to end after it was asked to
_CONTEXT = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


@dataclass(frozen=True)
class Progress:
    """A cell has ended, and how far the run is with it.

    Parameters
    ----------
    cell : Cell
    record : Record
    ended, total : int
        Cells of this run that have ended, and all that it has to do.
    seconds_left : float or None
        A guess; None while nothing is known.
    """

    cell: Cell
    record: Record
    ended: int
    total: int
    seconds_left: float | None


@dataclass(frozen=True)
class Summary:
    """How a run ended: numbers of cells that were skipped, finished, failed, or whose data are not here."""

    skipped: int
    finished: int
    failed: int
    unavailable: int = 0


@dataclass(frozen=True)
class Job:
    """A cell in work, and since when by `time.monotonic`."""

    cell: Cell
    begin: float


class Crew(Protocol):
    """Who works cells: for each cell that it starts it puts one record among the records."""

    @property
    def at_work(self) -> Mapping[Any, Job]:
        """The cells in work."""

    def start(self, cell: Cell) -> None:
        """Begin to work a cell."""

    def ended(self) -> Iterator[tuple[Cell, Record]]:
        """Wait for at least one cell to end; the record of each that has."""


def run_cells(
    cells: Sequence[Cell],
    records: Records,
    *,
    jobs: int = 1,
    keep_scores: bool = False,
    keep_for_figures: bool = False,
    report: Callable[[Progress], None] | None = None,
    crew: Callable[[Records, bool, bool], AbstractContextManager[Crew]] | None = None,
) -> Summary:
    """Work the cells that have no valid record of success yet.

    A cell that fails leaves a record with its error, and the others go on. An exception, such as
    `KeyboardInterrupt`, ends the cells in work; those that have ended stay. A script that calls this needs
    ``if __name__ == "__main__":`` around its own work, as always with processes.

    Parameters
    ----------
    cells : sequence of Cell
    records : Records
        Where their records lie.
    jobs : int
        Cells in work at a time, >= 1, each on one thread.
    keep_scores : bool
        Leave the scores of the test rows beside each record.
    keep_for_figures : bool
        Leave what figures need of the rows beside each record, as in `kept`.
    report : callable, optional
        Told of every cell that ends.
    crew : callable, optional
        Makes those who work the cells, out of `records`, `keep_scores` and `keep_for_figures`; processes on
        this machine if left out.

    Raises
    ------
    ParameterError
        `jobs` is below 1.
    FileError
        Records cannot be written.
    """
    if jobs < 1:
        raise ParameterError(f"jobs is {jobs} but at least one cell must be in work.")
    records = Records(records.folder.resolve())  # processes start in a folder of their own
    forecast, waiting = Forecast(jobs), []
    for cell in cells:
        found = records.find(cell)
        if found.record is not None:
            forecast.learn(cell, found.record)
        beside = [records.scores_path(cell)] if keep_scores else []
        beside += [records.kept_path(cell)] if keep_for_figures else []
        if found.state != "finished" or not all(path.exists() for path in beside):
            waiting.append(cell)
    total, failed, unavailable = len(waiting), 0, 0
    with (crew or _processes)(records, keep_scores, keep_for_figures) as at_hand:
        while waiting or at_hand.at_work:
            while waiting and len(at_hand.at_work) < jobs:
                at_hand.start(waiting.pop(0))
            for cell, record in at_hand.ended():
                unavailable += record.unavailable
                failed += record.error is not None and not record.unavailable
                forecast.learn(cell, record)
                ended = total - len(waiting) - len(at_hand.at_work)
                left = forecast.left(waiting, at_hand.at_work.values())
                if report is not None:
                    report(Progress(cell, record, ended, total, left))
    return Summary(len(cells) - total, total - failed - unavailable, failed, unavailable)


@dataclass(frozen=True)
class _Started(Job):
    """A cell in work in a process of its own, and the record that it had before."""

    process: BaseProcess
    before: Record | None


@dataclass
class _Processes:
    """The processes of the cells in work, by the handle that tells that they have ended."""

    records: Records
    keep_scores: bool
    keep_for_figures: bool
    at_work: dict[int, _Started] = field(default_factory=dict)

    def start(self, cell: Cell) -> None:
        """Set a process to work on a cell."""
        self.records.make_folder(cell)
        context = multiprocessing.get_context(_CONTEXT)
        context.set_forkserver_preload(["da3d.experiments.worker"])
        keeps = (self.keep_scores, self.keep_for_figures)
        arguments = (cell, self.records, *keeps, dict(os.environ))
        process = context.Process(target=work, args=arguments, daemon=True)  # type: ignore[attr-defined]
        before = self.records.find(cell).record
        process.start()
        self.at_work[process.sentinel] = _Started(cell, time.monotonic(), process, before)

    def ended(self) -> Iterator[tuple[Cell, Record]]:
        """Wait for at least one cell to end; the record of each that has."""
        for handle in wait(list(self.at_work)):
            job = self.at_work.pop(handle)  # type: ignore[arg-type]  # sentinels are integers
            job.process.join()
            found = self.records.find(job.cell).record
            if found is None or found == job.before:
                found = blank(job.cell, error=_crash(job.process.exitcode))
                self.records.put(job.cell, found)
            yield job.cell, found

    def stop(self) -> None:
        """End every process."""
        for job in self.at_work.values():
            job.process.terminate()
        for job in self.at_work.values():
            job.process.join(_GRACE)
            job.process.kill()
            job.process.join()


@contextmanager
def _processes(records: Records, keep_scores: bool, keep_for_figures: bool) -> Iterator[_Processes]:
    crew = _Processes(records, keep_scores, keep_for_figures)
    try:
        yield crew
    finally:
        crew.stop()


def _crash(code: int | None) -> Failure:
    """Why a process ended that left no record."""
    if code is None or code >= 0:
        return Failure(type="ProcessDied", message=f"the cell's process ended with exit code {code}")
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    hint = "; it may have run out of memory" if name == "SIGKILL" else ""
    return Failure(type="ProcessDied", message=f"the cell's process was ended by signal {name}{hint}")


class Forecast:
    """How long cells will take: as those of the same data and detector, else the same detector, else any.

    Parameters
    ----------
    jobs : int
        Cells in work at a time.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._seen: dict[tuple[str, ...], list[float]] = defaultdict(list)

    def learn(self, cell: Cell, record: Record) -> None:
        """Note how long a cell took, unless it failed: that says nothing about success."""
        for key in _likeness(cell) if record.error is None else ():
            self._seen[key].append(record.seconds_total)

    def expected(self, cell: Cell) -> float | None:
        """Seconds that a cell will take; None while no cell has ended."""
        for key in _likeness(cell):
            if key in self._seen:
                return sum(self._seen[key]) / len(self._seen[key])
        return None

    def left(self, waiting: Iterable[Cell], at_work: Iterable[Job]) -> float | None:
        """Seconds until these cells have ended; None while no cell has ended."""
        now = time.monotonic()
        lasts = [(self.expected(cell), 0.0) for cell in waiting]
        lasts += [(self.expected(job.cell), now - job.begin) for job in at_work]
        if any(expected is None for expected, _ in lasts):
            return None
        return sum(max((expected or 0.0) - spent, 0.0) for expected, spent in lasts) / self._jobs


def _likeness(cell: Cell) -> list[tuple[str, ...]]:
    return [(cell.detector.label, cell.data.shown), (cell.detector.label,), ()]
