"""Models as MLflow models: saved, logged, loaded, and scored as a pyfunc."""

import importlib
import json
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("mlflow")

with warnings.catch_warnings():  # MLflow warns about type hints of its own when it is imported
    warnings.simplefilter("ignore")
    import mlflow
    import mlflow.pyfunc.model
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

import da3d.mlflow as flavour
from da3d import __version__, inspect, load
from da3d.datasets import toy
from da3d.detectors import KNN, Mahalanobis
from da3d.errors import ExtraError, FileError, InputError, ModelFileError, ParameterError, SchemaError
from da3d.pipeline import AnomalyPipeline

TABLE = toy.mixed(rows=300, anomalies=0, seed=0).frame
NEW = toy.mixed(rows=60, anomalies=6, seed=1).frame


@pytest.fixture(scope="module")
def pipeline():
    return AnomalyPipeline(KNN(), random_state=0).fit(TABLE)


@pytest.fixture(scope="module")
def folder(pipeline, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model"
    flavour.save_model(pipeline, path)
    return path


@pytest.fixture(scope="module")
def served(folder):
    return mlflow.pyfunc.load_model(str(folder))


@pytest.fixture
def store(tmp_path, monkeypatch):
    """MLflow's records in a folder of their own."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    yield
    mlflow.set_tracking_uri(before)


class TestFiles:
    def test_the_model_is_our_model_file(self, folder, pipeline):
        model = load(folder / "model.da3d")
        np.testing.assert_array_equal(model.anomaly_score(NEW), pipeline.anomaly_score(NEW))
        names = {path.name for path in folder.rglob("*")}
        assert names == {"MLmodel", "conda.yaml", "model.da3d", "python_env.yaml", "requirements.txt"}

    def test_description(self, folder):
        described = Model.load(str(folder))
        assert described.flavors["da3d"]["columns"] == load(folder / "model.da3d").encoder_.schema_.kinds
        assert described.flavors["da3d"]["detector"] == "KNN"
        assert described.flavors["da3d"]["da3d_version"] == __version__
        assert described.flavors["python_function"]["loader_module"] == "da3d.mlflow"

    def test_requirements_are_pinned(self, folder, pipeline, tmp_path):
        lines = (folder / "requirements.txt").read_text().splitlines()
        assert f"da3d=={__version__}" in lines
        assert all("==" in line and "+" not in line for line in lines)
        versions = inspect(folder / "model.da3d")["versions"]
        assert {f"{name}=={number.partition('+')[0]}" for name, number in versions.items()} <= set(lines)
        flavour.save_model(pipeline, tmp_path / "more", extra_pip_requirements=["rich"])
        assert "rich" in (tmp_path / "more/requirements.txt").read_text().splitlines()
        flavour.save_model(pipeline, tmp_path / "other", pip_requirements=["da3d"])
        assert not any(
            line.startswith("torch")
            for line in (tmp_path / "other/requirements.txt").read_text().splitlines()
        )

    def test_a_folder_with_something_in_it_is_left_alone(self, folder, pipeline):
        before = sorted(folder.iterdir())
        with pytest.raises(FileError, match="is not empty"):
            flavour.save_model(pipeline, folder)
        with pytest.raises(FileError, match="was not written"):
            flavour.save_model(pipeline, folder / "MLmodel")
        assert sorted(folder.iterdir()) == before

    @pytest.mark.parametrize("model", ["flows.da3d", None, TABLE])
    def test_what_is_no_model(self, model, tmp_path):
        with pytest.raises(ParameterError, match="must be a fitted AnomalyPipeline"):
            flavour.save_model(model, tmp_path / "model")
        with pytest.raises(ParameterError, match="must be a fitted AnomalyPipeline"):
            flavour.log_model(model, "model")

    def test_without_mlflow(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "mlflow.artifacts", None)
        monkeypatch.delitem(sys.modules, "da3d.mlflow")
        with pytest.raises(ExtraError, match=r'pip install "da3d\[mlflow\]"'):
            importlib.import_module("da3d.mlflow")

    def test_not_fitted(self, tmp_path):
        with pytest.raises(InputError, match="fit"):
            flavour.save_model(AnomalyPipeline(), tmp_path / "model")

    @pytest.mark.filterwarnings("ignore:Operation with range")  # MLflow compares column names with a range
    def test_example_and_metadata(self, pipeline, tmp_path):
        flavour.save_model(
            pipeline, tmp_path / "model", input_example=NEW.head(2), metadata={"owner": "fraud"}
        )
        described = Model.load(str(tmp_path / "model"))
        assert described.metadata == {"owner": "fraud"}
        example = json.loads((tmp_path / "model/input_example.json").read_text())
        assert example["columns"] == list(NEW.columns)


class TestSignature:
    def test_pipeline(self, served, pipeline):
        signature = served.metadata.signature
        assert signature.inputs.input_names() == pipeline.encoder_.schema_.names
        assert signature.outputs.input_names() == list(pipeline.verdicts(NEW).columns)
        assert [each.name for each in signature.params] == ["fpr", "budget", "top", "fdr"]

    def test_suppressed_rows_have_a_column(self, pipeline):
        quiet = pipeline.suppress(NEW.head(2))
        names = flavour.signature_of(quiet).outputs.input_names()
        assert names == list(quiet.verdicts(NEW).columns)

    def test_of_the_caller(self, pipeline, tmp_path):
        mine = mlflow.models.ModelSignature(flavour.signature_of(pipeline).inputs)
        flavour.save_model(pipeline, tmp_path / "model", signature=mine)
        assert Model.load(str(tmp_path / "model")).signature == mine


class TestScoring:
    def test_verdicts(self, served, pipeline):
        pd.testing.assert_frame_equal(served.predict(NEW), pipeline.verdicts(NEW))

    @pytest.mark.parametrize("rule", [{"fpr": 0.2}, {"top": 3}, {"budget": 50.0}, {"fdr": 0.3}])
    def test_rules(self, served, pipeline, rule):
        pd.testing.assert_frame_equal(served.predict(NEW, params=rule), pipeline.verdicts(NEW, **rule))

    def test_index_and_more_columns(self, served, pipeline):
        rows = NEW.set_axis([f"row {i}" for i in range(len(NEW))])
        verdicts = served.predict(rows.assign(note="new"))
        pd.testing.assert_frame_equal(verdicts, pipeline.verdicts(rows))

    @pytest.mark.parametrize(
        "changed",
        [
            {"items": "float64"},
            {"items": "Int64"},
            {"items": "int64[pyarrow]"},
            {"country": "category"},
            {"country": "object"},
            {"member": "boolean"},
            {"member": "int64"},
        ],
        ids=str,
    )
    def test_types_that_the_model_takes_are_taken(self, served, pipeline, changed):
        pd.testing.assert_frame_equal(served.predict(NEW.astype(changed)), pipeline.verdicts(NEW))

    @pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S.%fZ"])
    def test_dates_as_text(self, served, pipeline, form):
        text = NEW["paid_at"].dt.strftime(form)
        text.iloc[3] = None
        missing = NEW.assign(paid_at=NEW["paid_at"].mask(np.arange(len(NEW)) == 3))
        verdicts = served.predict(NEW.assign(paid_at=text))
        pd.testing.assert_frame_equal(verdicts, pipeline.verdicts(missing))

    def test_text_that_is_no_date(self, served):
        with pytest.raises(SchemaError, match="'paid_at' holds text that is no date"):
            served.predict(NEW.assign(paid_at="soon"))

    def test_missing_column(self, served):
        with pytest.raises(MlflowException, match="amount"):
            served.predict(NEW.drop(columns="amount"))

    def test_two_rules(self, served):
        with pytest.raises(ParameterError, match="fpr"):
            served.predict(NEW, params={"fpr": 0.1, "top": 3})

    def test_unknown_rule(self, pipeline):
        with pytest.raises(ParameterError, match="params has depth, but a rule is one of fpr"):
            flavour._Verdicts(pipeline).predict(NEW, {"depth": 3})


class TestDetectors:
    @pytest.mark.parametrize("kind", ["names", "array"])
    def test_scores_and_flags(self, kind, tmp_path):
        rows = NEW[["amount", "items"]].fillna(0).astype("float64")
        rows = rows if kind == "names" else rows.to_numpy()
        detector = Mahalanobis(contamination=0.1).fit(rows)
        flavour.save_model(detector, tmp_path / "model")
        served = mlflow.pyfunc.load_model(str(tmp_path / "model"))
        verdicts = served.predict(rows)
        np.testing.assert_array_equal(verdicts["anomaly_score"], detector.anomaly_score(rows))
        np.testing.assert_array_equal(verdicts["is_anomaly"], detector.predict(rows) == -1)
        assert verdicts["is_anomaly"].any()
        assert served.metadata.signature.outputs.input_names() == list(verdicts.columns)
        with pytest.raises(ParameterError, match="this model is a detector"):
            flavour._Verdicts(detector).predict(rows, {"fpr": 0.1})

    def test_pipeline_of_an_array(self, tmp_path):
        rows = NEW[["amount", "items"]].fillna(0).to_numpy(dtype=np.float64)
        model = AnomalyPipeline(KNN(), random_state=0).fit(rows)
        flavour.save_model(model, tmp_path / "model")
        verdicts = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(rows)
        pd.testing.assert_frame_equal(verdicts, model.verdicts(rows))


class TestTracking:
    @pytest.mark.filterwarnings("ignore::FutureWarning:mlflow")
    def test_log_and_load(self, pipeline, store):
        with mlflow.start_run() as run:
            info = flavour.log_model(pipeline, "flows", tags={"purpose": "test"})
        assert info.run_id == run.info.run_id
        assert set(info.flavors) == {"da3d", "python_function"}
        again = flavour.load_model(info.model_uri)
        assert type(again) is AnomalyPipeline
        np.testing.assert_array_equal(again.anomaly_score(NEW), pipeline.anomaly_score(NEW))
        verdicts = mlflow.pyfunc.load_model(info.model_uri).predict(NEW, params={"top": 2})
        assert verdicts["is_anomaly"].sum() == 2

    def test_load_from_a_folder(self, folder, pipeline):
        again = flavour.load_model(str(folder))
        np.testing.assert_array_equal(again.anomaly_score(NEW), pipeline.anomaly_score(NEW))
        raw = mlflow.pyfunc.load_model(str(folder)).get_raw_model()
        assert type(raw) is AnomalyPipeline

    def test_another_flavour(self, tmp_path):
        model = Model()
        model.add_flavor("theirs", data="x")
        model.save(str(tmp_path / "MLmodel"))
        with pytest.raises(ModelFileError, match="is no model of da3d: its flavours are theirs"):
            flavour.load_model(str(tmp_path))

    def test_damaged_file(self, pipeline, tmp_path):
        flavour.save_model(pipeline, tmp_path / "model")
        file = tmp_path / "model/model.da3d"
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(ModelFileError):
            mlflow.pyfunc.load_model(str(tmp_path / "model"))
