"""ONNX files: equal to their pipelines on every kind of column, and readable without torch."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

import pyarrow as pa

from contract import VARIANTS
from da3d import AE, DA3D, KNN, AnomalyPipeline, IsolationForest, Mahalanobis, Threshold, save
from da3d.datasets import toy
from da3d.errors import (
    ExtraError,
    FileError,
    InputError,
    ModelFileError,
    ParameterError,
    SchemaError,
    TableError,
)
from da3d.persistence import onnx
from da3d.persistence.onnx import exporter, facts, model
from da3d.preprocessing import TableEncoder, TableWarning


def mixed(rows=400, seed=0):
    """A table with every kind of column, gaps among them."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "amount": random.lognormal(size=rows) ** 2,
            "count": random.integers(0, 9, rows),
            "flat": np.full(rows, 3.5),
            "gappy": np.where(random.random(rows) < 0.2, np.nan, random.normal(size=rows)),
            "word": random.choice(["a", "b", "ä", "0", ""], rows),
            "rare": random.choice([f"c{i}" for i in range(150)], rows),
            "hole": random.choice(np.array(["x", "y", None], dtype=object), rows),
            "flag": random.random(rows) < 0.3,
            "maybe": random.choice(np.array([True, False, None], dtype=object), rows),
            "at": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 10**7, rows), unit="s"),
            "day": pd.Timestamp("1969-12-01") + pd.to_timedelta(random.integers(0, 60, rows), unit="D"),
            "anomaly_score": random.normal(size=rows),
        }
    )
    frame.loc[random.random(rows) < 0.1, "day"] = pd.NaT
    return frame


def odd():
    """Rows that `mixed` never has: extreme, missing, unseen values."""
    frame = mixed(12, seed=9)
    frame["amount"] = [np.inf, -np.inf, np.nan, 1e300, -1e300, 1e-300, 0, -0.0, 5, 6, 7, 1e15]
    frame["flat"] = [3.5, 3.6, np.nan, 1e9, -1e9, np.inf, 3.5, 3.5, 3.5, 3.5 + 1e-12, 3.5, 3.5]
    frame["word"] = [
        "a",
        "new",
        None,
        "",
        "<missing>",
        "<unseen>",
        "A",
        "a ",
        "ä",
        "a\u0308",
        "\x00",
        "a\x00",
    ]
    frame["hole"] = ["", None, "x", "<missing>", "z", None, "y", "x", "x", "<unseen>", "y", "y"]
    frame["at"] = frame["at"].where(frame.index % 3 > 0)
    frame["day"] = pd.Series(pd.date_range("1900-01-01", periods=12, freq="4321D"))
    frame["flag"] = pd.array([True, False, None] * 4, dtype="boolean")
    return frame


def agrees(exported, pipeline, table, tolerance=1e-5):
    """Whether verdicts are equal, scores up to rounding."""
    ours, theirs = exported.verdicts(table), pipeline.verdicts(table)
    apart = np.abs(ours["anomaly_score"] - theirs["anomaly_score"]) / (1 + np.abs(theirs["anomaly_score"]))
    assert apart.max() <= tolerance
    np.testing.assert_allclose(ours["p_value"], theirs["p_value"], rtol=1e-12)
    np.testing.assert_allclose(ours["severity"], theirs["severity"], rtol=1e-12)
    assert (ours["is_anomaly"] == theirs["is_anomaly"]).all()
    assert list(ours.index) == list(theirs.index)
    return True


def exported(detector, folder, table=None, **parameters):
    """A fitted pipeline and what its file gives back."""
    pipeline = AnomalyPipeline(detector, random_state=0, **parameters).fit(
        mixed() if table is None else table
    )
    return pipeline, onnx.load(onnx.export(pipeline, folder / "model.onnx"))


@pytest.fixture(scope="module")
def near(tmp_path_factory):
    return exported(KNN(), tmp_path_factory.mktemp("knn"))


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    return exported(DA3D(steps=(20, 5, 10), batch_size=64), tmp_path_factory.mktemp("da3d"))


@pytest.fixture(scope="module")
def shallow(tmp_path_factory):
    return exported(AE(steps=5, widths=(8, 2), batch_size=64), tmp_path_factory.mktemp("ae"))


@pytest.mark.parametrize("table", [mixed(), mixed(1300, seed=5), mixed(1, seed=7), odd(), odd()[3:4]])
def test_knn_is_equal_on_every_kind_of_column(near, table):
    assert agrees(near[1], near[0], table)


@pytest.mark.slow
@pytest.mark.parametrize("table", [mixed(), mixed(1, seed=7), odd()])
def test_the_default_detector_is_equal(deep, table):
    assert agrees(deep[1], deep[0], table)


def test_likeness_to_known_anomalies_is_equal(tmp_path):
    table = mixed()
    named = np.zeros(len(table), dtype=int)
    named[:6] = 1
    pipeline = AnomalyPipeline(DA3D("fast"), random_state=0).fit(table, named)
    assert len(pipeline.detector_.network_.by_known.split)
    assert agrees(onnx.load(onnx.export(pipeline, tmp_path / "model.onnx")), pipeline, mixed(90, seed=4))


def test_a_rounded_value_falls_to_the_same_side_of_a_threshold(tmp_path):
    """With a straightened value that is off by its last bit, one of these rows met other leaves."""
    pipeline = AnomalyPipeline(DA3D("fast"), random_state=0)
    pipeline.fit(toy.mixed(rows=2000, anomalies=0, seed=0).frame)
    model = onnx.load(onnx.export(pipeline, tmp_path / "model.onnx"))
    table = toy.mixed(rows=4000, anomalies=200, seed=1).frame
    scores = pipeline.anomaly_score(table)
    assert (np.abs(model.anomaly_score(table) - scores) / (1 + np.abs(scores))).max() <= 1e-5


def test_crowds_of_near_copies_are_equal(tmp_path):
    random = np.random.default_rng(0)
    crowd = random.normal(0, 1, (400, 12))
    crowd[:200] = 9 + random.normal(0, 1e-4, (200, 12))
    pipeline = AnomalyPipeline(DA3D("fast"), random_state=0).fit(crowd)
    exported = onnx.load(onnx.export(pipeline, tmp_path / "m.onnx"))
    rows = crowd + random.normal(0, 1e-5, crowd.shape)
    np.testing.assert_allclose(
        exported.anomaly_score(rows), pipeline.anomaly_score(rows), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("table", [mixed(), mixed(1, seed=7), odd()])
def test_a_network_is_equal(shallow, table):
    assert agrees(shallow[1], shallow[0], table)


def test_rows_are_scored_alone(shallow):
    rows = mixed(700, seed=3)
    together = shallow[1].anomaly_score(rows)
    alone = np.concatenate([shallow[1].anomaly_score(rows[i : i + 1]) for i in range(0, 700, 50)])
    np.testing.assert_allclose(together[::50], alone, rtol=2e-6, atol=2e-6)


ROWS = st.fixed_dictionaries(
    {
        "number": st.floats(allow_nan=True, allow_infinity=True),
        "text": st.one_of(st.none(), st.text(max_size=3), st.sampled_from(["a", "b", ""])),
        "flag": st.one_of(st.none(), st.booleans()),
        "at": st.one_of(st.none(), st.datetimes()),
    }
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "number": random.normal(size=200),
            "text": random.choice(np.array(["a", "b", None], dtype=object), 200),
            "flag": random.random(200) < 0.5,
            "at": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 10**7, 200), unit="s"),
        }
    )
    return exported(Mahalanobis(), tmp_path_factory.mktemp("small"), table)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_any_row_is_equal(small, rows):
    frame = pd.DataFrame(rows).astype({"number": float, "text": object, "flag": object, "at": object})
    ours, theirs = small[1].anomaly_score(frame), small[0].anomaly_score(frame)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["bagged-nn", "mcd", "isolation-forest", "lof", "ocsvm", "pca", "ecod"])
def test_detectors_without_a_network_are_equal(name, tmp_path):
    pipeline, found = exported(VARIANTS[name](), tmp_path)
    assert agrees(found, pipeline, mixed(200, seed=2), tolerance=2e-7)
    assert agrees(found, pipeline, odd(), tolerance=2e-7)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_detector_and_preset_is_equal(name, tmp_path):
    pipeline, found = exported(VARIANTS[name](), tmp_path)
    # The energies of a mixture with narrow components enlarge the rounding of both by as much.
    tolerance = 2e-4 if name.startswith("dagmm") else 1e-5
    ours, theirs = found.anomaly_score(mixed(200, seed=2)), pipeline.anomaly_score(mixed(200, seed=2))
    assert (np.abs(ours - theirs) / (1 + np.abs(theirs))).max() <= tolerance


def test_minmax_encoding_is_equal(tmp_path):
    pipeline, found = exported(
        Mahalanobis(), tmp_path, encoder=TableEncoder(scaling="minmax", max_categories=3)
    )
    assert agrees(found, pipeline, odd())


@pytest.mark.parametrize("columns", [["word"], ["amount", "count"], ["day"], ["flag"]])
def test_tables_of_one_kind_are_equal(columns, tmp_path):
    pipeline, found = exported(KNN(), tmp_path, mixed()[columns])
    assert agrees(found, pipeline, odd()[columns])


def test_thresholds_are_those_of_the_pipeline(near):
    pipeline, found = near
    table = mixed(300, seed=4)
    for rule in ({"fpr": 0.1}, {"budget": 50}, {"top": 7}, {"fdr": 0.2}):
        ours, theirs = found.verdicts(table, **rule), pipeline.verdicts(table, **rule)
        assert (ours["is_anomaly"] == theirs["is_anomaly"]).all()
    np.testing.assert_array_equal(found.p_value(table), pipeline.p_value(table))


def test_the_graph_alone_gives_all_outputs(near, tmp_path):
    import onnxruntime

    path = onnx.export(near[0], tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    table = mixed(5, seed=1)
    fed = {each["name"]: model._values(table[each["column"]], each) for each in onnx.inspect(path)["inputs"]}
    assert {each.name for each in session.get_inputs()} == set(fed)
    outputs = dict(
        zip(("anomaly_score", "p_value", "severity", "is_anomaly"), session.run(None, fed), strict=True)
    )
    verdicts = near[0].verdicts(table)
    for name, values in outputs.items():
        np.testing.assert_allclose(values, verdicts[name], rtol=1e-7)


def test_a_rule_that_ranks_has_no_alarm_in_the_graph(tmp_path):
    pipeline, found = exported(Mahalanobis(), tmp_path, threshold=Threshold("top", 5))
    assert onnx.inspect(tmp_path / "model.onnx")["outputs"] == ["anomaly_score", "p_value", "severity"]
    assert agrees(found, pipeline, mixed(100, seed=1))


def test_polars_pyarrow_and_arrays(near, tmp_path):
    polars = pytest.importorskip("polars")
    table = mixed(30, seed=1)
    wanted = near[1].anomaly_score(table)
    arrow = pa.Table.from_pandas(table)
    np.testing.assert_array_equal(near[1].anomaly_score(arrow), wanted)
    np.testing.assert_array_equal(near[1].anomaly_score(polars.from_arrow(arrow)), wanted)
    assert isinstance(near[1].verdicts(arrow), pa.Table)
    rows = np.random.default_rng(0).normal(size=(100, 3))
    pipeline, found = exported(Mahalanobis(), tmp_path, rows)
    assert agrees(found, pipeline, rows)
    with pytest.raises(TableError, match="2 features"):
        found.anomaly_score(rows[:, :2])


def test_wrong_tables_are_refused_as_by_the_pipeline(near):
    pipeline, found = near
    table = mixed(10)
    for wrong in (table.drop(columns="word"), table.assign(amount="x"), table.assign(at=1.5)):
        with pytest.raises(SchemaError) as ours:
            found.anomaly_score(wrong)
        with pytest.raises(SchemaError) as theirs:
            pipeline.anomaly_score(wrong)
        assert str(ours.value) == str(theirs.value)
    with pytest.warns(TableWarning, match="'extra'"):
        found.anomaly_score(table.assign(extra=1))
    with pytest.raises(TableError, match="no rows"):
        found.anomaly_score(table[:0])


def test_nothing_heavy_is_imported_to_score(near, tmp_path):
    path = onnx.export(near[0], tmp_path / "model.onnx")
    mixed(50).to_parquet(tmp_path / "rows.parquet")
    line = ["score", str(path), str(tmp_path / "rows.parquet"), "-o", str(tmp_path / "out.csv")]
    code = (
        "import sys; from da3d.cli.main import app\n"
        f"app({line!r}, standalone_mode=False)\n"
        "print([m for m in ('torch', 'sklearn', 'scipy', 'onnx', 'skops') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert len(pd.read_csv(tmp_path / "out.csv")) == 50


def test_facts_are_read_without_onnx(near, tmp_path):
    path = onnx.export(near[0], tmp_path / "model.onnx")
    found = onnx.inspect(path)
    assert (found["kind"], found["detector"], found["format"]) == ("onnx", "knn", facts.FORMAT)
    assert found["calibration_rows"] == len(near[0].calibration_.scores)
    assert [each["column"] for each in found["inputs"]] == near[0].encoder_.schema_.names
    assert json.dumps(found)
    again = onnx.inspect(onnx.export(near[0], tmp_path / "again.onnx"))
    assert again["source"] == found["source"]
    assert onnx.is_onnx(path)


def test_other_files_are_not_onnx(near, tmp_path):
    import onnx as library
    from onnx import helper

    saved = save(near[0], tmp_path / "model.da3d")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty").write_bytes(b"")
    for path in (saved, tmp_path / "table.csv", tmp_path / "empty", tmp_path / "none", tmp_path):
        assert not onnx.is_onnx(path)
    graph = helper.make_graph([], "other", [], [])
    library.save(helper.make_model(graph), str(tmp_path / "other.onnx"))
    with pytest.raises(ModelFileError, match="something else"):
        onnx.load(tmp_path / "other.onnx")
    with pytest.raises(ModelFileError, match="not an ONNX model"):
        onnx.load(saved)
    with pytest.raises(FileError, match="does not exist"):
        onnx.load(tmp_path / "none")


def test_damaged_and_newer_files_are_refused(near, tmp_path):
    path = onnx.export(near[0], tmp_path / "model.onnx")
    content = path.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFileError):
        onnx.load(tmp_path / "cut.onnx")
    (tmp_path / "new.onnx").write_bytes(content.replace(b'"format": 1', b'"format": 9'))
    with pytest.raises(ModelFileError, match="format 9"):
        onnx.load(tmp_path / "new.onnx")
    (tmp_path / "odd.onnx").write_bytes(content.replace(b'"rows_per_pass"', b'"rows_per_what"'))
    with pytest.raises(ModelFileError, match="damaged"):
        onnx.load(tmp_path / "odd.onnx")


def test_what_cannot_be_exported_says_so(near, tmp_path):
    table = mixed()
    path = tmp_path / "model.onnx"
    with pytest.raises(ParameterError, match="wrap a detector"):
        onnx.export(near[0].detector_, path)
    with pytest.raises(InputError, match="call fit first"):
        onnx.export(AnomalyPipeline(KNN()), path)
    grouped = AnomalyPipeline(KNN(), calibrate_by="flag", random_state=0).fit(table)
    with pytest.raises(ParameterError, match="calibrate_by"):
        onnx.export(grouped, path)
    from da3d.detectors import make_detector

    foreign = AnomalyPipeline(make_detector("sklearn:IsolationForest", n_estimators=5), random_state=0).fit(
        table
    )
    with pytest.raises(ParameterError, match=r"another library|cannot be"):
        onnx.export(foreign, path)
    assert not path.exists()


def test_a_graph_that_differs_is_not_written(monkeypatch, tmp_path):
    pipeline = AnomalyPipeline(Mahalanobis(), random_state=0).fit(mixed())
    before = pipeline.detector_.mean_
    real = exporter._score

    def wrong(graph, detector, features):
        return graph.apply("Mul", real(graph, detector, features), graph.constant(np.float64(1.001)))

    monkeypatch.setattr(exporter, "_score", wrong)
    with pytest.raises(ParameterError, match="differ from its own"):
        onnx.export(pipeline, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
    assert pipeline.detector_.mean_ is before


def test_without_remembered_rows_it_is_written_unchecked(tmp_path):
    pipeline, found = exported(IsolationForest(), tmp_path, reference_rows=0)
    assert agrees(found, pipeline, mixed(50, seed=1))


def test_missing_packages_are_named(monkeypatch, near, tmp_path):
    monkeypatch.setattr(exporter, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ExtraError, match=r"onnxscript.*da3d\[onnx\]"):
        onnx.export(near[0], tmp_path / "model.onnx")
    path = tmp_path / "other.onnx"
    monkeypatch.undo()
    onnx.export(near[0], path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExtraError, match=r"da3d\[onnx\]"):
        onnx.load(path)


def test_threads_must_be_a_count(near, tmp_path):
    path = onnx.export(near[0], tmp_path / "model.onnx")
    with pytest.raises(ParameterError, match="threads is 0"):
        onnx.load(path, threads=0)
