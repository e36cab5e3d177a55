"""One adversarial step of DA3D's preset "preprint": the library, a textbook port, and the limit of the BLAS.

Run: ``python benchmarks/training_step.py [--turns N]``.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch
from common import interleaved, keep, multiply, ratios, spread
from flops import adversarial_step
from textbook import Textbook

from da3d import DA3D
from da3d.seeding import seeded
from da3d.training import train

SHAPES = {"KDD": (126, 16), "Mammography": (6, 60)}  # columns, and steps per turn
CAPTION = (
    "CPU milliseconds of one adversarial step of preset `preprint`, one thread. *KDD* has 126 columns and "
    "batches of 512 rows, *Mammography* 6 and 128. The ratios are medians over turns."
)
HEAD = ["", "median", "least", "most", "speed / textbook", "of the limit"]


def actions(columns: int, steps: int) -> dict[str, Callable[[], object]]:
    """Some steps of the library, of the port, and one large matrix product."""
    detector = DA3D("preprint", random_state=0)
    detector.image_shape_ = None
    network = detector._build(columns)
    rows = torch.rand(network.settings.batch_size * steps, columns)  # one epoch
    network.fit_views(rows)
    phase = replace(detector._schedule(network, len(rows), 0)[-1], epochs=1, finish=None)
    port = Textbook(rows, network.settings)
    return {
        "ours": lambda: train(network, [phase], rows, rows[:0]),
        "textbook": lambda: [port.step() for _ in range(steps)],
        "sgemm": multiply()[0],
    }


def least_flops(columns: int) -> float:
    """Floating-point operations of one step, at least."""
    detector = DA3D("preprint")
    detector.image_shape_ = None
    network = detector._build(columns)
    return network.settings.batch_size * adversarial_step(columns, network)


def main() -> None:
    """Measure and keep a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=9)
    turns = parser.parse_args().turns
    torch.set_num_threads(1)
    lines, samples = [], {}
    for name, (columns, steps) in SHAPES.items():
        with seeded(0, torch.device("cpu")):
            taken = interleaved(actions(columns, steps), turns)
        share_of_product = steps * least_flops(columns) / multiply()[1]
        limit = [seconds * share_of_product for seconds in taken["sgemm"]]
        for kind in ("ours", "textbook"):
            gain = spread(ratios(taken["textbook"], taken[kind]), 2)[0]
            share = spread(ratios(limit, taken[kind]), 0, 100)[0]
            lines.append([f"{name}, {kind}", *spread(taken[kind], 1, 1e3 / steps), gain, f"{share} %"])
            samples[f"{name}, {kind}"] = [seconds / steps for seconds in taken[kind]]
        lines.append([f"{name}, limit by sgemm", *spread(limit, 1, 1e3 / steps), "", "100 %"])
        samples[f"{name}, limit"] = [seconds / steps for seconds in limit]
    keep("training-step", CAPTION, HEAD, lines, samples)


if __name__ == "__main__":
    main()
