"""Round trips, what is kept and what is not, `inspect`, and writes that fail."""

import json
import logging
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone

from contract import TINY
from da3d.datasets import toy
from da3d.detectors import DA3D, DETECTORS, KNN, IsolationForest, Mahalanobis
from da3d.errors import ModelFileError
from da3d.persistence import describe, inspect, load, rebuild, save, store
from da3d.persistence.manifest import Parameters
from da3d.pipeline import AnomalyPipeline, Threshold
from da3d.preprocessing import TableEncoder

SMALL = {**TINY, "da3d": {"steps": (20, 5, 10)}, "isolation-forest": {"trees": 5}}
ROWS = np.random.default_rng(0).normal(size=(60, 3))
NEW = 3 * np.random.default_rng(1).normal(size=(33, 3))
TABLE = toy.mixed(rows=90, seed=0).frame


def make(name):
    return DETECTORS[name](random_state=0, **SMALL.get(name, {}))


@pytest.fixture(scope="module")
def da3d():
    return DA3D(steps=(20, 5, 10), random_state=0).fit(ROWS)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_scores_equal_to_the_last_bit(name, tmp_path):
    fitted = make(name).fit(ROWS)
    loaded = load(save(fitted, tmp_path / "model.da3d"))
    assert type(loaded) is type(fitted)
    np.testing.assert_array_equal(loaded.anomaly_score(NEW), fitted.anomaly_score(NEW))
    np.testing.assert_array_equal(loaded.predict(NEW), fitted.predict(NEW))


@pytest.mark.parametrize("name", DETECTORS)
def test_a_pipeline_over_a_mixed_table_scores_equal_to_the_last_bit(name, tmp_path):
    fitted = AnomalyPipeline(make(name), random_state=0).fit(TABLE)
    loaded = load(save(fitted, tmp_path / "model.da3d"))
    np.testing.assert_array_equal(loaded.anomaly_score(TABLE), fitted.anomaly_score(TABLE))
    assert loaded.verdicts(TABLE, fdr=0.2).equals(fitted.verdicts(TABLE, fdr=0.2))
    np.testing.assert_array_equal(loaded.feature_names_in_, fitted.feature_names_in_)
    assert loaded.n_features_in_ == fitted.n_features_in_


@pytest.mark.parametrize("name", DETECTORS)
def test_two_saves_and_a_save_of_the_loaded_are_equal_bytes(name, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_now", lambda: "2030-01-01T00:00:00Z")
    fitted = AnomalyPipeline(make(name), random_state=0).fit(TABLE)
    first, second, third = (tmp_path / f"{i}.da3d" for i in range(3))
    save(fitted, first)
    save(fitted, second)
    save(load(first), third)
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()


def test_what_a_fit_found_and_its_parameters_are_kept(da3d, tmp_path):
    loaded = load(save(da3d, tmp_path / "model.da3d"))
    assert (loaded.seed_, loaded.offset_, loaded.n_features_in_) == (0, da3d.offset_, 3)
    assert loaded.history_.rows == da3d.history_.rows
    assert len(loaded.history_) > 0
    assert not hasattr(loaded, "feature_names_in_")
    assert loaded.get_params() == da3d.get_params() | {"steps": [20, 5, 10], "callbacks": ()}
    again = clone(loaded).fit(ROWS)
    np.testing.assert_array_equal(again.anomaly_score(NEW), da3d.anomaly_score(NEW))


def test_column_names_of_a_detector_are_kept(tmp_path):
    frame = toy.mixed(rows=60, seed=0).frame[["amount", "items"]].fillna(0.0)
    loaded = load(save(KNN().fit(frame), tmp_path / "model.da3d"))
    assert list(loaded.feature_names_in_) == ["amount", "items"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded.anomaly_score(frame)


def test_the_parameters_of_a_pipeline_are_kept(tmp_path):
    given = AnomalyPipeline(
        KNN(neighbors=3),
        encoder=TableEncoder(max_categories=4, scaling="minmax"),
        threshold=Threshold("top", 5),
        contamination=0.05,
        random_state=np.int64(7),
    )
    loaded = load(save(given.fit(TABLE), tmp_path / "model.da3d"))
    assert loaded.detector.get_params() == given.detector.get_params()
    assert loaded.encoder.get_params() == given.encoder.get_params()
    assert (loaded.threshold, loaded.contamination, loaded.random_state) == (Threshold("top", 5), 0.05, 7)
    np.testing.assert_array_equal(loaded.calibration_.scores, given.calibration_.scores)
    again = clone(loaded).fit(TABLE)
    np.testing.assert_array_equal(again.anomaly_score(TABLE), given.anomaly_score(TABLE))


def test_parameters_left_out_stay_left_out(tmp_path):
    fitted = AnomalyPipeline(KNN()).fit(TABLE)
    loaded = load(save(fitted, tmp_path / "model.da3d"))
    assert (loaded.encoder, loaded.threshold, loaded.random_state) == (None, None, None)


def test_the_manifest_knows_every_parameter_of_a_pipeline():
    assert set(Parameters.model_fields) == set(AnomalyPipeline().get_params(deep=False))


def test_a_random_generator_is_kept_as_the_seed_that_it_came_to(tmp_path):
    fitted = IsolationForest(trees=3, random_state=np.random.RandomState(5)).fit(ROWS)
    loaded = load(save(fitted, tmp_path / "model.da3d"))
    assert loaded.random_state == loaded.seed_ == fitted.seed_


class Quiet:
    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def test_callbacks_and_checkpoint_are_dropped(tmp_path):
    fitted = DA3D(
        steps=(5, 2, 2), random_state=0, callbacks=[Quiet()], checkpoint=tmp_path / "checkpoint"
    ).fit(ROWS)
    loaded = load(save(fitted, tmp_path / "model.da3d"))
    assert not loaded.callbacks
    assert loaded.checkpoint is None


def test_arrays_in_column_order_stay_in_column_order(tmp_path):
    fitted = Mahalanobis().fit(ROWS)
    fitted.precision_ = np.asfortranarray(fitted.precision_ + np.arange(9).reshape(3, 3))
    loaded = load(save(fitted, tmp_path / "model.da3d"))
    assert loaded.precision_.flags.f_contiguous
    np.testing.assert_array_equal(loaded.precision_, fitted.precision_)


def test_loading_leaves_the_global_generators_alone(da3d, tmp_path):
    path = save(da3d, tmp_path / "model.da3d")
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    load(path)
    assert torch.equal(torch_before, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is not missing here")
@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps"])
def test_a_missing_device_becomes_auto_and_is_said(device, tmp_path, caplog):
    fitted = DA3D(steps=(5, 2, 2), random_state=0).fit(ROWS)
    fitted.set_params(device=device)
    with caplog.at_level(logging.WARNING):
        loaded = load(save(fitted, tmp_path / "model.da3d"))
    assert loaded.device == "auto"
    assert f"device='{device}'" in caplog.text
    np.testing.assert_array_equal(loaded.anomaly_score(NEW), fitted.anomaly_score(NEW))


def test_inspect_tells_what_a_pipeline_holds(tmp_path):
    fitted = AnomalyPipeline(make("da3d"), contamination=0.1, random_state=0).fit(TABLE)
    path = save(fitted, tmp_path / "model.da3d")
    facts = inspect(path)
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["kind"], facts["detector"], facts["format"]) == ("pipeline", "da3d", 1)
    assert facts["parameters"]["steps"] == [20, 5, 10]
    assert facts["weights"] == sum(a.size for a in fitted.detector_.fitted_arrays().values())
    assert facts["history"] == len(fitted.detector_.history_)
    assert (
        facts["last_losses"]["adversarial"].items() <= fitted.detector_.history_.last("adversarial").items()
    )
    assert facts["schema"] == fitted.encoder_.schema_.to_json()
    assert facts["calibration_rows"] == len(fitted.calibration_.scores)
    assert facts["threshold"] == {"rule": "fpr", "value": fitted.rule.value}
    assert facts["contamination"] == 0.1
    assert facts["bytes"] == path.stat().st_size > sum(facts["members"].values())
    assert facts["versions"]["torch"] == torch.__version__


def test_inspect_of_a_detector_has_no_pipeline_facts(tmp_path):
    facts = inspect(save(KNN().fit(ROWS), tmp_path / "model.da3d"))
    assert facts["kind"] == "detector"
    assert "schema" not in facts
    assert facts["history"] == 0
    assert facts["weights"] == 60 * 3 + 3 + 3


def test_inspect_imports_neither_torch_nor_scikit_learn(tmp_path):
    path = save(KNN().fit(ROWS), tmp_path / "model.da3d")
    code = (
        "import sys; from da3d import inspect; inspect(sys.argv[1]); "
        "sys.exit(str([m for m in ('torch', 'sklearn', 'pandas', 'skops') if m in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1)
    assert done.stderr.strip() == ""


def test_weights_that_do_not_fit_the_network_are_refused(da3d, tmp_path, monkeypatch):
    taken = describe.detector(da3d)
    name = next(name for name in taken.arrays if name.endswith("weight"))
    for arrays in (
        {k: v for k, v in taken.arrays.items() if k != name},
        taken.arrays | {name: taken.arrays[name][:-1]},
        taken.arrays | {"detector/extra": np.zeros(3)},
    ):
        monkeypatch.setattr(describe, "detector", lambda model, a=arrays: taken._replace(arrays=a))
        path = save(da3d, tmp_path / "model.da3d")
        with pytest.raises(ModelFileError, match="cannot restore"):
            load(path)


def test_arrays_that_do_not_fit_a_reference_detector_are_refused(tmp_path, monkeypatch):
    fitted = KNN().fit(ROWS)
    taken = describe.detector(fitted)
    for arrays in (
        {},
        taken.arrays | {"detector/extra": np.zeros(3)},
        taken.arrays | {"detector/mean": np.zeros(2)},
    ):
        monkeypatch.setattr(describe, "detector", lambda model, a=arrays: taken._replace(arrays=a))
        path = save(fitted, tmp_path / "model.da3d")
        with pytest.raises(ModelFileError, match="cannot restore"):
            load(path)


def test_names_under_a_prefix():
    assert rebuild.under("a/", {"a/b": 1, "ab": 2, "a/c/d": 3}) == {"b": 1, "c/d": 3}
