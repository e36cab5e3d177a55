"""Text cells -> typed columns, and which types a column's text allows."""

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from da3d.preprocessing.kinds import Kind

MISSING = (
    "", "NA", "N/A", "n/a", "na", "NaN", "nan", "NAN", "NULL", "Null", "null", "None", "none", "?", "-", ".",
)  # fmt: skip
"""Cells that mean "no value" in a column of numbers, true/false values or dates. In a column of text only an
empty cell does: ``NA`` may well be Namibia."""

TYPES: Mapping[Kind, pa.DataType] = {
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "category": pa.string(),
    "date": pa.timestamp("us"),
}
"""What a column of each kind is read as."""

_EXACT = 2.0**53  # whole numbers below are float64 without loss
_GUESSES = (pa.int64(), pa.float64(), pa.bool_(), pa.timestamp("us"))
_VALUES = pa.array(MISSING, pa.string())


def parse(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    """Return a column of text as `wanted`: int64, float64, bool, timestamp or string.

    Dates are ISO 8601 (``2024-05-01``, ``2024-05-01 13:37:00.5``); with a time zone they become UTC, without
    a zone they stay as they are.

    Raises
    ------
    pyarrow.ArrowInvalid
        A cell does not spell such a value.
    """
    if pa.types.is_string(wanted):
        return column
    column = _without_missing(column)
    if pa.types.is_timestamp(wanted):
        return _dates(column)
    if pa.types.is_integer(wanted):
        pc.cast(column, pa.float64())  # refuses hexadecimal, which the cast to integers would accept
    return pc.cast(column, wanted)


def as_integers(column: pa.ChunkedArray, numbers: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers that were read from a column of text, as int64 if all that are there are whole."""
    if numbers.null_count == len(numbers):
        return numbers
    try:
        whole = pc.cast(numbers, pa.int64())
        exact = pc.max(pc.abs(numbers)).as_py() < _EXACT
        return whole if exact else pc.cast(_without_missing(column), pa.int64())
    except pa.ArrowInvalid:  # a fraction, or a number that is too long
        return numbers


def _without_missing(column: pa.ChunkedArray) -> pa.ChunkedArray:
    trimmed = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.is_in(trimmed, value_set=_VALUES), pa.scalar(None, trimmed.type), trimmed)


def _dates(column: pa.ChunkedArray) -> pa.ChunkedArray:
    for unit in ("us", "ns"):
        for zone in (None, "UTC"):
            try:
                dates = pc.cast(column, pa.timestamp(unit, zone))
            except pa.ArrowInvalid:
                continue
            local = pc.local_timestamp(dates) if zone else dates
            return pc.cast(local, pa.timestamp("us"), safe=False)
    raise pa.ArrowInvalid("not all cells are dates")


class Guess:
    """Which types the text of a column allows, narrowed part by part.

    Parameters
    ----------
    types
        The types to try, the preferred first; text is what remains.
    """

    def __init__(self, types: Iterable[pa.DataType] = _GUESSES) -> None:
        self._seen = dict.fromkeys(types, False)  # type still possible -> whether any value was of it

    def look(self, column: pa.ChunkedArray) -> None:
        """Drop the types that a part of the column does not allow."""
        for wanted in list(self._seen):
            try:
                parsed = parse(column, wanted)
            except pa.ArrowInvalid:
                del self._seen[wanted]
            else:
                self._seen[wanted] |= parsed.null_count < len(parsed)

    def type(self) -> pa.DataType:
        """Return the preferred type that every cell allows and at least one has; otherwise text."""
        return next((wanted for wanted, seen in self._seen.items() if seen), pa.string())


def first_bad(column: pa.ChunkedArray, wanted: pa.DataType) -> tuple[int, str]:
    """Return the place and the text of the first cell that does not spell a value of type `wanted`."""
    low, high = 0, len(column)  # the first bad cell is in [low, high): halve until one is left
    while high - low > 1:
        middle = (low + high) // 2
        try:
            parse(column.slice(low, middle - low), wanted)
        except pa.ArrowInvalid:
            high = middle
        else:
            low = middle
    return low, str(column[low].as_py())
