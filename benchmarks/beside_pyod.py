"""The default beside PyOD's AutoEncoder and DeepSVDD at their defaults, on the same encoded rows.

Each fit is a process of its own, one thread, so that its memory is its own. Needs PyOD (``da3d[bench]``) and
the data folder that ``DA3D_DATA`` names.

Run: ``python benchmarks/beside_pyod.py [--data NAME...] [--rows N] [--turns N]``.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from common import keep, spread

NAMES = ("da3d", "da3d fast", "pyod:AutoEncoder", "pyod:DeepSVDD")
CAPTION = (
    "On the same encoded rows (at most {rows} normal ones to fit on), one thread: CPU seconds of `fit`, rows "
    "scored per CPU second, area under the ROC curve, and the peak memory of the process; medians of {turns}."
)
HEAD = ["", "fit, median", "least", "most", "rows/s", "AUC", "peak MB"]


def encoded(name: str, most: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows to fit on, rows to score, and whether these are anomalies, through one encoder."""
    from da3d.datasets import load_dataset
    from da3d.datasets.splits import official, one_class
    from da3d.preprocessing import TableEncoder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = load_dataset(name)
        split = official(loaded, seed) if loaded.test is not None else one_class(loaded, seed)
    train = split.train.iloc[:most]
    encoder = TableEncoder().fit(train)
    return encoder.transform(train), encoder.transform(split.test), np.asarray(split.test_labels)


def measure(detector: str, data: str, rows: int, seed: int) -> dict[str, float]:
    """One fit, in this process."""
    import torch
    from sklearn.metrics import roc_auc_score

    from da3d import DA3D
    from da3d.detectors import make_detector

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    train, test, labels = encoded(data, rows, seed)
    made = {"da3d": DA3D(random_state=seed), "da3d fast": DA3D("fast", random_state=seed)}.get(detector)
    model = made or make_detector(detector, random_state=seed)
    begin = time.process_time()
    model.fit(train)
    fitted = time.process_time()
    scores = model.anomaly_score(test)
    scored = time.process_time()
    return {
        "fit": fitted - begin,
        "rate": len(test) / (scored - fitted),
        "auc": float(roc_auc_score(labels, scores)),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def in_a_process(*arguments: object) -> dict[str, float]:
    """`measure`, in a process of its own."""
    line = [sys.executable, __file__, "--one", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure and keep a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=["nsl_kdd", "mammography"])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        detector, data, rows, seed = arguments.one
        print(json.dumps(measure(detector, data, int(rows), int(seed))))
        return
    lines, samples = [], {}
    for data in arguments.data:
        found = {name: [] for name in NAMES}
        for turn in range(arguments.turns):
            for name in NAMES:
                found[name].append(in_a_process(name, data, arguments.rows, turn))
        for name, all_of_it in found.items():
            parts = {key: [each[key] for each in all_of_it] for key in all_of_it[0]}
            rest = [spread(parts["rate"], 0)[0], spread(parts["auc"], 3)[0], spread(parts["peak"], 0)[0]]
            lines.append([f"{Path(data).name}, {name}", *spread(parts["fit"]), *rest])
            samples |= {f"{data}, {name}, {key}": values for key, values in parts.items()}
    keep("beside-pyod", CAPTION.format(rows=arguments.rows, turns=arguments.turns), HEAD, lines, samples)


if __name__ == "__main__":
    main()
