"""Values as JSON gives them -> a table as a model wants it, and what is wrong with which row."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from da3d.preprocessing import Kind
from da3d.preprocessing.frames import listed
from da3d.preprocessing.text import parse

__all__ = ["RowError", "Rows", "from_columns", "from_rows"]

_STAMP = pa.timestamp("us")
_HUGE = 1e300  # where a whole number is beyond float64; far values are cut to less than this later
Values = Sequence[Any]
Faults = dict[int, str]


@dataclass(frozen=True)
class RowError:
    """Why a row cannot be judged.

    Attributes
    ----------
    row : int
        Its place in the request, counted from 0.
    column : str or None
        The first column that is wrong; None if it is the row as a whole.
    message : str
    """

    row: int
    column: str | None
    message: str

    def to_json(self) -> dict[str, Any]:
        """Return the error ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Rows:
    """The rows of a request.

    Attributes
    ----------
    frame : DataFrame of shape (good rows, columns)
        The rows that can be judged.
    places : list of int
        Their places in the request.
    errors : list of RowError
        One for each of the other rows, in their order.
    """

    frame: pd.DataFrame
    places: list[int]
    errors: list[RowError]


def from_rows(rows: Values, kinds: Mapping[str, Kind], ignored: Collection[str] = ()) -> Rows:
    """Return a table of objects, one per row.

    Parameters
    ----------
    rows
        JSON objects with a value for every column; null where it is not known.
    kinds
        What each column must hold. A number column takes numbers; a boolean column true, false, 0 and 1; a
        category column text, and numbers as their text; a date column ISO 8601 text.
    ignored
        Columns that may be there, too.
    """
    expected = kinds.keys()
    errors = {}
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            errors[place] = RowError(place, None, f"the row is {said(row)} but must be an object of values")
        elif row.keys() != expected and (wrong := _misfit(row, kinds, ignored)):
            errors[place] = RowError(place, *wrong)
    places = [place for place in range(len(rows)) if place not in errors]
    good = [rows[place] for place in places]
    return _table({name: [row[name] for row in good] for name in kinds}, kinds, places, errors)


def from_columns(columns: Mapping[str, Values], kinds: Mapping[str, Kind]) -> Rows:
    """Return a table of columns with equally many values, those of `kinds`; values are as in `from_rows`."""
    count = len(next(iter(columns.values())))
    return _table(columns, kinds, list(range(count)), {})


def _misfit(
    row: Mapping[str, Any], kinds: Mapping[str, Kind], ignored: Collection[str]
) -> tuple[str, str] | None:
    for name in kinds:
        if name not in row:
            return name, "the column is missing; give null where the value is not known"
    for name in row:
        if name not in kinds and name not in ignored:
            return name, f"there is no such column; the model knows {listed(list(kinds))}"
    return None


def _table(
    columns: Mapping[str, Values], kinds: Mapping[str, Kind], places: list[int], errors: dict[int, RowError]
) -> Rows:
    made: dict[str, pd.Series[Any]] = {}
    bad: dict[int, RowError] = {}
    for name, kind in kinds.items():
        made[name], faults = _CONVERSIONS[kind](columns[name])
        for index, message in faults.items():
            bad.setdefault(index, RowError(places[index], name, message))
    frame = pd.DataFrame(made, index=pd.RangeIndex(len(places)))
    if bad:
        kept = [index for index in range(len(places)) if index not in bad]
        frame = frame.iloc[kept].reset_index(drop=True)
        errors = errors | {error.row: error for error in bad.values()}
        places = [places[index] for index in kept]
    return Rows(frame, places, [errors[row] for row in sorted(errors)])


def _numbers(values: Values) -> tuple[pd.Series[Any], Faults]:
    if {type(value) for value in values} <= {float, int, type(None)}:
        try:
            out = np.array(values, dtype=np.float64)
        except OverflowError:
            pass
        else:
            if not np.isinf(out).any():
                return pd.Series(out), {}
    made, faults = _one_by_one(values, _number, np.nan)
    return pd.Series(np.array(made, dtype=np.float64)), faults


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Fault(f"a number or null is needed, but this is {said(value)}")
    try:
        number = float(value)
    except OverflowError:
        return _HUGE if value > 0 else -_HUGE
    if not math.isfinite(number):
        raise _Fault("the number is not finite; give null where the value is not known")
    return number


def _booleans(values: Values) -> tuple[pd.Series[Any], Faults]:
    made, faults = _one_by_one(values, _boolean, None)
    return _objects(made), faults


def _boolean(value: Any) -> bool:
    if isinstance(value, bool) or (isinstance(value, int | float) and value in (0, 1)):
        return bool(value)
    raise _Fault(f"true, false or null is needed, but this is {said(value)}")


def _texts(values: Values) -> tuple[pd.Series[Any], Faults]:
    if {type(value) for value in values} <= {str, type(None)}:
        return _objects(values), {}
    made, faults = _one_by_one(values, _text, None)
    return _objects(made), faults


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Fault(f"text or null is needed, but this is {said(value)}")
    try:
        return str(int(value) if isinstance(value, float) and value.is_integer() else value)
    except ValueError as error:  # Python writes no number of more than some thousand digits
        raise _Fault("the number is too long to be a category") from error


def _dates(values: Values) -> tuple[pd.Series[Any], Faults]:
    if {type(value) for value in values} <= {str, type(None)}:
        try:
            return pd.Series(_stamps(values)), {}
        except (pa.ArrowException, UnicodeError):  # one of them, or dates with and without a time zone
            pass
    made, faults = _one_by_one(values, _date, np.datetime64("NaT"))
    return pd.Series(np.array(made, dtype="datetime64[us]")), faults


def _date(value: Any) -> Any:
    try:
        if isinstance(value, str):
            return _stamps([value])[0]
    except (pa.ArrowException, UnicodeError):
        pass
    raise _Fault(f"a date such as 2024-05-01 13:37:00 or null is needed, but this is {said(value)}")


def _stamps(values: Values) -> NDArray[np.datetime64]:
    column = parse(pa.chunked_array([pa.array(values, pa.string())]), _STAMP)
    return np.asarray(column.to_numpy(), dtype="datetime64[us]")


def _one_by_one(values: Values, convert: Callable[[Any], Any], missing: Any) -> tuple[list[Any], Faults]:
    """Convert all values that are not missing; what cannot be converted counts as missing and is a fault."""
    made, faults = [missing] * len(values), Faults()
    for index, value in enumerate(values):
        if value is None:
            continue
        try:
            made[index] = convert(value)
        except _Fault as fault:
            faults[index] = str(fault)
    return made, faults


def _objects(values: Values) -> pd.Series[Any]:
    """A column that stays what it is: pandas would make text of its own kind of a list of texts."""
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return pd.Series(out, dtype=object)


def said(value: Any) -> str:
    """Return what a JSON value is, in a few words."""
    if isinstance(value, str):
        return f"the text '{value[:40]}{'...' if len(value) > 40 else ''}'"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    return f"the number {value:.6g}" if isinstance(value, float) else "a whole number"


class _Fault(Exception):  # noqa: N818 - not an error of the library: it becomes a `RowError`
    """A value that cannot be used."""


_CONVERSIONS: Mapping[Kind, Callable[[Values], tuple[pd.Series[Any], Faults]]] = {
    "number": _numbers,
    "boolean": _booleans,
    "category": _texts,
    "date": _dates,
}
