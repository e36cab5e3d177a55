"""The process of one cell.

Imported once by the server from which these processes are forked, so that a cell does not wait seconds for
torch, nor counts as its own the seconds in which torch imports itself.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import Any

import numpy.typing as npt
import torch
import torch._dynamo  # else the first optimiser of every process imports it, while its fit is timed
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from da3d.experiments.cell import Scores, run_and_keep
from da3d.experiments.plan import Cell
from da3d.experiments.record import Record, Records

__all__ = ["Outcome", "on_one_thread", "work"]

Outcome = tuple[Record, Scores | None, dict[str, npt.NDArray[Any]] | None]


def work(
    cell: Cell,
    records: Records,
    keep_scores: bool,
    keep_for_figures: bool,
    environment: Mapping[str, str],
) -> None:
    """Run a cell on one thread, in the caller's environment, and leave its record."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(environment)
    record, scores, kept = on_one_thread(cell, keep_for_figures)
    records.put(cell, record, scores if keep_scores else None, kept)


def on_one_thread(cell: Cell, keep_for_figures: bool) -> Outcome:
    """`run_and_keep` on one thread of this process, which is the cell's own."""
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        return run_and_keep(cell, keep_for_figures)


def _end_with_parent() -> None:
    """Nobody waits for a cell whose run was killed; the next run starts it again."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
