"""Cells of an experiment as tasks of a Ray cluster; their records come back to this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

from da3d.distributed.cluster import connected, result
from da3d.errors import ParameterError
from da3d.experiments import Cell, Progress, Record, Records, Summary, run_cells
from da3d.experiments.cell import blank
from da3d.experiments.record import Failure
from da3d.experiments.run import Job
from da3d.experiments.worker import Outcome, on_one_thread

__all__ = ["run_cells_on_ray"]


def run_cells_on_ray(
    cells: Sequence[Cell],
    records: Records,
    *,
    address: str = "auto",
    jobs: int | None = None,
    keep_scores: bool = False,
    keep_for_figures: bool = False,
    report: Callable[[Progress], None] | None = None,
) -> Summary:
    """Work the cells that have no valid record of success yet, on a Ray cluster.

    As `run_cells`: every cell has a process and a thread of its own, a cell that fails leaves a record with
    its error, and a run that is started again continues. A cell whose process dies is tried once more.

    Parameters
    ----------
    cells : sequence of Cell
        Data sets are looked for where they would be on the machine that works the cell; a user's own file
        must have the same path on all machines.
    records : Records
        Where the records lie; only this machine has to see it.
    address : str
        The cluster, as in `da3d.distributed.cluster.connected`.
    jobs : int, optional
        Cells in work at a time, >= 1; all CPUs of the cluster if left out.
    keep_scores, keep_for_figures, report
        As for `run_cells`.

    Raises
    ------
    ParameterError
        `jobs` is below 1, or no cluster answers.
    ExtraError
        Ray is not installed.
    FileError
        Records cannot be written.
    """
    with connected(address) as ray:
        at_once = int(ray.cluster_resources().get("CPU", 0)) if jobs is None else jobs
        if jobs is None and at_once < 1:
            raise ParameterError(f"the Ray cluster at '{address}' has no CPU to work on; add a node to it.")
        return run_cells(
            cells,
            records,
            jobs=at_once,
            keep_scores=keep_scores,
            keep_for_figures=keep_for_figures,
            report=report,
            crew=partial(_tasks, ray),
        )


@dataclass
class _Tasks:
    """The tasks of the cells in work."""

    ray: ModuleType
    records: Records
    keep_scores: bool
    keep_for_figures: bool
    at_work: dict[Any, Job] = field(default_factory=dict)

    def start(self, cell: Cell) -> None:
        """Hand a cell to the cluster."""
        self.records.make_folder(cell)
        # One call per process, as without a cluster: the memory that is measured is that of this cell.
        work = self.ray.remote(num_cpus=1, max_calls=1, max_retries=1)(_work)
        self.at_work[work.remote(cell, self.keep_for_figures)] = Job(cell, time.monotonic())

    def ended(self) -> Iterator[tuple[Cell, Record]]:
        """Wait for a cell to end; its record, once it lies among the records."""
        (task, *_), _ = self.ray.wait(list(self.at_work), num_returns=1)
        cell = self.at_work.pop(task).cell
        record, scores, kept = self._outcome(cell, task)
        self.records.put(cell, record, scores if self.keep_scores else None, kept)
        yield cell, record

    def _outcome(self, cell: Cell, task: Any) -> Outcome:
        try:
            outcome: Outcome = result(self.ray, task)
        except self.ray.exceptions.RayError as error:
            said = f"the cell's process died twice, perhaps for want of memory ({type(error).__name__})"
            return blank(cell, error=Failure(type="ProcessDied", message=said)), None, None
        return outcome

    def stop(self) -> None:
        """End every task."""
        for task in self.at_work:
            self.ray.cancel(task, force=True)


@contextmanager
def _tasks(ray: ModuleType, records: Records, keep_scores: bool, keep_for_figures: bool) -> Iterator[_Tasks]:
    crew = _Tasks(ray, records, keep_scores, keep_for_figures)
    try:
        yield crew
    finally:
        crew.stop()


def _work(cell: Cell, keep_for_figures: bool) -> Outcome:
    """One cell, in a worker process."""
    return on_one_thread(cell, keep_for_figures)
