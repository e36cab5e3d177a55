"""Tables from files: CSV, Parquet and JSON lines, whole or in chunks of bounded memory."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa

from da3d.errors import FileError, ParameterError, TableError
from da3d.preprocessing.csv_file import csv_tables
from da3d.preprocessing.frames import to_frame
from da3d.preprocessing.json_file import json_tables
from da3d.preprocessing.kinds import Kind
from da3d.preprocessing.parquet_file import ParquetPart, parquet_tables
from da3d.preprocessing.source import Source

ROWS = 65_536
_DELIMITED = (".csv", ".tsv")
_JSON = (".jsonl", ".ndjson")
_KNOWN = (
    ".csv, .tsv, .jsonl, .ndjson (each also with .gz), .parquet, a folder of .parquet files, or - for stdin"
)


def read_table(path: str | Path, *, kinds: Mapping[str, Kind] | None = None) -> pd.DataFrame:
    """Read a whole table from a file.

    Parameters
    ----------
    path
        ``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson`` (each also with ``.gz``), ``.parquet``, a folder of
        ``.parquet`` files, or ``"-"``: standard input, JSON lines if its first character is ``{``, else CSV.
    kinds
        What each column is read as (`Schema.kinds`); columns that are not named are read as text from CSV and
        as they are from JSON. None: integers, numbers, true/false, dates or text, whatever every cell of the
        column is. Parquet files know their types and ignore this.

    Returns
    -------
    pandas.DataFrame
        Shape (rows, columns), both at least 1, with a ``RangeIndex``. An empty cell is missing; in columns of
        numbers, true/false and dates so are ``NA``, ``N/A``, ``NaN``, ``null``, ``None``, ``?``, ``-`` and
        ``.``. In columns of text these are text.

    Raises
    ------
    FileError
        The file cannot be found or read, or its name has no known ending.
    TableError
        It is empty, damaged, not UTF-8, has rows of unequal length, or a cell is not of its column's kind.
    """
    return joined_frame(list(arrow_tables(path, ROWS, kinds)), path)


def joined_frame(tables: list[pa.Table], path: str | Path) -> pd.DataFrame:
    """Return successive rows of one file as one frame; the list is emptied to save memory."""
    name = "standard input" if str(path) == "-" else f"'{path}'"
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise TableError(f"{name}: a column changes its type between rows ({error})") from error
    tables.clear()
    return _frame(table, 0, name)


def stream_table(
    path: str | Path, rows: int = ROWS, *, kinds: Mapping[str, Kind] | None = None
) -> Iterator[pd.DataFrame]:
    """Read a table from a file in chunks; the memory it takes depends on `rows`, not on the file.

    Parameters
    ----------
    path, kinds
        As for `read_table`. Without `kinds` a text file is read twice (standard input and named pipes by way
        of a temporary file); with `kinds` once, as it arrives.
    rows
        Rows per chunk, at least 1; the last chunk may be shorter.

    Yields
    ------
    pandas.DataFrame
        Shape (at most `rows`, columns); the index counts the rows of the file from 0.

    Raises
    ------
    ParameterError
        `rows` is below 1.
    FileError, TableError
        As for `read_table`, when the chunk in question is asked for.
    """
    if rows < 1:
        raise ParameterError(f"rows is {rows} but must be at least 1")
    name = "standard input" if str(path) == "-" else f"'{path}'"
    yield from _frames(_chunks(arrow_tables(path, rows, kinds), rows), 0, name)


def stream_part(part: ParquetPart, rows: int = ROWS) -> Iterator[pd.DataFrame]:
    """Read a part of a table in chunks, as `stream_table` reads the whole.

    Parameters
    ----------
    part
        One of `parquet_parts`.
    rows
        Rows per chunk, at least 1; a chunk ends with its row group, too.

    Yields
    ------
    pandas.DataFrame
        Shape (at most `rows`, columns); the index counts the rows of the whole table from 0.

    Raises
    ------
    FileError, TableError
        As for `read_table`, when the chunk in question is asked for.
    """
    tables = (table for table in part.tables(rows) if len(table))
    yield from _frames(tables, part.first, f"'{part.path}'")


def arrow_tables(path: str | Path, rows: int, kinds: Mapping[str, Kind] | None) -> Iterator[pa.Table]:
    """Yield the rows of a file as arrow tables of any length; at least one row in all."""
    source = Source(path)
    if source.suffix == ".parquet" and source.is_stream:
        raise FileError(f"{source.name} is a pipe, but Parquet is not read from its beginning: give a file")
    if source.suffix == ".parquet" or (not source.is_stdin and Path(path).is_dir()):
        tables = parquet_tables(Path(path), rows)
    elif source.suffix in _DELIMITED:
        tables = csv_tables(source, kinds)
    elif source.suffix in _JSON:
        tables = json_tables(source, rows, kinds)
    elif source.is_stdin:
        is_json = source.peek().removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
        tables = json_tables(source, rows, kinds) if is_json else csv_tables(source, kinds)
    else:
        raise FileError(f"{source.name} has no known ending: {_KNOWN} is needed")
    total = 0
    for table in tables:
        total += len(table)
        if len(table):
            yield table
    if total == 0:
        raise TableError(f"{source.name} has columns but no rows: at least one row is needed")


def _chunks(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Cut and join tables to `rows` rows each."""
    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += len(table)
        if count < rows:
            continue
        joined = pa.concat_tables(waiting, promote_options="permissive")
        whole = count - count % rows
        for start in range(0, whole, rows):
            yield joined.slice(start, rows)
        waiting, count = [joined.slice(whole)], count - whole
    if count:
        yield pa.concat_tables(waiting, promote_options="permissive")


def _frames(tables: Iterable[pa.Table], start: int, name: str) -> Iterator[pd.DataFrame]:
    for table in tables:
        yield _frame(table, start, name)
        start += len(table)


def _frame(table: pa.Table, start: int, name: str) -> pd.DataFrame:
    try:
        frame = to_frame(table)
    except TableError as error:
        raise TableError(f"{name}: {error}") from error
    return frame.set_axis(pd.RangeIndex(start, start + len(frame)), axis="index")
