"""Explanations: they add up, they name what was changed, and what they say is so."""

import json

import numpy as np
import pandas as pd
import pytest

from contract import quick
from da3d.datasets import toy
from da3d.detectors import AE, DA3D, DETECTORS, EVIDENCE, KNN
from da3d.errors import ParameterError
from da3d.persistence import load, save
from da3d.pipeline import AnomalyPipeline, attribute
from da3d.pipeline.attribute import TOLERANCE, Columns
from da3d.pipeline.reference import Usual
from da3d.pipeline.words import remark, shown, usual_range
from da3d.preprocessing import TableWarning


@pytest.fixture(scope="module")
def mixed():
    return toy.mixed(rows=1200, seed=0)


@pytest.fixture(scope="module")
def normal(mixed):
    return mixed.frame[mixed.labels == 0].reset_index(drop=True)


@pytest.fixture(scope="module")
def knn(normal):
    return AnomalyPipeline(KNN(), random_state=0).fit(normal)


@pytest.fixture(scope="module")
def da3d(normal):
    return AnomalyPipeline(DA3D(steps=(200, 30, 80)), random_state=0).fit(normal)


@pytest.fixture(scope="module")
def network(normal):
    return AnomalyPipeline(AE(epochs=30), random_state=0).fit(normal)


@pytest.fixture(params=["knn", "da3d"])
def pipeline(request):
    return request.getfixturevalue(request.param)


STRANGE = {
    "amount": 9_000.0,
    "items": 55,
    "country": "XK",
    "channel": None,
    "member": None,
    "paid_at": pd.Timestamp("2024-02-01 03:10"),
}


def corrupted(frame, seed=0):
    """The rows with one value each that no normal row has, and the columns that hold it."""
    names = np.random.default_rng(seed).choice(list(STRANGE), size=len(frame))
    frame = frame.astype({"member": object})
    for place, name in zip(frame.index, names, strict=True):
        frame.loc[place, name] = STRANGE[name]
    return frame, names


class TestContributions:
    @pytest.mark.parametrize("name", DETECTORS)
    def test_they_add_up_for_every_detector(self, name, mixed):
        table = mixed.frame.head(300)
        pipeline = AnomalyPipeline(quick(name), random_state=0).fit(table)
        for each in pipeline.explain(table, rows=[0, 1, int(np.flatnonzero(mixed.labels)[0])]):
            rise = each.anomaly_score - each.baseline_score
            total = sum(part.contribution for part in each.contributions)
            assert total + each.gap == pytest.approx(rise, abs=1e-6 * (1 + abs(rise)))
            assert abs(each.gap) <= TOLERANCE * abs(rise) + 1e-6
            assert sorted(part.column for part in each.contributions) == sorted(table.columns)

    def test_the_changed_column_comes_first(self, pipeline):
        rows = toy.mixed(rows=120, seed=5, anomalies=0).frame.dropna().head(80).reset_index(drop=True)
        frame, names = corrupted(rows)
        first = [each.contributions[0].column for each in pipeline.explain(frame)]
        assert np.mean(np.array(first) == names) >= 0.9

    def test_evidence_adds_up_as_well(self, da3d, mixed):
        for found in da3d.explain(mixed.frame, top=5):
            sizes = [each.contribution for each in found.evidence]
            assert sizes == sorted(sizes, reverse=True)
            assert sum(sizes) == pytest.approx(found.anomaly_score - found.baseline_score, rel=1e-4)
            assert {each.kind for each in found.evidence} == set(EVIDENCE) - {"known"}
            assert all(each.meaning == EVIDENCE[each.kind] for each in found.evidence)

    def test_evidence_says_in_which_way_a_row_is_strange(self):
        random = np.random.default_rng(0)
        x = random.normal(size=800)
        normal = pd.DataFrame({"a": x, "b": x + random.normal(0, 0.05, 800), "c": random.normal(size=800)})
        pipeline = AnomalyPipeline(DA3D("fast"), random_state=0).fit(normal)
        torn, far = pipeline.explain(pd.DataFrame({"a": [1.5, 0.0], "b": [-1.5, 0.0], "c": [0.0, 9.0]}))
        tails = [{part.kind: part.contribution for part in each.evidence}["tails"] for each in (torn, far)]
        assert torn.evidence[0].kind == "dependence"
        assert tails[1] > 1 > 5 * abs(tails[0])

    def test_a_score_without_parts_has_no_evidence(self, knn, mixed):
        assert knn.explain(mixed.frame, top=1)[0].evidence == ()

    def test_the_most_comes_first(self, pipeline, mixed):
        for each in pipeline.explain(mixed.frame, top=5):
            sizes = [part.contribution for part in each.contributions]
            assert sizes == sorted(sizes, reverse=True)

    def test_networks_by_gradients_and_others_by_paths(self, knn, network, mixed):
        assert {each.method for each in knn.explain(mixed.frame, top=4)} == {"column paths"}
        assert {each.method for each in network.explain(mixed.frame, top=4)} == {"integrated gradients"}

    def test_trees_have_no_slope(self, da3d, mixed):
        assert {each.method for each in da3d.explain(mixed.frame, top=4)} == {"column paths"}

    def test_where_gradients_fail_paths_add_up(self, network, mixed, monkeypatch):
        monkeypatch.setattr(
            type(network.detector_), "gradients", lambda self, X: np.full(np.shape(X), np.nan)
        )
        for each in network.explain(mixed.frame, top=3):
            assert each.method == "column paths"
            assert abs(each.gap) < 1e-4 * abs(each.anomaly_score - each.baseline_score)

    def test_gradients_too_coarse_are_not_believed(self, network, mixed, monkeypatch):
        slopes = type(network.detector_).gradients
        monkeypatch.setattr(type(network.detector_), "gradients", lambda self, X: 1.5 * slopes(self, X))
        monkeypatch.setattr(attribute, "_MOST", 64)
        assert network.explain(mixed.frame, top=1)[0].method == "column paths"

    def test_gradients_are_slopes(self, da3d, normal):
        # Far from the normal rows the score is smooth; near them it bends wherever the nearest row changes.
        rows = da3d.encoder_.transform(normal.head(20)).astype(np.float64) + 6.0
        slopes = da3d.detector_.gradients(rows)
        step = 0.05
        for feature in range(3):
            moved = np.zeros(rows.shape[1])
            moved[feature] = step
            score = da3d.detector_.anomaly_score
            found = (score(rows + moved) - score(rows - moved)) / (2 * step)
            np.testing.assert_allclose(np.median(found / slopes[:, feature]), 1, atol=0.05)
            assert np.median(np.abs(found)) > 1e-3

    def test_a_sum_of_columns_is_divided_exactly(self):
        class Linear:
            weights = np.array([1.0, 2.0, 4.0, 8.0])

            def anomaly_score(self, X):
                return np.asarray(X) @ self.weights

        # The first column has two features; the last feature counts gaps, and the second column adds one.
        columns = Columns(
            np.zeros(4), np.array([1.0, 1, 1, 1]), np.array([0, 0, 1, -1]), np.array([0.0, 1.0])
        )
        found = attribute.attribute(Linear(), columns)
        np.testing.assert_allclose(found.contributions, [3, 12])
        assert found.gap == pytest.approx(0)

    def test_equal_rows_have_no_contributions(self, pipeline, normal):
        row = pipeline.reference_.rows.iloc[[7]]
        each = pipeline.explain(row)[0]
        assert each.nearest[0].distance == 0
        assert each.gap == 0
        assert {part.contribution for part in each.contributions} == {0.0}

    def test_an_unexpected_gap_belongs_to_its_column(self, knn, normal):
        row = normal.dropna().head(1).astype({"items": object})
        row["items"] = None
        first, second = knn.explain(row)[0].contributions[:2]
        assert (first.column, first.value) == ("items", None)
        assert first.contribution > 5 * abs(second.contribution)
        assert first.sentence == "`items` is missing, which it is in no normal row"


class TestComparison:
    def test_a_value_far_off_does_not_choose_the_baseline(self, pipeline):
        row = pipeline.reference_.rows.iloc[[11]].copy()
        row["amount"] = 1e6
        each = pipeline.explain(row)[0]
        same = [name for name in row if name != "amount"]
        baseline = each.nearest[0].values
        assert all(baseline[name] == shown_value(row[name].iloc[0]) for name in same)

    def test_nearest_rows_are_remembered_ones_in_order(self, pipeline, mixed):
        each = pipeline.explain(mixed.frame, top=1)[0]
        distances = [row.distance for row in each.nearest]
        assert len(distances) == 3
        assert distances == sorted(distances)
        assert all(0 <= distance <= 1 for distance in distances)
        amounts = pipeline.reference_.rows["amount"].tolist()
        assert all(row.values["amount"] is None or row.values["amount"] in amounts for row in each.nearest)
        scores = pipeline.anomaly_score(pipeline.reference_.rows)
        assert each.baseline_score in scores

    def test_remembered_rows_are_ordinary(self, pipeline):
        scores = pipeline.anomaly_score(pipeline.reference_.rows)
        assert len(scores) <= 256
        assert scores.max() <= np.quantile(pipeline.calibration_.scores, 0.9) + 1e-6

    def test_only_a_generator_makes_counterexamples(self, knn, da3d, mixed):
        assert knn.explain(mixed.frame, top=1)[0].counterexample is None
        made = da3d.explain(mixed.frame, top=1)[0].counterexample
        assert list(made.values) == list(mixed.frame.columns)
        assert made.values["channel"] in ("shop", "web", "phone", "<unseen>")
        assert 0 < made.distance < 1

    @pytest.mark.parametrize("preset", ["default", "released"])
    def test_generated_rows(self, preset, rows):
        budget = {"steps": (60, 10, 30)} if preset == "default" else {"epochs": (3, 0, 2)}
        detector = DA3D(preset, random_state=0, **budget).fit(rows)
        made = detector.generated_rows(40)
        assert made.shape == (40, 3)
        assert np.isfinite(made).all()
        if preset == "released":  # its rows are made in the unit cube
            assert (made >= rows.min(0) - 1e-4).all()
            assert (made <= rows.max(0) + 1e-4).all()

    def test_no_generator_no_generated_rows(self, rows):
        assert DA3D(steps=(20, 5, 5), generated_weight=0, random_state=0).fit(rows).generated_rows(5) is None


def shown_value(value):
    if isinstance(value, pd.Timestamp):
        return str(value)
    return None if value is None or value != value else value


class TestInterface:
    def test_verdicts_are_those_of_verdicts(self, pipeline, mixed):
        frame = mixed.frame.set_axis([f"row {i}" for i in range(len(mixed.frame))])
        verdicts = pipeline.verdicts(frame)
        strangest = verdicts.sort_values("anomaly_score", ascending=False).head(4)
        for each, (label, verdict) in zip(pipeline.explain(frame, top=4), strangest.iterrows(), strict=True):
            assert each.row == label
            for name in verdicts:
                assert getattr(each, name) == verdict[name]

    def test_rows_by_position_and_all(self, knn, mixed):
        frame = mixed.frame.head(6)
        every = knn.explain(frame)
        assert [each.row for each in every] == list(frame.index)
        assert knn.explain(frame, rows=[4, 2]) == [every[4], every[2]]

    def test_other_tables(self, normal):
        numbers = np.random.default_rng(0).normal(size=(200, 3))
        pipeline = AnomalyPipeline(KNN(), random_state=0).fit(numbers)
        row = numbers[:1].copy()
        row[0, 1] = 40.0
        each = pipeline.explain(row)[0]
        assert each.contributions[0].column == "x1"
        assert each.sentence.startswith("`x1` 40 is far above the usual ")

    def test_to_dict_is_json(self, pipeline, mixed):
        every = pipeline.explain(mixed.frame, top=3)
        text = json.dumps([each.to_dict() for each in every], allow_nan=False)
        assert json.loads(text)[0]["contributions"][0]["column"] == every[0].contributions[0].column

    def test_labels_of_other_kinds_become_text(self, knn, mixed):
        frame = mixed.frame.head(1).set_axis([pd.Timestamp("2024-01-01")])
        assert knn.explain(frame)[0].to_dict()["row"] == "2024-01-01 00:00:00"

    @pytest.mark.parametrize("name", ["knn", "da3d"])
    def test_a_loaded_model_explains_alike(self, name, request, mixed, tmp_path):
        pipeline = request.getfixturevalue(name)
        loaded = load(save(pipeline, tmp_path / "m"))
        assert loaded.explain(mixed.frame, top=3) == pipeline.explain(mixed.frame, top=3)

    def test_a_normal_row_needs_no_reason(self, knn, normal):
        ordinary = int(np.argmax(knn.p_value(normal)))
        each = knn.explain(normal, rows=[ordinary])[0]
        assert each.sentence.startswith("Nothing here is out of the ordinary: ")

    def test_two_columns_are_named_if_both_matter(self, knn, normal):
        row = normal.dropna().head(1).assign(amount=900.0, items=60)
        sentence = knn.explain(row)[0].sentence
        assert "`amount` 900 is far above" in sentence
        assert "`items` 60 is far above the usual 1 to 10 and beyond every normal row" in sentence

    def test_extra_columns_are_said_once_and_ignored(self, knn, mixed):
        frame = mixed.frame.head(3)
        with pytest.warns(TableWarning, match="extra"):
            found = knn.explain(frame.assign(extra=1))
        assert found == knn.explain(frame)

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"top": 0}, "top is 0"),
            ({"top": 1.5}, r"top is 1\.5"),
            ({"top": True}, "top is True"),
            ({"top": 1, "rows": [0]}, "both given"),
            ({"rows": [0, 1200]}, "row 1200, but the table has 1200 rows"),
            ({"rows": [-1]}, "row -1"),
            ({"rows": [0.5]}, "list of positions"),
            ({"rows": 3}, "list of positions"),
            ({"rows": []}, "list of positions"),
        ],
    )
    def test_bad_arguments(self, knn, mixed, arguments, says):
        with pytest.raises(ParameterError, match=says):
            knn.explain(mixed.frame, **arguments)

    def test_rows_may_be_kept_out_of_the_model(self, normal, tmp_path):
        pipeline = AnomalyPipeline(KNN(), reference_rows=0, random_state=0).fit(normal)
        loaded = load(save(pipeline, tmp_path / "m"))
        assert len(loaded.reference_.rows) == 0
        assert loaded.reference_.usual == pipeline.reference_.usual
        for each in (pipeline, loaded):
            with pytest.raises(ParameterError, match="reference_rows is 0"):
                each.explain(normal)

    @pytest.mark.parametrize("most", [-1, 2.5, True, "many"])
    def test_bad_reference_rows(self, normal, most):
        with pytest.raises(ParameterError, match="reference_rows is"):
            AnomalyPipeline(KNN(), reference_rows=most).fit(normal)


NUMBER = Usual("bytes", "number", 0.0, 0.0, 3000.0, 0.0, 5000.0, {})
CONSTANT = Usual("zero", "number", 0.0, 0.0, 0.0, 0.0, 0.0, {})
SPARSE = Usual("seldom", "number", 0.995, 1.0, 2.0, 1.0, 2.0, {})
GAPS = Usual("gaps", "number", 0.004, 1.0, 2.0, 1.0, 2.0, {})
SERVICE = Usual("service", "category", 0.3, None, None, None, None, {"http": 0.9, "ftp": 0.099, "x": 0.001})
FLAG = Usual("flag", "boolean", 0.0, None, None, None, None, {"false": 0.995, "true": 0.005})
WHEN = Usual(
    "when",
    "date",
    0.0,
    None,
    None,
    None,
    None,
    {str(hour): (0.1 if hour >= 22 or hour < 8 else 0.0) for hour in range(24)}
    | {"Mon": 0.4, "Tue": 0.596, "Wed": 0.004, "Thu": 0.0, "Fri": 0.0, "Sat": 0.0, "Sun": 0.0},
)


class TestWords:
    @pytest.mark.parametrize(
        ("usual", "value", "words"),
        [
            (NUMBER, 54540.0, "`bytes` 54 540 is far above the usual 0 to 3 000 and beyond every normal row"),
            (NUMBER, 4000.0, "`bytes` 4 000 is above the usual 0 to 3 000"),
            (NUMBER, -2.5, "`bytes` -2.5 is below the usual 0 to 3 000 and beyond every normal row"),
            (NUMBER, 12.0, "`bytes` 12 is usual by itself (0 to 3 000), but not beside the other values"),
            (NUMBER, np.nan, "`bytes` is missing, which it is in no normal row"),
            (CONSTANT, 1.0, "`zero` 1 is above the usual 0 and beyond every normal row"),
            (CONSTANT, 2.0, "`zero` 2 is far above the usual 0 and beyond every normal row"),
            (SPARSE, 1.0, "`seldom` 1 is there, which is unusual: 0.5 % of the normal rows have a value"),
            (
                SPARSE,
                np.nan,
                "`seldom` is missing, as in 100 % of the normal rows, but rarely beside the other",
            ),
            (GAPS, np.nan, "`gaps` is missing, which is unusual: 0.4 % of the normal rows"),
            (SERVICE, "tftp", "`service` 'tftp' was never seen"),
            (SERVICE, "x", "`service` 'x' is rare: 0.1 % of the normal rows"),
            (SERVICE, "ftp", "`service` 'ftp' is usual by itself (9.9 % of the normal rows), but not beside"),
            (
                SERVICE,
                None,
                "`service` is missing, as in 30 % of the normal rows, but rarely beside the other",
            ),
            (FLAG, True, "`flag` true is rare: 0.5 % of the normal rows"),
            (
                WHEN,
                pd.Timestamp("2024-01-01 12:30"),
                "is at an hour that no normal row has (usual: 22:00 to 07:59)",
            ),
            (
                WHEN,
                pd.Timestamp("2024-01-03 23:00"),
                "is on a weekday that is rare, 0.4 % of the normal rows",
            ),
            (
                WHEN,
                pd.Timestamp("2024-01-04 23:00"),
                "is on a weekday that no normal row has (usual: Mon, Tue)",
            ),
            (WHEN, pd.Timestamp("2024-01-01 23:00"), "`when` Mon 2024-01-01 23:00 is usual by itself"),
        ],
    )
    def test_remarks(self, usual, value, words):
        assert words in remark(usual, value, raises=True)

    def test_a_usual_value_that_does_not_matter(self):
        assert remark(NUMBER, 12.0, raises=False) == "`bytes` 12 is usual (0 to 3 000)"
        assert remark(SERVICE, "http", raises=False) == "`service` 'http' is usual (90 % of the normal rows)"

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, "missing"),
            (pd.NaT, "missing"),
            (-0.0, "0"),
            (1234567.0, "1 234 567"),
            (12345.6, "12 346"),
            (0.123456, "0.1235"),
            (1e20, "1e+20"),
            (False, "false"),
            ("a" * 60, "'" + "a" * 40 + "...'"),
        ],
    )
    def test_values(self, value, text):
        assert shown(value) == text

    def test_ranges(self):
        assert usual_range(CONSTANT) == "0"
        assert usual_range(SERVICE) == "'http' 90 %, 'ftp' 9.9 %, 'x' 0.1 %"
        assert usual_range(FLAG) == "false 100 %, true 0.5 %"
        assert usual_range(WHEN) == "22:00 to 07:59, Mon, Tue"
