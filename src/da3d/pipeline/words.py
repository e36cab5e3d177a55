"""Values and what is usual in their columns, in words."""

from __future__ import annotations

from typing import Any

import pandas as pd

from da3d.pipeline.reference import Usual
from da3d.preprocessing.values import WEEKDAYS

__all__ = ["remark", "shown", "usual_range"]

_RARE = 0.01
_FEW = 0.005  # an hour with a smaller share of the dates is not among the usual ones
_LONGEST = 40


def shown(value: Any) -> str:
    """A value of a plain table as a person would write it; texts in quotes, thousands apart."""
    if value is None or value is pd.NaT or value != value:
        return "missing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= _LONGEST else f"'{value[:_LONGEST]}...'"
    if isinstance(value, float):
        return _number(value)
    return f"{value:%a} {value:%Y-%m-%d %H:%M}"


def _number(value: float) -> str:
    if value.is_integer() and abs(value) < 1e15:
        return f"{value + 0.0:,.0f}".replace(",", " ")
    return f"{value:,.0f}".replace(",", " ") if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 10 or not percent else f"{percent:.2g} %"


def usual_range(usual: Usual) -> str:
    """What is usual in a column, in a few words."""
    if usual.kind == "number":
        low, high = _number(usual.low or 0.0), _number(usual.high or 0.0)
        return low if low == high else f"{low} to {high}"
    if usual.kind == "date":
        return ", ".join(part for part in (_hours(usual), _days(usual)) if part)
    quote = "'" if usual.kind == "category" else ""
    most = list(usual.shares.items())[:3]
    return ", ".join(f"{quote}{text[:_LONGEST]}{quote} {_percent(share)}" for text, share in most)


def _hours(usual: Usual) -> str:
    """The hours of the day that are usual, as ranges on the clock; a range may go past midnight."""
    if "0" not in usual.shares:
        return ""
    held = [usual.shares[str(hour)] >= _FEW for hour in range(24)]
    if all(held):
        return "any hour"
    starts = [hour for hour in range(24) if held[hour] and not held[hour - 1]]
    ends = [next(h for h in range(start, start + 24) if not held[(h + 1) % 24]) % 24 for start in starts]
    return ", ".join(f"{start:02d}:00 to {end:02d}:59" for start, end in zip(starts, ends, strict=True))


def _days(usual: Usual) -> str:
    days = [day for day in WEEKDAYS if usual.shares[day] >= _RARE]
    return "any day" if len(days) == 7 else ", ".join(days)


def remark(usual: Usual, value: Any, *, raises: bool) -> str:
    """One statement about a value, such as "`bytes` 54 540 is far above the usual 0 to 3 000".

    Parameters
    ----------
    usual : Usual
        Of the value's column.
    value
        As in a `plain_table`.
    raises : bool
        Whether the value raises the row's score.
    """
    missing = shown(value) == "missing"
    subject = f"`{usual.name}` is missing" if missing else f"`{usual.name}` {shown(value)}"
    strange = _strange_gap(usual) if missing else _strange(usual, value)
    if strange:
        return subject + strange
    if missing:
        held = f"as in {_percent(usual.missing)} of the normal rows"
        return f"{subject}, {held}" + (", but rarely beside the other values" if raises else "")
    share = usual.shares.get(_key(value))
    held = usual_range(usual) if share is None else f"{_percent(share)} of the normal rows"
    by_itself = f"{subject} is usual by itself ({held}), but not beside the other values"
    return by_itself if raises else f"{subject} is usual ({held})"


def _key(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _strange_gap(usual: Usual) -> str:
    """Why it is unusual that a value is missing; nothing if it is not."""
    if not usual.missing:
        return ", which it is in no normal row"
    if usual.missing < _RARE:
        return f", which is unusual: {_percent(usual.missing)} of the normal rows"
    return ""


def _strange(usual: Usual, value: Any) -> str:
    """Why a value is unusual in its column alone; nothing if it is not."""
    if usual.kind == "number":
        strange = _strange_number(usual, float(value))
    elif usual.kind == "date":
        strange = _strange_date(usual, value)
    else:
        strange = _strange_share(usual.shares.get(_key(value), 0.0))
    given = 1 - usual.missing
    if strange or given >= _RARE:
        return strange
    return f" is there, which is unusual: {_percent(given)} of the normal rows have a value"


def _strange_share(share: float) -> str:
    if not share:
        return " was never seen"
    return f" is rare: {_percent(share)} of the normal rows" if share < _RARE else ""


def _strange_number(usual: Usual, value: float) -> str:
    low, high, least, most = (each or 0.0 for each in (usual.low, usual.high, usual.least, usual.most))
    if low <= value <= high:
        return ""
    width = high - low or most - least or 1.0
    far = "far " if max(value - high, low - value) > width else ""
    side = "above" if value > high else "below"
    beyond = "" if least <= value <= most else " and beyond every normal row"
    return f" is {far}{side} the usual {usual_range(usual)}{beyond}"


def _strange_date(usual: Usual, value: Any) -> str:
    hour, day = usual.shares.get(str(value.hour), 1.0), usual.shares[WEEKDAYS[value.weekday()]]
    if hour < _FEW:
        held = f"is rare, {_percent(hour)} of the normal rows" if hour else "no normal row has"
        return f" is at an hour that {held} (usual: {_hours(usual)})"
    if day < _RARE:
        held = f"is rare, {_percent(day)} of the normal rows" if day else "no normal row has"
        return f" is on a weekday that {held} (usual: {_days(usual)})"
    return ""
