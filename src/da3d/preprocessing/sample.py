r"""A table of any size -> rows that fit into memory: all of them, or a random sample.

Every row gets a random key when it is read, and the rows with the smallest keys are kept, so many as fit.
That is a uniform sample without replacement, drawn in one pass; the keys depend on the seed and the row's
place alone.

References
----------
C. T. Fan, M. E. Muller, I. Rezucha: Development of Sampling Plans by Using Sequential (Item by Item)
Selection Techniques and Digital Computers. Journal of the American Statistical Association 57, 1962.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from da3d.errors import ParameterError, TableError
from da3d.preprocessing.frames import to_frame
from da3d.preprocessing.kinds import Kind
from da3d.preprocessing.labels import is_marked, unknown_column
from da3d.preprocessing.memory import default_ceiling, memory_size, spelled
from da3d.preprocessing.read import ROWS, arrow_tables, joined_frame

__all__ = ["Sample", "sample_table"]

# What fitting takes, measured on tables of numbers with simple detectors (benchmarks/memory.py).
_PROGRAM = 512 << 20  # the libraries, and the chunk that is being read
_FRAMES = 3  # the frame, its normal rows, and those of them that are learned from
_FEATURE = 56  # bytes per row and feature: the matrix, its standardised copies, temporary sums

_MEASURED = 4_096  # rows whose size in memory is measured
_FEWEST = 100  # a ceiling that allows fewer rows is a mistake
_KNOWN = 4  # at most one kept row in so many is a known anomaly, unless all rows are kept
_SLACK = 1.25  # how far the kept rows may outgrow their number before some are dropped


@dataclass(frozen=True)
class Sample:
    """The rows of a table that were kept.

    Attributes
    ----------
    frame : pandas.DataFrame
        In the order of the table, with a ``RangeIndex``.
    rows : int
        How many rows the table has.
    """

    frame: pd.DataFrame
    rows: int

    @property
    def is_whole(self) -> bool:
        """Whether every row was kept."""
        return len(self.frame) == self.rows


def sample_table(
    path: str | Path,
    *,
    rows: int | None = None,
    memory: str | int | None = None,
    seed: int = 0,
    label: str | None = None,
    anomaly: Sequence[str] | None = None,
    normal: Sequence[str] | None = None,
    drop: Collection[str] = (),
    kinds: Mapping[str, Kind] | None = None,
) -> Sample:
    """Read a table whole if it fits into a given memory, else a uniform random sample of its rows.

    A table that fits is that of `read_table`. The types of the columns are those of the whole table in any
    case.

    Parameters
    ----------
    path, kinds
        As for `read_table`; the file may be larger than memory. Without `kinds` a text file is read twice
        (standard input by way of a temporary file).
    rows
        How many rows at most, at least 2.
    memory
        How much memory a process may take that reads the table and fits a pipeline to it, such as ``"2GiB"``;
        a quarter of the machine's, but at least 1 GiB, if neither `rows` nor `memory` is given. The number of
        rows follows from their measured size. What a detector keeps beside its copies of the rows is not
        counted.
    seed
        Draws the sample, >= 0.
    label
        A column that says which rows are known anomalies. These are all kept, unless they are more than a
        quarter of the rows that may be kept: then so many of them, at random. Rows without a label are kept
        with them. The sample of all other rows stays uniform.
    anomaly, normal
        Labels that mean one or the other, as for `labels.marked`.
    drop
        Columns to leave out.

    Returns
    -------
    Sample
        The label column is part of its frame.

    Raises
    ------
    ParameterError
        `rows` is below 2, `memory` is no amount of memory, or it is too little for 100 rows.
    TableError
        There is no column of the name `label`, or of one in `drop`; else as for `read_table`.
    FileError
        As for `read_table`.
    """
    if rows is not None and rows < 2:
        raise ParameterError(f"rows is {rows} but must be at least 2, or a sample has nothing to learn from.")
    limits = _Limits(rows, _ceiling(rows, memory))
    kept, total = _Kept(), 0
    random = np.random.default_rng([seed, 1])  # another stream than that of the same seed elsewhere
    for table in _without(arrow_tables(path, ROWS, kinds), drop):
        total += len(table)
        kept.offer(table, random.random(len(table)), _known(table, label, anomaly, normal))
        most = limits.most(table if label is None else table.drop_columns(label))
        if len(kept) > _SLACK * most:
            kept.shrink(most)
    if len(kept) > limits.now:
        kept.shrink(limits.now)
    return Sample(joined_frame(kept.tables, path), total)


def _ceiling(rows: int | None, memory: str | int | None) -> int | None:
    if memory is not None:
        return memory_size(memory)
    return default_ceiling() if rows is None else None


def _without(tables: Iterator[pa.Table], names: Collection[str]) -> Iterator[pa.Table]:
    for table in tables:
        for name in names:
            if name not in table.column_names:
                raise unknown_column(name, table.column_names)
        yield table.drop_columns(list(names)) if names else table


def _known(
    table: pa.Table, label: str | None, anomaly: Sequence[str] | None, normal: Sequence[str] | None
) -> NDArray[np.bool_]:
    """Which rows are known anomalies, or lack a label; what is wrong with labels is found out later."""
    if label is None:
        return np.zeros(len(table), dtype=bool)
    if label not in table.column_names:
        raise unknown_column(label, table.column_names)
    return is_marked(table.column(label).to_pandas(), anomaly, normal)


class _Limits:
    """How many rows may be kept, by the size of all rows seen so far; never more than before."""

    def __init__(self, rows: int | None, ceiling: int | None) -> None:
        self.now = np.iinfo(np.int64).max if rows is None else rows
        self._ceiling = ceiling
        self._seen = self._bytes = 0
        self._factor = 0.0

    def most(self, table: pa.Table) -> int:
        """The number after a further part of the table."""
        if self._ceiling is None:
            return self.now
        if not self._seen:
            each = _bytes_to_fit(table)
            self._check(self._ceiling, each)
            self._factor = each * len(table) / max(table.nbytes, 1)
        self._seen, self._bytes = self._seen + len(table), self._bytes + table.nbytes
        each = self._factor * max(self._bytes, 1) / self._seen
        self.now = min(self.now, int((self._ceiling - _PROGRAM) / each))
        return self.now

    def _check(self, ceiling: int, each: float) -> None:
        needed = _PROGRAM + int(np.ceil(_FEWEST * each))
        if ceiling < needed:
            raise ParameterError(
                f"the memory is limited to {spelled(ceiling)}, but the program itself takes "
                f"{spelled(_PROGRAM)} and a row of this table {each:,.0f} bytes; allow at least "
                f"{spelled(needed)}, or limit the rows instead."
            )


def _bytes_to_fit(table: pa.Table) -> float:
    """What fitting a pipeline takes, in bytes per row, measured on the first rows."""
    from da3d.preprocessing.encode import TableEncoder

    frame = to_frame(table.slice(0, _MEASURED))
    size = float(frame.memory_usage(index=False, deep=True).sum()) / len(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fit itself will say what it leaves out
        try:
            features = len(TableEncoder().fit(frame).feature_names_)
        except TableError:
            features = frame.shape[1]  # nothing usable among these rows
    return _FRAMES * size + _FEATURE * features


class _Kept:
    """The rows with the smallest keys among those offered, in the table's order."""

    def __init__(self) -> None:
        self.tables: list[pa.Table] = []
        self._keys: list[NDArray[np.float64]] = []
        self._known: list[NDArray[np.bool_]] = []
        self._below = (np.inf, np.inf)  # keys of other rows, and of known anomalies, that are still taken

    def __len__(self) -> int:
        return sum(map(len, self._keys))

    def offer(self, table: pa.Table, keys: NDArray[np.float64], known: NDArray[np.bool_]) -> None:
        """Keep the rows whose keys are small enough so far."""
        self._take(table, keys, known, self._small(keys, known))

    def shrink(self, most: int) -> None:
        """Drop rows until at most so many are left."""
        keys, known = np.concatenate(self._keys), np.concatenate(self._known)
        anomalies = min(int(known.sum()), max(1, most // _KNOWN))
        self._below = (_bound(keys[~known], most - anomalies), _bound(keys[known], anomalies))
        parts = list(zip(self.tables, self._keys, self._known, strict=True))
        self.tables, self._keys, self._known = [], [], []
        for table, keys, known in parts:
            self._take(table, keys, known, self._small(keys, known))

    def _small(self, keys: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.asarray(keys < np.where(known, self._below[1], self._below[0]))

    def _take(
        self,
        table: pa.Table,
        keys: NDArray[np.float64],
        known: NDArray[np.bool_],
        chosen: NDArray[np.bool_],
    ) -> None:
        if not chosen.any():
            return
        self.tables.append(table if chosen.all() else table.filter(pa.array(chosen)))
        self._keys.append(keys[chosen])
        self._known.append(known[chosen])


def _bound(keys: NDArray[np.float64], most: int) -> float:
    """The key below which so many lie; infinite if there are no more than that."""
    return float(np.partition(keys, most)[most]) if len(keys) > most else np.inf
