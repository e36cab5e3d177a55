"""What PyOD's own tests ask of every detector, asked of ours behind PyOD's face; and what is our own."""

import importlib
import pickle
import sys
import warnings

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

pytest.importorskip("pyod")

from pyod.models.base import BaseDetector
from pyod.models.knn import KNN as PyODKNN  # noqa: N811
from pyod.utils.data import generate_data
from pyod.utils.utility import standardizer

from da3d import load, save
from da3d.datasets import toy
from da3d.detectors import DA3D, DETECTORS, KNN, DevNet, Mahalanobis
from da3d.errors import ExtraError, InputError, LabelWarning, ParameterError
from da3d.pipeline import AnomalyPipeline
from da3d.pyod import PyODDetector, as_pyod

CONTAMINATION = 0.1
FIELD = {
    "mahalanobis": Mahalanobis(),
    "knn": KNN(),
    "da3d": DA3D(steps=(60, 10, 60), random_state=0),
    "pipeline": AnomalyPipeline(Mahalanobis(), random_state=0),
}
AUC = 0.8


@pytest.fixture(scope="module")
def data():
    return generate_data(n_train=200, n_test=100, n_features=4, contamination=CONTAMINATION, random_state=42)


@pytest.fixture(scope="module")
def train(data):
    return data[0]


@pytest.fixture(scope="module")
def test(data):
    return data[1]


@pytest.fixture(scope="module", params=FIELD)
def fitted(request, train):
    return PyODDetector(FIELD[request.param], contamination=CONTAMINATION).fit(train)


class TestAsPyODTestsIt:
    def test_it_is_one_of_theirs(self, fitted):
        assert isinstance(fitted, BaseDetector)

    def test_attributes(self, fitted):
        for name in ("decision_scores_", "labels_", "threshold_", "_mu", "_sigma", "_classes"):
            assert getattr(fitted, name) is not None

    def test_scores_and_labels_of_the_training_rows(self, fitted, train, data):
        assert fitted.decision_scores_.shape == fitted.labels_.shape == (len(train),)
        np.testing.assert_array_equal(fitted.decision_scores_, fitted.decision_function(train))
        assert fitted.threshold_ == np.percentile(fitted.decision_scores_, 100 * (1 - CONTAMINATION))
        np.testing.assert_array_equal(fitted.labels_, fitted.decision_scores_ > fitted.threshold_)
        assert fitted.labels_.sum() == CONTAMINATION * len(train)
        assert roc_auc_score(data[2], fitted.decision_scores_) >= AUC

    def test_scores_of_other_rows(self, fitted, test, data):
        scores = fitted.decision_function(test)
        assert scores.shape == (len(test),)
        assert roc_auc_score(data[3], scores) >= AUC  # higher is stranger

    def test_labels_of_other_rows(self, fitted, test):
        labels = fitted.predict(test)
        assert labels.dtype.kind == "i"
        np.testing.assert_array_equal(labels, fitted.decision_function(test) > fitted.threshold_)
        assert 0 < labels.sum() < len(test)

    @pytest.mark.parametrize("method", ["linear", "unify"])
    def test_probabilities(self, fitted, test, method):
        both = fitted.predict_proba(test, method=method)
        assert both.shape == (len(test), 2)
        assert both.min() >= 0
        assert both.max() <= 1
        np.testing.assert_allclose(both.sum(axis=1), 1)
        order = np.argsort(fitted.decision_function(test))
        assert (np.diff(both[order, 1]) >= 0).all()

    def test_probabilities_by_no_known_method(self, fitted, test):
        with pytest.raises(ValueError, match="not a valid probability conversion"):
            fitted.predict_proba(test, method="something")

    def test_confidence(self, fitted, test):
        labels, confidence = fitted.predict(test, return_confidence=True)
        assert labels.shape == confidence.shape == (len(test),)
        assert 0 <= confidence.min() <= confidence.max() <= 1
        np.testing.assert_array_equal(confidence, fitted.predict_confidence(test))
        both, again = fitted.predict_proba(test, return_confidence=True)
        assert both.shape == (len(test), 2)
        np.testing.assert_array_equal(again, confidence)

    def test_rejection(self, fitted, test):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The cost of rejection")
            labels, rates = fitted.predict_with_rejection(test, return_stats=True)
            alone = fitted.predict_with_rejection(test)
        assert set(labels) <= {0, 1, -2}
        np.testing.assert_array_equal(labels, alone)
        assert 0 <= rates[0] <= 1
        assert min(rates[1:]) >= 0

    def test_ranks(self, fitted, train, test):
        ranks = fitted._predict_rank(test)
        assert ranks.min() >= 0
        assert ranks.max() <= len(train)
        np.testing.assert_allclose(
            rankdata(ranks), rankdata(fitted.decision_function(test)), atol=0.1 * len(test)
        )
        assert fitted._predict_rank(test, normalized=True).max() <= 1

    def test_clone_and_parameters(self, fitted, train):
        again = clone(fitted)
        assert not hasattr(again, "decision_scores_")
        assert again.contamination == CONTAMINATION
        assert again.detector is not fitted.detector
        assert repr(again) == repr(fitted)
        again.set_params(contamination=0.2)
        again.fit(train)
        assert again.labels_.sum() == 0.2 * len(train)
        np.testing.assert_array_equal(again.decision_scores_, fitted.decision_scores_)


class TestAsPyODTestsItOnce:
    def test_fit_predict(self, train):
        detector = PyODDetector(Mahalanobis())
        with pytest.warns(FutureWarning):
            labels = detector.fit_predict(train)
        np.testing.assert_array_equal(labels, detector.labels_)

    @pytest.mark.parametrize("scoring", ["roc_auc_score", "prc_n_score"])
    def test_fit_predict_score(self, train, data, scoring, capsys):
        with pytest.warns(FutureWarning):
            score = PyODDetector(Mahalanobis()).fit_predict_score(train, data[2], scoring=scoring)
        assert 0.5 <= score <= 1
        assert scoring in capsys.readouterr().out

    @pytest.mark.parametrize("contamination", [0, 0.0, 0.51, -0.1, 1])
    def test_contamination_out_of_range(self, contamination):
        with pytest.raises(ValueError, match="contamination must be in"):
            PyODDetector(KNN(), contamination=contamination)

    def test_not_fitted(self, test):
        detector = PyODDetector(KNN())
        for method in ("predict", "predict_proba", "decision_function", "predict_confidence"):
            with pytest.raises(ValueError, match="is not fitted"):
                getattr(detector, method)(test)

    def test_thresholder_instead_of_a_share(self, train):
        class Half:
            def fit(self, scores):
                self.thresh_ = np.median(scores)
                self.labels_ = self.predict(scores)

            def predict(self, scores):
                return (scores > self.thresh_).astype(int)

        detector = PyODDetector(Mahalanobis(), contamination=Half()).fit(train)
        assert detector.labels_.sum() == len(train) / 2
        assert detector.predict(train).sum() == len(train) / 2

    def test_beside_theirs(self, train, test, data):
        field = [PyODKNN(), PyODDetector(KNN()), PyODDetector(Mahalanobis())]
        scores = np.column_stack([each.fit(train).decision_function(test) for each in field])
        trained = np.column_stack([each.decision_scores_ for each in field])
        assert roc_auc_score(data[3], standardizer(trained, scores)[1].mean(axis=1)) >= AUC

    def test_pickle_of_their_users(self, train, test):
        detector = PyODDetector(KNN()).fit(train)
        again = pickle.loads(pickle.dumps(detector))
        np.testing.assert_array_equal(again.decision_function(test), detector.decision_function(test))


class TestOurs:
    @pytest.mark.parametrize("name", DETECTORS)
    def test_every_detector_by_name(self, name):
        detector = as_pyod(name, contamination=0.2)
        assert type(detector.detector) is DETECTORS[name]
        assert detector.get_params()["contamination"] == 0.2
        assert "detector__contamination" in detector.get_params()

    def test_parameters_of_the_detector(self):
        assert as_pyod("knn", neighbors=3).detector.neighbors == 3
        assert clone(as_pyod("knn")).set_params(detector__neighbors=7).detector.neighbors == 7
        with pytest.raises(ParameterError, match="knn has no parameter k"):
            as_pyod("knn", k=3)
        with pytest.raises(ParameterError, match="neighbors was given beside a KNN"):
            as_pyod(KNN(), neighbors=3)
        assert as_pyod(KNN(neighbors=3)).detector.neighbors == 3

    def test_the_given_detector_stays_unfitted(self, train):
        given = Mahalanobis()
        PyODDetector(given).fit(train)
        assert not hasattr(given, "offset_")

    def test_labels_do_not_help_where_nothing_learns_from_them(self, train, data):
        plain = PyODDetector(Mahalanobis()).fit(train)
        with pytest.warns(LabelWarning, match="Mahalanobis learns nothing from known anomalies"):
            labelled = PyODDetector(Mahalanobis()).fit(train, data[2])
        np.testing.assert_array_equal(labelled.decision_scores_, plain.decision_scores_)

    @pytest.mark.parametrize("wrap", [lambda each: each, AnomalyPipeline])
    def test_labels_reach_who_learns_from_them(self, train, data, wrap):
        given = wrap(DevNet(steps=5, random_state=0))
        plain, labelled = (PyODDetector(given).fit(train, y) for y in (None, data[2]))
        assert (plain.decision_scores_ != labelled.decision_scores_).any()
        assert labelled.predict_proba(train).shape == (len(train), 2)
        assert PyODDetector(given).fit(train, np.zeros(len(train))).predict_proba(train).shape[1] == 2

    def test_mixed_tables(self):
        table = toy.mixed(rows=300, seed=0)
        detector = as_pyod(AnomalyPipeline(KNN(), random_state=0), contamination=0.05).fit(table.frame)
        assert list(detector.feature_names_in_) == list(table.frame.columns)
        assert detector.predict(table.frame).sum() == 15
        assert detector.predict_proba(table.frame).shape == (300, 2)

    def test_model_file_of_what_is_inside(self, train, test, tmp_path):
        detector = PyODDetector(KNN()).fit(train)
        inside = load(save(detector.detector_, tmp_path / "inside.da3d"))
        np.testing.assert_array_equal(inside.anomaly_score(test), detector.decision_function(test))

    def test_names_are_of_the_last_fit(self, train):
        table = toy.mixed(rows=100, seed=0).frame[["items"]]
        detector = PyODDetector(Mahalanobis()).fit(table)
        assert list(detector.feature_names_in_) == ["items"]
        assert detector.fit(train).n_features_in_ == 4
        assert not hasattr(detector, "feature_names_in_")

    def test_without_pyod(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyod.models.base", None)
        monkeypatch.delitem(sys.modules, "da3d.pyod")
        with pytest.raises(ExtraError, match=r'pip install "da3d\[bench\]"'):
            importlib.import_module("da3d.pyod")

    def test_bad_rows(self):
        with pytest.raises(InputError, match="NaN"):
            PyODDetector(KNN()).fit(np.full((5, 2), np.nan))
