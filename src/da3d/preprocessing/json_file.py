"""JSON lines -> arrow tables whose types are the same from the first row to the last."""

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.json as arrow_json

from da3d.errors import TableError

from .kinds import Kind
from .source import Source
from .text import Guess, parse

BLOCK_BYTES = 1 << 24
_NEED = "one JSON object per line is needed, such as {\"size\": 1.5, \"proto\": \"tcp\"}"


def json_tables(source: Source, rows: int, kinds: Mapping[str, Kind] | None) -> Iterator[pa.Table]:
    """Yield the rows of a file of JSON lines, at most `rows` at a time, all with the same types.

    Parameters
    ----------
    source
        The file: UTF-8, one object per line. A key that a line lacks is missing in that row.
    rows
        At most so many rows at a time.
    kinds
        What each column is read as. None: see the whole file first.

    Raises
    ------
    TableError
        A line is not an object, or a column mixes text with numbers.
    """
    if kinds is None:
        source.keep()
        types = _guess(source, rows)
    else:
        types = _wanted(source, rows, kinds)
    text = {name: kind if pa.types.is_timestamp(kind) is False else pa.string() for name, kind in types.items()}
    for first, block in _blocks(source, rows):
        yield _typed(source, _parsed(source, first, block, text), types)
