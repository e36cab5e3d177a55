import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

from da3d.errors import TableError
from da3d.preprocessing import to_frame


def test_a_pandas_frame_is_returned_itself():
    frame = pd.DataFrame({"a": [1, 2]}, index=["p", "q"])
    assert to_frame(frame) is frame


@pytest.mark.parametrize(
    "table",
    [
        pl.DataFrame({"a": [1, 2], "b": ["x", None]}),
        pl.LazyFrame({"a": [1, 2], "b": ["x", None]}),
        pa.table({"a": [1, 2], "b": ["x", None]}),
        pa.RecordBatch.from_pydict({"a": [1, 2], "b": ["x", None]}),
        [{"a": 1, "b": "x"}, {"a": 2}],
    ],
    ids=["polars", "lazy", "table", "batch", "dicts"],
)
def test_other_tables_become_the_same_frame(table):
    frame = to_frame(table)
    assert list(frame.columns) == ["a", "b"]
    assert frame["a"].tolist() == [1, 2]
    assert frame["b"].isna().tolist() == [False, True]
    assert isinstance(frame.index, pd.RangeIndex)


def test_polars_kinds_survive():
    table = pl.DataFrame({"d": [dt.date(2024, 1, 1), None], "t": [True, None], "n": [1, None]})
    frame = to_frame(table)
    assert pd.api.types.is_datetime64_any_dtype(frame["d"])
    assert frame["t"].tolist() == [True, None]


@pytest.mark.parametrize("rows", [np.arange(6.0).reshape(3, 2), np.arange(6.0).reshape(3, 2).tolist()])
def test_arrays_and_lists_get_names(rows):
    assert list(to_frame(rows).columns) == ["x0", "x1"]
    assert to_frame(rows).shape == (3, 2)


def test_an_array_is_not_copied():
    array = np.zeros((3, 2))
    assert np.shares_memory(array, to_frame(array).to_numpy())


def test_a_masked_value_is_missing():
    array = np.ma.MaskedArray([[1, 2], [3, 4]], mask=[[False, True], [False, False]])
    assert np.isnan(to_frame(array).iloc[0, 1])


def test_column_names_become_text():
    frame = pd.DataFrame([[1, 2]], columns=[0, "b"])
    assert list(to_frame(frame).columns) == ["0", "b"]
    assert list(frame.columns) == [0, "b"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (np.arange(3.0), r"reshape\(-1, 1\)"),
        (np.zeros((2, 2, 2)), "3 dimensions"),
        (np.zeros(2, dtype=[("a", float)]), "structured"),
        (np.zeros((0, 2)), "no rows"),
        (np.zeros((2, 0)), "no columns"),
        (pd.DataFrame(), "no columns"),
        (pd.DataFrame({"a": []}), "no rows"),
        (pl.DataFrame({"a": []}), "no rows"),
        (pa.table({"a": pa.array([], pa.int64())}), "no rows"),
        ([], "no rows"),
        ([1, 2], "list of int"),
        ([[1, 2], [3]], "between 1 and 2"),
        (["ab", "cd"], "list of str"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "named 'a'"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "named '1'"),
        (pa.table([[1], [2]], names=["a", "a"]), "named 'a'"),
        (pd.Series([1]), "to_frame"),
        (pl.Series([1]), "to_frame"),
        ({"a": [1]}, r"pandas\.DataFrame"),
        (sparse.eye(3), "toarray"),
        (None, "NoneType"),
        ("table.csv", "str is not a table"),
    ],
)
def test_what_is_no_table_is_refused_with_advice(table, said):
    with pytest.raises(TableError, match=said):
        to_frame(table)
