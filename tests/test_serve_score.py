"""Rows in, verdicts out: equal to the offline ones, bad rows named, good ones not lost."""

import asyncio
import json

import numpy as np
import pytest

from da3d import AnomalyPipeline, Mahalanobis, save
from da3d.datasets import toy
from serving import rows_of, serving

NEW = toy.mixed(rows=40, anomalies=6, seed=2).frame
ROWS = rows_of(NEW)


@pytest.fixture(scope="module")
def pipeline():
    table = toy.mixed(rows=400, anomalies=0, seed=0).frame
    return AnomalyPipeline(Mahalanobis(), random_state=0).fit(table)


@pytest.fixture(scope="module")
def path(pipeline, tmp_path_factory):
    return save(pipeline, tmp_path_factory.mktemp("serve") / "toy.da3d")


@pytest.fixture(scope="module")
def client(path):
    with serving(path) as client:
        yield client


def equal(results, verdicts):
    """Whether an answer holds these verdicts, to the last bit."""
    assert [each["row"] for each in results] == list(range(len(results)))
    for name in verdicts.columns:
        assert [each[name] for each in results] == verdicts[name].tolist()


@pytest.mark.parametrize("rule", [{}, {"fpr": 0.1}, {"top": 3}, {"budget": 100}, {"fdr": 0.5}])
def test_answers_equal_the_offline_verdicts(client, pipeline, rule):
    response = client.post("/score", {"rows": ROWS, **rule})
    assert response.status_code == 200
    equal(response.json()["results"], pipeline.verdicts(NEW, **rule))
    assert response.json()["warnings"] == []


def test_one_row_alone(client, pipeline):
    response = client.post("/score", {"row": ROWS[3], "model": "toy"}).json()
    assert response["result"]["anomaly_score"] == pipeline.anomaly_score(NEW)[3]
    assert response["model"] == "toy"
    assert response["threshold"] == {"rule": "fpr", "value": pipeline.rule.value}


def test_rows_that_wait_are_scored_together_and_stay_what_they_are(client, pipeline):
    before = passes(client)

    async def all_at_once():
        asked = [client.post_later("/score", {"rows": ROWS[i : i + 2], "top": 1}) for i in range(0, 40, 2)]
        return await asyncio.gather(*asked)

    answers = client.run(all_at_once())
    for start, response in zip(range(0, 40, 2), answers, strict=True):
        equal(response.json()["results"], pipeline.verdicts(NEW.iloc[start : start + 2], top=1))
    assert 0 < passes(client) - before < len(answers)


def passes(client):
    text = client.get("/metrics").text
    return float(text.split('da3d_pass_rows_count{model="toy"} ')[1].split()[0])


def test_a_rate_that_cannot_be_resolved_is_said(client):
    (warning,) = client.post("/score", {"rows": ROWS[:2], "fpr": 1e-6}).json()["warnings"]
    assert "cannot be resolved" in warning


def test_explanations(client, pipeline):
    strange = int(np.argmax(pipeline.anomaly_score(NEW)))
    result = client.post("/score", {"row": ROWS[strange], "explain": 2}).json()["result"]["explanation"]
    expected = pipeline.explain(NEW, rows=[strange])[0]
    assert result["sentence"] == expected.sentence
    assert [each["column"] for each in result["columns"]] == [
        each.column for each in expected.contributions[:2]
    ]
    refused = client.post("/score", {"rows": ROWS[:21], "explain": True})
    assert refused.status_code == 413
    assert "20 may be" in refused.json()["error"]


@pytest.mark.parametrize(
    ("change", "column", "words"),
    [
        ({"amount": "12"}, "amount", "a number or null is needed, but this is the text '12'"),
        ({"amount": True}, "amount", "this is true"),
        ({"amount": [1]}, "amount", "this is a list"),
        ({"country": {"a": 1}}, "country", "this is an object"),
        ({"country": False}, "country", "text or null is needed, but this is false"),
        ({"member": "yes"}, "member", "true, false or null is needed"),
        ({"member": 2}, "member", "this is a whole number"),
        ({"paid_at": "soon"}, "paid_at", "this is the text 'soon'"),
        ({"paid_at": 5}, "paid_at", "a date such as 2024-05-01 13:37:00"),
        ({"colour": "red"}, "colour", "there is no such column"),
        ({"items": None, "amount": "x", "paid_at": "y"}, "amount", "the text 'x'"),
    ],
)
def test_a_bad_row_is_named_and_the_others_are_judged(client, pipeline, change, column, words):
    rows = [ROWS[0], {**ROWS[1], **change}, ROWS[2]]
    response = client.post("/score", {"rows": rows})
    assert response.status_code == 422
    first, bad, last = response.json()["results"]
    assert (bad["error"]["row"], bad["error"]["column"]) == (1, column)
    assert words in bad["error"]["message"]
    assert response.json()["error"].startswith("1 of 3 rows cannot be judged; row 1")
    scores = pipeline.anomaly_score(NEW)
    assert (first["anomaly_score"], last["anomaly_score"]) == (scores[0], scores[2])


def test_rows_that_are_no_objects_or_lack_columns(client):
    rows = [5, None, {}, {name: value for name, value in ROWS[0].items() if name != "items"}]
    response = client.post("/score", {"rows": rows})
    assert response.status_code == 422
    errors = [each["error"] for each in response.json()["results"]]
    assert [each["column"] for each in errors] == [None, None, "amount", "items"]
    assert "must be an object" in errors[0]["message"]
    assert "missing" in errors[3]["message"]
    alone = client.post("/score", {"row": None})
    assert alone.status_code == 422
    assert "the row is null" in alone.json()["result"]["error"]["message"]


def test_a_number_too_large_for_a_float_is_not_a_value(client):
    body = json.dumps({"row": {**ROWS[0], "amount": "huge"}}).replace('"huge"', "1e999").encode()
    response = client.post("/score", body)
    assert response.status_code == 422
    assert "not finite" in response.json()["result"]["error"]["message"]


def test_values_that_are_written_otherwise(client, pipeline):
    """Huge whole numbers, numbers as categories, time zones, half a surrogate pair."""
    rows = [dict(ROWS[0]) for _ in range(5)]
    rows[0]["amount"] = 10**400
    rows[1]["country"] = 7.0
    rows[2]["paid_at"] = "2024-03-04T10:00:00+02:00"
    rows[3]["paid_at"] = "2024-03-04 08:00:00"
    rows[4]["country"] = "\ud800"
    response = client.post("/score", {"rows": rows})
    assert response.status_code == 200, response.text
    scores = [each["anomaly_score"] for each in response.json()["results"]]
    assert scores[2] == scores[3]
    assert scores[1] == scores[4]  # both are categories that were not seen at fit
    assert scores[0] == max(scores)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"rows": [{"amount": NaN}]}', "NaN, which is not JSON"),
        (b'{"rows": [{"amount": -Infinity}]}', "-Infinity, which is not JSON"),
        (b"[1, 2]", "a list but must be a JSON object"),
        ('{"rows": "ä"}'.encode("latin-1"), "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"row": {"amount": ' + b"9" * 5000 + b"}}", "too many digits"),
        (b'{"row": {"amount": 1, "amount": 2}}', "names 'amount' twice"),
        (b"{}", 'give either "rows"'),
        (b'{"rows": []}', "rows is empty"),
        (b'{"rows": [{}], "row": {}}', 'give either "rows"'),
        (b'{"rows": {}}', "rows: input should be a valid list"),
        (b'{"rows": [{}], "frp": 0.1}', "frp: extra inputs are not permitted"),
        (b'{"rows": [{}], "fpr": "0.1"}', "fpr: input should be a valid number"),
        (b'{"rows": [{}], "fpr": 2}', "fpr is 2.0 but must be in (0, 1)"),
        (b'{"rows": [{}], "fpr": 0.1, "top": 3}', "fpr and top are given"),
        (b'{"rows": [{}], "top": 1' + b"0" * 400 + b"}", "but must be a whole number, 1 to 1e+15"),
        (b'{"rows": [{}], "explain": -1}', "explain must be"),
    ],
)
def test_requests_that_are_not_understood(client, body, words):
    response = client.post("/score", body)
    assert response.status_code == 400
    assert words in response.json()["error"]


def test_a_model_that_is_not_there(client):
    response = client.post("/score", {"model": "nobody", "rows": ROWS})
    assert response.status_code == 404
    assert response.json()["error"] == "there is no model 'nobody'; those are toy"


def test_groups_and_suppressed_rows(tmp_path):
    table = toy.mixed(rows=400, anomalies=0, seed=0).frame
    grouped = AnomalyPipeline(Mahalanobis(), calibrate_by="member", random_state=0).fit(table)
    strange = NEW.iloc[np.argsort(grouped.anomaly_score(NEW))[-1:]]
    grouped = grouped.suppress(strange)
    with serving(save(grouped, tmp_path / "grouped.da3d")) as client:
        results = client.post("/score", {"rows": ROWS, "fpr": 0.1}).json()["results"]
        tensors = client.post("/v2/models/toy/infer", v2_of(NEW, fpr=0.1)).json()["outputs"]
    expected = grouped.verdicts(NEW, fpr=0.1)
    equal(results, expected)
    assert expected["suppressed"].any()
    assert {each["name"]: each["data"] for each in tensors} == expected.to_dict("list")


def v2_of(frame, **parameters):
    """A table as one tensor per column."""
    kinds = {"amount": "FP64", "items": "INT64", "member": "BOOL"}
    rows = rows_of(frame)
    inputs = [
        {
            "name": name,
            "datatype": kinds.get(name, "BYTES"),
            "shape": [len(frame)],
            "data": [row[name] for row in rows],
        }
        for name in frame.columns
    ]
    return {"inputs": inputs, "parameters": parameters}


def test_open_inference(client, pipeline):
    about = client.get("/v2/models/toy").json()
    assert [each["name"] for each in about["inputs"]] == list(NEW.columns)
    assert {each["name"]: each["datatype"] for each in about["inputs"]}["member"] == "BOOL"
    assert client.get("/v2/models/toy/ready").json() == {"name": "toy", "ready": True}
    assert client.get("/v2").json()["name"] == "da3d"
    request = {**v2_of(NEW, top=3), "id": "a"}
    answer = client.post("/v2/models/toy/infer", request).json()
    assert (answer["id"], answer["model_name"]) == ("a", "toy")
    expected = pipeline.verdicts(NEW, top=3)
    assert {each["name"]: each["data"] for each in answer["outputs"]} == expected.to_dict("list")
    some = {**v2_of(NEW), "outputs": [{"name": "is_anomaly"}]}
    (output,) = client.post("/v2/models/toy/infer", some).json()["outputs"]
    assert (output["datatype"], output["shape"]) == ("BOOL", [40])


def test_open_inference_keeps_good_rows(client, pipeline):
    request = v2_of(NEW.iloc[:3])
    request["inputs"][-1]["data"][1] = "soon"
    response = client.post("/v2/models/toy/infer", request)
    assert response.status_code == 422
    outputs = {each["name"]: each["data"] for each in response.json()["outputs"]}
    assert outputs["row"] == [0, 2]
    assert outputs["anomaly_score"] == pipeline.anomaly_score(NEW)[[0, 2]].tolist()
    (error,) = response.json()["errors"]
    assert (error["row"], error["column"]) == (1, "paid_at")


def test_a_matrix_for_all_columns(tmp_path):
    rows = np.random.default_rng(0).normal(size=(80, 3))
    pipeline = AnomalyPipeline(Mahalanobis(), random_state=0).fit(rows)
    with serving(save(pipeline, tmp_path / "plain.da3d")) as client:
        tensor = {"name": "rows", "datatype": "FP64", "shape": [4, 3], "data": rows[:4].tolist()}
        nested = client.post("/v2/models/toy/infer", {"inputs": [tensor]}).json()
        flat = {**tensor, "data": rows[:4].ravel().tolist()}
        assert client.post("/v2/models/toy/infer", {"inputs": [flat]}).json() == nested
        wide = client.post("/v2/models/toy/infer", {"inputs": [{**tensor, "shape": [3, 4]}]})
    assert nested["outputs"][0]["data"] == pipeline.anomaly_score(rows[:4]).tolist()
    assert wide.status_code == 400
    assert "the model has 3 columns" in wide.json()["error"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"datatype": "BYTES"}, "has datatype BYTES but the column's kind is number"),
        ({"datatype": "COMPLEX"}, "has datatype COMPLEX"),
        ({"shape": [3]}, "has 2 values, which do not fit its shape [3]"),
        ({"shape": [2, 2]}, "must have [rows] or [rows, 1]"),
        ({"shape": []}, "must have [rows] or [rows, 1]"),
        ({"shape": [-2]}, "do not fit its shape"),
        ({"shape": [0], "data": []}, "between 0 and 2 rows"),
        ({"data": [1, "a"]}, "holds the text 'a', which is no FP64"),
        ({"datatype": "INT8", "data": [1, 300]}, "a whole number, which is no INT8"),
        ({"datatype": "INT64", "data": [1, 1.5]}, "the number 1.5, which is no INT64"),
        ({"name": "price"}, "lack 1 of 6 columns: 'amount'"),
        ({"name": "items"}, "lack 1 of 6 columns"),
        ({"data": None}, "inputs.0.data: input should be a valid list"),
    ],
)
def test_tensors_that_do_not_fit(client, change, words):
    request = v2_of(NEW.iloc[:2])
    request["inputs"][0] |= change
    response = client.post("/v2/models/toy/infer", request)
    assert response.status_code == 400
    assert words in response.json()["error"]


def test_other_mistakes_of_tensors(client):
    def error(request):
        response = client.post("/v2/models/toy/infer", request)
        assert response.status_code == 400
        return response.json()["error"]

    inputs = v2_of(NEW.iloc[:2])["inputs"]
    assert "lack 6 of 6" in error({"inputs": []})
    assert "same name" in error({"inputs": [*inputs, inputs[0]]})
    assert "no column 'more'" in error({"inputs": [*inputs, {**inputs[0], "name": "more"}]})
    assert "no output 'labels'" in error({"inputs": inputs, "outputs": [{"name": "labels"}]})
    assert "parameters.alpha" in error({"inputs": inputs, "parameters": {"alpha": 1}})
    matrix = {"name": "x", "datatype": "FP64", "shape": [1, 6], "data": [0] * 6}
    assert "cannot be in one tensor" in error({"inputs": [matrix]})
    assert "no rows" in error({"inputs": [{**each, "shape": [0], "data": []} for each in inputs]})
    assert client.post("/v2/models/nobody/infer", {"inputs": inputs}).status_code == 404


def test_an_exported_model(pipeline, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from da3d.persistence import onnx

    onnx.export(pipeline, tmp_path / "toy.onnx")
    with serving(tmp_path / "toy.onnx") as client:
        response = client.post("/score", {"rows": ROWS, "top": 3})
        explained = client.post("/score", {"rows": ROWS[:1], "explain": True})
    equal(response.json()["results"], onnx.load(tmp_path / "toy.onnx").verdicts(NEW, top=3))
    assert explained.status_code == 400
    assert "no normal rows to explain" in explained.json()["error"]
