"""Rows scored per CPU second, against the limit that the BLAS sets to the same matrix products.

Run: ``python benchmarks/scoring.py [--turns N] [--columns N]``.
"""

import argparse
import tempfile
from pathlib import Path

import flops
import numpy as np
import torch
from common import interleaved, keep, multiply, ratios, spread

from da3d import DA3D, AnomalyPipeline

CAPTION = (
    "Rows per CPU second, one thread, {columns} columns. *Of the limit*: share of the rate at which the BLAS "
    "would do the matrix products of the score alone, measured in the same turns. *fast* has hardly any."
)
HEAD = ["", "median", "least", "most", "of the limit", "MFLOP per row"]
ROWS = 4096
MADE = {
    "preprint": {"preset": "preprint", "epochs": (1, 1, 1)},
    "default": {"steps": (20, 5, 5)},
    "fast": {"preset": "fast"},
}


def table(columns: int) -> np.ndarray:
    """Rows with some dependence between the columns."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(ROWS, 8))
    return np.tanh(hidden @ rng.normal(size=(8, columns)) / 3) + 0.1 * rng.normal(size=(ROWS, columns))


def exported(pipeline: AnomalyPipeline, rows: np.ndarray):
    """The same pipeline's scores from ONNX Runtime, or None without that extra."""
    try:
        from da3d.persistence import onnx

        with tempfile.TemporaryDirectory() as folder:
            onnx.export(pipeline, Path(folder) / "model.onnx")
            model = onnx.load(Path(folder) / "model.onnx")
    except ImportError as error:
        print(f"(no ONNX: {error})")
        return None
    return lambda: model.anomaly_score(rows)


def main() -> None:
    """Measure and keep a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--columns", type=int, default=126)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = table(arguments.columns)
    product, of_product = multiply()
    actions, needs = {"sgemm": product}, {}
    for name, parameters in MADE.items():
        pipeline = AnomalyPipeline(DA3D(**parameters), random_state=0).fit(rows)
        detector = pipeline.detector_
        encoded = pipeline.encoder_.transform(rows)
        actions[name] = lambda detector=detector, encoded=encoded: detector.anomaly_score(encoded)
        needs[name] = flops.score(detector.n_features_in_, detector.network_)
        by_onnx = exported(pipeline, rows)
        if by_onnx is not None:
            actions[f"{name}, ONNX Runtime"], needs[f"{name}, ONNX Runtime"] = by_onnx, needs[name]
    taken = interleaved(actions, arguments.turns)
    lines, samples = [], {}
    for name, need in needs.items():
        rates = [ROWS / seconds for seconds in taken[name]]
        limit = [ROWS * need / of_product * seconds for seconds in taken["sgemm"]]
        share = spread(ratios(limit, taken[name]), 0, 100)[0]
        lines.append([name, *spread(rates, 0), f"{share} %", f"{need / 1e6:.2f}"])
        samples[name] = rates
    keep("scoring", CAPTION.format(columns=arguments.columns), HEAD, lines, samples)


if __name__ == "__main__":
    main()
