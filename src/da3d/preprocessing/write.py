"""Tables to files: whole or not at all."""

import errno
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self, get_args
from uuid import uuid4

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import pyarrow.parquet as arrow_parquet

from da3d.errors import FileError, ParameterError
from da3d.preprocessing.frames import listed

Form = Literal["csv", "jsonl"]
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ENDINGS = {".csv": "csv", ".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl"}


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what is written there takes its place when the block ends well.

    If the block raises anything (Ctrl-C too), the temporary file is deleted and `path` stays as it was.

    Parameters
    ----------
    path
        The file to write. Its folder must exist.

    Yields
    ------
    pathlib.Path
        An empty file in the same folder.

    Raises
    ------
    FileError
        The folder does not exist or cannot be written, or the disk is full (whoever raised that ``OSError``).
    """
    target = Path(path)
    if target.is_dir():
        raise FileError(f"'{target}' is a folder: give the name of a file to write")
    temporary = target.with_name(f".{target.name[:100]}.{uuid4().hex}.part")
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise unwritable(target, error) from error
    try:
        yield temporary
        _replace(temporary, target)
    except OSError as error:
        if error.errno in _FULL:
            raise unwritable(target, error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)  # nothing is left of it when it has taken its place


def _replace(temporary: Path, target: Path) -> None:
    try:
        temporary.replace(target)
    except OSError as error:
        raise unwritable(target, error) from error


def unwritable(path: str | Path, error: OSError) -> FileError:
    """Return the error that says why a file cannot be written and what to do."""
    if error.errno in _FULL:
        return FileError(f"'{path}' was not written: the disk is full; free some space or write elsewhere")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return FileError(f"'{path}' was not written: its folder does not exist; create it first")
    why = error.strerror or str(error)
    return FileError(f"'{path}' was not written ({why}): choose a folder where you may write")


class TableWriter:
    """Write a table chunk by chunk; the file appears when the ``with`` block ends well, else nothing does.

    Parameters
    ----------
    path
        ``.csv``, ``.parquet``, ``.jsonl`` or ``.ndjson``; ``"-"`` writes to standard output as it goes.
    form
        ``"csv"`` or ``"jsonl"``: what to write, whatever the path's ending. None: by the ending; JSON lines
        on standard output.
    growing
        Whether later chunks may be unlike the first, as when they come from text. Parquet then has a column
        of whole numbers, which may yet get fractions, as float64, unless that would lose digits. Columns
        that the first chunk lacks are left out of CSV and Parquet; those that a later one lacks are empty.

    Attributes
    ----------
    left_out : list of str
        Columns that came too late to be written.

    Raises
    ------
    ParameterError
        `form` is neither.
    FileError
        The ending is unknown, the folder cannot be written, the disk is full, or a chunk has other columns
        than the first, or in Parquet other types.
    """

    def __init__(self, path: str | Path, *, form: Form | None = None, growing: bool = False) -> None:
        if form is not None and form not in get_args(Form):
            raise ParameterError(f"form is {form!r} but must be 'csv' or 'jsonl'")
        self._path = Path(path)
        self._is_stdout = str(path) == "-"
        chosen = form or ("jsonl" if self._is_stdout else _ENDINGS.get(self._path.suffix.lower()))
        if chosen is None:
            raise FileError(
                f"'{path}' has no known ending: .csv, .parquet or .jsonl is needed, or - for stdout"
            )
        self._form = chosen
        self._growing = growing
        self.left_out: list[str] = []
        self._stack = ExitStack()
        self._schema: pa.Schema | None = None
        self._rows = 0
        self._stream: IO[bytes]
        self._parquet: Any = None

    def __enter__(self) -> Self:
        if self._is_stdout:
            self._stream = sys.stdout.buffer
        else:
            temporary = self._stack.enter_context(atomic_path(self._path))
            self._stream = self._stack.enter_context(temporary.open("wb"))
        return self

    def write(self, frame: pd.DataFrame) -> None:
        """Add the rows of a chunk; the index is not written.

        Parameters
        ----------
        frame
            The same columns in every chunk; in Parquet the first chunk decides their types.

        Raises
        ------
        FileError
            The chunk does not fit the first one, or the disk is full.
        """
        try:
            table = self._table(frame)
            if self._form == "csv":
                self._write_csv(table)
            elif self._form == "parquet":
                self._write_parquet(table)
            else:
                self._stream.write(_json_lines(table))
            if self._is_stdout:
                self._stream.flush()
        except pa.ArrowException as error:
            raise FileError(f"'{self._path}': a chunk does not fit the first one ({error})") from error
        except OSError as error:
            if error.errno in _FULL:
                raise unwritable(self._path, error) from error
            raise  # a broken pipe: whoever reads standard output has had enough, no mistake of the caller
        self._rows += len(frame)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._schema is None and not self._is_stdout:
            error = FileError(f"'{self._path}' was not written: there are no rows to write")
            self._stack.__exit__(FileError, error, None)
            raise error
        self._stack.__exit__(kind, error, trace)

    def _table(self, frame: pd.DataFrame) -> pa.Table:
        """Return the chunk; in Parquet with the first chunk's types."""
        names = [str(name) for name in frame.columns]
        if self._schema is not None and names != self._schema.names:
            frame = self._with_first_columns(frame, names, self._schema.names)
            names = [str(name) for name in frame.columns]
        fixed = self._schema if self._form == "parquet" else None
        types = [None] * len(names) if fixed is None else fixed.types
        columns = [self._column(frame.iloc[:, i], wanted) for i, wanted in enumerate(types)]
        table = pa.table(columns, names=names)
        self._schema = self._schema or table.schema
        return table

    def _with_first_columns(self, frame: pd.DataFrame, names: list[str], first: list[str]) -> pd.DataFrame:
        """A later chunk with the columns of the first; JSON lines may have others."""
        if not self._growing:
            raise FileError(
                f"'{self._path}': a chunk has the columns {listed(names)} but the first one had "
                f"{listed(first)}: give the same columns every time"
            )
        if self._form == "jsonl":
            return frame
        self.left_out += [name for name in names if name not in first and name not in self.left_out]
        return frame.set_axis(names, axis="columns").reindex(columns=first)

    def _column(self, series: "pd.Series[Any]", wanted: pa.DataType | None) -> pa.Array | pa.ChunkedArray:
        try:
            column = pa.array(series, type=wanted, from_pandas=True)
        except pa.ArrowException:
            if wanted is not None and not pa.types.is_string(wanted):
                raise
            return _as_text(series)
        if wanted is not None:
            return column
        if self._growing and self._form == "parquet" and pa.types.is_integer(column.type):
            return _as_floats(column)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_large_string(column.type) or pa.types.is_null(column.type):
            return column.cast(pa.string())  # a column without values may get any later: text takes them all
        return _as_text(series) if self._form == "csv" and pa.types.is_nested(column.type) else column

    def _write_csv(self, table: pa.Table) -> None:
        options = arrow_csv.WriteOptions(include_header=self._rows == 0)
        arrow_csv.write_csv(table, self._stream, options)

    def _write_parquet(self, table: pa.Table) -> None:
        if self._parquet is None:
            self._parquet = self._stack.enter_context(arrow_parquet.ParquetWriter(self._stream, table.schema))
        self._parquet.write_table(table)


def _as_floats(column: pa.Array) -> pa.Array:
    """Whole numbers as float64 if they can be, such as no long ids."""
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:
        return column


def _as_text(series: "pd.Series[Any]") -> pa.Array:
    values = [None if value is None else _spelt(value) for value in series.array]
    return pa.array(values, pa.string())


def _spelt(value: Any) -> str | None:
    """A value as text: lists and objects as JSON."""
    if isinstance(value, Mapping | list | tuple | np.ndarray):
        return json.dumps(value, default=_plain, ensure_ascii=False)
    return None if pd.isna(value) else str(value)


def _plain(value: Any) -> Any:
    """What JSON has for a value that it does not know."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def _json_lines(table: pa.Table) -> bytes:
    """Return one JSON object per row; what JSON cannot write (infinities) is null."""
    for i, column in enumerate(table.columns):
        if pa.types.is_floating(column.type):
            finite = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
            table = table.set_column(i, table.column_names[i], finite)
    lines = (json.dumps(row, default=str, ensure_ascii=False) for row in table.to_pylist())
    return "".join(f"{line}\n" for line in lines).encode("utf-8")
