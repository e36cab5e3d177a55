"""Mixed tables -> matrices of numbers, and tables in files.

The names are imported when they are first used: reading a table needs no scikit-learn.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from da3d.preprocessing.encode import TableEncoder
    from da3d.preprocessing.frames import collected, like, to_frame
    from da3d.preprocessing.kinds import Content, Kind, content_of
    from da3d.preprocessing.parquet_file import ParquetPart, parquet_parts
    from da3d.preprocessing.read import read_table, stream_part, stream_table
    from da3d.preprocessing.sample import Sample, sample_table
    from da3d.preprocessing.schema import Column, Schema, TableWarning
    from da3d.preprocessing.write import TableWriter, atomic_path

__all__ = [
    "Column",
    "Content",
    "Kind",
    "ParquetPart",
    "Sample",
    "Schema",
    "TableEncoder",
    "TableWarning",
    "TableWriter",
    "atomic_path",
    "collected",
    "content_of",
    "like",
    "parquet_parts",
    "read_table",
    "sample_table",
    "stream_part",
    "stream_table",
    "to_frame",
]

_HOMES = {
    "Column": "da3d.preprocessing.schema",
    "Content": "da3d.preprocessing.kinds",
    "Kind": "da3d.preprocessing.kinds",
    "ParquetPart": "da3d.preprocessing.parquet_file",
    "Sample": "da3d.preprocessing.sample",
    "Schema": "da3d.preprocessing.schema",
    "TableEncoder": "da3d.preprocessing.encode",
    "TableWarning": "da3d.preprocessing.schema",
    "TableWriter": "da3d.preprocessing.write",
    "atomic_path": "da3d.preprocessing.write",
    "collected": "da3d.preprocessing.frames",
    "content_of": "da3d.preprocessing.kinds",
    "like": "da3d.preprocessing.frames",
    "parquet_parts": "da3d.preprocessing.parquet_file",
    "read_table": "da3d.preprocessing.read",
    "sample_table": "da3d.preprocessing.sample",
    "stream_part": "da3d.preprocessing.read",
    "stream_table": "da3d.preprocessing.read",
    "to_frame": "da3d.preprocessing.frames",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'da3d.preprocessing' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
