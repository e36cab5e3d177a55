"""``da3d fit`` and ``da3d score`` on Parquet files of millions of rows: peak memory, and time by rows.

The files are written row group by row group and deleted afterwards. Each line is a process of its own; its
memory is what the system counted. 20 million rows of 40 columns take 4 GB of disk.

Run: ``python benchmarks/memory.py [--rows N...] [--columns N] [--max-memory SIZE] [--detector NAME]``.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import keep

CAPTION = (
    "`da3d fit --max-memory {memory}` ({detector}) and `da3d score --fpr 0.01 --no-columns` on Parquet files "
    "of {columns} columns of float32, one thread, one run each; times and memory of the whole process."
)
HEAD = ["", "rows learned from", "CPU s", "wall s", "peak MiB"]
GROUP = 100_000


def write(path: Path, rows: int, columns: int) -> None:
    """A Parquet file of so many rows whose columns depend on each other, one row group at a time."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(6, columns)).astype(np.float32)
    names = [f"c{number}" for number in range(columns)]
    schema = pa.schema([(name, pa.float32()) for name in names])
    with pq.ParquetWriter(path, schema) as writer:
        for begin in range(0, rows, GROUP):
            size = min(GROUP, rows - begin)
            values = random.standard_normal((size, 6), dtype=np.float32) @ mixing
            values += 0.3 * random.standard_normal((size, columns), dtype=np.float32)
            writer.write_table(pa.table([pa.array(column) for column in values.T], schema=schema))


def measured(*arguments: object) -> tuple[float, float, float, str]:
    """CPU and wall seconds and peak memory in MiB of one ``da3d ARGUMENTS``, and what it printed."""
    line = [sys.executable, "-m", "da3d", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    begin = time.perf_counter()
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, text=True)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(line)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - begin, usage.ru_maxrss / 1024, said


def main() -> None:
    """Measure and keep a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000, 20_000_000])
    parser.add_argument("--columns", type=int, default=40)
    parser.add_argument("--max-memory", default="2GiB")
    parser.add_argument("--detector", default="mahalanobis", help="with its default parameters")
    given = parser.parse_args()
    lines, samples = [], {}
    with tempfile.TemporaryDirectory() as temporary:
        table, model, output = (Path(temporary, name) for name in ("t.parquet", "m.da3d", "v.parquet"))
        for rows in given.rows:
            needed = rows * (given.columns * 4 + 40)
            if needed > shutil.disk_usage(temporary).free:
                raise SystemExit(f"{rows:,} rows need {needed / 1e9:.1f} GB of disk in {temporary}")
            write(table, rows, given.columns)
            limits = ["--max-memory", given.max_memory, "--detector", given.detector, "--quiet", "--json"]
            fit = measured("fit", table, "-o", model, *limits)
            score = measured("score", model, table, "-o", output, "--fpr", 0.01, "--no-columns", "--quiet")
            for name, taken, count in (
                ("fit", fit, format(json.loads(fit[-1])["rows"], ",")),
                ("score", score, ""),
            ):
                label = f"{name}, {rows / 1e6:g} million rows"
                cpu, wall, peak = taken[:3]
                lines.append([label, count, f"{cpu:.1f}", f"{wall:.1f}", f"{peak:,.0f}"])
                samples[label] = [cpu, wall, peak]
                print(*lines[-1], flush=True)
    caption = CAPTION.format(memory=given.max_memory, detector=given.detector, columns=given.columns)
    keep("memory", caption, HEAD, sorted(lines, key=lambda line: line[0].split()[0]), samples)


if __name__ == "__main__":
    main()
