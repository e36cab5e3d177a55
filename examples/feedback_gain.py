"""What a few labels from a triage are worth: DA3D before and after `refit` with the 10 or 20 strangest rows.

Half of the normal rows train. The others and all anomalies are divided in two: a table in which someone looks
at the strangest rows, and one that tests. Run ``python examples/feedback_gain.py [--data NAME] [--seeds N]``;
it needs the data set (``da3d datasets`` says where from) and twenty seconds for the three fits of a seed.
"""

import argparse

import numpy as np
import pandas as pd

from da3d import AnomalyPipeline
from da3d.datasets import load_dataset
from da3d.metrics import summarise

LABELS = (0, 10, 20)
NAMES = {"auc": "AUC", "average_precision": "average precision", "recall_at_1pct_fpr": "recall at 1 % FPR"}


def measure(name: str, most: int, seed: int) -> dict[int, dict[str, float]]:
    """Quality on the test rows by number of labels."""
    table = load_dataset(name)
    random = np.random.default_rng(seed)
    normal = random.permutation(np.flatnonzero(table.labels == 0))[:most]
    train, rest = np.array_split(normal, 2)
    rest = random.permutation(np.concatenate([rest, np.flatnonzero(table.labels == 1)]))
    looked_at, test = np.array_split(rest, 2)
    first = AnomalyPipeline(random_state=seed).fit(table.frame.iloc[train])
    order = looked_at[np.argsort(-first.anomaly_score(table.frame.iloc[looked_at]), kind="stable")]
    found = {}
    for labels in LABELS:
        pipeline = first
        if labels:
            chosen = order[:labels]
            marks = np.where(table.labels[chosen] == 1, "anomaly", "normal")
            feedback = table.frame.iloc[chosen].assign(feedback=marks)
            pipeline = first.refit(table.frame.iloc[train], feedback)
        scores = pipeline.anomaly_score(table.frame.iloc[test])
        found[labels] = summarise(table.labels[test], scores)
        found[labels]["anomalies"] = float((table.labels[order[:labels]] == 1).sum())
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mammography")
    parser.add_argument("--rows", type=int, default=4000, help="normal rows to use, at most")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    found = [measure(given.data, given.rows, seed) for seed in range(given.seeds)]
    lines = [
        {"labels": labels, "anomalies among them": np.mean([each[labels]["anomalies"] for each in found])}
        | {said: np.mean([each[labels][key] for each in found]) for key, said in NAMES.items()}
        for labels in LABELS
    ]
    print(f"{given.data}, at most {given.rows} normal rows, mean of seeds 0 to {given.seeds - 1}")
    print(pd.DataFrame(lines).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
