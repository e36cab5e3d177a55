"""Mixed tables -> matrices of numbers, and tables in files."""

from .encode import TableEncoder
from .frames import to_frame
from .kinds import Content, Kind, content_of
from .read import read_table, stream_table
from .schema import Column, Schema, TableWarning
from .write import TableWriter, atomic_path

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
