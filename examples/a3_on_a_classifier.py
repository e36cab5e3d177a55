"""A3 on a trained network that was never meant to detect anything: experiments 3a to 3d of its paper.

A convolutional classifier learns the ten digits of MNIST. A3 then reads its hidden activations, and learns
to tell digits from 100 known letters and from noise. Tested are other letters: of the kinds that were known,
or also of kinds that nobody named. The classifier stays as it is.

    python examples/a3_on_a_classifier.py                     three seeds, 10000 digits
    python examples/a3_on_a_classifier.py --seeds 0 --digits 60000 --epochs 12
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from da3d import A3, IsolationForest
from da3d.datasets import LabelledTable, load_dataset
from da3d.metrics import average_precision, roc_auc
from da3d.seeding import seeded

FIRST, LAST = tuple("ABCDE"), tuple("VWXYZ")
EXPERIMENTS = {
    "3a": (FIRST, FIRST),
    "3b": (FIRST, FIRST + LAST),
    "3c": (LAST, LAST),
    "3d": (LAST, FIRST + LAST),
}
PAPER = {
    "3a": "AUC .99, AP .98",
    "3b": "AUC .96, AP .97",
    "3c": "AUC .99, AP .99",
    "3d": "AUC .95, AP .95",
}


class Classifier(nn.Sequential):
    """The example network of Keras for MNIST, with its non-linearities as layers of their own."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Dropout(0.25), nn.Flatten(),
            nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of the digits, for pixels from 0 to 255."""
        return super().forward(images / 255.0)


def train(images: np.ndarray, digits: np.ndarray, epochs: int, seed: int) -> Classifier:
    """A classifier of digits."""
    with seeded(seed, torch.device("cpu")):
        network = Classifier()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        x, y = torch.from_numpy(images.astype(np.float32)), torch.from_numpy(digits)
        for _ in range(epochs):
            for batch in torch.randperm(len(x)).split(128):
                nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
                optimizer.step()
                optimizer.zero_grad()
        return network.eval()


def images_of(
    table: LabelledTable, groups: Sequence[str], most: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """At most so many random images of some groups, and their groups."""
    rows = rng.permutation(np.flatnonzero(np.isin(table.groups, groups)))[:most]
    return table.frame.to_numpy()[rows].reshape(-1, *table.image_shape), table.groups[rows]


def main() -> None:
    """Train, detect, print."""
    parser = argparse.ArgumentParser(description="A3 on a classifier of digits.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--digits", type=int, default=10_000, help="images that train")
    parser.add_argument("--epochs", type=int, default=4, help="passes of the classifier")
    parser.add_argument("--only", nargs="+", default=list(EXPERIMENTS), choices=EXPERIMENTS)
    arguments = parser.parse_args()
    table = load_dataset("mnist_letters")
    digits = [str(digit) for digit in range(10)]
    found: dict[str, list[tuple[float, ...]]] = {}
    for seed in arguments.seeds:
        rng = np.random.default_rng(seed)
        normal, names = images_of(table, digits, arguments.digits, rng)
        classifier = train(normal, names.astype(int), arguments.epochs, seed)
        usual, truth = images_of(table.test, digits, 4000, rng)
        with torch.inference_mode():
            right = (
                classifier(torch.from_numpy(usual.astype(np.float32))).argmax(1).numpy() == truth.astype(int)
            ).mean()
        forest = IsolationForest(random_state=seed).fit(normal)
        for name in arguments.only:
            known_kinds, tested_kinds = EXPERIMENTS[name]
            known, _ = images_of(table, known_kinds, 100, rng)
            strange, _ = images_of(table.test, tested_kinds, 4000, rng)
            labels = np.repeat([0, 1], [len(usual), len(strange)])
            rows = np.concatenate([usual, strange])
            detector = A3(target=classifier, counterexamples="gaussian", random_state=seed)
            detector.fit(np.concatenate([normal, known]), np.repeat([0, 1], [len(normal), len(known)]))
            scores = detector.anomaly_score(rows), forest.anomaly_score(rows)
            figures = tuple(
                metric(labels, each) for each in scores for metric in (roc_auc, average_precision)
            )
            found.setdefault(name, []).append(figures)
            print(
                f"seed {seed}, {name}: classifier {right:.3f} right; "
                f"A3 AUC {figures[0]:.3f}, AP {figures[1]:.3f}; "
                f"isolation forest AUC {figures[2]:.3f}, AP {figures[3]:.3f}",
                flush=True,
            )
    for name, several in found.items():
        mean, spread = np.mean(several, 0), np.std(several, 0, ddof=1) if len(several) > 1 else np.zeros(4)
        paper = f" (paper: {PAPER[name]})" if name in PAPER else ""
        print(f"{name}: A3 AUC {mean[0]:.3f} ± {spread[0]:.3f}, AP {mean[1]:.3f} ± {spread[1]:.3f}{paper}")


if __name__ == "__main__":
    main()
