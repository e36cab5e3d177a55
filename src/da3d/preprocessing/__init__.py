"""Mixed tables -> matrices of numbers, and tables in files."""

from da3d.preprocessing.encode import TableEncoder
from da3d.preprocessing.frames import to_frame
from da3d.preprocessing.kinds import Content, Kind, content_of
from da3d.preprocessing.read import read_table, stream_table
from da3d.preprocessing.schema import Column, Schema, TableWarning
from da3d.preprocessing.write import TableWriter, atomic_path

__all__ = [
    "Column",
    "Content",
    "Kind",
    "Schema",
    "TableEncoder",
    "TableWarning",
    "TableWriter",
    "atomic_path",
    "content_of",
    "read_table",
    "stream_table",
    "to_frame",
]
