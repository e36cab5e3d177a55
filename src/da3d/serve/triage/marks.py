"""What people found rows to be, and the file that holds it: written whole after every mark."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from da3d.errors import FileError, InputError, LabelError, TableError
from da3d.pipeline import AnomalyPipeline
from da3d.pipeline.feedback import COLUMN, Mark
from da3d.preprocessing import TableWriter, atomic_path, read_table
from da3d.preprocessing.frames import listed
from da3d.serve.triage.table import NOTE, NUMBER, VERDICTS, JudgedTable, plain_rows, portable

__all__ = ["ConflictError", "Entry", "Marks", "StoredMarks", "read_marks"]

_ENDINGS = (".csv", ".jsonl", ".ndjson", ".parquet")
_Signature = tuple[int, int] | None


class ConflictError(InputError):
    """Somebody else has changed the same thing in the meantime."""


@dataclass(frozen=True)
class Entry:
    """What was said about a row.

    Attributes
    ----------
    mark : {"anomaly", "normal", "benign"} or None
        None if there is only a note.
    note : str
        May be empty.
    version : int
        Another one after every change of this row; 0 where nothing was said.
    """

    mark: Mark | None = None
    note: str = ""
    version: int = 0


@dataclass(frozen=True)
class StoredMarks:
    """A feedback file as it was found.

    Attributes
    ----------
    path : Path
    entries : dict of int to Entry
        By the row's number.
    rows : DataFrame or None
        What the file says about the rows themselves, its index the rows' numbers; None if there is no file.
    signature
        By which a change of the file is noticed.
    """

    path: Path
    entries: dict[int, Entry]
    rows: pd.DataFrame | None
    signature: _Signature


def read_marks(path: Path, pipeline: AnomalyPipeline) -> StoredMarks:
    """Read a feedback file that a page has written, if there is one, and try that it can be written.

    Raises
    ------
    FileError
        The file cannot be read or written, or its ending is unknown.
    TableError
        No page has written it.
    LabelError
        It holds other marks than anomaly, normal and benign.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise FileError(f"'{path}' cannot hold feedback: a name that ends in {listed(_ENDINGS)} is needed.")
    _check_writable(path)
    signature = _signature(path)
    if signature is None:
        return StoredMarks(path, {}, None, None)
    table = read_table(path, kinds={**pipeline.kinds, NOTE: "category"})
    lacking = [name for name in (COLUMN, NUMBER) if name not in table.columns]
    if lacking:
        raise TableError(
            f"'{path}' was not written by this page: it has no column {listed(lacking)}. Give another name "
            "with --feedback; da3d suppress and da3d refit take several kinds of files, this page its own."
        )
    numbers = [_number(path, value) for value in table[NUMBER]]
    if len(repeated := pd.Index(numbers)[pd.Index(numbers).duplicated()]):
        raise TableError(f"'{path}' speaks twice about row {repeated[0]}; keep one of the two.")
    marks = [_mark(path, value) for value in table[COLUMN]]
    notes = table[NOTE] if NOTE in table.columns else pd.Series("", index=table.index)
    texts = ["" if pd.isna(note) else str(note) for note in notes]
    version = _first_version()
    entries = {
        number: Entry(mark, note, version)
        for number, mark, note in zip(numbers, marks, texts, strict=True)
        if mark is not None or note
    }
    return StoredMarks(path, entries, table.set_axis(pd.Index(numbers), axis="index"), signature)


class Marks:
    """All that was said about the rows of a table; other threads may read while one writes.

    Parameters
    ----------
    table : JudgedTable
        Holds every row of `stored`.
    stored : StoredMarks

    Raises
    ------
    TableError
        The file speaks about another table.
    """

    def __init__(self, table: JudgedTable, stored: StoredMarks) -> None:
        self.path = stored.path
        self._table = table
        self._entries = dict(stored.entries)
        self._signature = stored.signature
        self._lock = threading.Lock()
        self._version = _first_version()
        if stored.rows is not None:
            self._check(stored.rows)

    @property
    def entries(self) -> Mapping[int, Entry]:
        """What was said, by row. What is returned never changes."""
        return self._entries

    def set(self, row: int, mark: Mark | None, note: str, version: int | None = None) -> Entry:
        """Say something about a row, and write it; nothing is changed if that fails.

        Parameters
        ----------
        row : int
            A kept row.
        mark : {"anomaly", "normal", "benign"} or None
        note : str
            Without mark and note nothing is said about the row any more.
        version : int, optional
            That of the entry which this one is to replace.

        Raises
        ------
        ConflictError
            The entry has another version, or the file was changed by another program.
        FileError
            The file cannot be written.
        """
        with self._lock:
            now = self._entries.get(row, Entry())
            if version is not None and version != now.version:
                said = f"marked '{now.mark}'" if now.mark else "noted on" if now.note else "unmarked"
                raise ConflictError(
                    f"row {row} was {said} on another page in the meantime; look again, then change it."
                )
            self._version += 1
            entry = Entry(mark, note, self._version)
            entries = {number: each for number, each in self._entries.items() if number != row}
            if mark is not None or note:
                entries[row] = entry
            else:
                entry = Entry()
            self._write(entries)
            self._entries = entries
            return entry

    def frame(self) -> pd.DataFrame:
        """The rows about which something was said, as `da3d suppress` and `da3d refit` take them."""
        return self._frame(self._entries)

    def exported(self, form: Literal["csv", "jsonl"]) -> bytes:
        """The same as a file's content."""
        with tempfile.TemporaryDirectory(prefix="da3d-feedback-") as folder:
            path = Path(folder) / "feedback"
            with TableWriter(path, form=form) as writer:
                writer.write(self.frame())
            return path.read_bytes()

    def _write(self, entries: Mapping[int, Entry]) -> None:
        if _signature(self.path) != self._signature:
            raise ConflictError(
                f"'{self.path}' was changed by another program, so nothing was written; start the service "
                "again to read what it holds now."
            )
        if entries:
            with TableWriter(self.path) as writer:
                writer.write(self._frame(entries))
        else:
            try:
                self.path.unlink(missing_ok=True)  # a feedback file without rows could not be read
            except OSError as error:
                raise FileError(f"'{self.path}' cannot be removed ({error.strerror or error}).") from error
        self._signature = _signature(self.path)

    def _frame(self, entries: Mapping[int, Entry]) -> pd.DataFrame:
        numbers = sorted(entries)
        rows = plain_rows(self._table.pipeline, self._table.rows.loc[numbers])
        verdicts = self._table.verdicts.loc[numbers, list(VERDICTS)]
        said = pd.DataFrame(
            {
                COLUMN: [entries[number].mark for number in numbers],
                NOTE: [entries[number].note or None for number in numbers],
            },
            index=rows.index,
            dtype=object,
        )
        new = verdicts[[name for name in verdicts.columns if name not in rows.columns]]
        together = pd.concat([rows, new, said], axis="columns")
        together.insert(0, NUMBER, numbers)
        return together

    def _check(self, rows: pd.DataFrame) -> None:
        """See that the file speaks about this table, and that rewriting it loses nothing."""
        pipeline, table = self._table.pipeline, self._table
        outside = [number for number in rows.index if number not in table.rows.index]
        if outside:
            raise TableError(
                f"'{self.path}' speaks about row {outside[0]}, but '{table.name}' has {table.operating.rows} "
                "rows; it belongs to another table: give another name with --feedback."
            )
        expected = self._frame(dict.fromkeys(rows.index, Entry()))
        names = pipeline.encoder_.schema_.names
        foreign = [str(name) for name in rows.columns if name not in expected.columns]
        lacking = [name for name in names if name not in rows.columns]
        if foreign or lacking:
            what = f"has a column {listed(foreign)}" if foreign else f"lacks the column {listed(lacking)}"
            raise TableError(
                f"'{self.path}' {what}, unlike '{table.name}'; it belongs to another table or was changed: "
                "give another name with --feedback."
            )
        found = plain_rows(pipeline, rows).loc[expected.index]
        for name in names:
            same = (found[name] == expected[name]) | (found[name].isna() & expected[name].isna())
            if not same.all():
                row = same.index[~same][0]
                values = [portable(each.at[row, name]) for each in (found, expected)]
                raise TableError(
                    f"'{self.path}' speaks about another table: its row {row} has the value "
                    f"'{values[0]}' in column '{name}', but '{table.name}' has '{values[1]}' there; give "
                    "another name with --feedback."
                )


def _check_writable(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise FileError(f"'{path}' is not an ordinary file; give the name of one with --feedback.")
    if path.exists() and not os.access(path, os.W_OK):
        raise FileError(f"'{path}' may not be written; give another name with --feedback.")
    try:
        with atomic_path(path):
            raise _Enough
    except _Enough:
        pass


class _Enough(Exception):  # noqa: N818 - not an error: ends the trial before it leaves a file
    """The file could be written."""


def _number(path: Path, value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if number < 0:
        raise TableError(f"'{path}' has '{value}' in column '{NUMBER}', which must hold the numbers of rows.")
    return number


def _mark(path: Path, value: object) -> Mark | None:
    text = "" if value is None or value != value else str(value).strip().lower()
    for known in get_args(Mark):
        if text == known:
            return known  # type: ignore[no-any-return]
    if text:
        raise LabelError(
            f"'{path}' has '{text}' in column '{COLUMN}', which must hold anomaly, normal, benign or nothing."
        )
    return None


def _signature(path: Path) -> _Signature:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _first_version() -> int:
    """A number that no version of an earlier start had, within what a browser can count."""
    return int(time.time() * 1000)
