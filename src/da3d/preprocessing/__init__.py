"""Mixed tables -> matrices of numbers, and tables in files."""

from .encode import TableEncoder
from .frames import to_frame
from .schema import Column, Kind, Schema, TableWarning
