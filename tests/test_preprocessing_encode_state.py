import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import clone

from da3d.errors import TableError
from da3d.preprocessing import TableEncoder
from test_preprocessing_encode import mixed


@pytest.fixture(scope="module")
def fitted():
    return TableEncoder().fit(mixed())


@pytest.mark.parametrize("scaling", ["standard", "minmax"])
@pytest.mark.parametrize(
    "frame",
    [mixed(), mixed()[["size"]], mixed()[["proto"]], mixed()[["when"]], mixed()[["flag", "note"]]],
    ids=["mixed", "number", "category", "date", "two"],
)
def test_state_goes_through_json_and_skops(frame, scaling):
    encoder = TableEncoder(max_categories=2, scaling=scaling).fit(frame)
    learnt, transformer = encoder.state()
    blob = skops.io.dumps(transformer)
    assert skops.io.get_untrusted_types(data=blob) == []
    again = TableEncoder.from_state(json.loads(json.dumps(learnt)), skops.io.loads(blob))
    assert np.array_equal(again.transform(frame), encoder.transform(frame))
    assert again.feature_names_ == encoder.feature_names_
    assert np.array_equal(again.feature_columns_, encoder.feature_columns_)
    assert again.get_params() == encoder.get_params()
    assert again.n_features_in_ == encoder.n_features_in_


@pytest.mark.parametrize("harm", ["drop", "kind", "fills", "mismatch", "kept", "parameters"])
def test_a_damaged_state_is_refused(fitted, harm):
    learnt, transformer = fitted.state()
    learnt = json.loads(json.dumps(learnt))
    if harm == "drop":
        del learnt["numbers"]
    elif harm == "kind":
        learnt["schema"][0]["kind"] = "tensor"
    elif harm == "fills":
        learnt["numbers"][0]["fills"] = [1.0, 2.0]
    elif harm == "mismatch":
        learnt["categories"].pop()
    elif harm == "kept":
        learnt["categories"][0]["kept"] = 99
    else:
        learnt["max_categories"] = "many"
    with pytest.raises(TableError):
        TableEncoder.from_state(learnt, transformer)


def test_a_state_with_another_transformer_is_refused(fitted):
    other = TableEncoder().fit(mixed()[["size"]]).state()[1]
    with pytest.raises(TableError, match="do not fit"):
        TableEncoder.from_state(fitted.state()[0], other)


def test_a_hundred_thousand_categories_are_fast_and_small():
    codes = np.arange(300_000) % 100_000
    frame = pd.DataFrame({"c": pd.Series(codes.astype(str)), "x": 1.0})
    start = time.perf_counter()
    encoder = TableEncoder().fit(frame)
    assert encoder.transform(frame.iloc[:50_000]).shape == (50_000, 104)
    assert time.perf_counter() - start < 10
    assert len(json.dumps(encoder.state()[0])) < 2_000_000


def test_a_million_rows_are_encoded_in_seconds():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(200_000, 40)))
    encoder = TableEncoder().fit(frame.iloc[:1000])
    start = time.perf_counter()
    encoder.transform(frame)
    assert time.perf_counter() - start < 3


def test_nsl_kdd():
    folder = os.environ.get("DA3D_DATA")
    path = Path(folder or ".") / "nsl_kdd_train.parquet"
    if not folder or not path.is_file():
        pytest.skip("DA3D_DATA names no folder with nsl_kdd_train.parquet")
    frame = pd.read_parquet(path).drop(columns=["label", "difficulty"], errors="ignore")
    encoder = TableEncoder().fit(frame)
    assert list(encoder.schema_.kinds.values()).count("category") == 3
    out = encoder.transform(frame)
    assert out.shape == (len(frame), len(encoder.feature_names_))
    assert np.isfinite(out).all()
    assert (out[:, -1] == 0).all()


def test_it_clones_like_any_scikit_learn_estimator(fitted):
    assert not hasattr(clone(fitted), "schema_")
