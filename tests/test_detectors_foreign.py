"""Detectors of other libraries: sign, scaling, seeds, names, and what they cannot do."""

import random

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor

from da3d.datasets import toy
from da3d.detectors import DETECTORS, Foreign, is_foreign, make_detector
from da3d.detectors import foreign as module
from da3d.errors import ExtraError, ParameterError
from da3d.experiments import read_experiment
from da3d.experiments.cell import run_cell
from da3d.experiments.resolve import resolved
from da3d.persistence import save
from da3d.pipeline import AnomalyPipeline

SKLEARN = {
    "sklearn:EllipticEnvelope": {},
    "sklearn:IsolationForest": {"n_estimators": 20},
    "sklearn:LocalOutlierFactor": {"novelty": True},
    "sklearn:OneClassSVM": {"nu": 0.2},
}
PLAN = """
title = "t"
budget = "quick"
seeds = [0]
contamination = [0.0]

[[data]]
name = "breast_cancer"

[[detector]]
label = "theirs"
name = "{name}"
parameters = {parameters}
"""


def standardised(rows, of):
    return (rows - of.mean(0)) / of.std(0)


class TestSklearn:
    @pytest.mark.parametrize("name", SKLEARN)
    def test_far_rows_are_strange(self, name, rows, far_rows):
        detector = make_detector(name, random_state=0, **SKLEARN[name]).fit(rows)
        scores = detector.anomaly_score(np.concatenate([rows, far_rows]))
        assert roc_auc_score(np.repeat([0, 1], [len(rows), len(far_rows)]), scores) >= 0.9

    def test_scores_are_those_of_the_class_on_standardised_columns(self, rows, far_rows):
        theirs = LocalOutlierFactor(n_neighbors=9, novelty=True).fit(standardised(rows, rows))
        ours = make_detector("sklearn:LocalOutlierFactor", n_neighbors=9, novelty=True).fit(rows * [1, 9, 99])
        expected = -theirs.score_samples(standardised(far_rows, rows))
        np.testing.assert_allclose(ours.anomaly_score(far_rows * [1, 9, 99]), expected)

    def test_the_seed_decides(self, rows):
        first, second, third = (
            make_detector("sklearn:IsolationForest", n_estimators=20, random_state=seed).fit(rows)
            for seed in (0, 0, 1)
        )
        assert first.model_.random_state == 0
        np.testing.assert_array_equal(first.anomaly_score(rows), second.anomaly_score(rows))
        assert not np.array_equal(first.anomaly_score(rows), third.anomaly_score(rows))

    def test_known_anomalies_are_left_out(self, rows, far_rows):
        make = lambda: make_detector("sklearn:IsolationForest", n_estimators=20, random_state=0)  # noqa: E731
        labels = np.repeat([0, 1], [len(rows), len(far_rows)])
        with_known = make().fit(np.concatenate([rows, far_rows]), labels).anomaly_score(rows)
        np.testing.assert_array_equal(with_known, make().fit(rows).anomaly_score(rows))

    def test_a_classifier_learns_from_known_anomalies(self, rows, far_rows):
        detector = make_detector("sklearn:HistGradientBoostingClassifier", min_samples_leaf=2, random_state=0)
        assert detector.uses_known_anomalies
        named = np.r_[np.zeros(len(rows)), np.ones(len(far_rows))]
        detector.fit(np.r_[rows, far_rows], named)
        assert detector.anomaly_score(far_rows).min() > detector.anomaly_score(rows).max()
        again = make_detector("sklearn:GaussianNB").fit(np.r_[rows, far_rows], named)
        assert again.anomaly_score(far_rows).min() > again.anomaly_score(rows).max()

    def test_a_classifier_needs_known_anomalies(self, rows):
        with pytest.raises(ParameterError, match=r"RidgeClassifier is a classifier .* y marks none"):
            make_detector("sklearn:RidgeClassifier").fit(rows)

    @pytest.mark.parametrize("name", ["sklearn:MultinomialNB", "sklearn:SelfTrainingClassifier"])
    def test_a_classifier_that_cannot_learn_says_so(self, name, rows, far_rows):
        detector = make_detector(name)
        with pytest.raises(ParameterError, match=f"{name} cannot learn from these rows: "):
            detector.fit(np.r_[rows, far_rows], np.r_[np.zeros(len(rows)), np.ones(len(far_rows))])
        assert not hasattr(detector, "_known")

    def test_in_a_pipeline(self):
        table = toy.mixed(rows=120, seed=0).frame
        detector = make_detector("sklearn:IsolationForest", n_estimators=20)
        pipeline = AnomalyPipeline(detector, random_state=3).fit(table)
        assert pipeline.detector_.seed_ == 3
        assert pipeline.verdicts(table, top=4)["is_anomaly"].sum() == 4

    def test_clone_keeps_the_arguments(self):
        detector = make_detector("sklearn:OneClassSVM", nu=0.3, contamination=0.2)
        again = clone(detector)
        assert again.get_params() == detector.get_params()
        assert (again.parameters["nu"], again.contamination) == (0.3, 0.2)


class TestGlobalGenerators:
    """`conftest` watches those of NumPy and torch during every test; Python's own is watched here."""

    def test_what_foreign_code_draws_is_seeded_and_given_back(self, rows, capsys):
        class Careless(IsolationForest):
            def fit(self, X, y=None):
                print("learning")
                self.drawn_ = random.random(), np.random.rand()  # noqa: NPY002 - that is the point
                return super().fit(X)

        before = random.getstate()
        drawn = []
        for seed in (0, 0, 1):
            detector = Foreign("sklearn:IsolationForest", {"n_estimators": 5}, random_state=seed)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(module, "_class_of", lambda name: Careless)
                patch.setattr(module, "_arguments", lambda function: {"n_estimators": 5})
                drawn.append(detector.fit(rows).model_.drawn_)
        assert drawn[0] == drawn[1] != drawn[2]
        assert random.getstate() == before
        written = capsys.readouterr()
        assert (written.out, written.err) == ("", "learning\n" * 3)


class TestNames:
    def test_own_names_are_not_foreign(self):
        assert not any(is_foreign(name) for name in DETECTORS)
        assert all(map(is_foreign, SKLEARN))

    @pytest.mark.parametrize(
        ("name", "parameters", "says"),
        [
            ("sklearn:IsolationForrest", {}, "did you mean 'sklearn:IsolationForest'"),
            ("sklearn:Nystroem", {}, "it has EllipticEnvelope, IsolationForest"),
            ("torch:nn", {}, "must be one of pyod, sklearn"),
            ("sklearn:LocalOutlierFactor", {}, "cannot score new rows.*novelty=True"),
            ("sklearn:OneClassSVM", {"trees": 3}, "has no parameter trees; it has cache_size"),
            ("sklearn:OneClassSVM.fit", {}, "no such detector"),
            ("sklearn:..svm:OneClassSVM", {}, "no such detector"),
            ("nothing", {}, "detector is 'nothing' but must be one of da3d"),
            ("mahalanobi", {}, "did you mean 'mahalanobis'"),
        ],
    )
    def test_mistakes(self, name, parameters, says):
        with pytest.raises(ParameterError, match=says):
            make_detector(name, **parameters)

    def test_without_pyod_it_says_what_to_install(self, monkeypatch):
        def absent(name):
            raise ImportError(name)

        monkeypatch.setattr(module.importlib, "import_module", absent)
        with pytest.raises(ExtraError, match=r"PyOD is not installed; pip install 'da3d\[bench\]'"):
            make_detector("pyod:ECOD")


def test_it_cannot_be_kept_in_a_file(rows, tmp_path):
    detector = make_detector("sklearn:IsolationForest", n_estimators=5, random_state=0).fit(rows)
    pipeline = AnomalyPipeline(detector, random_state=0).fit(rows)
    for model in (detector, pipeline):
        with pytest.raises(ParameterError, match="sklearn:IsolationForest is a detector of another library"):
            save(model, tmp_path / "model.da3d")
    assert not list(tmp_path.iterdir())


class TestExperiments:
    def test_a_plan_names_all_arguments(self):
        settled = resolved("sklearn:OneClassSVM", {"nu": 0.2})
        assert settled["type"] == "Foreign"
        parameters = settled["parameters"]["parameters"]
        assert (parameters["nu"], parameters["kernel"], parameters["tol"]) == (0.2, "rbf", 0.001)
        assert settled["parameters"]["name"] == "sklearn:OneClassSVM"
        assert resolved("sklearn:OneClassSVM", {"nu": 0.3}) != settled

    def test_a_cell_runs(self, tmp_path):
        file = tmp_path / "t.toml"
        file.write_text(PLAN.format(name="sklearn:LocalOutlierFactor", parameters="{ novelty = true }"))
        record, scores = run_cell(read_experiment(file).cells()[0])
        assert record.error is None
        assert record.metrics["auc"] > 0.9
        assert len(scores) == record.test.rows


class TestPyod:
    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("pyod")

    @pytest.mark.parametrize("name", ["pyod:ECOD", "pyod:KNN", "pyod:IForest", "pyod:HBOS"])
    def test_far_rows_are_strange(self, name, rows, far_rows):
        detector = make_detector(name, random_state=0).fit(rows)
        scores = detector.anomaly_score(np.concatenate([rows, far_rows]))
        assert roc_auc_score(np.repeat([0, 1], [len(rows), len(far_rows)]), scores) >= 0.9

    def test_scores_are_those_of_the_class_on_standardised_columns(self, rows, far_rows):
        from pyod.models.knn import KNN

        theirs = KNN(n_neighbors=3).fit(standardised(rows, rows))
        ours = make_detector("pyod:KNN", n_neighbors=3).fit(rows)
        expected = theirs.decision_function(standardised(far_rows, rows))
        np.testing.assert_allclose(ours.anomaly_score(far_rows), expected)

    @pytest.mark.parametrize("name", ["pyod:IForest", "pyod:DeepSVDD"])
    def test_the_seed_decides_whatever_the_default_of_the_class(self, name, rows):
        few = {"n_estimators": 10} if name == "pyod:IForest" else {"epochs": 2}
        first, second, third = (
            make_detector(name, random_state=seed, **few).fit(rows).anomaly_score(rows) for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, third)

    @pytest.mark.parametrize(
        ("name", "parameters", "says"),
        [
            ("pyod:ecod", {}, "did you mean 'pyod:ECOD'"),
            ("pyod:Ecodd", {}, "did you mean 'pyod:ECOD'"),
            ("pyod:nothing at all", {}, "pyod has no such detector"),
            ("pyod:BaseDetector", {}, "pyod has no such detector"),
            ("pyod:TimeSeriesOD", {}, "pyod has no such detector of rows"),
            ("pyod:models.ecod.ECOD", {}, "pyod has no such detector"),
            ("pyod:ECOD", {"neighbors": 3}, "has no parameter neighbors; it has contamination, n_jobs"),
            ("pyod:LSCP", {}, "needs detector_list, which has no default"),
            ("pyod:DevNet", {}, "learns from rows of two kinds"),
        ],
    )
    def test_mistakes(self, name, parameters, says):
        with pytest.raises(ParameterError, match=says):
            make_detector(name, **parameters)

    def test_values_that_the_class_refuses(self):
        with pytest.raises(ParameterError, match="refuses its parameters"):
            Foreign("pyod:ECOD", {"contamination": 0.7}).fit(np.eye(4))

    def test_a_plan_names_all_arguments(self):
        parameters = resolved("pyod:KNN", {"n_neighbors": 3})["parameters"]["parameters"]
        assert (parameters["n_neighbors"], parameters["method"]) == (3, "largest")

    def test_a_cell_runs_and_names_the_version(self, tmp_path):
        file = tmp_path / "t.toml"
        file.write_text(PLAN.format(name="pyod:KNN", parameters="{}"))
        record, _ = run_cell(read_experiment(file).cells()[0])
        assert record.error is None
        assert record.versions["pyod"]
        assert record.metrics["auc"] > 0.9
