import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from da3d.errors import ParameterError, SchemaError, TableError
from da3d.preprocessing import TableEncoder, TableWarning
from da3d.preprocessing import layout as layout_module

NAN, INF = np.nan, np.inf


def mixed(rows=300, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "size": rng.lognormal(size=rows),
            "count": rng.integers(0, 9, rows),
            "holes": np.where(rng.random(rows) < 0.2, NAN, rng.normal(size=rows)),
            "flag": rng.random(rows) < 0.3,
            "proto": rng.choice(["tcp", "udp", "icmp"], rows),
            "note": pd.Series(rng.choice(["a", "b"], rows)).where(rng.random(rows) < 0.7),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**7, rows), unit="s"),
            "same": 3,
        }
    )


def features(encoder, frame):
    return pd.DataFrame(encoder.transform(frame), columns=encoder.feature_names_)


@pytest.fixture(scope="module")
def fitted():
    return TableEncoder().fit(mixed())


def test_every_feature_is_finite_float32_and_has_a_source(fitted):
    out = fitted.transform(mixed())
    assert out.dtype == np.float32
    assert out.shape == (300, len(fitted.feature_names_))
    assert np.isfinite(out).all()
    assert list(fitted.get_feature_names_out()) == fitted.feature_names_
    named = [None if i < 0 else fitted.schema_.names[i] for i in fitted.feature_columns_]
    for feature, column in zip(fitted.feature_names_, named, strict=True):
        assert feature == "unexpected missing values" if column is None else feature.startswith(column)
    assert fitted.n_features_in_ == 8
    assert set(named) - {None} == set(mixed().columns)


def test_numbers_are_standardised(fitted):
    out = features(fitted, mixed())
    assert out["size"].mean() == pytest.approx(0, abs=1e-6)
    assert out["size"].std(ddof=0) == pytest.approx(1, abs=1e-6)
    assert (out["same"] == 0).all()
    assert features(fitted, mixed().assign(same=4))["same"].eq(1).all()


def test_minmax_keeps_every_fitted_feature_in_the_unit_interval():
    encoder = TableEncoder(scaling="minmax").fit(mixed())
    out = encoder.transform(mixed())
    assert out.min() >= 0
    assert out.max() <= 1 + 1e-6


def test_missing_numbers_become_the_median_and_are_flagged(fitted):
    frame = mixed().iloc[:1].assign(holes=NAN)
    out = features(fitted, frame)
    assert out["holes is missing"].item() == 1
    filled = features(fitted, frame.assign(holes=mixed()["holes"].median()))
    assert out["holes"].item() == filled["holes"].item()
    assert filled["holes is missing"].item() == 0
    assert "size is missing" not in out


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_unexpected_gaps_are_counted_per_row(fitted, value):
    frame = mixed()
    assert (features(fitted, frame)["unexpected missing values"] == 0).all()
    frame.loc[0, "size"] = value
    frame.loc[0, "when"] = pd.NaT
    frame["flag"] = frame["flag"].astype(object)
    frame.loc[0, "flag"] = None
    assert features(fitted, frame)["unexpected missing values"].head(2).tolist() == [3, 0]


def test_booleans_are_zero_or_one_and_gaps_take_the_majority(fitted):
    frame = mixed().iloc[:3].assign(flag=pd.Series([True, False, None], dtype=object))
    assert features(fitted, frame)["flag"].tolist() == [1, 0, 0]
    numbers = mixed().iloc[:3].assign(flag=[1.0, 0.0, NAN])
    assert np.array_equal(fitted.transform(frame), fitted.transform(numbers))


def test_categories_known_unseen_and_missing(fitted):
    frame = mixed().iloc[:3].assign(proto=["udp", "gopher", None], note=["a", "z", None])
    out = features(fitted, frame)
    proto = out[[name for name in out if name.startswith("proto=")]]
    assert (proto.sum(axis=1) == 1).all()
    assert out["proto=udp"].tolist() == [1, 0, 0]
    assert out["proto=<unseen>"].tolist() == [0, 1, 1]  # no value was missing at fit
    assert "proto=<missing>" not in out
    assert out["note=<missing>"].tolist() == [0, 0, 1]
    assert out["note=<unseen>"].tolist() == [0, 1, 0]
    assert "proto=<rare>" not in out
    assert features(fitted, mixed())["proto=<unseen>"].sum() == 0


def test_rare_categories_share_a_feature_and_ties_go_by_text():
    frame = pd.DataFrame({"c": ["d", "b", "a", "c", "c", "c"]})
    encoder = TableEncoder(max_categories=2).fit(frame)
    assert encoder.feature_names_ == ["c=c", "c=a", "c=<rare>", "c=<unseen>"]
    again = TableEncoder(max_categories=2).fit(frame[::-1])
    assert again.feature_names_ == encoder.feature_names_
    assert encoder.transform(pd.DataFrame({"c": ["c", "b", "d", "e"]})).argmax(axis=1).tolist() == [
        0,
        2,
        2,
        3,
    ]


def test_special_names_may_be_real_categories():
    frame = pd.DataFrame({"c": ["<unseen>", "<missing>", None]})
    encoder = TableEncoder().fit(frame)
    assert len(set(encoder.feature_names_)) == len(encoder.feature_names_) == 4
    assert encoder.transform(frame).argmax(axis=1).tolist() == [1, 0, 2]


def test_mixed_values_and_bytes_are_text_whatever_stands_beside_them():
    frame = pd.DataFrame({"c": pd.Series([1, "1", 1.0, True, b"x", "x", "\ud800", None], dtype=object)})
    encoder = TableEncoder().fit(frame)
    out = encoder.transform(frame)
    assert np.array_equal(out[0], out[1])
    assert np.array_equal(out[0], out[2])
    assert np.array_equal(out[4], out[5])
    for i in range(len(frame)):
        assert np.array_equal(encoder.transform(frame.iloc[[i]])[0], out[i])


def test_a_pandas_category_equals_its_text():
    frame = pd.DataFrame({"c": ["b", "a", None, "a"]})
    encoder = TableEncoder().fit(frame)
    assert np.array_equal(encoder.transform(frame), encoder.transform(frame.astype("category")))


def test_dates_are_points_on_the_clock_and_never_absolute(fitted):
    monday = pd.Timestamp("2024-01-01 06:00")
    frame = (
        mixed().iloc[:3].assign(when=[monday, monday + pd.Timedelta(weeks=520), monday + pd.Timedelta("1D")])
    )
    out = features(fitted, frame)
    when = out[[name for name in out if name.startswith("when:")]]
    assert when.iloc[0].tolist() == pytest.approx([1, 0, 0, 1], abs=1e-6)
    assert when.iloc[0].tolist() == when.iloc[1].tolist()
    assert when.iloc[2].tolist() == pytest.approx(
        [1, 0, np.sin(2 * np.pi / 7), np.cos(2 * np.pi / 7)], abs=1e-6
    )


@pytest.mark.parametrize(
    "dates",
    [
        pd.Series(pd.to_datetime(["2024-01-01", "2024-01-03", None])),
        pd.Series([dt.date(2024, 1, 1), dt.date(2024, 1, 3), None], dtype=object),
        pd.Series([dt.datetime(2024, 1, 1), pd.Timestamp("2024-01-03"), pd.NaT], dtype=object),
        pd.Series(pd.to_datetime(["2024-01-01", "2024-01-03", None])).dt.tz_localize("Asia/Tokyo"),
        pd.Series(pd.to_datetime(["2024-01-01", "2024-01-03", None])).dt.to_period("D"),
    ],
    ids=["datetime", "date", "object", "zone", "period"],
)
def test_all_sorts_of_dates_agree_and_midnights_have_no_hour(dates):
    encoder = TableEncoder().fit(pd.DataFrame({"d": dates}))
    names = ["d: weekday (sin)", "d: weekday (cos)", "d is missing", "unexpected missing values"]
    assert encoder.feature_names_ == names
    out = encoder.transform(pd.DataFrame({"d": dates}))
    assert out[:2, 0].tolist() == pytest.approx([0, np.sin(4 * np.pi / 7)], abs=1e-6)
    assert out[:, 2].tolist() == [0, 0, 1]


def test_numbers_in_disguise_are_numbers():
    frame = pd.DataFrame(
        {
            "decimal": [Decimal("1.5"), None, Decimal("2.5")],
            "span": pd.to_timedelta([1, 2, None], unit="h"),
            "huge": pd.Series([10**400, 1, 2], dtype=object),
        }
    )
    encoder = TableEncoder(scaling="minmax").fit(frame)
    assert set(encoder.schema_.kinds.values()) == {"number"}
    out = features(encoder, frame)
    assert out["decimal"].tolist() == [0, 0.5, 1]
    assert out["span"].tolist() == [0, 1, 0.5]
    assert out["huge"].tolist() == [1, 0, 0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(), min_size=1, max_size=8),
    st.lists(st.floats(), min_size=1, max_size=8),
    st.sampled_from(["standard", "minmax"]),
)
def test_no_number_leaves_as_nan_or_infinity(at_fit, later, scaling):
    table = pd.DataFrame({"x": [*at_fit, 0.0]})
    out = TableEncoder(scaling=scaling).fit(table).transform(pd.DataFrame({"x": later}))
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 1e6


def test_a_row_does_not_depend_on_its_neighbours_or_the_chunk(fitted, monkeypatch):
    frame = mixed(seed=1)
    out = fitted.transform(frame)
    for i in (0, 7, 299):
        assert np.array_equal(fitted.transform(frame.iloc[[i]])[0], out[i])
    monkeypatch.setattr("da3d.preprocessing.encode.CHUNK_ROWS", 17)
    assert np.array_equal(fitted.transform(frame), out)


def test_the_fit_in_chunks_is_the_fit_in_one(monkeypatch):
    whole = TableEncoder().fit(mixed()).transform(mixed())
    monkeypatch.setattr(layout_module, "CHUNK_ROWS", 17)
    np.testing.assert_allclose(TableEncoder().fit(mixed()).transform(mixed()), whole, rtol=1e-5, atol=1e-6)


def test_other_libraries_give_the_same_features(fitted):
    frame = mixed()
    assert np.array_equal(fitted.transform(pl.from_pandas(frame)), fitted.transform(frame))


def test_the_table_is_not_changed(fitted):
    frame = mixed()
    fitted.transform(frame)
    pd.testing.assert_frame_equal(frame, mixed())


def test_useless_columns_are_left_out_with_the_reason_and_not_asked_for_later():
    frame = mixed().assign(
        void=NAN,
        infinite=INF,
        nested=[[1]] * 300,
        wave=1j,
        row=[f"id{i}" for i in range(300)],
    )
    with pytest.warns(TableWarning) as caught:
        encoder = TableEncoder().fit(frame)
    assert set(encoder.ignored_columns_) == {"void", "infinite", "nested", "wave", "row"}
    assert len(caught) == 1
    for name, why in [
        ("row", "names rows"),
        ("nested", "nested"),
        ("void", "no value"),
        ("infinite", "finite"),
    ]:
        assert why in encoder.ignored_columns_[name]
        assert name in str(caught[0].message)
    assert encoder.n_features_in_ == 13
    assert np.array_equal(encoder.transform(frame), encoder.transform(mixed()))


def test_a_table_without_any_usable_column_is_refused_with_the_reasons():
    frame = pd.DataFrame({"void": [None, None], "nested": [[1], [2]]})
    with pytest.raises(TableError, match=r"'void': it holds no value at all; 'nested': it holds nested"):
        TableEncoder().fit(frame)


def test_one_row_and_equal_rows_and_one_column_can_be_encoded():
    row = mixed().iloc[:1].assign(note="a", holes=1.0)
    assert np.isfinite(TableEncoder().fit_transform(row)).all()
    assert np.isfinite(TableEncoder().fit_transform(pd.concat([row] * 5))).all()
    assert TableEncoder().fit_transform(np.arange(4.0).reshape(-1, 1)).shape == (4, 2)


def test_scoring_another_table_is_refused_or_warned_about(fitted):
    with pytest.raises(SchemaError, match="'size'"):
        fitted.transform(mixed().drop(columns="size"))
    with pytest.raises(SchemaError, match="column 'size' holds text"):
        fitted.transform(mixed().assign(size="big"))
    with pytest.warns(TableWarning, match="'new'"):
        out = fitted.transform(mixed().assign(new=1))
    assert np.array_equal(out, fitted.transform(mixed()[mixed().columns[::-1]]))
    with pytest.raises(TableError, match="no rows"):
        fitted.transform(mixed().iloc[:0])


def test_a_column_that_is_all_missing_at_scoring_is_evidence(fitted):
    out = features(fitted, mixed().assign(size=None, proto=None))
    assert (out["unexpected missing values"] == 1).all()
    assert (out["proto=<unseen>"] == 1).all()


@pytest.mark.parametrize("bad", [{"max_categories": 0}, {"max_categories": 1.5}, {"scaling": "robust"}])
def test_parameters_are_checked_at_fit(bad):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        TableEncoder(**bad).fit(mixed())
