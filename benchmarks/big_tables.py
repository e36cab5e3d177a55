"""``da3d score`` on generated Parquet files of millions of rows: memory, and time by rows.

The files are written row group by row group and deleted afterwards. Each line is a process of its own.

Run: ``python benchmarks/big_tables.py [--millions M...] [--fast-millions M...] [--columns N]``.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from common import keep

from da3d import AnomalyPipeline, save
from da3d.detectors import make_detector

CAPTION = (
    "`da3d score` of a Parquet file with {columns} columns of numbers to a Parquet file of verdicts "
    "(`--no-columns`), one thread, one run each; times and memory are those of the whole process."
)
HEAD = ["", "CPU s", "wall s", "rows per CPU s", "peak MB"]
GROUP = 100_000


def rows(count: int, columns: int, seed: int) -> pd.DataFrame:
    """Rows whose columns depend on each other."""
    rng = np.random.default_rng(seed)
    turn = np.random.default_rng(0).normal(size=(6, columns))
    values = rng.normal(size=(count, 6)) @ turn + 0.3 * rng.normal(size=(count, columns))
    return pd.DataFrame(values, columns=[f"c{i}" for i in range(columns)])


def write(path: Path, count: int, columns: int) -> None:
    """A Parquet file of so many rows, one row group at a time."""
    writer = None
    for group in range(-(-count // GROUP)):
        table = pa.Table.from_pandas(rows(min(GROUP, count - group * GROUP), columns, 1 + group))
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def scored(model: Path, table: Path, output: Path) -> tuple[float, float, float]:
    """CPU and wall seconds and peak memory in MB of one ``da3d score``."""
    line = [sys.executable, "-m", "da3d", "score", model, table, "-o", output, "--no-columns", "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    begin = time.perf_counter()
    process = subprocess.Popen([str(part) for part in line], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"da3d score ended with {os.waitstatus_to_exitcode(status)}")
    process.returncode = 0  # it has been waited for
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - begin, usage.ru_maxrss / 1024


def main() -> None:
    """Measure and keep a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 5, 20])
    parser.add_argument("--fast-millions", type=float, nargs="*", default=[1])
    parser.add_argument("--columns", type=int, default=40)
    arguments = parser.parse_args()
    models = {
        "mahalanobis": (make_detector("mahalanobis"), arguments.millions),
        "da3d, fast": (make_detector("da3d", preset="fast"), arguments.fast_millions),
    }
    lines, samples = [], {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        learned = rows(5000, arguments.columns, 0)
        for name, (detector, _) in models.items():
            save(AnomalyPipeline(detector, random_state=0).fit(learned), folder / f"{name}.da3d")
        for million in sorted({*arguments.millions, *arguments.fast_millions}):
            count = round(million * 1e6)
            write(folder / "rows.parquet", count, arguments.columns)
            for name, (_, millions) in models.items():
                if million in millions:
                    taken = scored(folder / f"{name}.da3d", folder / "rows.parquet", folder / "out.parquet")
                    cpu, wall, peak = taken
                    label = f"{name}, {million:g} million rows"
                    lines.append([label, f"{cpu:.1f}", f"{wall:.1f}", f"{count / cpu:,.0f}", f"{peak:,.0f}"])
                    samples[label] = list(taken)
    keep("big-tables", CAPTION.format(columns=arguments.columns), HEAD, sorted(lines), samples)


if __name__ == "__main__":
    main()
