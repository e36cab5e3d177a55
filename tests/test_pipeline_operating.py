"""Thresholds compared, severity, and calibration within groups."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from da3d.datasets import toy
from da3d.detectors import KNN, Mahalanobis
from da3d.errors import LabelError, ParameterError, SchemaError
from da3d.persistence import inspect, load, save
from da3d.pipeline import AnomalyPipeline, Calibration, ResolutionWarning, Threshold, operating_table
from da3d.pipeline.operating import wilson

CALIBRATION = Calibration(np.arange(999.0))


@pytest.fixture(scope="module")
def mixed():
    return toy.mixed(rows=1200, seed=0)


@pytest.fixture(scope="module")
def pipeline(mixed):
    return AnomalyPipeline(KNN(), random_state=0).fit(mixed.frame[mixed.labels == 0])


class TestOperatingTable:
    def test_by_hand(self):
        scores = np.array([0.0, 10, 995, 998.5, 2000, 996])
        labels = np.array([0, 0, 0, 1, 1, 1])
        table = operating_table(
            CALIBRATION,
            scores,
            labels,
            per_day=600,
            thresholds=[Threshold("fpr", 0.004), Threshold("top", 3)],
        )
        first, second = table.to_dict("records")
        assert first["score"] == np.nextafter(995.0, np.inf)
        assert (first["alerts_per_thousand"], first["alerts_per_day"]) == (500, 300)
        assert (first["precision"], first["recall"], first["false_positive_rate"]) == (1, 1, 0)
        assert second["score"] == 996
        assert (second["recall_low"], second["recall_high"]) == wilson(3, 3)

    def test_without_rows_normal_rows_are_counted(self):
        table = operating_table(CALIBRATION, per_day=10_000)
        assert set(table["rule"]) == {"fpr", "budget"}
        one = table[(table["rule"] == "fpr") & (table["value"] == 0.01)].iloc[0]
        assert one["score"] == CALIBRATION.cut(0.01)
        assert one["alerts_per_day"] == pytest.approx(100)
        assert list(table) == ["rule", "value", "score", "alerts_per_thousand", "alerts_per_day"]

    def test_expected_alerts_come_true(self):
        random = np.random.default_rng(0)
        calibration = Calibration(random.normal(size=1999))
        expected = operating_table(calibration, thresholds=[Threshold("fpr", 0.05)])["alerts_per_thousand"][0]
        assert 1000 * (random.normal(size=200_000) >= calibration.cut(0.05)).mean() == pytest.approx(
            expected, rel=0.2
        )

    def test_rates_that_cannot_be_resolved_are_left_out(self):
        calibration = Calibration(np.arange(49.0))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert operating_table(calibration)["value"].min() >= 0.02
            table = operating_table(calibration, np.arange(60.0))
        assert table.loc[table["rule"] == "fpr", "value"].tolist() == [0.02, 0.05, 0.1]

    def test_the_pipeline_says_what_its_verdicts_say_and_fits_nothing(self, pipeline, mixed, monkeypatch):
        monkeypatch.setattr(KNN, "fit", lambda *args: pytest.fail("fitted again"))
        table = pipeline.operating_table(mixed.frame, mixed.labels, per_day=1000)
        for each in table.to_dict("records"):
            verdicts = pipeline.verdicts(mixed.frame, **{each["rule"]: each["value"]})
            flags = verdicts["is_anomaly"].to_numpy()
            assert each["alerts_per_day"] == pytest.approx(1000 * flags.mean())
            assert each["recall"] == flags[mixed.labels == 1].mean()
            if flags.any():
                assert each["precision"] == mixed.labels[flags].mean()
                assert verdicts.loc[flags, "anomaly_score"].min() >= each["score"]
            else:
                assert np.isnan(each["precision"])
                assert np.isnan(each["score"]) or each["rule"] == "fpr"
            for name in ("precision", "recall", "false_positive_rate"):
                assert each[f"{name}_low"] <= np.nan_to_num(each[name], nan=0.5) <= each[f"{name}_high"]
        assert list(pipeline.operating_table(mixed.frame)) == [
            "rule",
            "value",
            "score",
            "alerts_per_thousand",
        ]
        assert len(pipeline.operating_table()) > 3

    def test_suppressed_rows_raise_no_alarm(self, pipeline, mixed):
        quiet = pipeline.suppress(mixed.frame[mixed.labels == 1].head(20))
        table = quiet.operating_table(mixed.frame, mixed.labels)
        for each in table.to_dict("records"):
            flags = quiet.verdicts(mixed.frame, **{each["rule"]: each["value"]})["is_anomaly"]
            assert each["alerts_per_thousand"] == pytest.approx(1000 * flags.mean())

    @pytest.mark.parametrize(("count", "total"), [(0, 10), (10, 10), (3, 7), (500, 1000)])
    def test_wilson(self, count, total):
        theirs = binomtest(count, total).proportion_ci(method="wilson")
        assert wilson(count, total) == pytest.approx((theirs.low, theirs.high))
        assert wilson(0, 0) == (0.0, 1.0)

    @pytest.mark.parametrize(
        ("arguments", "error", "says"),
        [
            ({"per_day": 0}, ParameterError, "per_day is 0"),
            ({"per_day": np.inf}, ParameterError, "per_day is inf"),
            ({"y": [0, 1]}, ParameterError, "without the rows"),
            ({"X": True, "y": [0, 1]}, LabelError, r"labels have shape \(2,\)"),
            ({"X": True, "y": ["a"] * 1200}, LabelError, "other values than 0 and 1"),
            ({"X": True, "y": [np.nan] * 1200}, LabelError, "other values than 0 and 1"),
        ],
    )
    def test_bad_arguments(self, pipeline, mixed, arguments, error, says):
        table = mixed.frame if arguments.pop("X", False) else None
        with pytest.raises(error, match=says):
            pipeline.operating_table(table, **arguments)


class TestSeverity:
    def test_ends_and_order(self):
        p_values = CALIBRATION.p_values(np.array([-1.0, 500, 900, 989, 998, 1e9]))
        severity = CALIBRATION.severity(p_values)
        assert severity[0] == 0
        assert severity[-1] == 100
        assert (np.diff(severity) > 0).all()
        assert not np.signbit(severity).any()

    def test_each_factor_of_ten_adds_the_same(self):
        np.testing.assert_allclose(
            CALIBRATION.severity(np.array([1, 0.1, 0.01, 0.001])), [0, 100 / 3, 200 / 3, 100], atol=1e-9
        )

    def test_it_is_a_column_of_the_verdicts(self, pipeline, mixed):
        verdicts = pipeline.verdicts(mixed.frame)
        assert verdicts["severity"].between(0, 100).all()
        expected = pipeline.calibration_.severity(verdicts["p_value"].to_numpy())
        np.testing.assert_array_equal(verdicts["severity"], expected)


def two_populations(rows, seed):
    """A calm and a wild group, whose rows differ in nothing but the spread, and a few of a third."""
    random = np.random.default_rng(seed)
    group = random.choice(["calm", "wild", "few"], size=rows, p=[0.6, 0.385, 0.015])
    spread = np.where(group == "calm", 1.0, 3.0)[:, None]
    return pd.DataFrame(random.normal(size=(rows, 3)) * spread, columns=list("abc")).assign(group=group)


@pytest.fixture(scope="module")
def grouped():
    with pytest.warns(ResolutionWarning, match=r"groups 'few' \(\d+\) have fewer than 20"):
        return AnomalyPipeline(Mahalanobis(), calibrate_by="group", random_state=0).fit(
            two_populations(4000, 0)
        )


@pytest.fixture(scope="module")
def fresh():
    return two_populations(6000, 1)


class TestGroups:
    def test_the_rate_holds_within_every_group(self, grouped, fresh):
        pooled = AnomalyPipeline(Mahalanobis(), random_state=0).fit(two_populations(4000, 0))
        groups = fresh["group"]
        together = pooled.verdicts(fresh, fpr=0.05)["is_anomaly"].groupby(groups).mean()
        assert together["wild"] > 5 * together["calm"]  # what calibration by group is for
        apart = grouped.verdicts(fresh, fpr=0.05)["is_anomaly"].groupby(groups).mean()
        assert apart["calm"] == pytest.approx(0.05, abs=0.03)
        assert apart["wild"] == pytest.approx(0.05, abs=0.03)

    def test_p_values_are_those_of_the_group(self, grouped, fresh):
        scores, p_values = grouped.anomaly_score(fresh), grouped.p_value(fresh)
        for name in ("calm", "wild"):
            mine = (fresh["group"] == name).to_numpy()
            own = grouped.calibration_.groups[name].p_values(scores[mine])
            np.testing.assert_array_equal(p_values[mine], own)
        others = (fresh["group"] == "few").to_numpy()
        np.testing.assert_array_equal(p_values[others], grouped.calibration_.p_values(scores[others]))

    def test_unknown_and_missing_groups_are_compared_with_all(self, grouped, fresh):
        rows = fresh.head(4).assign(group=["new", None, "few", "new"])
        expected = grouped.calibration_.p_values(grouped.anomaly_score(rows))
        np.testing.assert_array_equal(grouped.p_value(rows), expected)

    def test_predict_and_decision_function_agree(self, grouped, fresh):
        np.testing.assert_array_equal(grouped.decision_function(fresh) <= 0, grouped.predict(fresh) == -1)
        flags = grouped.verdicts(fresh)["is_anomaly"]
        np.testing.assert_array_equal(grouped.predict(fresh) == -1, flags)

    def test_the_strangest_rows_have_the_smallest_p_values(self, grouped, fresh):
        verdicts = grouped.verdicts(fresh, top=50)
        flagged, rest = verdicts[verdicts["is_anomaly"]], verdicts[~verdicts["is_anomaly"]]
        assert len(flagged) == 50
        assert flagged["p_value"].max() <= rest["p_value"].min()
        assert flagged["anomaly_score"].min() < rest["anomaly_score"].max()

    def test_a_rate_that_a_group_cannot_resolve_is_said_aloud(self, grouped, fresh):
        with pytest.warns(ResolutionWarning, match=r"A false-positive rate of 0\.0001"):
            grouped.verdicts(fresh, fpr=0.0001)
        least = min(len(own.scores) for own in grouped.calibration_.groups.values())
        with pytest.warns(ResolutionWarning, match=f"with {least} held-out rows"):
            grouped.verdicts(fresh, fpr=0.9 / (least + 1))

    def test_contamination_is_dropped_from_every_group(self):
        scores, groups = np.arange(100.0), np.array(["a"] * 60 + ["b"] * 40, dtype=object)
        calibration = Calibration.by_group(scores, groups, contamination=0.1)
        assert calibration.groups["a"].scores.max() == 53
        assert calibration.groups["b"].scores.max() == 95
        assert calibration.scores.max() == 89

    def test_it_is_kept_in_the_model_file(self, grouped, fresh, tmp_path):
        path = save(grouped, tmp_path / "m")
        loaded = load(path)
        assert loaded.calibrate_by == "group"
        assert loaded.verdicts(fresh, fpr=0.02).equals(grouped.verdicts(fresh, fpr=0.02))
        assert inspect(path)["calibrate_by"] == "group"

    def test_operating_table_and_explanations_use_it(self, grouped, fresh):
        labels = np.r_[1, np.zeros(len(fresh) - 1, dtype=int)]
        table = grouped.operating_table(fresh, labels).set_index(["rule", "value"])
        flagged = grouped.verdicts(fresh, fpr=0.05)["is_anomaly"].mean()
        assert table.loc[("fpr", 0.05), "alerts_per_thousand"] == pytest.approx(1000 * flagged)
        each = grouped.explain(fresh, rows=[3])[0]
        assert each.p_value == grouped.p_value(fresh.iloc[[3]])[0]

    def test_a_column_that_the_detector_ignores_may_divide_the_rows(self):
        frame = two_populations(1500, 0).assign(who=lambda f: [f"user {i % 400}" for i in range(len(f))])
        with pytest.warns(ResolutionWarning, match="and 1[0-9]* more"):
            pipeline = AnomalyPipeline(KNN(), calibrate_by="who", random_state=0).fit(frame)
        assert not pipeline.calibration_.groups
        np.testing.assert_array_equal(
            pipeline.p_value(frame), pipeline.calibration_.p_values(pipeline.anomaly_score(frame))
        )

    def test_a_column_that_is_not_there_is_said_before_the_training(self):
        class Untrained(KNN):
            def fit(self, X, y=None):
                raise AssertionError("trained")

        frame = two_populations(100, 0)
        with pytest.raises(SchemaError, match="nope"):
            AnomalyPipeline(Untrained(), calibrate_by="nope").fit(frame)
        with pytest.raises(ParameterError, match="but must lie in"):
            AnomalyPipeline(Untrained(), contamination=0.7).fit(frame)

    def test_numbers_are_groups_too(self):
        frame = two_populations(1500, 0).drop(columns="group").assign(site=np.arange(1500) % 2)
        pipeline = AnomalyPipeline(KNN(), calibrate_by="site", random_state=0).fit(frame)
        assert list(pipeline.calibration_.groups) == ["0", "1"]
        as_floats = frame.astype({"site": float})
        np.testing.assert_array_equal(pipeline.p_value(as_floats), pipeline.p_value(frame))

    def test_mistakes(self, grouped, fresh):
        with pytest.raises(SchemaError, match="lacks the column 'nowhere'"):
            AnomalyPipeline(KNN(), calibrate_by="nowhere").fit(fresh.head(100))
        with pytest.raises(ParameterError, match="give their groups"):
            grouped.judge(np.zeros(3))
