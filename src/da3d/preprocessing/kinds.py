"""What a column holds: its kind, or why it cannot be used."""

from decimal import Decimal
from numbers import Number
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api import types

Kind = Literal["number", "boolean", "category", "date"]
"""The four kinds of columns that a table may have."""

Content = Literal["number", "boolean", "category", "date", "missing", "nested", "complex"]
"""What a column of one table holds: a kind, no value at all, or values that no kind covers."""

_OBJECTS: dict[str, Content] = {  # what pandas.api.types.infer_dtype says -> content
    "string": "category",
    "bytes": "category",
    "floating": "number",
    "integer": "number",
    "mixed-integer-float": "number",
    "decimal": "number",
    "timedelta": "number",
    "timedelta64": "number",
    "boolean": "boolean",
    "datetime": "date",
    "datetime64": "date",
    "date": "date",
    "complex": "complex",
    "empty": "missing",
    "time": "category",
    "interval": "category",
    "period": "category",
}


def plain(series: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return the column without an arrow data type (numpy types and pandas' own are left alone)."""
    if not isinstance(series.dtype, pd.ArrowDtype):
        return series
    values = pa.chunked_array(pa.array(series)).to_pandas()
    return pd.Series(values.array, index=series.index, name=series.name)


def content_of(series: "pd.Series[Any]") -> Content:
    """Return what a column holds.

    Parameters
    ----------
    series
        One column. Integers, floats, decimals and time differences are numbers; dates may have a time zone;
        text, pandas categories, bytes, times of day and mixtures of unlike values are categories.

    Returns
    -------
    Content
        A `Kind`, or ``"missing"`` (no value at all), ``"nested"`` (lists, dicts, arrays), ``"complex"``.
    """
    series = plain(series)
    if bool(series.isna().all()):
        return "missing"
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype | pd.StringDtype | pd.IntervalDtype):
        return "category"
    if types.is_bool_dtype(dtype):
        return "boolean"
    if types.is_complex_dtype(dtype):
        return "complex"
    if types.is_numeric_dtype(dtype) or types.is_timedelta64_dtype(dtype):
        return "number"
    if types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
        return "date"
    inferred = types.infer_dtype(series, skipna=True)
    return _OBJECTS.get(inferred) or _mixture(series)


def _mixture(series: "pd.Series[Any]") -> Content:
    values = list(series[series.notna()])
    if any(isinstance(value, list | dict | tuple | set | np.ndarray | pd.Series) for value in values):
        return "nested"
    if all(isinstance(value, Number | Decimal) and not isinstance(value, complex) for value in values):
        return "number"  # for example integers beside decimals
    return "category"
