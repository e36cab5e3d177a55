"""Rows per second and latency of the service on this machine, beside the same rows scored in the process.

In the process: by the pipeline, by its ONNX file, and by ONNX Runtime's call alone, on arrays made before.

Every answer of the service is compared with the offline scores. The client runs on the same cores as the
service and takes its share of them.

Run: ``python benchmarks/serve.py [--seconds S] [--workers 1 2] [--detector da3d]``.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import torch
from common import keep

from da3d import AnomalyPipeline, load, save
from da3d.datasets import toy
from da3d.detectors import make_detector
from da3d.persistence.onnx.model import _values

BATCHES = (1, 32, 1000)
CONCURRENCY = 8
HEAD = ["", "rows at a time", "rows/s", "p50 ms", "p99 ms", "CPU ms per row", "largest difference"]
CAPTION = (
    "Scoring a mixed table of {columns} columns with the default detector, {clients} clients on the same "
    "cores as the service, {seconds:g} seconds each; differences are to the offline scores."
)
lines: list[list[str]] = []
samples: dict[str, list[float]] = {}


def show(
    name: str, batch: int, rows: int, seconds: float, taken: list[float], apart: float, cpu: float
) -> None:
    """One line of the table; `cpu` in seconds, of the service alone."""
    p50, p99 = statistics.median(taken) * 1e3, float(np.quantile(taken, 0.99)) * 1e3
    numbers = [rows / seconds, p50, p99, cpu / rows * 1e3, apart]
    rate, *times, difference = numbers
    lines.append(
        [name, f"{batch:,}", f"{rate:,.0f}", *(f"{each:,.2f}" for each in times), f"{difference:.1e}"]
    )
    samples[f"{name}, {batch}"] = numbers
    print(*lines[-1], sep="  ", flush=True)


def in_process(name, score, table, offline, seconds):
    """Call `score` with slices of a table, one after the other."""
    for batch in BATCHES:
        taken, apart, begin, start = [], 0.0, time.perf_counter(), 0
        before = time.process_time()
        while time.perf_counter() - begin < seconds:
            part = slice(start, start + batch)
            at = time.perf_counter()
            found = score(table.iloc[part])
            taken.append(time.perf_counter() - at)
            apart = max(apart, float(np.abs(found - offline[part]).max()))
            start = part.stop if part.stop + batch <= len(table) else 0
        show(name, batch, batch * len(taken), sum(taken), taken, apart, time.process_time() - before)


async def ask(client, bodies, places, batch, offline, until, taken):
    """One of several clients: as many requests as fit into the time; returns the largest difference."""
    apart = 0.0
    headers = {"Content-Type": "application/json"}
    while time.perf_counter() < until:
        place = next(places)
        at = time.perf_counter()
        response = await client.post("/score", content=bodies[place], headers=headers)
        taken.append(time.perf_counter() - at)
        results = response.raise_for_status().json()["results"]
        found = np.array([each["anomaly_score"] for each in results])
        apart = max(apart, float(np.abs(found - offline[place * batch : (place + 1) * batch]).max()))
    return apart


def cycle(count):
    """0, 1 ... count - 1, 0, 1 ..."""
    while True:
        yield from range(count)


def cpu_of(process):
    """Seconds of CPU that a process and its children have used; 0 where there is no /proc."""
    ticks = 0
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if process.pid in (int(place.parent.name), int(fields[1])):
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def load_test(process, address, name, rows, offline, seconds, most):
    """All batch sizes against a running service."""
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        for batch in (each for each in BATCHES if each <= most):
            count = len(rows) // batch
            bodies = [json.dumps({"rows": rows[i * batch : (i + 1) * batch]}).encode() for i in range(count)]
            places, warm = cycle(count), []
            await asyncio.gather(
                *(
                    ask(client, bodies, places, batch, offline, time.perf_counter() + 0.5, warm)
                    for _ in range(CONCURRENCY)
                )
            )
            taken, begin, before = [], time.perf_counter(), cpu_of(process)
            asked = [
                ask(client, bodies, places, batch, offline, begin + seconds, taken)
                for _ in range(CONCURRENCY)
            ]
            apart = max(await asyncio.gather(*asked))
            show(
                name,
                batch,
                batch * len(taken),
                time.perf_counter() - begin,
                taken,
                apart,
                cpu_of(process) - before,
            )


START = """
import sys
from da3d.serve import Settings
from da3d.serve.server import Job, run
model, workers, batch_rows = sys.argv[1:]
job = Job({"model": model}, port=0, workers=int(workers), settings=Settings(batch_rows=int(batch_rows)))
run(job, lambda address: print(address, file=sys.stderr, flush=True))
"""


def over_http(name, model, rows, offline, seconds, *, workers=1, batch_rows=1024, most=1000):
    """Start the service, ask it, and end it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-c", START, str(model), str(workers), str(batch_rows)]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        address = re.search(r"http://\S+", process.stderr.readline())[0]
        wait(address, workers)
        asyncio.run(load_test(process, address, name, rows, offline, seconds, most))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def wait(address, workers):
    """Until the service answers, and other workers had time to start, too."""
    while True:
        try:
            httpx.get(f"{address}/v2/health/ready")
            time.sleep(10 if workers > 1 else 0)
            return
        except httpx.TransportError:
            time.sleep(0.2)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--detector", default="da3d")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    budget = {"steps": (60, 10, 30)} if arguments.detector == "da3d" else {}
    normal = toy.mixed(rows=2000, anomalies=0, seed=0).frame
    pipeline = AnomalyPipeline(make_detector(arguments.detector, **budget), random_state=0).fit(normal)
    table = toy.mixed(rows=4000, anomalies=200, seed=1).frame
    rows = json.loads(table.to_json(orient="records", date_format="iso", double_precision=15))
    with tempfile.TemporaryDirectory() as folder:
        model = save(pipeline, Path(folder) / "model.da3d")
        offline = load(model).anomaly_score(table)
        in_process("in the process", pipeline.anomaly_score, table, offline, arguments.seconds)
        exported = export(pipeline, Path(folder) / "model.onnx")
        if exported is not None:
            in_process("in the process, ONNX file", exported.anomaly_score, table, offline, arguments.seconds)
            bare_calls(exported, table, offline, arguments.seconds)
        alone = "service, each request alone"
        over_http(alone, model, rows, offline, arguments.seconds, batch_rows=0, most=32)
        for workers in arguments.workers:
            name = f"service, workers: {workers}"
            over_http(name, model, rows, offline, arguments.seconds, workers=workers)
    caption = CAPTION.format(columns=table.shape[1], clients=CONCURRENCY, seconds=arguments.seconds)
    if arguments.detector == "da3d":
        keep("service", caption, HEAD, lines, samples)


def bare_calls(exported, table, offline, seconds):
    """ONNX Runtime's own call, with the arrays that it wants made beforehand."""
    places = pd.Series(np.arange(len(table)), index=table.index)
    fed = {each["name"]: _values(table[each["column"]], each) for each in exported._inputs}

    def score(part):
        rows = slice(places[part.index[0]], places[part.index[-1]] + 1)
        return exported._session.run(["anomaly_score"], {name: values[rows] for name, values in fed.items()})[
            0
        ]

    in_process("in the process, bare call", score, table, offline, seconds)


def export(pipeline, path):
    """The pipeline as ONNX Runtime scores it; None without that extra."""
    try:
        from da3d.persistence import onnx

        onnx.export(pipeline, path)
        return onnx.load(path)
    except Exception as error:
        print(f"(no ONNX: {error})")
        return None


if __name__ == "__main__":
    main()
