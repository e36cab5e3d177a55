import datetime as dt
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from da3d.errors import SchemaError
from da3d.preprocessing import Column, Schema, TableWarning, content_of

D = dt.date(2024, 5, 1)
T = dt.datetime(2024, 5, 1, 13, 37)


def of_objects(*values):
    return pd.Series(values, dtype=object)


@pytest.mark.parametrize(
    ("series", "content"),
    [
        (pd.Series([1, 2]), "number"),
        (pd.Series([1.5, np.nan]), "number"),
        (pd.Series([1, None], dtype="Int64"), "number"),
        (pd.Series([dt.timedelta(seconds=3)]), "number"),
        (of_objects(1, Decimal("2.5"), None), "number"),
        (of_objects(Decimal("2.5"), None), "number"),
        (of_objects(10**400, 1), "number"),
        (of_objects(dt.timedelta(1)), "number"),
        (pd.Series([True, False]), "boolean"),
        (of_objects(True, None), "boolean"),
        (pd.Series([True, None], dtype="boolean"), "boolean"),
        (pd.Series(["a", None]), "category"),
        (of_objects("a", None), "category"),
        (of_objects("a", 1), "category"),
        (of_objects(b"a"), "category"),
        (of_objects(dt.time(3)), "category"),
        (pd.Series([1, 2], dtype="category"), "category"),
        (pd.Series(["1", "2"]), "category"),
        (pd.Series([T]), "date"),
        (pd.Series([T]).dt.tz_localize("Europe/Berlin"), "date"),
        (of_objects(D, None), "date"),
        (of_objects(D, T), "date"),
        (pd.Series(pd.period_range("2024", periods=2, freq="D")), "date"),
        (pd.Series([None, np.nan]), "missing"),
        (pd.Series([pd.NaT]), "missing"),
        (of_objects([1], [2]), "nested"),
        (of_objects("a", {"b": 1}), "nested"),
        (of_objects(np.zeros(2)), "nested"),
        (pd.Series([1j]), "complex"),
        (of_objects(1j), "complex"),
        (pd.Series([Decimal("1.2")], dtype=pd.ArrowDtype(pa.decimal128(5, 2))), "number"),
        (pd.Series([D], dtype=pd.ArrowDtype(pa.date32())), "date"),
        (pd.Series([T], dtype=pd.ArrowDtype(pa.timestamp("us", "UTC"))), "date"),
        (pd.Series([True, None], dtype=pd.ArrowDtype(pa.bool_())), "boolean"),
        (pd.Series([[1]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))), "nested"),
        (pd.Series(["a"], dtype=pd.ArrowDtype(pa.string())), "category"),
        (pd.Series(["a"], dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))), "category"),
    ],
)
def test_content(series, content):
    assert content_of(series) == content


FITTED = pd.DataFrame({"n": [1, 2], "b": [True, False], "c": ["x", "y"], "d": [T, T], "void": [None, None]})
SCHEMA = Schema.infer(FITTED)


def test_infer_leaves_out_what_has_no_kind():
    assert SCHEMA.kinds == {"n": "number", "b": "boolean", "c": "category", "d": "date"}


def test_the_fitted_table_is_returned_without_a_copy():
    frame = FITTED[SCHEMA.names]
    assert SCHEMA.align(frame) is frame


def test_order_does_not_matter_and_the_index_stays():
    frame = FITTED[["d", "c", "b", "n"]].set_axis(["p", "q"], axis="index")
    aligned = SCHEMA.align(frame)
    assert list(aligned.columns) == SCHEMA.names
    assert list(aligned.index) == ["p", "q"]


def test_missing_columns_are_listed():
    with pytest.raises(SchemaError, match=r"lacks 2 of 4 columns seen at fit: 'n', 'd'"):
        SCHEMA.align(FITTED[["b", "c"]])


def test_extra_columns_are_named_and_ignored():
    with pytest.warns(TableWarning, match="'void'"):
        assert list(SCHEMA.align(FITTED).columns) == SCHEMA.names
    assert list(SCHEMA.align(FITTED, ignored={"void"}).columns) == SCHEMA.names


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("n", [1.5, 2.5]),
        ("n", [True, False]),
        ("n", [None, None]),
        ("n", pd.Series([1, None], dtype="Int64")),
        ("b", [0, 1]),
        ("b", [0.0, np.nan]),
        ("b", [None, None]),
        ("c", pd.Series(["x", "z"], dtype="category")),
        ("c", pd.Series([1, 2], dtype=object)),
        ("c", [None, None]),
        ("d", pd.Series([D, None], dtype=object)),
        ("d", pd.Series([T, T]).dt.tz_localize("UTC")),
        ("d", [pd.NaT, pd.NaT]),
    ],
)
def test_compatible_kinds_pass(column, values):
    SCHEMA.align(FITTED[SCHEMA.names].assign(**{column: values}))


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("n", ["a", "b"], "column 'n' holds text but was a number at fit"),
        ("n", ["1", "2"], "column 'n' holds text but was a number at fit"),
        ("n", [T, T], "column 'n' holds dates but was a number"),
        ("n", [1j, 2j], "complex"),
        ("b", [0, 2], "column 'b' holds numbers but was true/false"),
        ("c", [1, 2], r"column 'c' holds numbers but was text at fit: astype\(str\)"),
        ("c", [[1], [2]], "nested"),
        (
            "d",
            ["2024-05-01", "2024-05-02"],
            r"column 'd' holds text but was a date at fit: pandas\.to_datetime",
        ),
        ("d", [1, 2], "holds numbers but was a date"),
    ],
)
def test_another_kind_is_refused(column, values, said):
    with pytest.raises(SchemaError, match=said):
        SCHEMA.align(FITTED[SCHEMA.names].assign(**{column: values}))


@given(
    st.lists(
        st.builds(Column, st.text(), st.sampled_from(["number", "boolean", "category", "date"])),
        unique_by=lambda column: column.name,
    )
)
def test_json_round_trip(columns):
    schema = Schema(tuple(columns))
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


@pytest.mark.parametrize(
    "entries",
    [
        None,
        "text",
        [1],
        [{"name": "a"}],
        [{"name": "a", "kind": "tensor"}],
        [{"name": "a", "kind": []}],
        [{"name": 3, "kind": "number"}],
        [{"name": "a", "kind": "number", "call": "me"}],
        [{"name": "a", "kind": "number"}] * 2,
    ],
)
def test_foreign_json_is_refused(entries):
    with pytest.raises(SchemaError):
        Schema.from_json(entries)
