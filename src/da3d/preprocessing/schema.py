"""The columns that a table had at fit, and the check that another table has them too."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args
from warnings import warn

import numpy as np
import pandas as pd
from pandas.api import types

from da3d.errors import SchemaError
from da3d.preprocessing.frames import listed
from da3d.preprocessing.kinds import Content, content_of
from da3d.preprocessing.kinds import Kind as Kind
from da3d.preprocessing.values import numbers

KINDS: tuple[Kind, ...] = get_args(Kind)

HELD: dict[Content, str] = {
    "number": "numbers",
    "boolean": "true/false values",
    "category": "text",
    "date": "dates",
    "nested": "nested values (lists, dicts or arrays)",
    "complex": "complex numbers",
    "missing": "no value at all",
}
_WAS: dict[Kind, str] = {
    "number": "a number",
    "boolean": "true/false",
    "category": "text",
    "date": "a date",
}
_ADVICE: dict[Kind, str] = {
    "number": "pandas.to_numeric converts text that spells numbers",
    "boolean": "give true/false, 0/1 or missing values",
    "category": "astype(str) converts values to text",
    "date": "pandas.to_datetime converts text that spells dates",
}


class TableWarning(UserWarning):
    """Something in a table was left out or looks wrong, but the work goes on."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name
        The column's name.
    kind
        What it holds.
    """

    name: str
    kind: Kind


@dataclass(frozen=True)
class Schema:
    """The columns of a table in their order at fit.

    Parameters
    ----------
    columns
        Name and kind of each column; names are unique.
    """

    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """The columns' names in their order at fit."""
        return [column.name for column in self.columns]

    @property
    def kinds(self) -> dict[str, Kind]:
        """Each column's kind by its name: what `read_table` and `stream_table` take as ``kinds``."""
        return {column.name: column.kind for column in self.columns}

    @classmethod
    def infer(cls, frame: pd.DataFrame) -> "Schema":
        """Return the schema of a table.

        Columns that cannot be used (no value at all, nested values, complex numbers) are not part of it.
        """
        contents = {str(name): content_of(frame[name]) for name in frame.columns}
        return cls(tuple(Column(name, held) for name, held in contents.items() if held in KINDS))

    def align(self, frame: pd.DataFrame, ignored: Collection[str] = ()) -> pd.DataFrame:
        """Return a table's columns in their order at fit, after checking that they hold what they held.

        Parameters
        ----------
        frame
            A table with unique column names, in any order. Integers and floats are both numbers; numbers that
            are all 0 or 1 pass for true/false values; a column without any value passes for every kind.
        ignored
            Columns that may be there and are left out without a warning.

        Returns
        -------
        pandas.DataFrame
            Shape (rows, columns of the schema). Its values are those given: nothing is converted or copied.

        Warns
        -----
        TableWarning
            The table has columns that were not there at fit; they are left out.

        Raises
        ------
        SchemaError
            A column is missing, or holds values of another kind.
        """
        missing = [name for name in self.names if name not in frame.columns]
        if missing:
            raise SchemaError(
                f"the table lacks {len(missing)} of {len(self.columns)} columns seen at fit: "
                f"{listed(missing)}; add them (empty where unknown) or fit again without them"
            )
        known = {*self.names, *ignored}
        extra = [str(name) for name in frame.columns if name not in known]
        if extra:
            warn(
                f"columns that were not there at fit are ignored: {listed(extra)}", TableWarning, stacklevel=3
            )
        for column in self.columns:
            _check(column, frame[column.name])
        return frame if list(frame.columns) == self.names else frame[self.names]

    def to_json(self) -> list[dict[str, str]]:
        """Return the schema as JSON: a list of ``{"name": ..., "kind": ...}``."""
        return [{"name": column.name, "kind": column.kind} for column in self.columns]

    @classmethod
    def from_json(cls, entries: Sequence[Mapping[str, Any]]) -> "Schema":
        """Return the schema that `to_json` wrote.

        Raises
        ------
        SchemaError
            The entries are not what `to_json` writes, or repeat a name.
        """
        if not isinstance(entries, Sequence) or isinstance(entries, str):
            raise SchemaError("a stored schema must be a list of columns: the file is damaged or not ours")
        columns = tuple(_column(entry) for entry in entries)
        if len({column.name for column in columns}) < len(columns):
            raise SchemaError("a stored schema names a column twice: the file is damaged or not ours")
        return cls(columns)


def _column(entry: object) -> Column:
    if isinstance(entry, Mapping) and set(entry) == {"name", "kind"}:
        name, kind = entry["name"], entry["kind"]
        if isinstance(name, str) and kind in KINDS:
            return Column(name, kind)
    raise SchemaError(
        f"a stored column is {entry!r} but must have a name and a kind of {', '.join(KINDS)}: "
        "the file is damaged or not ours"
    )


def _check(column: Column, series: "pd.Series[Any]") -> None:
    held = content_of(series)
    if held in (column.kind, "missing"):
        return
    if column.kind == "number" and held == "boolean":
        return
    if column.kind == "boolean" and held == "number":
        values = numbers(series)
        if bool(np.all(np.isin(values[~np.isnan(values)], (0.0, 1.0)))):
            return
    if (
        column.kind == "category"
        and held not in ("nested", "complex")
        and types.is_object_dtype(series.dtype)
    ):
        return  # a few rows of a column of unlike values may happen to be alike
    raise SchemaError(
        f"column '{column.name}' holds {HELD[held]} but was {_WAS[column.kind]} at fit: "
        f"{_ADVICE[column.kind]}, or fit again"
    )
