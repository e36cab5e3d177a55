"""One column -> plain arrays: finite numbers, points on a clock, text."""

from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pandas.api import types

from da3d.preprocessing.kinds import plain

Floats = NDArray[np.float64]

LARGEST = 1e140  # finite values beyond are cut here: their squares, summed by a scaler, must stay finite
DAY = 86_400  # seconds
HOUR_NAMES = ("hour (sin)", "hour (cos)")
WEEKDAY_NAMES = ("weekday (sin)", "weekday (cos)")
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def numbers(series: "pd.Series[Any]") -> Floats:
    """Return a column of numbers, booleans or time differences (in seconds) as float64.

    Returns
    -------
    ndarray of float64, shape (rows,)
        Missing and infinite values are NaN; finite values lie within ±`LARGEST`. A new array.
    """
    series = plain(series)
    if types.infer_dtype(series, skipna=True) in {"timedelta", "timedelta64"}:
        series = pd.to_timedelta(series).dt.total_seconds()
    if types.is_object_dtype(series.dtype):
        out = _from_objects(series)
    else:
        out = np.array(series.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
    out[np.isinf(out)] = np.nan
    return np.clip(out, -LARGEST, LARGEST, out=out)


def _from_objects(series: "pd.Series[Any]") -> Floats:
    out = np.full(len(series), np.nan)
    there = series.notna().to_numpy()
    values = series.to_numpy()[there]
    try:
        out[there] = values.astype(np.float64)
    except OverflowError:  # an integer beyond float64
        out[there] = [float(min(max(value, -LARGEST), LARGEST)) for value in values]
    return out


def seconds(series: "pd.Series[Any]") -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return dates as whole seconds of the local wall clock since 1970, and where they are missing.

    Dates with a time zone count by the clock on their own wall, for that is what habits follow.

    Returns
    -------
    tuple of ndarrays, shape (rows,) each
        Seconds (meaningless where missing), and True where the date is missing.
    """
    series = plain(series)
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_localize(None)
    if isinstance(series.dtype, pd.PeriodDtype):
        series = series.dt.to_timestamp()
    if types.is_object_dtype(series.dtype):
        there = series.notna().to_numpy()
        stamps = np.full(len(series), np.datetime64("NaT"), dtype="datetime64[s]")
        stamps[there] = [_stamp(value) for value in series.to_numpy()[there]]
    else:
        stamps = series.to_numpy().astype("datetime64[s]")
    return stamps.astype(np.int64), np.isnat(stamps)


def _stamp(value: date | np.datetime64) -> np.datetime64:
    if isinstance(value, np.datetime64):
        return value
    if isinstance(value, pd.Timestamp):
        return value.tz_localize(None).to_datetime64()
    return np.datetime64(value.replace(tzinfo=None) if isinstance(value, datetime) else value)


def clock(series: "pd.Series[Any]", hours: bool) -> Floats:
    """Return dates as points on the circle of the week and, with `hours`, on the circle of the day.

    Returns
    -------
    ndarray of float64, shape (rows, 2) or (rows, 4)
        Sine and cosine, in [-1, 1]: first of the time of day where asked for, then of the weekday. Missing
        dates are NaN.
    """
    instants, missing = seconds(series)
    turns = [np.mod(instants, DAY) / DAY] if hours else []
    turns.append(np.mod(np.floor_divide(instants, DAY) + 3, 7) / 7)  # 1970 began on a Thursday
    out = np.stack([wave(2 * np.pi * turn) for turn in turns for wave in (np.sin, np.cos)], axis=1)
    out[missing] = np.nan
    return out


def clock_texts(points: Floats, hours: bool) -> list[str]:
    """Return weekday and, with `hours`, time of day of points that `clock` made, as in ``Tue 14:05``."""
    turns = np.mod(np.arctan2(points[:, 0::2], points[:, 1::2]) / (2 * np.pi), 1.0)
    days = [WEEKDAYS[round(7 * turn) % 7] for turn in turns[:, -1]]
    if not hours:
        return days
    minutes = [round(1440 * turn) % 1440 for turn in turns[:, 0]]
    return [f"{day} {at // 60:02d}:{at % 60:02d}" for day, at in zip(days, minutes, strict=True)]


def has_hours(series: "pd.Series[Any]") -> bool:
    """Return whether any date of the column is not midnight."""
    instants, missing = seconds(series)
    return bool(np.any(np.mod(instants[~missing], DAY) != 0))


def texts(series: "pd.Series[Any]") -> pa.Array:
    """Return a column of categories as arrow text (``large_string``) with nulls for missing values.

    Values that are not text are written as text one by one, so a value's text never depends on other rows.
    """
    series = plain(series)
    if isinstance(series.dtype, pd.CategoricalDtype):
        codes = series.cat.codes.to_numpy()
        names = _array([_text(value) for value in series.cat.categories])
        return names.take(pa.array(codes, mask=codes < 0))
    if types.infer_dtype(series, skipna=True) == "string":
        try:
            return _array(series)
        except (UnicodeError, pa.ArrowException):  # half a surrogate pair: not writable as UTF-8
            pass
    gone = series.isna().to_numpy()
    return _array([None if none else _text(value) for value, none in zip(series, gone, strict=True)])


def _array(values: Any) -> pa.Array:
    out = pa.array(values, type=pa.large_string(), from_pandas=True)
    return out.combine_chunks() if isinstance(out, pa.ChunkedArray) else out


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="backslashreplace")
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1.0 is the category 1 that became a float beside a missing value
    return str(value).encode("utf-8", errors="backslashreplace").decode("utf-8")
