"""What the default's fit costs and gives: against the paper's budget, and with more or fewer steps.

Two tables: CPU seconds and AUC on NSL-KDD beside the paper's epochs, extrapolated from a few steps of preset
"preprint" in the same run; and AUC by CPU seconds with the default's steps scaled. Needs the data folder that
``DA3D_DATA`` names.

Run: ``python benchmarks/fit_budget.py [--scales S...] [--data NAME...] [--seeds N] [--all-rows]``.
"""

import argparse
import time
import warnings

import numpy as np
import torch
from beside_pyod import encoded
from common import interleaved, keep, spread
from sklearn.metrics import roc_auc_score

from da3d import DA3D
from da3d.detectors.da3d_presets import PRESETS

SETS = ["nsl_kdd", "mammography", "adbench/satellite", "adbench/annthyroid", "adbench/shuttle"]
FEW = 4  # steps of each phase from which the paper's budget is extrapolated
COST_CAPTION = (
    "NSL-KDD, official split, one thread: the default, and the paper's 500 + 50 + 500 epochs, extrapolated "
    f"from {FEW} steps of each phase in the same run. Medians of {{seeds}} seeds."
)
CURVE_CAPTION = (
    "AUC (above) at CPU seconds of `fit` (below) with the default's steps scaled, at most {rows} rows; "
    "medians of {seeds} seeds. *fast* trains no network."
)


def fitted(detector: DA3D, parts: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[float, float]:
    """CPU seconds of a fit, and its AUC."""
    train, test, labels = parts
    begin = time.process_time()
    detector.fit(train)
    seconds = time.process_time() - begin
    return seconds, float(roc_auc_score(labels, detector.anomaly_score(test)))


def papers_budget(train: np.ndarray) -> float:
    """CPU seconds that preset "preprint" would take for all of its epochs."""
    settings = PRESETS["preprint"](train.shape[1])
    batch = settings.batch_size
    rows = train[: batch * FEW]
    plans = {"none": (0, 0, 0), "autoencoder": (1, 0, 0), "warm-up": (0, 1, 0), "game": (0, 0, 1)}
    actions = {
        name: lambda epochs=epochs: DA3D("preprint", epochs=epochs, random_state=0).fit(rows)
        for name, epochs in plans.items()
    }
    taken = interleaved(actions, 3)
    none = float(np.median(taken.pop("none")))
    per_step = [(float(np.median(seconds)) - none) / FEW for seconds in taken.values()]
    steps = -(-len(train) // batch)
    return sum(epochs * steps * each for epochs, each in zip(settings.epochs, per_step, strict=True))


def cost(sizes: list[int], seeds: int) -> None:
    """The table against the paper's budget."""
    lines, samples = [], {}
    for rows in sizes:
        parts = [encoded("nsl_kdd", rows, seed) for seed in range(seeds)]
        made = {
            name: [fitted(DA3D(name, random_state=seed), each) for seed, each in enumerate(parts)]
            for name in ("default", "fast")
        }
        paper = papers_budget(parts[0][0])
        size = f"{len(parts[0][0]):,} rows"
        for name, results in made.items():
            seconds, auc = ([each[place] for each in results] for place in (0, 1))
            ratio = f"1 / {paper / float(np.median(seconds)):,.0f}"
            lines.append([f"{size}, {name}", *spread(seconds), ratio, spread(auc, 3)[0]])
            samples |= {f"{size}, {name}, seconds": seconds, f"{size}, {name}, auc": auc}
        lines.append([f"{size}, the paper's epochs", f"{paper:,.0f}", "", "", "1", ""])
        samples[f"{size}, paper"] = [paper]
    head = ["", "CPU s, median", "least", "most", "of the paper's", "AUC"]
    keep("fit-cost", COST_CAPTION.format(seeds=seeds), head, lines, samples)


def curve(names: list[str], scales: list[float], rows: int, seeds: int) -> None:
    """The table of AUC by budget."""
    lines, samples = [], {}
    for name in names:
        parts = [encoded(name, rows, seed) for seed in range(seeds)]
        found = {"fast": [fitted(DA3D("fast", random_state=s), each) for s, each in enumerate(parts)]}
        for scale in scales:
            steps = tuple(round(scale * each) for each in PRESETS["default"](parts[0][0].shape[1]).steps)
            found[str(scale)] = [
                fitted(DA3D(steps=steps, random_state=s), each) for s, each in enumerate(parts)
            ]
        for place, (what, digits) in ((1, ("AUC", 3)), (0, ("CPU s", 1))):
            values = {key: [each[place] for each in results] for key, results in found.items()}
            lines.append([f"{name}, {what}", *(spread(each, digits)[0] for each in values.values())])
            samples |= {f"{name}, {key}, {what}": each for key, each in values.items()}
    head = ["", "fast", *(f"x {scale:g}" for scale in scales)]
    keep("fit-curve", CURVE_CAPTION.format(rows=rows, seeds=seeds), head, lines, samples)


def main() -> None:
    """Measure and keep both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scales", type=float, nargs="+", default=[0.25, 0.5, 1.0, 2.0, 4.0])
    parser.add_argument("--data", nargs="*", default=SETS)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--all-rows", action="store_true", help="also fit on all normal rows of NSL-KDD")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    cost([arguments.rows, *([10**9] if arguments.all_rows else [])], arguments.seeds)
    if arguments.data:
        curve(arguments.data, arguments.scales, arguments.rows, arguments.seeds)


if __name__ == "__main__":
    main()
