"""Any table that a caller may hold -> one pandas data frame."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa

from da3d.errors import TableError

ACCEPTED = (
    "a pandas or polars data frame, a pyarrow table, a 2-D numpy array, a list of dicts or a list of lists"
)


def to_frame(table: Any) -> pd.DataFrame:
    """Return a table of any supported library as a pandas data frame.

    Parameters
    ----------
    table
        pandas DataFrame, polars DataFrame or LazyFrame (collected), pyarrow Table or RecordBatch, any other
        eager frame that narwhals knows, 2-D numpy array (or an object that converts to one), list of dicts,
        list of equally long lists.

    Returns
    -------
    pandas.DataFrame
        Shape (rows, columns), both at least 1. A pandas frame keeps its index and its memory; every other
        table gets a ``RangeIndex``. Column names are strings and unique; arrays and lists of lists get the
        names ``x0``, ``x1``, ...

    Raises
    ------
    TableError
        The table is empty, is not two-dimensional, repeats a column name, or is of no known type.
    """
    frame = _convert(table)
    names = [str(name) for name in frame.columns]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise TableError(
            f"the table has more than one column named {listed(repeated)}: every column needs its own name "
            "(names are compared as text), so rename or drop the repeated ones"
        )
    if not names:
        raise TableError("the table has no columns: at least one column is needed")
    if len(frame) == 0:
        raise TableError("the table has no rows: at least one row is needed")
    if all(isinstance(name, str) for name in frame.columns) and frame.columns.nlevels == 1:
        return frame
    return frame.set_axis(names, axis="columns")


def collected(table: Any) -> Any:
    """Return a lazy table's rows as an eager table of its library; any other table as it is."""
    native = nw.from_native(table, pass_through=True, allow_series=True)
    if not isinstance(native, nw.LazyFrame):
        return table
    eager = native.collect()
    return eager if isinstance(table, nw.LazyFrame) else eager.to_native()


def like(result: pd.DataFrame, table: Any) -> Any:
    """Return a result in the kind of the table that it is about.

    Parameters
    ----------
    result : pandas.DataFrame
        One row per row of `table`; columns of numbers or true/false values.
    table
        Any eager table that `to_frame` takes.

    Returns
    -------
    table
        A frame of the same library as `table`; `result` itself, with its index, if that is pandas, an array
        or a list. Other libraries know no index: their rows are in the same order.
    """
    columns = {str(name): result[name].to_numpy() for name in result.columns}
    if isinstance(table, pa.RecordBatch):
        return pa.RecordBatch.from_pydict(columns)
    if isinstance(table, pd.DataFrame):
        return result
    native = nw.from_native(table, pass_through=True, eager_only=True)
    if not isinstance(native, nw.DataFrame):
        return result
    frame = nw.from_dict(columns, backend=native.implementation)
    return frame if isinstance(table, nw.DataFrame) else frame.to_native()


def listed(names: Sequence[str], most: int = 8) -> str:
    """Return names in quotes for a message; after `most` of them only their number."""
    text = ", ".join(f"'{name}'" for name in names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"


def _convert(table: Any) -> pd.DataFrame:
    if isinstance(table, pd.DataFrame):
        return table
    if isinstance(table, pa.RecordBatch | pa.Table):
        return _from_arrow(table)
    if isinstance(table, np.ndarray):
        return _from_array(table)
    if isinstance(table, list | tuple):
        return _from_list(table)
    native = nw.from_native(table, pass_through=True, allow_series=True)
    if isinstance(native, nw.LazyFrame):
        native = native.collect()
    if isinstance(native, nw.DataFrame):
        return native.to_pandas()
    if isinstance(native, nw.Series):
        raise TableError(
            "a single column (a 1-D series) was given where a table is needed: use series.to_frame()"
        )
    return _from_other(table)


def _from_other(table: Any) -> pd.DataFrame:
    if hasattr(table, "toarray"):
        raise TableError("a sparse matrix was given: tables are dense here, so call .toarray() first")
    if hasattr(table, "__array__"):
        return _from_array(np.asarray(table))
    hint = ": wrap it in pandas.DataFrame(...)" if isinstance(table, Mapping) else ""
    raise TableError(f"{type(table).__name__} is not a table: {ACCEPTED} is needed{hint}")


def _from_arrow(table: pa.Table | pa.RecordBatch) -> pd.DataFrame:
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    repeated = [name for name, count in Counter(table.column_names).items() if count > 1]
    if repeated:
        raise TableError(f"the table has more than one column named {listed(repeated)}: rename or drop them")
    frame: pd.DataFrame = table.to_pandas()
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count and pa.types.is_integer(column.type):  # as floats they would lose digits
            frame[name] = column.to_pandas(types_mapper=lambda kind: pd.Int64Dtype())
    return frame


def _from_array(array: np.ndarray[Any, Any]) -> pd.DataFrame:
    if array.dtype.names is not None:
        raise TableError(
            "a structured numpy array was given: pandas.DataFrame(array) turns its fields into columns"
        )
    if array.ndim == 1:
        raise TableError(
            f"a 1-D array of {len(array)} values was given where a table is needed: use array.reshape(-1, 1) "
            "for one column or array.reshape(1, -1) for one row"
        )
    if array.ndim != 2:
        raise TableError(f"an array of {array.ndim} dimensions was given: a table has 2 (rows, columns)")
    if isinstance(array, np.ma.MaskedArray):
        array = np.ma.filled(array.astype(np.float64), np.nan)
    return pd.DataFrame(array, columns=[f"x{i}" for i in range(array.shape[1])], copy=False)


def _from_list(rows: Sequence[Any]) -> pd.DataFrame:
    if not rows:
        raise TableError("the table has no rows: at least one row is needed")
    if all(isinstance(row, Mapping) for row in rows):
        return pd.DataFrame.from_records([dict(row) for row in rows])
    if not all(isinstance(row, list | tuple | np.ndarray) for row in rows):
        raise TableError(
            f"a list of {type(rows[0]).__name__} was given where a table is needed: give one list of values "
            "or one dict per row"
        )
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise TableError(
            f"the rows have between {min(widths)} and {max(widths)} values: all rows need the same number"
        )
    return pd.DataFrame(list(map(list, rows)), columns=[f"x{i}" for i in range(widths.pop())])
