"""The connection to a Ray cluster, and the results of its tasks as they come."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from da3d.errors import ExtraError, ParameterError

__all__ = ["RETRIES", "as_they_end", "connected"]

RETRIES = 3
"""How often a task whose worker died is started again."""

_PATIENCE = 10.0  # seconds that a cluster has to answer; Ray alone would wait for minutes


@contextmanager
def connected(address: str) -> Iterator[ModuleType]:
    """Give the module ``ray``, connected to a cluster for as long as the block lasts.

    A process that is connected already stays so, whatever the address.

    Parameters
    ----------
    address
        "local" starts a cluster on this machine, which ends with the block; "auto" finds one that runs here;
        "host:port" and "ray://host:port" name one.

    Raises
    ------
    ExtraError
        Ray is not installed.
    ParameterError
        No cluster answers at that address.
    """
    try:
        import ray
    except ImportError as error:
        raise ExtraError("Ray is asked for but not installed; pip install 'da3d[ray]'.") from error
    if ray.is_initialized():
        yield ray
        return
    _begin(ray, address)
    try:
        yield ray
    finally:
        ray.shutdown()


def _begin(ray: ModuleType, address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that is started here reports to nobody
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        if ":" in address:
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"no Ray cluster answers at '{address}' ({error}); start one with `ray start --head`, or give "
            "'local' for one on this machine."
        ) from error


def as_they_end(ray: ModuleType, tasks: Iterable[Any]) -> Iterator[Any]:
    """The results of tasks in the order in which they end; whatever the block raises cancels the others.

    Raises
    ------
    Exception
        What a task raised, as it raised it.
    ray.exceptions.RayError
        A task's workers died again and again.
    """
    waiting = list(tasks)
    try:
        while waiting:
            (first, *_), waiting = ray.wait(waiting, num_returns=1)
            yield result(ray, first)
    finally:
        for task in waiting:
            ray.cancel(task, force=True)


def result(ray: ModuleType, task: Any) -> Any:
    """The result of one task; what it raised is raised as if it had been raised here."""
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause or error) from None
