"""The triage page's addresses: alerts, reasons, counts, marks, and everything that can be wrong with them."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from da3d import AnomalyPipeline, Mahalanobis, load, save
from da3d.datasets import toy
from da3d.errors import ParameterError
from da3d.pipeline import ResolutionWarning
from da3d.serve.triage.table import judge_table
from serving import Client, ModelStore, Settings, create_app
from test_cli_main import refused
from test_cli_main import run as command

HEADER = {"X-Da3d-Triage": "1"}
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, the table that it learned from, and one to triage."""
    folder = tmp_path_factory.mktemp("triage")
    normal = toy.mixed(rows=300, anomalies=0, seed=0).frame
    save(AnomalyPipeline(Mahalanobis(), random_state=0).fit(normal), folder / "toy.da3d")
    normal.to_csv(folder / "normal.csv", index=False)
    new = toy.mixed(rows=120, anomalies=12, seed=1).frame
    new.assign(payment=[f"<b>{i}" for i in range(120)]).to_csv(folder / "new.csv", index=False)
    return folder


def opened(folder, feedback, *, model="toy.da3d", data="new.csv", most=50, local=True):
    from da3d.serve.triage import open_triage

    store = ModelStore({"toy": folder / model})
    page = open_triage(
        store,
        str(folder / data),
        feedback,
        most=most,
        id_column="payment" if data == "new.csv" else None,
        local=local,
    )
    client = Client(create_app(store, Settings(), [page.router]))
    client.__enter__()
    client.http.base_url = "http://localhost:8000"
    return client


@pytest.fixture
def feedback(tmp_path):
    return tmp_path / "marks.csv"


@pytest.fixture
def client(folder, feedback):
    client = opened(folder, feedback)
    yield client
    client.__exit__()


def strangest(client, count):
    answered = client.get("/ui/api/alerts", params={"limit": count}).json()
    return [each["row"] for each in answered["alerts"]]


def mark(client, row, what, **more):
    return client.post("/ui/api/marks", {"row": row, "mark": what, **more}, headers=HEADER)


def marks(client):
    return client.get("/ui/api/marks").json()["marks"]


def test_alerts_are_the_strangest_rows_in_their_order(client, folder):
    answered = client.get("/ui/api/alerts").json()
    assert answered["total"] == 50
    frame = pd.read_csv(folder / "new.csv", parse_dates=["paid_at"])
    judged = load(folder / "toy.da3d").verdicts(frame.drop(columns="payment"))
    order = np.lexsort((-judged["anomaly_score"], judged["p_value"]))[:50]
    assert [each["row"] for each in answered["alerts"]] == order.tolist()
    assert answered["alerts"][0]["id"] == f"<b>{order[0]}"
    part = client.get("/ui/api/alerts?offset=3&limit=2").json()["alerts"]
    assert [each["rank"] for each in part] == [4, 5]


@pytest.mark.filterwarnings("ignore", category=ResolutionWarning)
@pytest.mark.parametrize("by", [None, "member"])
def test_counts_are_those_of_the_pipeline(folder, tmp_path, feedback, by):
    normal = toy.mixed(rows=300, anomalies=0, seed=0).frame
    pipeline = AnomalyPipeline(Mahalanobis(), calibrate_by=by, random_state=0).fit(normal)
    frame = pd.read_csv(folder / "new.csv", parse_dates=["paid_at"]).drop(columns="payment")
    pipeline = pipeline.suppress(frame.iloc[pipeline.anomaly_score(frame).argsort()[-3:]])
    save(pipeline, tmp_path / "other.da3d")
    frame.to_csv(tmp_path / "new.csv.tsv", index=False, sep="\t")
    client = opened(tmp_path, feedback, model="other.da3d", data="new.csv.tsv")
    told = client.get("/ui/api/operating").json()
    client.__exit__()
    assert told["rows"] == 120
    for rate in (0.001, 0.01, 0.0217, 0.05, 0.1, 1 / 46, 2 / 46, 0.5, 0.99):
        judged = pipeline.verdicts(frame, fpr=rate)
        place = np.searchsorted(told["levels"], rate + 1e-12, side="right") - 1
        counted = (0, 0) if place < 0 else (told["alarms"][place], told["suppressed"][place])
        assert counted == (judged["is_anomaly"].sum(), judged["suppressed"].sum()), rate


def test_a_row_is_explained_once(client):
    (row,) = strangest(client, 1)
    first = client.get(f"/ui/api/rows/{row}").json()
    assert first["values"]["payment"] == f"<b>{row}"
    assert len(first["explanation"]["nearest"]) == 3
    assert first["explanation"]["sentence"]
    assert client.get(f"/ui/api/rows/{row}").json() == first
    assert row in client.get("/ui/api/search", params={"text": f"<B>{row}"}).json()["rows"]


def test_a_missing_value_is_not_the_word_none(client, folder):
    assert pd.read_csv(folder / "new.csv").isna().any(axis=None)
    assert client.get("/ui/api/search", params={"text": "none"}).json()["rows"] == []


def test_marks_are_written_at_once_and_found_again(client, folder, feedback):
    rows = strangest(client, 4)
    said = 'a "note", of\ntwo lines; ='
    for row, what in zip(rows, ("anomaly", "normal", "benign", "benign"), strict=True):
        assert mark(client, row, what, note=said).status_code == 200
    assert client.run(client.http.delete(f"/ui/api/marks/{rows[3]}", headers=HEADER)).status_code == 200
    before = marks(client)
    assert [path.name for path in feedback.parent.iterdir()] == [feedback.name]
    again = opened(folder, feedback, most=1)  # rows that were marked are kept, however few others are
    after = marks(again)
    assert {row: (each["mark"], each["note"]) for row, each in after.items()} == {
        str(row): (what, said) for row, what in zip(rows, ("anomaly", "normal", "benign"), strict=False)
    }
    assert before.keys() == after.keys()
    assert mark(again, rows[0], "normal").status_code == 200
    again.__exit__()
    refusal = mark(client, rows[1], "anomaly")  # the other service has changed the file
    assert refusal.status_code == 409
    assert "another program" in refusal.json()["error"]
    assert marks(client) == before


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_what_is_exported_can_be_learned_from(client, folder, tmp_path, form):
    assert client.get("/ui/api/export").status_code == 404
    for row, what in zip(strangest(client, 3), ("anomaly", "normal", "benign"), strict=True):
        mark(client, row, what)
    response = client.get(f"/ui/api/export?form={form}")
    assert "attachment" in response.headers["Content-Disposition"]
    path = tmp_path / f"given.{form}"
    path.write_bytes(response.content)
    done = command("suppress", folder / "toy.da3d", path, "-o", tmp_path / "quiet.da3d", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["added"] == 1
    line = ("refit", folder / "toy.da3d", folder / "normal.csv", "--feedback", path, "-o")
    done = command(*line, tmp_path / "again.da3d", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["feedback"] == {"anomaly": 1, "normal": 1, "benign": 1}


def test_two_pages_do_not_lose_each_others_marks(client, feedback):
    row, other = strangest(client, 2)
    version = mark(client, row, "anomaly", version=0).json()["entry"]["version"]
    late = mark(client, row, "normal", version=0)
    assert late.status_code == 409
    assert "another page" in late.json()["error"]
    assert late.json()["entry"]["mark"] == "anomaly"
    assert mark(client, other, "benign", version=0).status_code == 200
    assert mark(client, row, "normal", version=version).status_code == 200
    assert marks(client)[str(row)]["mark"] == "normal"
    for each in (row, other):
        mark(client, each, None)
    assert marks(client) == {}
    assert not feedback.exists()


def test_a_page_of_an_earlier_start_changes_nothing(client, feedback):
    (row,) = strangest(client, 1)
    opened = client.get("/ui/api/table").json()["opened"]
    content = {"row": row, "mark": "normal"}
    late = client.post("/ui/api/marks", content, headers={"X-Da3d-Triage": "of another start"})
    assert late.status_code == 409
    assert "load the page again" in late.json()["error"]
    assert not feedback.exists()
    assert client.post("/ui/api/marks", content, headers={"X-Da3d-Triage": opened}).status_code == 200


def test_rows_that_are_kept_for_their_marks_have_no_rank(folder, feedback):
    client = opened(folder, feedback)
    last = client.get("/ui/api/alerts?offset=49").json()["alerts"][0]
    mark(client, last["row"], "normal")
    client.__exit__()
    client = opened(folder, feedback, most=10)
    found = client.get("/ui/api/alerts").json()["alerts"]
    assert [each["rank"] for each in found] == [*range(1, 11), None]
    assert found[-1]["row"] == last["row"]
    assert client.get("/ui/api/table").json()["kept"] == 10
    assert "the strangest 10 are kept" in client.get("/ui/api/rows/500").json()["error"]
    client.__exit__()


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("note", ["2024-05-01", "007", "1e5", "true"])
def test_a_note_stays_the_text_that_it_is(folder, tmp_path, ending, note):
    first = opened(folder, tmp_path / f"marks.{ending}")
    (row,) = strangest(first, 1)
    mark(first, row, "normal", note=note)
    first.__exit__()
    again = opened(folder, tmp_path / f"marks.{ending}")
    assert marks(again)[str(row)]["note"] == note
    again.__exit__()


def test_large_numbers_arrive_whole(folder, tmp_path, feedback):
    numbers = 2**53 + 1 + 2 * np.arange(120)
    rows = pd.read_csv(folder / "new.csv", parse_dates=["paid_at"])
    rows.assign(payment=numbers).to_parquet(tmp_path / "new.parquet")
    save(load(folder / "toy.da3d"), tmp_path / "toy.da3d")
    client = opened(tmp_path, feedback, data="new.parquet")
    (row,) = strangest(client, 1)
    shown = client.get(f"/ui/api/rows/{row}").json()["values"]["payment"]
    assert shown == str(numbers[row])
    assert row in client.get("/ui/api/search", params={"text": shown}).json()["rows"]
    client.__exit__()


def test_rows_are_not_known_by_a_column_that_gives_way(folder, tmp_path, feedback):
    pd.read_csv(folder / "new.csv").rename(columns={"payment": "severity"}).to_csv(tmp_path / "new.csv")
    with pytest.raises(ParameterError, match="'severity' is a name that verdicts and marks have here"):
        judge_table(load(folder / "toy.da3d"), str(tmp_path / "new.csv"), most=5, id_column="severity")


def test_requests_that_are_wrong(client, feedback):
    (row,) = strangest(client, 1)
    for text in ("abc", "-1", "120", "9" * 5000, "1.5", "²"):
        response = client.get(f"/ui/api/rows/{text}")
        assert response.status_code == 404
        assert "there is no row" in response.json()["error"]
    bodies = [
        b"{",
        b"[]",
        b'{"row": 1}',
        b'{"row": "1", "mark": "normal"}',
        b'{"row": 1, "mark": "odd"}',
        b'{"row": 1, "mark": "normal", "more": 1}',
        b'{"row": NaN, "mark": "normal"}',
        b"\xff",
        json.dumps({"row": row, "mark": "normal", "note": "x" * 2001}).encode(),
    ]
    for body in bodies:
        response = client.post("/ui/api/marks", body, headers=HEADER)
        assert response.status_code == 400, body
        assert response.json()["error"]
        assert "Traceback" not in response.text
    assert mark(client, 10**9, "normal").status_code == 404
    assert client.get("/ui/api/alerts?offset=x").status_code == 400
    assert client.get("/ui/api/export?form=xlsx").status_code == 400
    assert client.run(client.http.delete(f"/ui/api/marks/{row}?version=x", headers=HEADER)).status_code == 400
    assert not feedback.exists()


def test_other_sites_are_kept_out(client, folder, feedback, tmp_path):
    (row,) = strangest(client, 1)
    content = {"row": row, "mark": "normal"}
    assert client.post("/ui/api/marks", content).status_code == 403
    cross = {**HEADER, "Sec-Fetch-Site": "cross-site"}
    assert client.post("/ui/api/marks", content, headers=cross).status_code == 403
    form = {**HEADER, "Content-Type": "text/plain"}
    assert client.post("/ui/api/marks", content, headers=form).status_code == 415
    for host in ("evil.example", "localhost.evil.example:8000", "", "[", "192.168.0.1"):
        assert client.get("/ui", headers={"Host": host}).status_code == 403
    for host in ("127.0.0.1:8000", "[::1]:8000", "localhost"):
        assert client.get("/ui", headers={"Host": host}).status_code == 200
    assert marks(client) == {}
    other = opened(folder, tmp_path / "more.csv", local=False)
    assert other.get("/ui", headers={"Host": "triage.example"}).status_code == 200
    other.__exit__()


def test_the_page_is_all_its_own(client):
    page = client.get("/ui")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"
    texts = [page.text, client.get("/ui/triage.css").text, client.get("/ui/triage.js").text]
    for text in texts:
        assert set(re.findall(r"https?://[^\"')\s]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert "innerHTML" not in texts[2]
    assert " style=" not in texts[0]


def test_the_page_has_the_reports_colours(client):
    style = (ROOT / "src/da3d/reports/templates/style.css").read_text(encoding="utf-8")
    assert client.get("/ui/triage.css").text.startswith(style[: style.index("* {")])


def test_a_file_that_cannot_be_written_changes_nothing(client, feedback, monkeypatch):
    row, other = strangest(client, 2)
    mark(client, row, "anomaly")
    before, kept = feedback.read_bytes(), marks(client)

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    response = mark(client, other, "normal")
    assert response.status_code == 507
    assert "the mark was not kept" in response.json()["error"]
    assert marks(client) == kept
    assert feedback.read_bytes() == before
    monkeypatch.undo()
    assert mark(client, other, "normal").status_code == 200


def changed(feedback, change):
    rows = list(csv.DictReader(io.StringIO(feedback.read_text())))
    change(rows)
    with feedback.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows[0].update(amount="7777"), "speaks about another table"),
        (lambda rows: rows[0].update(feedback_row="500"), "has 120 rows"),
        (lambda rows: rows[0].update(feedback_row="x"), "must hold the numbers of rows"),
        (lambda rows: rows[0].update(feedback="odd"), "must hold anomaly, normal, benign or nothing"),
        (lambda rows: rows[0].update(reviewer="me"), "has a column 'reviewer'"),
        (lambda rows: rows.append(dict(rows[0])), "speaks twice about row"),
        (lambda rows: rows[0].pop("feedback_row"), "was not written by this page"),
    ],
)
def test_feedback_of_another_table_is_refused_and_stays(client, folder, feedback, change, words):
    mark(client, strangest(client, 1)[0], "anomaly")
    changed(feedback, change)
    before = feedback.read_bytes()
    line = ("serve", folder / "toy.da3d", "--ui", "--data", folder / "new.csv", "--feedback", feedback)
    refused(command(*line, "--port", "0"), words)
    assert feedback.read_bytes() == before


def test_what_the_command_refuses(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, data = folder / "toy.da3d", folder / "new.csv"
    narrow = tmp_path / "narrow.csv"
    pd.read_csv(data)[["amount", "items"]].to_csv(narrow, index=False)
    refused(command("serve", model, "--ui"), "--data")
    refused(command("serve", model, "--data", data), "without --ui")
    refused(command("serve", model, "--ui", "--data", narrow), "lacks 4 of the 6 columns")
    refused(command("serve", model, "--ui", "--data", tmp_path / "none.csv"), "none.csv")
    refused(command("serve", model, "--ui", "--data", data, "--id", "nothing"), "no column 'nothing'")
    refused(command("serve", model, "--ui", "--data", data, "--workers", "2"), "2 workers")
    refused(command("serve", model, model, "--name", "a", "--name", "b", "--ui", "--data", data), "one model")
    for name in ("there/is/none.csv", "marks.xlsx", "."):
        refused(
            command("serve", model, "--ui", "--data", data, "--feedback", name),
            "folder does not exist" if "/" in name else "feedback",
        )
    assert [path.name for path in tmp_path.iterdir()] == ["narrow.csv"]
