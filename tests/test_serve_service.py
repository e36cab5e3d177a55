"""What surrounds the verdicts: keys, limits, models that change, health, counters, the processes."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from da3d import AnomalyPipeline, Mahalanobis, save
from da3d.datasets import toy
from da3d.errors import FileError, ParameterError
from serving import (
    APIRouter,
    Client,
    Job,
    ModelStore,
    PipelineModel,
    Request,
    Settings,
    create_app,
    httpx,
    read_model,
    rows_of,
    run,
    serving,
)
from test_cli_main import refused
from test_cli_main import run as command

KEY = "a-key-that-is-long-enough"
NEW = toy.mixed(rows=20, anomalies=4, seed=2).frame
ROWS = rows_of(NEW)


def fitted(seed):
    table = toy.mixed(rows=200, anomalies=0, seed=seed).frame
    return AnomalyPipeline(Mahalanobis(), random_state=0).fit(table)


@pytest.fixture(scope="module")
def pipelines():
    return fitted(0), fitted(1)


@pytest.fixture
def path(pipelines, tmp_path):
    return save(pipelines[0], tmp_path / "toy.da3d")


def replace(path, pipeline):
    save(pipeline, path.with_name("new.da3d")).replace(path)


def test_a_key_opens_what_is_closed(path):
    with serving(path, keys=("the-other-valid-key", KEY)) as client:
        for headers in (
            {},
            {"X-API-Key": "wrong"},
            {"Authorization": "Bearer"},
            {"Authorization": "Basic ?"},
        ):
            response = client.post("/score", {"rows": ROWS}, headers=headers)
            assert response.status_code == 401
            assert "API key" in response.json()["error"]
            assert "Bearer" in response.headers["WWW-Authenticate"]
        for headers in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}):
            assert client.post("/score", {"rows": ROWS}, headers=headers).status_code == 200
        assert client.get("/metrics").status_code == 401
        assert client.run(client.http.get("/metrics", auth=("me", KEY))).status_code == 200
        assert client.get("/health").json() == {"status": "ok"}
        assert "toy" in client.get("/health", headers={"X-API-Key": KEY}).json()["models"]
        assert client.get("/v2/health/live").json() == {"live": True}
        assert client.get("/v2/health/ready").json() == {"ready": True}
        assert client.get("/openapi.json").status_code == 401


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(path, chunked):
    async def parts():
        for _ in range(10):
            yield b" " * 100

    with serving(path, max_bytes=900) as client:
        work = client.http.post(
            "/score",
            content=parts() if chunked else b" " * 1000,
            headers={"Content-Type": "application/json"},
        )
        response = client.run(work)
    assert response.status_code == 413
    assert "larger than 900 bytes" in response.json()["error"]


def test_too_many_rows(path):
    with serving(path, max_rows=3) as client:
        assert client.post("/score", {"rows": ROWS[:3]}).status_code == 200
        response = client.post("/score", {"rows": ROWS[:4]})
        tensor = {"name": "amount", "datatype": "FP64", "shape": [4], "data": [1, 2, 3, 4]}
        others = [{**tensor, "name": name, "data": [None] * 4} for name in ("items",)]
        texts = [
            {**tensor, "name": name, "datatype": "BYTES", "data": [None] * 4}
            for name in ("country", "channel", "paid_at")
        ]
        flags = [{**tensor, "name": "member", "datatype": "BOOL", "data": [None] * 4}]
        tensors = client.post("/v2/models/toy/infer", {"inputs": [tensor, *others, *texts, *flags]})
    for refused_one in (response, tensors):
        assert refused_one.status_code == 413
        assert "has 4 rows but may have 3" in refused_one.json()["error"]


def test_bodies_of_another_kind(path):
    with serving(path) as client:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert client.post("/score", {"rows": ROWS}, headers=form).status_code == 415
        packed = client.post("/score", b"", headers={"Content-Encoding": "gzip"})
        assert packed.status_code == 415
        assert "compressed" in packed.json()["error"]


class Slow(PipelineModel):
    """A model that takes its time, or fails."""

    seconds, fails = 0.3, False

    def score(self, frame):
        time.sleep(self.seconds)
        if self.fails:
            raise RuntimeError("secret detail")
        return super().score(frame)


def slow(path, **settings):
    store = ModelStore({"toy": path}, read=lambda file: Slow(read_model(file)._pipeline))
    return Client(create_app(store, Settings(**settings))), store.get("toy").model


def test_time_runs_out_but_the_service_goes_on(path):
    client, model = slow(path, timeout=0.1)
    with client:
        response = client.post("/score", {"rows": ROWS})
        assert response.status_code == 503
        assert "within 0.1 seconds" in response.json()["error"]
        assert client.get("/health").status_code == 200  # answered while the model is still at work
        model.seconds = 0
        client.sleep(0.4)
        assert client.post("/score", {"rows": ROWS}).status_code == 200


def test_too_many_wait(path):
    client, _ = slow(path, waiting=2, batch_rows=0)

    async def crowd():
        return await asyncio.gather(*(client.post_later("/score", {"row": ROWS[0]}) for _ in range(6)))

    with client:
        codes = [response.status_code for response in client.run(crowd())]
    assert sorted(set(codes)) == [200, 503]


def test_an_unexpected_failure_tells_no_details(path):
    client, model = slow(path)
    model.seconds, model.fails = 0, True

    async def crowd():
        return await asyncio.gather(*(client.post_later("/score", {"row": ROWS[0]}) for _ in range(4)))

    with client:
        for response in client.run(crowd()):
            assert response.status_code == 500
            assert "secret" not in response.text
        model.fails = False
        assert client.post("/score", {"row": ROWS[0]}).status_code == 200


def test_addresses_that_are_not_there(path):
    with serving(path) as client:
        assert client.get("/nothing").json() == {"error": "Not Found"}
        assert client.get("/score").status_code == 405


def test_more_addresses_are_behind_the_same_key(path):
    router = APIRouter()

    @router.get("/more")
    async def more(request: Request) -> list[str]:
        return request.app.state.store.names

    app = create_app(ModelStore({"toy": path}), Settings(keys=(KEY,)), routers=[router])
    with Client(app) as client:
        assert client.get("/more").status_code == 401
        assert client.get("/more", headers={"X-API-Key": KEY}).json() == ["toy"]


def test_a_changed_file_takes_over_and_a_broken_one_does_not(path, pipelines):
    with serving(path, reload_every=0.02) as client:

        def first_score():
            return client.post("/score", {"row": ROWS[0]}).json()["result"]["anomaly_score"]

        def until(condition):
            for _ in range(500):
                if condition():
                    return
                client.sleep(0.02)
            raise AssertionError("nothing happened")

        old, new = (pipeline.anomaly_score(NEW)[0] for pipeline in pipelines)
        assert first_score() == old
        replace(path, pipelines[1])
        until(lambda: first_score() == new)
        good = path.read_bytes()
        path.write_bytes(good[: len(good) // 2])
        until(lambda: client.get("/health").json()["status"] == "degraded")
        assert first_score() == new
        assert "toy.da3d" in client.get("/health").json()["models"]["toy"]["error"]
        path.unlink()
        client.sleep(0.1)
        assert first_score() == new
        replace(path, pipelines[0])
        until(lambda: client.get("/health").json()["status"] == "ok")
        assert first_score() == old
        text = client.get("/metrics").text
        assert 'da3d_model_reloads_total{model="toy",outcome="reloaded"} 2.0' in text


def test_refresh_reads_a_refused_file_once(path, pipelines):
    reads = []

    def read(file):
        reads.append(file)
        return read_model(file)

    store = ModelStore({"toy": path}, read)
    assert store.refresh() == {}
    path.write_bytes(b"nonsense")
    assert store.refresh() == {"toy": "refused"}
    assert store.refresh() == {}
    assert len(reads) == 2
    replace(path, pipelines[1])
    assert store.refresh() == {"toy": "reloaded"}
    assert store.errors == {}


def test_counters(path):
    with serving(path) as client:
        client.post("/score", {"rows": [*ROWS[:3], {}], "top": 2})
        client.get("/made/up/by/a/client")
        text = client.get("/metrics").text
    assert 'da3d_rows_total{model="toy",outcome="judged"} 3.0' in text
    assert 'da3d_rows_total{model="toy",outcome="refused"} 1.0' in text
    assert 'da3d_alarms_total{model="toy"} 2.0' in text
    assert 'da3d_requests_total{route="/score",status="422"} 1.0' in text
    assert 'da3d_requests_total{route="other",status="404"} 1.0' in text
    assert 'da3d_severity_count{model="toy"} 3.0' in text
    assert "made" not in text


def test_several_models(path, pipelines, tmp_path):
    other = save(pipelines[1], tmp_path / "other.da3d")
    store = ModelStore(ModelStore.named([path, other]))
    with Client(create_app(store)) as client:
        response = client.post("/score", {"rows": ROWS})
        assert response.status_code == 400
        assert "must be one of toy, other" in response.json()["error"]
        results = client.post("/score", {"rows": ROWS, "model": "other"}).json()["results"]
    assert [each["anomaly_score"] for each in results] == pipelines[1].anomaly_score(NEW).tolist()
    with pytest.raises(ParameterError, match="more than one model is called 'toy'"):
        ModelStore.named([path, Path("elsewhere/toy.da3d")])
    with pytest.raises(ParameterError, match="1 names are given for 2"):
        ModelStore.named([path, other], ["a"])
    with pytest.raises(ParameterError, match="cannot be called 'a/b'"):
        ModelStore({"a/b": path})
    with pytest.raises(FileError, match="there is no file"):
        ModelStore({"a": tmp_path / "none"})


def test_settings_out_of_range():
    with pytest.raises(ParameterError, match="max_rows is 0"):
        Settings(max_rows=0)
    with pytest.raises(ParameterError, match="fewer than 16 characters"):
        Settings(keys=("short",))


def test_a_job_travels_without_its_keys(path, monkeypatch, tmp_path):
    monkeypatch.setenv("DA3D_API_KEY", KEY)
    job = Job({"toy": str(path)}, settings=Settings(max_rows=7))
    assert job.allowed() == Settings(max_rows=7, keys=(KEY,))
    again = Job.from_json(job.to_json())
    assert again == job
    (tmp_path / "keys").write_text(f"{KEY}-1\n\n {KEY}-2 \n")
    both = Job({}, key_file=str(tmp_path / "keys"))
    assert both.allowed().keys == (f"{KEY}-1", f"{KEY}-2")


def test_what_the_command_refuses(path, tmp_path, monkeypatch):
    monkeypatch.delenv("DA3D_API_KEY", raising=False)
    refused(command("serve", path, "--host", "0.0.0.0"), "no API key", "--without-key")
    (tmp_path / "empty").touch()
    refused(command("serve", path, "--api-key-file", tmp_path / "empty"), "holds no API key")
    refused(command("serve", path, "--api-key-file", tmp_path / "none"), "cannot be read")
    refused(command("serve", tmp_path / "none.da3d"), "there is no file")
    refused(command("serve", path, "--name", "a b"), "cannot be called 'a b'")
    refused(command("serve", path, "--timeout", "0"), "timeout is 0.0")
    refused(command("serve", path, "--host", "192.0.2.1", "--without-key"), "cannot be listened on")
    detector = save(
        Mahalanobis().fit(pd.DataFrame({"a": [1.0, 2, 4], "b": [1.0, 3, 2]})), tmp_path / "d.da3d"
    )
    refused(command("serve", detector), "holds a Mahalanobis alone")


def test_the_document_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[1] / "docs" / "serve.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names = {"__name__": "document"}
    exec(compile(block, "docs/serve.md", "exec"), names)
    with Client(names["app"]) as client:
        assert client.post("/score", {"rows": ROWS}).status_code == 200


def test_a_signal_lets_a_request_finish(path, pipelines):
    """The service runs in this thread, as the command does; a request is half sent when the signal comes."""
    found, told = [], threading.Event()
    body = json.dumps({"rows": ROWS}).encode()

    def ask(address):
        def parts():
            yield body[:100]
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
            yield body[100:]

        try:
            headers = {"Content-Type": "application/json"}
            found.append(httpx.post(f"{address}/score", content=parts(), headers=headers, timeout=20))
        finally:
            told.set()

    def announce(address):
        threading.Thread(target=ask, args=[address]).start()

    handler = signal.getsignal(signal.SIGTERM)
    run(Job({"toy": str(path)}, port=0), announce)
    assert told.wait(20)
    assert signal.getsignal(signal.SIGTERM) is handler
    results = found[0].json()["results"]
    assert [each["anomaly_score"] for each in results] == pipelines[0].anomaly_score(NEW).tolist()


def test_two_workers(path, pipelines):
    """As users start it: scores, a replaced model, counters of both workers together, a clean end."""
    line = [sys.executable, "-m", "da3d", "serve", str(path), "--port", "0", "--workers", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DA3D_API_KEY": KEY}
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        address = re.search(r"http://\S+", process.stderr.readline())[0]
        with httpx.Client(base_url=address, headers={"X-API-Key": KEY}, timeout=60) as client:
            patiently(lambda: client.get("/v2/health/ready").status_code == 200)

            def scores():
                results = client.post("/score", json={"rows": ROWS}).json()["results"]
                return [each["anomaly_score"] for each in results]

            assert scores() == pipelines[0].anomaly_score(NEW).tolist()
            replace(path, pipelines[1])
            new = pipelines[1].anomaly_score(NEW).tolist()
            patiently(lambda: scores() == new)
            reloaded = 'da3d_model_reloads_total{model="toy",outcome="reloaded"}'
            patiently(lambda: reloaded in client.get("/metrics").text)
            assert 'da3d_rows_total{model="toy",outcome="judged"}' in client.get("/metrics").text
            assert httpx.get(f"{address}/metrics").status_code == 401
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        log = process.stderr.read()
        assert log.count("model 'toy' is now") in (
            1,
            2,
        )  # a worker that started late read the new file at once
        assert "Traceback" not in log
    finally:
        process.kill()
        process.communicate()


def patiently(condition, seconds=120):
    """Wait until something is so; a machine may be busy."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("it never came about")
