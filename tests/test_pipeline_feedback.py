"""Feedback: benign patterns that raise no alarm, and pipelines that learn again."""

import warnings

import numpy as np
import pandas as pd
import pytest

from da3d.datasets import toy
from da3d.detectors import DA3D, KNN, Mahalanobis
from da3d.errors import LabelError, LabelWarning, ModelFileError, ParameterError, SchemaError, TableError
from da3d.persistence import describe, inspect, load, save
from da3d.pipeline import AnomalyPipeline, Feedback, Threshold
from da3d.pipeline.feedback import with_feedback

NORMAL = toy.mixed(rows=800, seed=0, anomalies=0).frame
NEW = toy.mixed(rows=400, seed=1)


@pytest.fixture(scope="module")
def pipeline():
    return AnomalyPipeline(Mahalanobis(), random_state=0).fit(NORMAL)


def backup(**changes):
    """A payment that is strange but known: a large one, at night."""
    row = {
        "amount": 9000.0,
        "items": 1,
        "country": "DE",
        "channel": "web",
        "member": False,
        "paid_at": pd.Timestamp("2024-02-05 03:00"),
    }
    return pd.DataFrame([row | changes])


class TestFeedback:
    def test_rows_without_a_mark_are_left_out(self):
        frame = pd.DataFrame({"x": range(5), "feedback": ["anomaly", None, " Normal ", "", "BENIGN"]})
        feedback = Feedback.of(frame)
        assert feedback.marks.tolist() == ["anomaly", "normal", "benign"]
        assert feedback.rows.to_dict("list") == {"x": [0, 2, 4]}
        assert feedback.found("normal")["x"].tolist() == [2]

    @pytest.mark.parametrize(
        ("column", "error", "says"),
        [
            (["anomaly", "bad"], LabelError, "holds 'bad' but must hold anomaly, normal or benign"),
            ([1, 0], LabelError, "holds '0'"),
            ([None, ""], LabelError, "is empty"),
        ],
    )
    def test_other_marks(self, column, error, says):
        with pytest.raises(error, match=says):
            Feedback.of(pd.DataFrame({"x": [1, 2], "feedback": column}))

    def test_no_such_column(self):
        with pytest.raises(TableError, match="no column 'feedback'"):
            Feedback.of(pd.DataFrame({"x": [1]}))


class TestWithFeedback:
    schema = AnomalyPipeline(KNN()).fit(NORMAL.head(60)).encoder_.schema_

    def marked(self, frame, marks):
        return Feedback.of(frame.assign(feedback=marks))

    def test_rows_are_added_and_anomalies_marked_in_the_table_too(self):
        table = NORMAL.head(30)
        seen = table.iloc[[3, 7]].assign(anomaly_score=1.0)
        frame, labels = with_feedback(
            table, np.zeros(30, bool), self.marked(seen, ["anomaly", "normal"]), self.schema
        )
        assert list(frame.columns) == list(table.columns)
        assert len(frame) == len(labels) == 32
        assert np.flatnonzero(labels).tolist() == [3, 30]

    def test_missing_values_are_equal_to_each_other(self):
        table = NORMAL.head(30).copy()
        table.loc[4, ["amount", "country", "paid_at"]] = None
        given = self.marked(table.iloc[[4]], ["anomaly"])
        _, labels = with_feedback(table, np.zeros(30, bool), given, self.schema)
        assert np.flatnonzero(labels).tolist() == [4, 30]

    def test_known_anomalies_stay_known(self):
        known = np.arange(30) == 9
        given = self.marked(NORMAL.iloc[[50]], ["benign"])
        _, labels = with_feedback(NORMAL.head(30), known, given, self.schema)
        assert np.flatnonzero(labels).tolist() == [9]


class TestSuppress:
    def test_only_near_the_pattern(self, pipeline):
        quiet = pipeline.suppress(backup())
        near = pd.concat(
            [
                backup(),
                backup(amount=9000.5, paid_at=pd.Timestamp("2024-03-04 03:01")),  # a Monday, too
                backup(amount=8000.0),
                backup(country="FR"),
                backup(member=True),
                backup(paid_at=pd.Timestamp("2024-02-05 15:00")),
                backup(amount=20000.0),
            ],
            ignore_index=True,
        )
        assert pipeline.verdicts(near)["is_anomaly"].all()
        verdicts = quiet.verdicts(near)
        assert verdicts["suppressed"].tolist() == [True, True, *[False] * 5]
        assert (verdicts["is_anomaly"] == ~verdicts["suppressed"]).all()
        assert (quiet.predict(near) == np.where(verdicts["is_anomaly"], -1, 1)).all()

    def test_scores_and_p_values_stay_truthful(self, pipeline):
        quiet = pipeline.suppress(NEW.frame[NEW.labels == 1])
        before, after = pipeline.verdicts(NEW.frame), quiet.verdicts(NEW.frame)
        assert "suppressed" not in before
        for name in ("anomaly_score", "p_value", "severity"):
            np.testing.assert_array_equal(before[name], after[name])
        assert after["suppressed"].any()
        assert (before["is_anomaly"] == (after["is_anomaly"] | after["suppressed"])).all()
        assert not (after["is_anomaly"] & after["suppressed"]).any()

    def test_normal_rows_of_the_first_table_are_not_touched_by_it(self, pipeline):
        quiet = pipeline.suppress(backup())
        assert not quiet.verdicts(NORMAL)["suppressed"].any()
        np.testing.assert_array_equal(quiet.predict(NORMAL), pipeline.predict(NORMAL))

    @pytest.mark.parametrize("rule", [{"top": 5}, {"budget": 25}])
    def test_others_take_the_place_of_suppressed_rows(self, pipeline, rule):
        strangest = pipeline.verdicts(NEW.frame).nlargest(3, "anomaly_score").index
        quiet = pipeline.suppress(NEW.frame.loc[strangest], reach=0)
        before, after = pipeline.verdicts(NEW.frame, **rule), quiet.verdicts(NEW.frame, **rule)
        assert set(strangest) <= set(before.index[before["is_anomaly"]])
        assert set(after.index[after["suppressed"]]) == set(strangest)
        assert after["is_anomaly"].sum() == before["is_anomaly"].sum()
        everything = quiet.verdicts(NEW.frame, budget=1000)
        assert (everything["is_anomaly"] == ~everything["suppressed"]).all()

    def test_reach(self, pipeline):
        near = backup(amount=9100.0)
        quiet = {reach: pipeline.suppress(backup(), reach=reach) for reach in (0, 1, 100)}
        assert [bool(each.benign(near)[0]) for each in quiet.values()] == [False, False, True]
        assert all(each.benign(backup())[0] for each in quiet.values())
        for reach in (-1, np.inf, np.nan):
            with pytest.raises(ParameterError, match="reach is"):
                pipeline.suppress(backup(), reach=reach)

    def test_the_radius_is_a_distance_between_normal_rows(self, pipeline):
        features = pipeline.encoder_.transform(NORMAL) / pipeline.suppression_.unit
        apart = np.linalg.norm(features[:100, None] - features[None], axis=2)
        apart[np.arange(100), np.arange(100)] = np.inf
        assert 0.5 < pipeline.suppression_.radius / np.median(apart.min(1)) < 1.5

    def test_the_pipeline_itself_stays_as_it_was_and_patterns_add_up(self, pipeline):
        one = pipeline.suppress(backup())
        two = one.suppress(backup(country="FR"))
        assert [len(each.suppression_.rows) for each in (pipeline, one, two)] == [0, 1, 2]
        assert two.benign(pd.concat([backup(), backup(country="FR")], ignore_index=True)).all()
        assert pipeline.benign(backup()) is None

    def test_scores_alone_cannot_be_judged(self, pipeline):
        quiet = pipeline.suppress(backup())
        with pytest.raises(ParameterError, match="benign rows were suppressed"):
            quiet.judge(np.zeros(1))

    def test_a_row_of_another_table_is_refused(self, pipeline):
        with pytest.raises(SchemaError, match="amount"):
            pipeline.suppress(backup().drop(columns="amount"))

    def test_saved_and_loaded(self, pipeline, tmp_path):
        odd = pd.concat([backup(), backup(country="new", member=None, paid_at=pd.NaT, amount=None)])
        quiet = pipeline.suppress(odd).suppress(NEW.frame.head(2), reach=0.5)
        loaded = load(save(quiet, tmp_path / "model.da3d"))
        assert loaded.verdicts(NEW.frame).equals(quiet.verdicts(NEW.frame))
        assert loaded.benign(odd).all()
        np.testing.assert_array_equal(loaded.suppression_.features, quiet.suppression_.features)
        assert inspect(tmp_path / "model.da3d")["suppressed_patterns"] == 4
        assert load(save(loaded, tmp_path / "again.da3d")).benign(odd).all()

    @pytest.mark.parametrize(
        "change",
        [
            lambda arrays: arrays.update({"suppression/unit": arrays["suppression/unit"][1:]}),
            lambda arrays: arrays.update({"suppression/unit": 0 * arrays["suppression/unit"]}),
            lambda arrays: arrays.update({"suppression/reach": np.array([np.inf])}),
            lambda arrays: arrays.update({"suppression/reach": np.array([1.0, 1.0])}),
            lambda arrays: arrays.update({"suppression/more": np.array([1.0])}),
        ],
    )
    def test_a_forged_suppression_is_refused(self, pipeline, tmp_path, monkeypatch, change):
        quiet = pipeline.suppress(backup())
        taken = describe.pipeline(quiet)
        arrays = dict(taken.arrays)
        change(arrays)
        monkeypatch.setattr(describe, "pipeline", lambda model: taken._replace(arrays=arrays))
        path = save(quiet, tmp_path / "model.da3d")
        with pytest.raises(ModelFileError, match="benign rows are damaged"):
            load(path)

    def test_few_rows_and_columns_that_never_vary(self):
        frame = pd.DataFrame({"a": np.arange(12.0), "b": 1.0})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = AnomalyPipeline(KNN(neighbors=2), threshold=Threshold("top", 1)).fit(frame)
        assert np.isfinite(fitted.suppression_.radius)
        odd = pd.DataFrame({"a": [5.0], "b": [4.0]})
        verdicts = fitted.suppress(odd).verdicts(odd)
        assert verdicts[["is_anomaly", "suppressed"]].to_numpy().tolist() == [[False, True]]


class TestRefit:
    small = DA3D(steps=(60, 10, 60), known_share=0.5)

    def test_anomalies_of_the_feedback_become_stranger(self):
        random = np.random.default_rng(0)
        normal = pd.DataFrame(random.normal(size=(600, 2)), columns=["a", "b"])
        odd = pd.DataFrame(random.normal(1.4, 0.1, size=(40, 2)), columns=["a", "b"])
        fitted = AnomalyPipeline(self.small, random_state=0).fit(normal)
        again = fitted.refit(normal, odd[:20].assign(feedback="anomaly"))
        assert np.median(again.p_value(odd[20:])) < np.median(fitted.p_value(odd[20:]))

    def test_parameters_are_kept_and_the_pipeline_too(self):
        fitted = AnomalyPipeline(
            KNN(neighbors=3), threshold=Threshold("top", 4), contamination=0.02, random_state=5
        ).fit(NORMAL)
        before = fitted.anomaly_score(NORMAL)
        again = fitted.refit(NORMAL)
        assert (again.detector_.neighbors, again.rule, again.contamination) == (3, Threshold("top", 4), 0.02)
        np.testing.assert_array_equal(again.anomaly_score(NORMAL), before)
        fitted.refit(NEW.frame)
        np.testing.assert_array_equal(fitted.anomaly_score(NORMAL), before)

    def test_normal_and_benign_rows_are_normal_rows_more(self):
        fitted = AnomalyPipeline(KNN(neighbors=1), random_state=0).fit(NORMAL)
        many = pd.concat([backup(amount=9000.0 + i) for i in range(40)], ignore_index=True)
        marks = np.where(np.arange(40) % 2, "normal", "benign")
        again = fitted.refit(NORMAL, many.assign(feedback=marks))
        assert again.anomaly_score(backup())[0] < fitted.anomaly_score(backup())[0] / 10
        assert len(again.suppression_.rows) == 20

    def test_what_was_suppressed_stays_so(self):
        fitted = AnomalyPipeline(KNN(), random_state=0).fit(NORMAL).suppress(backup(), reach=2)
        again = fitted.refit(NEW.frame, backup(country="FR").assign(feedback="benign"), NEW.labels)
        assert again.suppression_.reach.tolist() == [2, 1]
        assert again.benign(pd.concat([backup(), backup(country="FR")], ignore_index=True)).all()
        assert again.profile_.rows == 400 - NEW.labels.sum() + 1

    def test_a_detector_that_learns_nothing_from_anomalies_says_so(self, pipeline):
        with pytest.warns(LabelWarning, match="Mahalanobis learns nothing from known anomalies: the 1 of"):
            again = pipeline.refit(NORMAL, NORMAL.head(1).assign(feedback="anomaly"))
        assert again.profile_.rows == 799

    def test_a_feedback_without_a_column_in_use(self, pipeline):
        feedback = backup().drop(columns="items").assign(feedback="normal")
        with pytest.raises(SchemaError, match="items"):
            pipeline.refit(NORMAL, feedback)

    def test_ignored_columns_stay(self):
        frame = NORMAL.assign(id=[f"row {i}" for i in range(800)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = AnomalyPipeline(KNN(), random_state=0).fit(frame)
            again = fitted.refit(frame, backup().assign(feedback="normal", p_value=0.1))
        assert list(again.feature_names_in_) == list(frame.columns)
        assert list(again.encoder_.ignored_columns_) == ["id"]
