"""How far ONNX files lie from their pipelines, and how fast both score, on every table at hand.

For each data set: fit on normal rows, export, score the test rows with both, one thread each. Needs the data
folder that ``DA3D_DATA`` names; data sets that are not there are left out.

Run: ``python benchmarks/onnx_model.py [--data NAME...] [--rows N] [--detector NAME]``; only a run without
data and detector is kept.
"""

import argparse
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import keep

from da3d import AnomalyPipeline
from da3d.datasets import load_dataset
from da3d.datasets.splits import official, one_class
from da3d.detectors import make_detector
from da3d.errors import InputError
from da3d.persistence import onnx

TABLES = [
    "nsl_kdd",
    "mammography",
    "census_income",
    "unsw_nb15_part",
    "creditcard_part",
    "kddcup99",
    "breast_cancer",
]
CAPTION = (
    "The default detector, fitted on at most {rows} normal rows and exported: largest difference of scores, "
    "relative to 1 + |score|, and of p-values, verdicts that differ, and rows per CPU second, one thread."
)
HEAD = [
    "",
    "columns",
    "rows scored",
    "scores",
    "p-values",
    "verdicts",
    "torch, rows/s",
    "ONNX Runtime, rows/s",
]


def at_hand() -> list[str]:
    """The mixed tables and all of ADBench's."""
    folder = Path(os.environ["DA3D_DATA"]) / "adbench"
    return TABLES + [
        f"adbench/{path.stem.partition('_')[2].lower()}" for path in sorted(folder.glob("*.npz"))
    ]


def parts(name: str, most: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to fit on and rows to score."""
    table = load_dataset(name)
    split = official(table, 0) if table.test is not None else one_class(table, 0)
    train, test = (part.sample(frac=1, random_state=0)[:most] for part in (split.train, split.test))
    return train, test


def rate(score, rows: pd.DataFrame) -> tuple[np.ndarray, float]:
    """Scores, and rows per CPU second: the median of three."""
    taken = []
    for _ in range(3):
        before = time.process_time()
        scores = score(rows)
        taken.append(time.process_time() - before)
    return scores, len(rows) / sorted(taken)[1]


def compare(name: str, most: int, detector: str, folder: Path) -> tuple[list[str], list[float]]:
    """One line of the table, and its numbers."""
    train, test = parts(name, most)
    pipeline = AnomalyPipeline(make_detector(detector), random_state=0).fit(train)
    model = onnx.load(onnx.export(pipeline, folder / "model.onnx"))
    wanted, by_torch = rate(pipeline.anomaly_score, test)
    found, by_onnx = rate(model.anomaly_score, test)
    apart = float((np.abs(found - wanted) / (1 + np.abs(wanted))).max())
    ours, theirs = model.judge(found), pipeline.judge(wanted)
    p_value = float(np.abs(ours["p_value"] - theirs["p_value"]).max())
    flips = int((ours["is_anomaly"] != theirs["is_anomaly"]).sum())
    line = [name, f"{train.shape[1]}", f"{len(test):,}", f"{apart:.1e}", f"{p_value:.1e}", f"{flips}"]
    print(*line, flush=True)
    return [*line, f"{by_torch:,.0f}", f"{by_onnx:,.0f}"], [apart, p_value, flips, by_torch, by_onnx]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*")
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--detector", default="da3d")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    lines, samples = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.data or at_hand():
            try:
                line, samples[name] = compare(name, arguments.rows, arguments.detector, Path(folder))
            except InputError as error:
                print(f"{name} is left out: {error}")
            else:
                lines.append(line)
    if not arguments.data and arguments.detector == "da3d":
        keep("onnx", CAPTION.format(rows=arguments.rows), HEAD, lines, samples)


if __name__ == "__main__":
    main()
