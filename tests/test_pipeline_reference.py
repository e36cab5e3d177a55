"""What a pipeline remembers of its normal rows."""

import json
from dataclasses import asdict
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from da3d.errors import TableError
from da3d.pipeline import Reference
from da3d.pipeline.reference import Usual, plain_table
from da3d.preprocessing import Schema, TableEncoder

FRAME = pd.DataFrame(
    {
        "size": [1.0, 2.0, np.inf, 4.0, None, 6.0],
        "cost": [Decimal("1.5"), Decimal(2), None, Decimal(4), Decimal(5), Decimal(6)],
        "wait": pd.to_timedelta([1, 2, 3, 4, 5, 60], unit="s"),
        "ok": pd.array([True, False, None, True, True, True], dtype="boolean"),
        "proto": pd.Categorical(["tcp", "udp", "tcp", None, "tcp", "tcp"]),
        "when": pd.to_datetime(["2024-01-01 10:00", "2024-01-02 11:00", None, *["2024-01-06 10:30"] * 3]),
        "day": pd.to_datetime(["2024-01-01"] * 5 + ["2024-01-07"]).tz_localize("Europe/Berlin"),
    }
)
SCHEMA = Schema.infer(FRAME)


@pytest.fixture
def reference():
    return Reference.learn(FRAME, FRAME, np.arange(6.0), SCHEMA, most=4, seed=0)


def test_plain_values():
    table = plain_table(FRAME.set_axis(list("abcdef")), SCHEMA)
    assert list(table.index) == list("abcdef")
    assert table["size"].isna().tolist() == [False, False, True, False, True, False]
    assert table["cost"].tolist()[:2] == [1.5, 2.0]
    assert table["wait"].tolist()[-1] == 60.0
    assert table["ok"].tolist() == [True, False, None, True, True, True]
    assert table["proto"].tolist() == ["tcp", "udp", "tcp", None, "tcp", "tcp"]
    assert table["day"].iloc[-1] == pd.Timestamp("2024-01-07")
    assert table["when"].isna().tolist() == [False, False, True, False, False, False]


def test_plain_rows_have_the_features_of_the_given_ones():
    encoder = TableEncoder().fit(FRAME)
    np.testing.assert_array_equal(
        encoder.transform(plain_table(FRAME, encoder.schema_)), encoder.transform(FRAME)
    )


def test_what_is_usual():
    numbers = pd.Series([*np.arange(1000.0), np.nan])
    usual = Usual.learn("x", "number", numbers)
    assert (usual.low, usual.high, usual.least, usual.most) == (9.0, 989.0, 0.0, 999.0)
    assert usual.missing == pytest.approx(1 / 1001)
    table = plain_table(FRAME, SCHEMA)
    assert Usual.learn("proto", "category", table["proto"]).shares == {"tcp": 0.8, "udp": 0.2}
    assert Usual.learn("ok", "boolean", table["ok"]).shares == {"true": 0.8, "false": 0.2}
    when = Usual.learn("when", "date", table["when"]).shares
    assert (when["10"], when["11"], when["12"]) == (0.8, 0.2, 0.0)
    assert (when["Mon"], when["Tue"], when["Sat"], when["Sun"]) == (0.2, 0.2, pytest.approx(0.6), 0.0)
    day = Usual.learn("day", "date", table["day"]).shares
    assert "10" not in day
    assert day["Sun"] == pytest.approx(1 / 6)


def test_the_strangest_are_not_remembered(reference):
    assert len(reference.rows) == 4
    assert 60.0 not in reference.rows["wait"].tolist()
    every = Reference.learn(FRAME, FRAME, np.arange(6.0), SCHEMA, most=100, seed=0)
    assert len(every.rows) == 5
    assert every.usual == reference.usual


def test_state_goes_through_json(reference):
    learnt, values = reference.state()
    assert values.dtype == np.float64
    again = Reference.from_state(json.loads(json.dumps(learnt)), values, SCHEMA)
    pd.testing.assert_frame_equal(again.rows, reference.rows)
    assert again.usual == reference.usual
    np.testing.assert_array_equal(again.state()[1], values)


def test_no_rows_at_all():
    empty = Reference.learn(FRAME, FRAME, np.arange(6.0), SCHEMA, most=0, seed=0)
    learnt, values = empty.state()
    assert values.shape == (0, 7)
    assert len(Reference.from_state(learnt, values, SCHEMA).rows) == 0


@pytest.mark.parametrize("harm", ["column", "kind", "texts", "place", "infinite", "width"])
def test_a_damaged_state_is_refused(reference, harm):
    learnt, values = reference.state()
    usual = [dict(each) for each in learnt["usual"]]
    texts = dict(learnt["texts"])
    if harm == "column":
        usual.pop()
    elif harm == "kind":
        usual[0]["kind"] = "date"
    elif harm == "texts":
        texts["proto"] = []
    elif harm == "place":
        values[0, 4] = -1
    elif harm == "infinite":
        values[0, 0] = np.inf
    else:
        values = values[:, :-1]
    with pytest.raises(TableError, match="stored reference rows"):
        Reference.from_state({"usual": usual, "texts": texts}, values, SCHEMA)


def test_usual_is_json():
    assert json.loads(json.dumps(asdict(Usual.learn("x", "number", pd.Series([1.0])))))["low"] == 1.0
