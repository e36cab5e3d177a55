"""JSON lines -> arrow tables whose types are the same from the first row to the last."""

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as arrow_json

from da3d.errors import TableError
from da3d.preprocessing.kinds import Kind
from da3d.preprocessing.source import Source
from da3d.preprocessing.text import Guess, parse

BLOCK_BYTES = 1 << 24
_NEED = 'one JSON object per line is needed, such as {"size": 1.5, "proto": "tcp"}'
_STAMP = pa.timestamp("us")


def json_tables(source: Source, rows: int, kinds: Mapping[str, Kind] | None) -> Iterator[pa.Table]:
    """Yield the rows of a file of JSON lines, at most `rows` at a time, all with the same types.

    Parameters
    ----------
    source
        The file: UTF-8, one object per line. A key that a line lacks is missing in that row.
    rows
        At most so many rows at a time.
    kinds
        What each column is read as; a column whose name is nowhere in the first `rows` rows counts as not
        there. None: see the whole file first.

    Raises
    ------
    TableError
        A line is not an object, or a column mixes text with numbers.
    """
    if kinds is not None:
        yield from _as_kinds(source, rows, kinds)
        return
    source.keep()
    types = _guess(source, rows)
    raw = {name: pa.string() if wanted == _STAMP else wanted for name, wanted in types.items()}
    for first, block in _blocks(source, rows):
        table = _parsed(source, first, block, raw)
        columns = [
            parse(table[name], wanted) if wanted == _STAMP else table[name] for name, wanted in types.items()
        ]
        yield pa.table(columns, names=list(types))


def _guess(source: Source, rows: int) -> dict[str, pa.DataType]:
    schema = pa.schema([])
    dates: dict[str, Guess] = {}
    for first, block in _blocks(source, rows):
        table = _parsed(source, first, block, {})
        types = {name: _raw_type(table[name]) for name in table.column_names}
        for name in table.column_names:
            if pa.types.is_string(types[name]):
                dates.setdefault(name, Guess([_STAMP])).look(pc.cast(table[name], pa.string()))
        try:
            schema = pa.unify_schemas([schema, pa.schema(types.items())], promote_options="permissive")
        except pa.ArrowException as error:
            raise TableError(
                f"{source.name}: a column changes its type between lines ({error}): "
                "write its values all alike"
            ) from error
    return {f.name: dates[f.name].type() if pa.types.is_string(f.type) else f.type for f in schema}


def _raw_type(column: pa.ChunkedArray) -> pa.DataType:
    return pa.string() if pa.types.is_timestamp(column.type) else column.type


def _as_kinds(source: Source, rows: int, kinds: Mapping[str, Kind]) -> Iterator[pa.Table]:
    present = None if source.is_stream else _present(source, rows, kinds)
    for first, block in _blocks(source, rows):
        if present is None:
            present = [name for name in kinds if _mentions(block, name)]
        text = {name: pa.string() for name in present if kinds[name] in ("category", "date")}
        table = _in_order(_parsed(source, first, block, text), block)
        for name in present:
            if name not in table.column_names:
                table = table.append_column(name, pa.nulls(len(table)))
            column = _as_kind(source, table[name], name, kinds[name], first)
            table = table.set_column(table.column_names.index(name), name, column)
        yield table


def _in_order(table: pa.Table, block: bytes) -> pa.Table:
    """The columns as the first line names them; the parser puts those of a given type before all others."""
    first = next(line for line in block.splitlines() if line.strip())
    named = [name for name in json.loads(first) if name in table.column_names]
    return table.select(named + [name for name in table.column_names if name not in named])


def _as_kind(source: Source, column: pa.ChunkedArray, name: str, kind: Kind, first: int) -> pa.ChunkedArray:
    held = column.type
    wrong = pa.types.is_string(held) or pa.types.is_timestamp(held)
    try:
        if kind == "date":
            return parse(column, _STAMP)
        if kind == "number" and not pa.types.is_nested(held) and not wrong:
            whole = pa.types.is_integer(held)  # which keeps all digits
            return column if whole else pc.cast(column, pa.float64(), safe=False)
    except pa.ArrowInvalid:
        wrong = True
    if wrong and kind != "category":
        was = {
            "number": "numbers",
            "boolean": "true/false values",
            "date": "dates (like 2024-05-01 13:37:00)",
        }
        raise TableError(
            f"{source.name}: column '{name}' holds other text from line {first} on but held {was[kind]} "
            "at fit: correct the file, or fit again"
        )
    return column


def _present(source: Source, rows: int, kinds: Mapping[str, Kind]) -> list[str]:
    """The columns that any line of a file mentions; it is read until all have been met."""
    waiting = set(kinds)
    for _, block in _blocks(source, rows):
        waiting -= {name for name in waiting if _mentions(block, name)}
        if not waiting:
            break
    return [name for name in kinds if name not in waiting]


def _mentions(block: bytes, name: str) -> bool:
    return any(json.dumps(name, ensure_ascii=ascii).encode() in block for ascii in (True, False))


def _blocks(source: Source, rows: int) -> Iterator[tuple[int, bytes]]:
    """Yield whole lines together with the number of the first of them (from 1)."""
    _, stream = source.start()
    first, lines, size, number = 1, list[bytes](), 0, 0
    try:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                line = b"\n"
            lines.append(line)
            size += len(line)
            if len(lines) >= rows or size >= BLOCK_BYTES:
                yield first, b"".join(lines)
                first, lines, size = number + 1, [], 0
    except (gzip.BadGzipFile, zlib.error, EOFError, OSError) as error:
        raise source.damaged(error) from error
    finally:
        stream.close()
    if any(line.strip() for line in lines):
        yield first, b"".join(lines)


def _parsed(source: Source, first: int, block: bytes, types: Mapping[str, pa.DataType]) -> pa.Table:
    try:
        return arrow_json.read_json(
            io.BytesIO(block),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=arrow_json.ParseOptions(explicit_schema=pa.schema(types.items())),
        )
    except (pa.ArrowException, UnicodeError) as error:
        raise _explained(source, first, block, error) from error


def _explained(source: Source, first: int, block: bytes, error: Exception) -> TableError:
    for number, line in enumerate(block.splitlines(), start=first):
        try:
            value = json.loads(line.decode("utf-8").removeprefix("\ufeff") or "{}")
        except UnicodeDecodeError:
            return source.wrong_encoding(f"line {number}")
        except ValueError:
            value = None
        if not isinstance(value, dict):
            return TableError(f"{source.name}: line {number} is not a JSON object ({line[:40]!r}): {_NEED}")
    mixed = re.search(r"Column\(/(.*?)\) changed from (\w+) to (\w+)", str(error))
    if mixed:
        name, one, other = mixed.groups()
        return TableError(
            f"{source.name}: column '{name}' holds a {other} where a {one} is expected, in line {first} or "
            "after: write its values all alike"
        )
    return source.damaged(error)
