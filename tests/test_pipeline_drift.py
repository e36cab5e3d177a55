"""Drift of columns and of scores, the bet over the stream, and recalibration."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency, ks_2samp

from da3d.datasets import toy
from da3d.detectors import Mahalanobis
from da3d.errors import ModelFileError, ParameterError, SchemaError, TableError
from da3d.persistence import describe, load, save
from da3d.pipeline import AnomalyPipeline, Threshold
from da3d.pipeline.drift import _chi_square, _holm, _psi
from da3d.pipeline.profile import Sketch
from da3d.pipeline.stream import _smaller_before, log_capital, online_p_values, watch


def table(seed, rows=1000):
    return toy.mixed(rows=rows, seed=seed, anomalies=0).frame


@pytest.fixture(scope="module")
def pipeline():
    return AnomalyPipeline(Mahalanobis(), random_state=0).fit(table(0, 2000))


def shifted(seed=1, factor=2):
    """A table in which payments are so many times as large as they were."""
    frame = table(seed)
    return frame.assign(amount=factor * frame["amount"])


class TestSketch:
    values = np.sort(np.round(np.random.default_rng(0).normal(size=3000), 1))  # with ties
    sketch = Sketch.learn(values)

    def test_shares_at_the_points_are_exact(self):
        for value, below, upto in zip(self.sketch.values, self.sketch.below, self.sketch.upto, strict=True):
            assert below == (self.values < value).mean()
            assert upto == (self.values <= value).mean()
        assert self.sketch.median == np.quantile(self.values, 0.5, method="inverted_cdf")

    @pytest.mark.parametrize("shift", [0.0, 0.05, 0.5, 9.0])
    def test_the_distance_is_never_overstated_and_nearly_that_of_all_values(self, shift):
        other = np.sort(np.random.default_rng(1).normal(shift, size=500))
        exact = ks_2samp(self.values, other).statistic
        assert exact - 0.02 <= self.sketch.distance(other)[0] <= exact + 1e-12

    def test_cells_are_deciles_and_what_lies_beyond(self):
        sketch = Sketch.learn(np.arange(100.0))
        then, now = sketch.cells(np.array([-5.0, 0, 9, 10, 99, 100, 100, 200]))
        np.testing.assert_allclose(then, [0, *[0.1] * 10, 0])
        np.testing.assert_allclose(8 * now, [1, 2, 1, *[0] * 7, 1, 3])

    def test_a_constant(self):
        then, now = Sketch.learn(np.full(7, 3.0)).cells(np.array([2.0, 3, 3, 4]))
        np.testing.assert_allclose(then, [0, 1, 0])
        np.testing.assert_allclose(now, [0.25, 0.5, 0.25])


class TestStatistics:
    def test_psi_by_hand(self):
        p, q = np.array([20.5, 10.5]) / 31, np.array([5.5, 25.5]) / 31
        expected = ((q - p) * np.log(q / p)).sum()
        assert _psi(np.array([20, 10]), np.array([5, 25])) == pytest.approx(expected)
        assert _psi(np.array([3, 7]), np.array([3, 7])) == 0

    def test_holm_by_hand(self):
        np.testing.assert_allclose(_holm([0.01, 0.04, 0.03, 0.9]), [0.04, 0.09, 0.09, 0.9])

    def test_chi_square_is_that_of_scipy_after_rare_cells_are_joined(self):
        then, now = np.array([400.0, 300, 3, 4, 0]), np.array([200.0, 280, 4, 0, 5])
        joined = np.array([[400, 300, 7], [200, 280, 9]])
        assert _chi_square(then, now) == pytest.approx(chi2_contingency(joined, correction=False).pvalue)
        assert _chi_square(np.array([900.0, 1]), np.array([900.0, 2])) == 1.0
        assert _chi_square(np.array([9.0]), np.array([0.0])) == 1.0


class TestStream:
    def test_earlier_smaller_ones_are_counted(self):
        values = np.random.default_rng(0).permutation(37)
        expected = [(values[:place] < value).sum() for place, value in enumerate(values)]
        np.testing.assert_array_equal(_smaller_before(np.argsort(values)), expected)

    def test_online_p_values_are_even_whatever_the_ties(self):
        random = np.random.default_rng(0)
        p_values = online_p_values(random.integers(3, size=50), random.integers(3, size=4000))
        assert 0 < p_values.min() < p_values.max() < 1
        counts, _ = np.histogram(p_values, bins=10, range=(0, 1))
        assert ((counts - 400) ** 2 / 400).sum() < 30  # chi-square of 9 degrees: 1 in 2 000 is above

    def test_capital_by_hand(self):
        stakes = 1 - 0.5 ** np.arange(1, 9)
        p_values = np.array([0.2, 0.6])
        sides = [np.prod(e * side ** (e - 1)) for e in stakes for side in (p_values, 1 - p_values)]
        np.testing.assert_allclose(np.exp(log_capital(p_values))[-1], np.mean(sides))

    def test_the_bound_of_the_bet_holds_on_exchangeable_scores(self):
        random = np.random.default_rng(0)
        alarms = [watch(random.normal(size=60), random.normal(size=300), 0.1).alarm for _ in range(300)]
        assert np.mean(alarms) <= 0.1

    def test_a_long_exchangeable_table_raises_no_alarm_over_few_held_out_rows(self):
        random = np.random.default_rng(1)
        assert not watch(random.normal(size=50), random.normal(size=100_000), 0.01).alarm

    @pytest.mark.parametrize("shift", [-1.0, 1.0])
    def test_capital_grows_when_scores_shift_either_way(self, shift):
        random = np.random.default_rng(0)
        scores = np.r_[random.normal(size=400), random.normal(shift, size=400)]
        stream = watch(random.normal(size=500), scores, 0.01)
        assert stream.alarm
        assert stream.row > 400
        assert stream.capital > 4 > stream.limit == 2
        assert f"row {stream.row}" in stream.sentence


class TestNoDrift:
    def test_no_false_alarm_at_the_level(self):
        drifted = []
        for seed in range(20):
            both = table(100 + seed, 1600)
            fitted = AnomalyPipeline(Mahalanobis(), random_state=0).fit(both[:800])
            drifted.append(fitted.drift(both[800:], level=0.05).drifted)
        assert sum(drifted) <= 1  # at most one in twenty on average; none of these

    def test_what_is_said_of_it(self, pipeline):
        report = pipeline.drift(table(1))
        assert not report.drifted
        assert report.sentence.startswith("Nothing drifted")
        assert {each.verdict for each in report.columns} == {"as before"}
        assert {each.column for each in report.columns} == set(table(1).columns)
        assert "look like" in report.scores.sentence

    def test_a_single_row_is_not_enough_to_say_anything(self, pipeline):
        assert not pipeline.drift(table(1).head(1)).drifted


class TestDrift:
    def test_a_shifted_column_is_found_and_named_first(self, pipeline):
        report = pipeline.drift(shifted())
        first, *rest = report.columns
        assert (first.column, first.verdict, first.drifted) == ("amount", "moved", True)
        assert first.median_now / first.median_then == pytest.approx(2, rel=0.1)
        assert first.sentence.startswith("`amount`: PSI 0.")
        assert "moved; median" in first.sentence
        assert not any(each.drifted for each in rest)
        assert report.drifted
        assert report.sentence.startswith("1 of 6 columns drifted: `amount`")
        assert report.scores.drifted
        assert report.stream.alarm

    def test_a_new_category_is_named_with_its_share(self, pipeline):
        frame = table(2)
        frame.loc[:79, "country"] = "XK"
        frame.loc[80:89, "country"] = "YT"
        first = pipeline.drift(frame).columns[0]
        given = frame["country"].notna().sum()
        assert first.column == "country"
        assert first.new == {"XK": 80 / given, "YT": 10 / given}
        assert first.outside == 90 / given
        assert f"new: 'XK' {100 * 80 / given:.3g} %" in first.sentence

    def test_missing_values_are_drift(self, pipeline):
        frame = table(3)
        frame.loc[::4, "items"] = np.nan
        first = pipeline.drift(frame).columns[0]
        assert (first.column, first.missing_then, first.missing_now) == ("items", 0.0, 0.25)
        assert "missing 0 % -> 25 %" in first.sentence

    @pytest.mark.parametrize("column", ["amount", "country", "member", "paid_at"])
    def test_a_column_without_any_value(self, pipeline, column):
        first = pipeline.drift(table(4).assign(**{column: None})).columns[0]
        assert (first.column, first.missing_now, first.median_now) == (column, 1.0, None)
        assert first.drifted

    def test_values_beyond_all_normal_ones(self, pipeline):
        frame = table(5)
        frame.loc[:49, "amount"] = 1e9
        found = {each.column: each for each in pipeline.drift(frame).columns}["amount"]
        assert found.outside >= 0.05
        assert "beyond every normal row" in found.sentence

    def test_weekdays_and_hours(self, pipeline):
        frame = table(6)
        night = frame["paid_at"].dt.normalize() + pd.Timedelta(hours=3)
        first = pipeline.drift(frame.assign(paid_at=night)).columns[0]
        assert first.column == "paid_at"
        assert "03:00 to 03:59 0 % -> 100 %" in first.sentence
        monday = pd.Timestamp("2024-01-01") + (frame["paid_at"] - frame["paid_at"].dt.normalize())
        first = pipeline.drift(frame.assign(paid_at=monday)).columns[0]
        assert first.column == "paid_at"
        assert "; Mon 1" in first.sentence
        assert not pipeline.drift(frame.assign(paid_at=monday), ignore=["paid_at"]).columns[0].drifted

    def test_another_share_of_a_boolean(self, pipeline):
        first = pipeline.drift(table(7).assign(member=True)).columns[0]
        assert first.column == "member"
        assert "-> 100 %" in first.sentence or "-> 0 %" in first.sentence

    def test_a_small_change_in_many_rows_is_no_drift(self):
        random = np.random.default_rng(0)
        fitted = AnomalyPipeline(Mahalanobis(), random_state=0)
        fitted.fit(pd.DataFrame(random.normal(size=(20_000, 2)), columns=["a", "b"]))
        new = pd.DataFrame(random.normal([0.1, 0], size=(20_000, 2)), columns=["a", "b"])
        found = {each.column: each for each in fitted.drift(new).columns}
        assert (found["a"].verdict, found["a"].drifted) == ("changed a little", False)
        assert found["a"].adjusted < 1e-6

    def test_a_category_of_many_values(self):
        random = np.random.default_rng(0)
        names = np.array([f"c{i}" for i in range(500)])
        weights = 1 / np.arange(1, 501)
        weights /= weights.sum()
        frames = [pd.DataFrame({"c": random.choice(names, 5000, p=weights)}) for _ in range(2)]
        fitted = AnomalyPipeline(Mahalanobis(), random_state=0).fit(frames[0])
        assert not fitted.drift(frames[1]).columns[0].drifted
        assert fitted.drift(frames[1].assign(c="c499")).columns[0].drifted

    def test_the_report_is_json(self, pipeline):
        report = pipeline.drift(shifted())
        data = json.loads(json.dumps(report.to_dict()))
        assert data["drifted"] is True
        assert data["columns"][0]["column"] == "amount"
        assert math.isclose(data["stream"]["limit"], -math.log10(0.005))

    @pytest.mark.parametrize(
        ("arguments", "error", "says"),
        [
            ({"level": 0}, ParameterError, "level is 0"),
            ({"level": 1.0}, ParameterError, r"level is 1\.0"),
            ({"ignore": ["amuont"]}, SchemaError, "ignore names 'amuont'"),
        ],
    )
    def test_bad_arguments(self, pipeline, arguments, error, says):
        with pytest.raises(error, match=says):
            pipeline.drift(table(1), **arguments)

    def test_bad_tables(self, pipeline):
        with pytest.raises(SchemaError, match="amount"):
            pipeline.drift(table(1).drop(columns="amount"))
        with pytest.raises(TableError, match="no rows"):
            pipeline.drift(table(1).head(0))


class TestFiles:
    def test_the_report_of_a_loaded_pipeline_is_the_same(self, pipeline, tmp_path):
        loaded = load(save(pipeline, tmp_path / "model.da3d"))
        assert loaded.drift(shifted()) == pipeline.drift(shifted())
        assert loaded.profile_.rows == 2000

    def test_numbers_without_names_and_without_other_kinds(self, rows, tmp_path):
        fitted = AnomalyPipeline(Mahalanobis(), random_state=0).fit(rows)
        loaded = load(save(fitted, tmp_path / "model.da3d"))
        moved = rows + np.array([0, 9, 0])
        assert loaded.drift(moved) == fitted.drift(moved)
        assert loaded.drift(moved).columns[0].column == "x1"

    @pytest.mark.parametrize(
        "change",
        [
            lambda arrays: arrays.pop("profile/0"),
            lambda arrays: arrays.update({"profile/7": arrays["profile/0"]}),
            lambda arrays: arrays.update({"profile/0": arrays["profile/0"][:, :2]}),
            lambda arrays: arrays.update({"profile/0": arrays["profile/0"][::-1]}),
            lambda arrays: arrays.update({"profile/0": arrays["profile/0"][:-1]}),
            lambda arrays: arrays.update({"profile/0": np.full((3, 3), np.nan)}),
            lambda arrays: arrays.update({"profile/0": np.empty((0, 3))}),
        ],
    )
    def test_a_forged_profile_is_refused(self, pipeline, tmp_path, monkeypatch, change):
        taken = describe.pipeline(pipeline)
        arrays = dict(taken.arrays)
        change(arrays)
        monkeypatch.setattr(describe, "pipeline", lambda model: taken._replace(arrays=arrays))
        path = save(pipeline, tmp_path / "model.da3d")
        with pytest.raises(ModelFileError, match="stored distributions"):
            load(path)


class TestRecalibrate:
    def test_p_values_change_and_scores_do_not(self, pipeline):
        fresh, new = pipeline.recalibrate(shifted(8, 5)), shifted(9, 5)
        np.testing.assert_array_equal(fresh.anomaly_score(new), pipeline.anomaly_score(new))
        assert (fresh.p_value(new) >= pipeline.p_value(new) - 0.02).all()
        assert (pipeline.p_value(new) <= 0.05).mean() > 0.15
        assert (fresh.p_value(new) <= 0.05).mean() < 0.08
        assert fresh.drift(new).scores.drifted < pipeline.drift(new).scores.drifted

    def test_the_pipeline_itself_stays_as_it_was(self):
        fitted = AnomalyPipeline(Mahalanobis(), random_state=0).fit(table(0))
        before = fitted.calibration_
        fresh = fitted.recalibrate(table(1))
        assert fitted.calibration_ is before
        assert len(fresh.calibration_.scores) == 1000
        fresh.threshold = Threshold("top", 3)
        assert fitted.rule.rule == "fpr"

    def test_groups_and_contamination_count(self):
        fitted = AnomalyPipeline(Mahalanobis(), calibrate_by="member", contamination=0.1, random_state=0).fit(
            table(0)
        )
        fresh = fitted.recalibrate(table(1))
        assert set(fresh.calibration_.groups) == {"False", "True"}
        assert len(fresh.calibration_.scores) == 900

    def test_too_few_rows(self, pipeline):
        with pytest.raises(TableError, match="9 rows; at least 10"):
            pipeline.recalibrate(table(1).head(9))

    def test_saved_and_loaded(self, pipeline, tmp_path):
        fresh = pipeline.recalibrate(table(1))
        loaded = load(save(fresh, tmp_path / "model.da3d"))
        np.testing.assert_array_equal(loaded.p_value(table(2)), fresh.p_value(table(2)))
