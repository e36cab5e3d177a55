"""Tables of any library: the same answers, and verdicts of the same kind."""

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from da3d.datasets import toy
from da3d.detectors import KNN
from da3d.errors import TableError
from da3d.pipeline import AnomalyPipeline
from da3d.preprocessing.frames import collected, like

TABLE = toy.mixed(rows=400, anomalies=0, seed=0)
NEW = toy.mixed(rows=60, anomalies=6, seed=1)
KINDS = {
    "polars": (pl.from_pandas, pl.DataFrame),
    "lazy": (lambda frame: pl.from_pandas(frame).lazy(), pl.DataFrame),
    "table": (pa.Table.from_pandas, pa.Table),
    "batch": (pa.RecordBatch.from_pandas, pa.RecordBatch),
    "narwhals": (lambda frame: nw.from_native(pl.from_pandas(frame)), nw.DataFrame),
    "narwhals lazy": (lambda frame: nw.from_native(pl.from_pandas(frame).lazy()), nw.DataFrame),
    "pandas": (lambda frame: frame, pd.DataFrame),
}


def plain(table):
    """Any table as a dict of lists."""
    return table.to_pydict() if isinstance(table, pa.Table | pa.RecordBatch) else dict(table_columns(table))


def table_columns(table):
    return ((name, table[name].to_list()) for name in table.columns)


@pytest.fixture(scope="module")
def pipeline():
    return AnomalyPipeline(KNN(), random_state=0).fit(TABLE.frame)


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


class TestSameKindOut:
    def test_verdicts(self, pipeline, kind):
        convert, wanted = kind
        verdicts = pipeline.verdicts(convert(NEW.frame), top=5)
        assert type(verdicts) is wanted
        assert plain(verdicts) == plain(pipeline.verdicts(NEW.frame, top=5))

    def test_suppressed_rows(self, pipeline, kind):
        convert, wanted = kind
        quiet = pipeline.suppress(convert(NEW.frame.head(2)))
        verdicts = quiet.verdicts(convert(NEW.frame))
        assert type(verdicts) is wanted
        assert plain(verdicts) == plain(pipeline.suppress(NEW.frame.head(2)).verdicts(NEW.frame))

    @pytest.mark.parametrize("index", [list("abc"), [7, 3, 5], pd.date_range("2024-01-01", periods=3)])
    def test_pandas_keeps_its_index(self, pipeline, index):
        rows = NEW.frame.head(3).set_axis(index)
        pd.testing.assert_index_equal(pipeline.verdicts(rows).index, rows.index)
        assert not hasattr(pipeline.verdicts(pl.from_pandas(rows)), "index")

    @pytest.mark.parametrize("convert", [np.asarray, np.ndarray.tolist], ids=["array", "lists"])
    def test_arrays_and_lists_give_pandas(self, convert):
        rows = np.random.default_rng(0).normal(size=(60, 3))
        verdicts = AnomalyPipeline(KNN(), random_state=0).fit(rows).verdicts(convert(rows))
        assert type(verdicts) is pd.DataFrame
        assert list(verdicts.index) == list(range(60))

    def test_dicts_give_pandas(self, pipeline):
        verdicts = pipeline.verdicts(NEW.frame.to_dict("records"))
        pd.testing.assert_frame_equal(verdicts, pipeline.verdicts(NEW.frame))


class TestSameAnswers:
    def test_arrays(self, pipeline, kind):
        table = kind[0](NEW.frame)
        for method in ("anomaly_score", "p_value", "predict", "decision_function"):
            np.testing.assert_array_equal(
                getattr(pipeline, method)(table), getattr(pipeline, method)(NEW.frame)
            )

    def test_fit(self, pipeline, kind):
        labels = pl.Series(TABLE.labels)
        again = AnomalyPipeline(KNN(), random_state=0).fit(kind[0](TABLE.frame), labels)
        np.testing.assert_array_equal(again.anomaly_score(NEW.frame), pipeline.anomaly_score(NEW.frame))
        assert list(again.feature_names_in_) == list(TABLE.frame.columns)

    def test_explanations(self, pipeline, kind):
        given = pipeline.explain(kind[0](NEW.frame), top=1)
        assert [each.to_dict() for each in given] == [
            each.to_dict() for each in pipeline.explain(NEW.frame, top=1)
        ]

    def test_tables_about_the_whole_are_pandas(self, pipeline, kind):
        table = pipeline.operating_table(kind[0](NEW.frame), pl.Series(NEW.labels))
        pd.testing.assert_frame_equal(table, pipeline.operating_table(NEW.frame, NEW.labels))

    def test_drift(self, pipeline, kind):
        assert pipeline.drift(kind[0](NEW.frame)).to_dict() == pipeline.drift(NEW.frame).to_dict()

    def test_refit_with_feedback(self, pipeline, kind):
        marked = NEW.frame.assign(feedback=["benign"] * 3 + [None] * (len(NEW.frame) - 3))
        again = pipeline.refit(kind[0](TABLE.frame), kind[0](marked))
        np.testing.assert_array_equal(
            again.anomaly_score(NEW.frame), pipeline.refit(TABLE.frame, marked).anomaly_score(NEW.frame)
        )
        assert again.suppression_.rows.shape[0] == 3


class TestFrames:
    def test_a_lazy_table_is_computed_once(self, pipeline):
        runs = []

        def watched(rows):
            runs.append(len(rows))
            return rows

        table = pl.from_pandas(NEW.frame).lazy().map_batches(watched)
        pipeline.verdicts(table)
        pipeline.predict(table)
        assert runs == [60, 60]

    @pytest.mark.parametrize("table", [None, 3, [[1.0]], np.zeros(3), pd.DataFrame({"a": [1]})])
    def test_what_is_not_lazy_stays(self, table):
        assert collected(table) is table

    def test_like_is_by_the_table_alone(self):
        result = pd.DataFrame({"score": [1.0, 2.0]}, index=["a", "b"])
        assert like(result, [[1], [2]]) is result
        assert like(result, pl.DataFrame({"x": [1, 2]})).equals(pl.DataFrame({"score": [1.0, 2.0]}))

    def test_a_series_is_still_refused(self, pipeline):
        with pytest.raises(TableError, match="a single column"):
            pipeline.verdicts(pl.Series([1.0, 2.0]))
