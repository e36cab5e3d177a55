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

import torch
import torch._dynamo  # else the first optimiser of every process imports it, while its fit is timed
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from da3d.experiments.cell import run_cell
from da3d.experiments.plan import Cell
from da3d.experiments.record import Records

__all__ = ["work"]


def work(cell: Cell, records: Records, keep_scores: bool, environment: Mapping[str, str]) -> None:
    """Run a cell on one thread, in the caller's environment, and leave its record."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(environment)
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        record, scores = run_cell(cell)
    records.put(cell, record, scores if keep_scores else None)


def _end_with_parent() -> None:
    """Nobody waits for a cell whose run was killed; the next run starts it again."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
