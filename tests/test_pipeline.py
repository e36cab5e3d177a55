import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from da3d.datasets import toy
from da3d.detectors import DA3D, KNN
from da3d.errors import LabelError, ParameterError, SchemaError, TableError
from da3d.pipeline import AnomalyPipeline, Calibration, ResolutionWarning, Threshold
from da3d.pipeline.calibrate import hold_out
from da3d.preprocessing import TableEncoder, TableWarning


@pytest.fixture(scope="module")
def mixed():
    return toy.mixed(rows=1200, seed=0)


@pytest.fixture(scope="module")
def pipeline(mixed):
    return AnomalyPipeline(KNN(), random_state=0).fit(mixed.frame[mixed.labels == 0])


class TestCalibration:
    def test_p_values_by_hand(self):
        calibration = Calibration(np.array([3.0, 1.0, 2.0, 2.0]))
        np.testing.assert_allclose(
            calibration.p_values(np.array([0.0, 1.0, 2.0, 2.5, 3.0, 9.0])), [1, 1, 0.8, 0.4, 0.4, 0.2]
        )

    def test_p_values_of_normal_rows_are_valid(self):
        random = np.random.default_rng(0)
        rates = []
        for _ in range(300):
            calibration = Calibration(random.normal(size=99))
            rates.append((calibration.p_values(random.normal(size=50)) <= 0.05).mean())
        assert np.mean(rates) <= 0.05 + 3 * np.std(rates) / 300**0.5
        assert np.mean(rates) > 0.03

    @pytest.mark.parametrize("fpr", [0.5, 0.1, 0.01, 0.003])
    def test_cut_and_p_value_agree(self, fpr):
        scores = np.round(np.random.default_rng(1).normal(size=500), 2)  # with ties
        calibration = Calibration(scores)
        new = np.linspace(-4, 4, 2001)
        np.testing.assert_array_equal(new >= calibration.cut(fpr), calibration.p_values(new) <= fpr)

    def test_contamination_drops_the_strangest(self):
        calibration = Calibration(np.arange(100.0), contamination=0.05)
        assert calibration.scores.max() == 94
        with pytest.raises(ParameterError, match=r"contamination is 0\.5"):
            Calibration(np.arange(3.0), contamination=0.5)

    def test_hold_out(self):
        assert hold_out(1000, 0).sum() == 150
        assert hold_out(10**6, 0).sum() == 2000
        assert hold_out(60, 0).sum() == 10
        assert hold_out(40, 0).sum() == 10
        assert not hold_out(39, 0).any()
        assert (hold_out(1000, 0) != hold_out(1000, 1)).any()


class TestThreshold:
    calibration = Calibration(np.arange(999.0))
    scores = np.array([0.0, 500, 990, 995, 998.5, 2000])

    @pytest.mark.parametrize(
        ("rule", "expected"),
        [
            (Threshold("fpr", 0.01), [0, 0, 1, 1, 1, 1]),
            (Threshold("fpr", 0.001), [0, 0, 0, 0, 1, 1]),
            (Threshold("top", 2), [0, 0, 0, 0, 1, 1]),
            (Threshold("top", 100), [1, 1, 1, 1, 1, 1]),
            (Threshold("budget", 500), [0, 0, 0, 1, 1, 1]),
            (Threshold("fdr", 0.05), [0, 0, 1, 1, 1, 1]),
        ],
    )
    def test_rules(self, rule, expected):
        np.testing.assert_array_equal(rule.flags(self.scores, self.calibration), np.array(expected, bool))

    def test_fdr_is_kept_on_average(self):
        random = np.random.default_rng(0)
        shares = []
        for _ in range(100):
            calibration = Calibration(random.normal(size=2000))
            scores = np.r_[random.normal(size=900), random.normal(5, 1, size=100)]
            flags = Threshold("fdr", 0.1).flags(scores, calibration)
            shares.append(flags[:900].sum() / max(1, flags.sum()))
            assert flags[900:].mean() > 0.8
        assert np.mean(shares) <= 0.11

    def test_too_few_held_out_rows_are_said_aloud(self):
        calibration = Calibration(np.arange(20.0))
        with pytest.warns(ResolutionWarning, match="20 held-out rows"):
            flags = Threshold("fpr", 0.01).flags(np.array([19.0, 19.5]), calibration)
        np.testing.assert_array_equal(flags, [False, True])

    @pytest.mark.parametrize(
        ("rule", "value"),
        [("fpr", 0), ("fpr", 1), ("fdr", -1), ("budget", 0), ("budget", 1001), ("top", 0), ("top", 1.5)],
    )
    def test_bad_values(self, rule, value):
        with pytest.raises(ParameterError, match=f"{rule} is {value}"):
            Threshold(rule, value)

    def test_one_rule_at_a_time(self):
        assert Threshold.of() is None
        assert Threshold.of(top=3) == Threshold("top", 3)
        with pytest.raises(ParameterError, match="fpr and top are given"):
            Threshold.of(fpr=0.1, top=3)
        with pytest.raises(ParameterError, match="rule is"):
            Threshold("share", 0.1)


class TestVerdicts:
    def test_planted_anomalies_are_found(self, pipeline, mixed):
        verdicts = pipeline.verdicts(mixed.frame)
        assert roc_auc_score(mixed.labels, verdicts["anomaly_score"]) > 0.9
        assert list(verdicts) == ["anomaly_score", "p_value", "severity", "is_anomaly"]
        assert verdicts["p_value"].between(0, 1, inclusive="right").all()

    def test_the_false_positive_rate_holds_for_new_rows(self, pipeline):
        fresh = toy.mixed(rows=4000, seed=7)
        flagged = pipeline.verdicts(fresh.frame[fresh.labels == 0], fpr=0.05)["is_anomaly"].mean()
        assert flagged < 0.09  # 170 held-out rows: the realised rate has a deviation of .017

    def test_index_is_the_callers(self, pipeline, mixed):
        frame = mixed.frame.iloc[5:9].set_axis(["a", "b", "c", "d"])
        assert list(pipeline.verdicts(frame, top=1).index) == ["a", "b", "c", "d"]

    def test_threshold_changes_without_refitting(self, mixed):
        pipeline = AnomalyPipeline(KNN(), random_state=0).fit(mixed.frame[mixed.labels == 0])
        assert str(pipeline.rule) == "false-positive rate 0.01"
        scores = pipeline.anomaly_score(mixed.frame)
        pipeline.threshold = Threshold("top", 7)
        assert (pipeline.predict(mixed.frame) == -1).sum() == 7
        pipeline.threshold = Threshold("fpr", 0.2)
        assert (pipeline.predict(mixed.frame) == -1).sum() > 100
        np.testing.assert_array_equal(scores, pipeline.anomaly_score(mixed.frame))

    def test_predict_and_decision_function_agree(self, pipeline, mixed):
        pipeline_flags = pipeline.predict(mixed.frame) == -1
        np.testing.assert_array_equal(pipeline.decision_function(mixed.frame) <= 0, pipeline_flags)

    def test_every_kind_of_table_gives_the_same_scores(self, pipeline, mixed):
        frame = mixed.frame.head(50)
        expected = pipeline.anomaly_score(frame)
        for table in (pl.from_pandas(frame), pa.Table.from_pandas(frame, preserve_index=False)):
            np.testing.assert_allclose(pipeline.anomaly_score(table), expected)


class TestSchema:
    def test_columns_may_come_in_any_order(self, pipeline, mixed):
        frame = mixed.frame.head(20)
        np.testing.assert_array_equal(
            pipeline.anomaly_score(frame[frame.columns[::-1]]), pipeline.anomaly_score(frame)
        )

    def test_missing_extra_and_changed_columns(self, pipeline, mixed):
        frame = mixed.frame.head(20)
        first = frame.columns[0]
        with pytest.raises(SchemaError, match=first):
            pipeline.anomaly_score(frame.drop(columns=first))
        with pytest.warns(TableWarning, match="extra"):
            scores = pipeline.anomaly_score(frame.assign(extra=1))
        np.testing.assert_array_equal(scores, pipeline.anomaly_score(frame))
        with pytest.raises(SchemaError, match=first):
            pipeline.anomaly_score(frame.assign(**{first: "text"}))

    def test_values_never_seen_are_strange(self, mixed):
        normal = mixed.frame[mixed.labels == 0]
        pipeline = AnomalyPipeline(KNN(), random_state=0).fit(normal)
        kinds = pipeline.encoder_.schema_.kinds
        number = next(name for name, kind in kinds.items() if kind == "number")
        category = next(name for name, kind in kinds.items() if kind == "category")
        row = normal.head(1)
        base = pipeline.anomaly_score(row)[0]
        assert pipeline.anomaly_score(row.assign(**{number: 1e12}))[0] > base + 10
        assert pipeline.anomaly_score(row.assign(**{category: "never seen"}))[0] > base
        assert np.isfinite(pipeline.anomaly_score(row.assign(**{number: -np.inf}))).all()


class TestFit:
    def test_known_anomalies_are_marked_by_y(self, mixed):
        pipeline = AnomalyPipeline(DA3D(steps=(20, 5, 20)), random_state=0).fit(mixed.frame, mixed.labels)
        scores = pipeline.anomaly_score(mixed.frame)
        assert scores[mixed.labels == 1].mean() > scores[mixed.labels == 0].mean()

    def test_same_seed_same_scores(self, mixed):
        frame = mixed.frame.head(300)
        one, two = (
            AnomalyPipeline(DA3D(steps=(5, 2, 4)), random_state=3).fit(frame).anomaly_score(frame)
            for _ in range(2)
        )
        np.testing.assert_array_equal(one, two)

    def test_parts_are_cloned(self, mixed):
        detector, encoder = KNN(neighbors=2), TableEncoder(max_categories=3)
        pipeline = AnomalyPipeline(detector, encoder=encoder).fit(mixed.frame)
        assert pipeline.detector_.neighbors == 2
        assert not hasattr(detector, "offset_")
        assert not hasattr(encoder, "schema_")

    @pytest.mark.parametrize(
        ("table", "labels", "error", "says"),
        [
            (pd.DataFrame({"a": []}), None, TableError, "no rows"),
            (pd.DataFrame({"a": [1.0]}), None, TableError, "1 sample"),
            (pd.DataFrame({"a": [1.0] * 9, "b": ["x"] * 9}), None, TableError, "all 9 rows .* are equal"),
            (pd.DataFrame({"a": [[1], [2]]}), None, TableError, "no column"),
            (pd.DataFrame({"a": [1.0, 2, 3]}), [1, 1, 1], LabelError, "3 of 3 rows"),
            (pd.DataFrame({"a": [1.0, 2, 3]}), [0, None, 1], LabelError, "1 missing"),
            (np.arange(5.0), None, TableError, "Reshape your data"),
        ],
    )
    def test_bad_tables(self, table, labels, error, says):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TableWarning)
            with pytest.raises(error, match=says):
                AnomalyPipeline(KNN()).fit(table, labels)

    def test_an_all_missing_column_is_left_out_aloud(self):
        frame = pd.DataFrame({"a": np.arange(40.0), "b": [np.nan] * 40})
        with pytest.warns(TableWarning, match="b"):
            pipeline = AnomalyPipeline(KNN()).fit(frame)
        assert pipeline.encoder_.schema_.names == ["a"]

    def test_one_column_is_enough(self):
        pipeline = AnomalyPipeline(DA3D(steps=(20, 5, 10)), random_state=0)
        pipeline.fit(pd.DataFrame({"a": np.random.default_rng(0).normal(size=200)}))
        scores = pipeline.anomaly_score(pd.DataFrame({"a": [0.0, 30.0]}))
        assert scores[1] > scores[0]

    def test_a_hundred_thousand_categories(self):
        frame = pd.DataFrame({"who": [f"u{i}" for i in range(100_000)], "x": np.arange(100_000) % 7})
        with pytest.warns(TableWarning, match="who"):
            pipeline = AnomalyPipeline(KNN(), random_state=0).fit(frame)
        assert pipeline.encoder_.schema_.names == ["x"]


def test_a_detector_and_a_quality_are_one_too_many(rows):
    with pytest.raises(ParameterError, match=r"quality is 'fast'.* give one of the two"):
        AnomalyPipeline(KNN(), quality="fast").fit(rows)
    with pytest.raises(ParameterError, match="quality is 'superb' but must be one of fast, balanced"):
        AnomalyPipeline(quality="superb").fit(rows)


def test_both_qualities_use_known_anomalies():
    assert DA3D("fast").uses_known_anomalies
    assert DA3D().uses_known_anomalies
