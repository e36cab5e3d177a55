"""Reading and writing beside the work on a table: one more thread each, at most one chunk waiting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, Self, TypeVar

import pandas as pd

__all__ = ["Behind", "ahead"]

T = TypeVar("T")


def ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield what an iterable yields, while a thread already makes the next item.

    At most two items exist at a time, the one in use and the next. What the iterable raises is raised where
    its item is asked for. Whoever stops early waits until the item in work is there, and no other is begun.

    Parameters
    ----------
    items
        Asked for one item at a time, from one thread only.

    Yields
    ------
    T
        In their order.
    """
    source = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="da3d-read") as thread:
        coming = thread.submit(_next, source)
        while found := coming.result():
            coming = thread.submit(_next, source)
            yield found[0]


def _next(source: Iterator[T]) -> tuple[T] | None:
    """The next item in a tuple of its own; None at the end."""
    for item in source:
        return (item,)
    return None


class _Writer(Protocol):
    def write(self, frame: pd.DataFrame) -> None:
        """Take a chunk."""


class Behind:
    """A writer that hands chunks to another writer in a thread, while the caller makes the next chunk.

    Chunks keep their order, and at most one is being written. What the other writer raises is raised by the
    next `write`, or at the end of the ``with`` block; when the block is left, by an error or an interruption
    too, nothing is being written any more.

    Parameters
    ----------
    writer
        What takes the chunks, such as a `TableWriter`.
    """

    def __init__(self, writer: _Writer) -> None:
        self._writer = writer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="da3d-write")
        self._written: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def write(self, frame: pd.DataFrame) -> None:
        """Take a chunk as soon as the one before is written.

        Raises
        ------
        Exception
            What writing the chunk before has raised.
        """
        self._settle()
        self._written = self._thread.submit(self._writer.write, frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        if error is None:
            self._settle()

    def _settle(self) -> None:
        if self._written is not None:
            self._written.result()
