"""From features back to values, and the gaps that are only counted."""

import numpy as np
import pandas as pd
import pytest

from da3d.datasets import toy
from da3d.preprocessing import TableEncoder

FRAME = toy.mixed(rows=300, seed=0).frame


@pytest.mark.parametrize("scaling", ["standard", "minmax"])
def test_what_was_encoded_comes_back(scaling):
    encoder = TableEncoder(scaling=scaling).fit(FRAME)
    back = encoder.inverse_transform(encoder.transform(FRAME))
    assert list(back) == encoder.schema_.names
    for name in ("amount", "items"):
        found = back[name].astype(float)
        assert found.isna().equals(FRAME[name].isna())
        np.testing.assert_allclose(found, FRAME[name].astype(float), rtol=1e-4)
    for name in ("country", "channel", "member"):
        assert back[name].where(back[name].notna(), None).tolist() == [
            None if value is None or value != value else value for value in FRAME[name]
        ]
    there = FRAME["paid_at"].notna()
    assert back["paid_at"].isna().equals(~there)
    clock = FRAME["paid_at"][there].dt.round("min").dt.strftime("%a %H:%M")
    assert (back["paid_at"][there] == clock).mean() > 0.99  # half minutes may go either way


def test_rare_and_unseen_values_are_called_so():
    encoder = TableEncoder(max_categories=1).fit(
        pd.DataFrame({"a": ["x", "x", "y", "z"], "b": [0.0, 1, 2, 3]})
    )
    table = pd.DataFrame({"a": ["x", "y", "new"], "b": [0.0, 1, 2]})
    assert encoder.inverse_transform(encoder.transform(table))["a"].tolist() == ["x", "<rare>", "<unseen>"]


def test_dates_without_hours_are_weekdays():
    frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=7)})
    encoder = TableEncoder().fit(frame)
    found = encoder.inverse_transform(encoder.transform(frame))["day"].tolist()
    assert found == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


def test_features_between_values_are_the_likeliest_value():
    encoder = TableEncoder().fit(pd.DataFrame({"a": ["x", "y", "x"], "ok": [True, False, True]}))
    names = encoder.feature_names_
    features = np.zeros((1, len(names)))
    features[0, [names.index("a=x"), names.index("a=y"), names.index("ok")]] = 0.3, 0.4, 0.6
    assert encoder.inverse_transform(features).iloc[0].to_dict() == {"a": "y", "ok": True}


def test_counted_gaps_make_the_feature_that_belongs_to_no_column():
    encoder = TableEncoder().fit(FRAME)
    table = FRAME.head(40).astype({"member": object})
    table.loc[table.index[:10], "items"] = None
    table.loc[table.index[5:20], "member"] = None
    found = encoder.counted_gaps(table)
    names = encoder.schema_.names
    assert found.shape == (40, len(names))
    assert found[:, names.index("items")].sum() == 10
    assert found[:, names.index("member")].sum() == 15
    assert not found[:, names.index("amount")].any()  # gaps that were there at fit have a feature
    counter = np.flatnonzero(encoder.feature_columns_ == -1)[0]
    np.testing.assert_array_equal(found.sum(1), encoder.transform(table)[:, counter])
