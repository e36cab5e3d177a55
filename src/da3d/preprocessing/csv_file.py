"""CSV -> arrow tables whose types are the same from the first row to the last.

Every cell is read as text first: a streaming reader that guesses types from its first block fails as soon
as a later block disagrees. The types come from the fitted kinds, or from one pass over the whole file.
"""

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv

from da3d.errors import TableError
from da3d.preprocessing.frames import listed
from da3d.preprocessing.kinds import Kind
from da3d.preprocessing.source import Prompt, Source
from da3d.preprocessing.text import TYPES, Guess, as_integers, first_bad, parse

BLOCK_BYTES = 1 << 22
_SPELLED = {
    "double": "a number",
    "bool": "true or false",
    "timestamp[us]": "a date (like 2024-05-01 13:37:00)",
}


def csv_tables(source: Source, kinds: Mapping[str, Kind] | None) -> Iterator[pa.Table]:
    """Yield a CSV file's rows, block by block, all with the same types; but see `kinds`.

    Parameters
    ----------
    source
        The file: UTF-8, a header line, fields separated by a comma, semicolon or tab (what the header uses).
    kinds
        What each column is read as; columns that are not named are read as text. Numbers are float64, in
        blocks without a fraction int64, so that long numbers keep all digits. None: see
        the whole file first and read each column as integers, numbers, true/false, dates or text, whatever
        fits every cell.

    Raises
    ------
    TableError
        The file is empty, has rows of another length than its header, is not UTF-8, or has a cell that is not
        of its column's kind.
    """
    if kinds is None:
        source.keep()
        types = _guess(source)
    else:
        types = {name: TYPES[kind] for name, kind in kinds.items()}
    whole = [name for name, kind in (kinds or {}).items() if kind == "number"]
    before = 0
    for table in _text_tables(source):
        columns = [
            _parsed(source, table[name], name, types.get(name, pa.string()), before)
            for name in table.column_names
        ]
        columns = [
            as_integers(table[name], column) if name in whole else column
            for name, column in zip(table.column_names, columns, strict=True)
        ]
        yield pa.table(columns, names=table.column_names)
        before += len(table)


def _guess(source: Source) -> dict[str, pa.DataType]:
    guesses: dict[str, Guess] = {}
    for table in _text_tables(source):
        for name in table.column_names:
            guesses.setdefault(name, Guess()).look(table[name])
    return {name: guess.type() for name, guess in guesses.items()}


def _parsed(
    source: Source, column: pa.ChunkedArray, name: str, wanted: pa.DataType, before: int
) -> pa.ChunkedArray:
    try:
        return parse(column, wanted)
    except pa.ArrowInvalid as error:
        row, text = first_bad(column, wanted)
        raise TableError(
            f"{source.name}: column '{name}' holds '{text[:60]}' in data row {before + row + 1}, which is "
            f"not {_SPELLED.get(str(wanted), wanted)}, as this column was at fit: correct "
            "the file, or fit again"
        ) from error


def _text_tables(source: Source) -> Iterator[pa.Table]:
    head, stream = source.start()
    ragged: list[Any] = []

    def refuse(row: Any) -> str:
        ragged.append(row)
        return "error"

    try:
        names, delimiter = _header(source, head)
        blocks = arrow_csv.open_csv(
            Prompt(stream) if source.is_stream else stream,
            # one thread, since only then a row that is refused has its number
            read_options=arrow_csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter,
                newlines_in_values=True,
                ignore_empty_lines=len(names) > 1,  # else an empty line is a missing value
                invalid_row_handler=refuse,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
        for batch in blocks:
            yield pa.Table.from_batches([batch])
    except (pa.ArrowException, UnicodeError, gzip.BadGzipFile, zlib.error, EOFError, OSError) as error:
        raise _explained(source, error, ragged) from error
    finally:
        stream.close()


def _header(source: Source, head: bytes) -> tuple[list[str], str]:
    line = head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").splitlines()[0]
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise source.wrong_encoding("in its header") from error
    unquoted = re.sub(r'"[^"]*"', "", text)
    delimiter = "\t" if source.suffix == ".tsv" else max(",;\t", key=unquoted.count)
    names = next(csv.reader([text], delimiter=delimiter))
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise TableError(
            f"{source.name} has more than one column named {listed(repeated)}: rename all but one"
        )
    return names, delimiter


def _explained(source: Source, error: Exception, ragged: list[Any]) -> TableError:
    if ragged:
        row = ragged[0]
        return TableError(
            f"{source.name}: line {row.number} has {row.actual_columns} fields but the header has "
            f"{row.expected_columns}: correct that line ({row.text[:60]!r}); a field with a "
            "separator in it needs quotes"
        )
    if isinstance(error, UnicodeError) or "invalid UTF8" in str(error):
        return source.wrong_encoding("a byte in it is not")
    if "straddl" in str(error):
        return TableError(
            f"{source.name} has a row longer than {BLOCK_BYTES >> 20} MB: probably a quote is opened and "
            "never closed; correct it"
        )
    return source.damaged(error)
