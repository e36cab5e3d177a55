"""Two Ray nodes of one CPU each against one process, on a folder of Parquet files: medians of whole jobs.

Run: ``OMP_NUM_THREADS=1 python benchmarks/on_ray.py [--rows N] [--columns N] [--parts N] [--repeats N]``.
Both nodes are on this machine, so it says what two CPUs and Ray's own work come to, not what a network does.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from da3d import AnomalyPipeline, Mahalanobis, load, save
from da3d.detectors import make_detector
from da3d.distributed import score_on_ray
from da3d.distributed.parts import Job, complete, cut, prepare


def write_table(folder: Path, rows: int, columns: int, parts: int) -> pd.DataFrame:
    """Write rows of correlated numbers as so many files; the first 2000 of them."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(columns, columns))
    names = [f"x{number}" for number in range(columns)]
    folder.mkdir()
    first = pd.DataFrame()
    for number in range(parts):
        values = random.normal(size=(rows // parts, columns)) @ mixing
        frame = pd.DataFrame(values.astype(np.float32), columns=names)
        frame.to_parquet(folder / f"{number:03d}.parquet", index=False)
        first = frame.head(2000) if number == 0 else first
    return first


def seconds(job: Callable[[], object]) -> float:
    """Wall time of a call."""
    begin = time.perf_counter()
    job()
    return time.perf_counter() - begin


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--parts", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--detector", default="mahalanobis", help="with its default parameters")
    given = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}  # for the processes that it starts
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows = write_table(folder / "table", given.rows, given.columns, given.parts)
        detector = Mahalanobis() if given.detector == "mahalanobis" else make_detector(given.detector)
        model = save(AnomalyPipeline(detector, random_state=0).fit(rows), folder / "model.da3d")
        measure(folder, model, given.rows, given.repeats)


def measure(folder: Path, model: Path, rows: int, repeats: int) -> None:
    """Time all jobs and print them."""
    table = folder / "table"
    line = [
        sys.executable,
        "-m",
        "da3d",
        "score",
        str(model),
        str(table),
        "-q",
        "-o",
        str(folder / "out.parquet"),
    ]
    local = [seconds(lambda: subprocess.run(line, check=True)) for _ in range(repeats)]
    alone = [seconds(lambda: in_this_process(model, table, folder / "alone")) for _ in range(repeats)]
    import ray
    from ray.cluster_utils import Cluster

    begin = time.perf_counter()
    node = {"num_cpus": 1, "object_store_memory": 200 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    ray.init(address=cluster.address, log_to_driver=False)
    started = time.perf_counter() - begin
    jobs = []
    for _ in range(repeats + 1):
        shutil.rmtree(folder / "out", ignore_errors=True)
        jobs.append(seconds(lambda: score_on_ray(model, table, folder / "out", address="auto")))
    found = [
        seconds(lambda: score_on_ray(model, table, folder / "out", address="auto")) for _ in range(repeats)
    ]
    ray.shutdown()
    cluster.shutdown()
    print(f"{rows} rows; medians of {repeats}, in seconds (rows per second)")
    show("one process, with its start", local, rows)
    show("one process, warm", alone, rows)
    show("two nodes, warm", jobs[1:], rows)
    show("two nodes, first job", jobs[:1], rows)
    show("two nodes, all parts finished before", found, rows)
    print(f"{'start of the cluster':<40}{started:>8.1f}")


def in_this_process(model: Path, table: Path, output: Path) -> None:
    """The same parts without a cluster."""
    pipeline = load(model)
    assert isinstance(pipeline, AnomalyPipeline)
    job, parts = Job(output, "", pipeline.rule), cut(table)
    prepare(job, table, parts)
    for part in parts:
        job.work(part, pipeline)
    complete(job, parts)


def show(name: str, taken: list[float], rows: int) -> None:
    """Print a line."""
    median = statistics.median(taken)
    print(f"{name:<40}{median:>8.1f}{rows / median:>12.0f}   least {min(taken):.1f}, most {max(taken):.1f}")


if __name__ == "__main__":
    main()
