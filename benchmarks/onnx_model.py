"""How far ONNX files lie from their pipelines, how fast they score, and how soon ``da3d score`` ends.

For each table: fit on its first rows, export, score other rows of it with both, one thread each. Then the
wall and CPU time of the whole command on 1 000 rows, with the model file and with the ONNX file.

Run: ``python benchmarks/onnx_model.py TABLE... [--rows N] [--drop COLUMN...] [--detector NAME]``; a table is
a CSV, Parquet or JSON-lines file, or a NumPy archive with an array ``X``.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from da3d import AnomalyPipeline, save
from da3d.detectors import make_detector
from da3d.persistence import onnx
from da3d.preprocessing import read_table

HEAD = (
    f"{'table':<34}{'columns':>8}{'rows':>7}{'fit s':>7}{'export s':>9}{'relative':>10}{'p-value':>9}"
    f"{'alarms':>7}{'torch rows/s':>14}{'ONNX rows/s':>13}"
)


def table_of(path: Path, drop: list[str]) -> pd.DataFrame:
    """A table in a file, without some columns, its rows in a random order that is always the same."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            values = arrays["X"]
        frame = pd.DataFrame(values.reshape(len(values), -1)).rename(columns=str)
    else:
        frame = read_table(path).drop(columns=drop, errors="ignore")
    return frame.sample(frac=1, random_state=0).reset_index(drop=True)


def rate(score, rows: pd.DataFrame) -> tuple[np.ndarray, float]:
    """Scores, and rows per CPU second: the median of three."""
    taken = []
    for _ in range(3):
        before = time.process_time()
        scores = score(rows)
        taken.append(time.process_time() - before)
    return scores, len(rows) / sorted(taken)[1]


def compare(path: Path, frame: pd.DataFrame, arguments: argparse.Namespace, folder: Path) -> AnomalyPipeline:
    """One line of the table."""
    learned, other = frame[: arguments.rows], frame[arguments.rows : 3 * arguments.rows]
    detector = make_detector(arguments.detector)
    begin = time.process_time()
    pipeline = AnomalyPipeline(detector, random_state=0).fit(learned)
    fitted = time.process_time()
    onnx.export(pipeline, folder / "model.onnx")
    exported = time.process_time()
    model = onnx.load(folder / "model.onnx")
    other = other if len(other) else learned
    wanted, by_torch = rate(pipeline.anomaly_score, other)
    found, by_onnx = rate(model.anomaly_score, other)
    apart = np.abs(found - wanted) / (1 + np.abs(wanted))
    ours, theirs = model.judge(found), pipeline.judge(wanted)
    p_value = float(np.abs(ours["p_value"] - theirs["p_value"]).max())
    flips = int((ours["is_anomaly"] != theirs["is_anomaly"]).sum())
    print(
        f"{path.stem:<34}{frame.shape[1]:>8}{len(other):>7}{fitted - begin:>7.1f}{exported - fitted:>9.1f}"
        f"{apart.max():>10.1g}{p_value:>9.1g}{flips:>7}{by_torch:>14.0f}{by_onnx:>13.0f}",
        flush=True,
    )
    return pipeline


def command(model: Path, table: Path, output: Path) -> None:
    """Wall and CPU seconds of ``da3d score`` as a process of its own, the best of five."""
    taken = []
    for _ in range(5):
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        line = [sys.executable, "-m", "da3d", "score", model, table, "-o", output, "--quiet"]
        subprocess.run([str(part) for part in line], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        taken.append((wall, cpu))
    wall, cpu = min(taken)
    print(f"da3d score {model.name}, 1000 rows: {wall:.2f} s wall, {cpu:.2f} s CPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="+", type=Path)
    parser.add_argument("--rows", type=int, default=2000, help="rows to fit on")
    parser.add_argument("--drop", nargs="*", default=["label", "class", "difficulty"])
    parser.add_argument("--detector", default="da3d")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(HEAD)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for path in arguments.tables:
            frame = table_of(path, arguments.drop)
            pipeline = compare(path, frame, arguments, folder)
        save(pipeline, folder / "model.da3d")
        frame[:1000].to_csv(folder / "rows.csv", index=False)
        for model in ("model.onnx", "model.da3d"):
            command(folder / model, folder / "rows.csv", folder / "out.csv")


if __name__ == "__main__":
    main()
