import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from contract import QUICK, TINY, VARIANTS, quick
from da3d.detectors import DETECTORS, KNN, NetworkDetector
from da3d.errors import LabelError, LabelWarning, ParameterError, TableError
from da3d.persistence import load, save
from da3d.pipeline import AnomalyPipeline

# Nothing is drawn; `lof` and `ocsvm` draw rows from larger tables only.
DETERMINISTIC = {"knn", "mahalanobis", "mcd", "lof", "ocsvm", "pca", "ecod"}
CALIBRATED = "a verdict is calibrated for new rows: with few held-out rows no training row need be flagged"


@parametrize_with_checks(
    [*(DETECTORS[name](**TINY.get(name, {})) for name in DETECTORS), AnomalyPipeline(DETECTORS["knn"]())],
    expected_failed_checks=lambda estimator: (
        {"check_outliers_train": CALIBRATED, "check_outliers_fit_predict": CALIBRATED}
        if isinstance(estimator, AnomalyPipeline)
        else {}
    ),
)
def test_scikit_learn(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its tables have random labels and few rows: our warnings are right
        check(estimator)


@pytest.mark.parametrize("name", DETECTORS)
def test_far_rows_are_strange(name, rows, far_rows):
    detector = quick(name).fit(rows)
    fresh = np.random.default_rng(5).permutation(rows) + 0.05
    labels = np.repeat([0, 1], [len(fresh), len(far_rows)])
    scores = detector.anomaly_score(np.concatenate([fresh, far_rows]))
    assert roc_auc_score(labels, scores) >= 0.9


@pytest.mark.parametrize("name", VARIANTS)
def test_same_seed_same_scores(name, rows):
    first, second = (VARIANTS[name]().fit(rows).anomaly_score(rows) for _ in range(2))
    assert first.dtype == np.float64
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", [name for name in DETECTORS if name not in DETERMINISTIC])
def test_another_seed_another_model(name, rows):
    first, second = (quick(name, random_state=seed).fit(rows).anomaly_score(rows) for seed in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_row_is_scored_alone(name, rows):
    detector = VARIANTS[name]().fit(rows)
    table = np.random.default_rng(2).normal(size=(1500, 3))
    whole = detector.anomaly_score(table)
    near = partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)
    near(whole[700:701], detector.anomaly_score(table[700:701]))
    near(whole[3:900], detector.anomaly_score(table[3:900]))
    near(whole[::-1], detector.anomaly_score(table[::-1]))
    strange = np.concatenate([table[:5], np.full((600, 3), 1e4)])
    near(whole[:5], detector.anomaly_score(strange)[:5])


@pytest.mark.parametrize("name", VARIANTS)
def test_signs(name, rows):
    detector = VARIANTS[name]().fit(rows)
    np.testing.assert_array_equal(detector.anomaly_score(rows), -detector.score_samples(rows))
    np.testing.assert_array_equal(
        detector.decision_function(rows), detector.score_samples(rows) - detector.offset_
    )
    np.testing.assert_array_equal(detector.predict(rows) == -1, detector.decision_function(rows) < 0)


@pytest.mark.parametrize("name", DETECTORS)
def test_contamination_sets_the_offset(name, rows):
    detector = quick(name, contamination=0.2).fit(rows)
    assert (detector.predict(rows) == -1).sum() == 12


def test_of_a_large_table_a_part_sets_the_offset():
    asked = []

    class Counted(KNN):
        def _score(self, rows):
            asked.append(len(rows))
            return super()._score(rows)

    table = np.random.default_rng(0).normal(size=(6000, 3))
    detector = Counted(contamination=0.2, random_state=0).fit(table)
    assert asked == [2000]
    assert (detector.predict(table) == -1).mean() == pytest.approx(0.2, abs=0.03)
    assert Counted(contamination=0.2, random_state=0).fit(table).offset_ == detector.offset_


@pytest.mark.parametrize("name", DETECTORS)
def test_known_anomalies_are_never_normal(name, rows, far_rows):
    table = np.concatenate([rows, far_rows])
    labels = np.repeat([0, 1], [len(rows), len(far_rows)])
    with_known = quick(name).fit(table, labels)
    assert with_known.anomaly_score(far_rows).min() > np.median(with_known.anomaly_score(rows))
    if not with_known.uses_known_anomalies:
        without = quick(name).fit(rows)
        np.testing.assert_array_equal(with_known.anomaly_score(rows), without.anomaly_score(rows))


@pytest.mark.parametrize("name", DETECTORS)
def test_feature_names(name, rows):
    frame = pd.DataFrame(rows, columns=["a", "b", "c"])
    detector = quick(name).fit(frame)
    assert list(detector.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(TableError, match="feature names"):
        detector.anomaly_score(frame.rename(columns={"a": "x"}))


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize(
    ("table", "labels", "error", "says"),
    [
        (np.zeros((0, 3)), None, TableError, "0 sample"),
        (np.zeros((1, 3)), None, TableError, "1 sample|minimum of 2"),
        (np.array([[1.0, np.nan], [2.0, 3.0]]), None, TableError, "NaN"),
        (np.array([[1.0, np.inf], [2.0, 3.0]]), None, TableError, "infinity"),
        (np.eye(3), [1, 1, 1], LabelError, "3 of 3 rows"),
        (np.eye(3), [0, np.nan, 0], LabelError, "1 missing"),
        (np.eye(3), [0, 1], LabelError, "shape"),
    ],
)
def test_bad_input(name, table, labels, error, says):
    with pytest.raises(error, match=says):
        quick(name).fit(table, labels)


@pytest.mark.parametrize("name", DETECTORS)
def test_bad_contamination(name, rows):
    with pytest.raises(ParameterError, match=r"contamination is 0\.7"):
        quick(name, contamination=0.7).fit(rows)


@pytest.mark.parametrize("name", DETECTORS)
def test_foreign_labels_are_ignored_aloud(name, rows):
    with pytest.warns(LabelWarning, match="other than 0 and 1"):
        ignored = quick(name).fit(rows, np.repeat([-1, 1], 30))
    np.testing.assert_array_equal(ignored.anomaly_score(rows), quick(name).fit(rows).anomaly_score(rows))


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("width", [1, 40])
def test_widths(name, width):
    table = np.random.default_rng(0).normal(size=(50, width))
    assert np.isfinite(quick(name).fit(table).anomaly_score(table * 1e6)).all()


@pytest.mark.parametrize("name", DETECTORS)
def test_constant_columns(name, rows):
    table = np.c_[rows, np.full(len(rows), 7.0)]
    detector = quick(name).fit(table)
    moved = table.copy()
    moved[:, 3] = 9.0
    assert np.isfinite(detector.anomaly_score(moved)).all()


@pytest.mark.parametrize("name", DETECTORS)
def test_every_parameter_is_documented(name):
    text = DETECTORS[name].__doc__
    for parameter in DETECTORS[name]().get_params():
        assert f"{parameter}" in text, f"{name} does not document {parameter}"


@pytest.mark.parametrize("name", DETECTORS)
def test_clone_keeps_parameters(name):
    detector = quick(name)
    assert repr(clone(detector).get_params()) == repr(detector.get_params())


@pytest.mark.parametrize("name", DETECTORS)
def test_images_are_rows_of_pixels(name, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, size=(40, 1, 8, 8))
    detector = quick(name).fit(images)
    assert detector.image_shape_ == (1, 8, 8)
    scores = detector.anomaly_score(images)
    save(detector, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.image_shape_ == (1, 8, 8)
    np.testing.assert_array_equal(loaded.anomaly_score(images.reshape(40, 64)), scores)
    with pytest.raises(TableError, match="learned from"):
        detector.anomaly_score(images.reshape(40, 1, 4, 16))


@pytest.mark.parametrize("name", [n for n, d in DETECTORS.items() if issubclass(d, NetworkDetector)])
class TestSchedules:
    def test_exactly_the_named_modules_move(self, name, rows):
        detector = quick(name)
        tensor = torch.from_numpy(rows.astype(np.float32))
        seen = set()

        schedule_of = detector._schedule

        def watched(network, normal, known):
            phases = schedule_of(network, normal, known)
            for phase in phases:
                for update in phase.updates:
                    _watch(update, network, seen)
            return phases

        detector._schedule = watched
        detector.fit(tensor.numpy())
        trained = {id(p) for p in detector.network_.parameters()}
        assert seen == trained, "some parameter never received a gradient"

    def test_history_is_finite(self, name, rows):
        detector = quick(name).fit(rows)
        assert detector.history_.finite()
        assert len(detector.history_) > 0


def _watch(update, network, seen):
    """Make an update check, at each of its steps, that it moves what it trains and nothing else."""
    named = {id(p) for module in update.trains for p in module.parameters()}
    make = update.optimizer
    if isinstance(make, str):
        return  # its steps are those of another update's optimiser, which is watched

    def wrapped(parameters):
        optimizer = make(parameters)
        step = optimizer.step

        def checked_step(*args, **kwargs):
            seen.update(id(p) for p in named_parameters(network) if id(p) in named and p.grad is not None)
            assert all(p.grad is None for p in named_parameters(network) if id(p) not in named)
            before = {id(p): p.detach().clone() for p in named_parameters(network)}
            result = step(*args, **kwargs)
            for p in named_parameters(network):
                if id(p) not in named:
                    assert torch.equal(before[id(p)], p)
            return result

        optimizer.step = checked_step
        return optimizer

    object.__setattr__(update, "optimizer", wrapped)


def named_parameters(network):
    return list(network.parameters())


def test_every_quick_name_exists():
    assert set(QUICK) <= set(DETECTORS)
