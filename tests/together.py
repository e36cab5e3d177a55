"""One of two processes that train together, for `test_distributed_fit`: ``together.py RANK PORT FOLDER``."""

import os
import sys
from pathlib import Path

import numpy as np
import torch

from contract import QUICK, TINY
from da3d.detectors import make_detector
from da3d.distributed.fit import process_group
from da3d.training import ranks


def gradient() -> np.ndarray:
    """What each rank makes of the gradient of a mean over three rows here and one there."""
    own = torch.tensor([5.0] if ranks.rank() else [1.0, 2.0, 6.0])
    weight, unused = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(2))
    (weight * own).mean().backward()
    ranks.average_gradients([unused, weight], len(own))
    assert unused.grad is None
    return weight.grad.numpy()


def fitted(name: str, rows: np.ndarray, labels: np.ndarray, **how: object) -> dict[str, np.ndarray]:
    """Everything that a fit leaves, and its history."""
    detector = make_detector(name, **how).fit(rows, labels)
    values = [v for row in detector.history_ for v in row.values() if not isinstance(v, str)]
    arrays = {f"{name}.{key}": value for key, value in detector.fitted_arrays().items()}
    return {**arrays, f"{name}.history": np.array(values), f"{name}.scores": detector.anomaly_score(rows)}


def main(rank: int, port: str, folder: Path) -> None:
    """Do what the test looks at and leave it in a file."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ["TORCHELASTIC_RUN_ID"] = "test"
    rows, labels = np.load(folder / "rows.npy"), np.load(folder / "labels.npy")
    with process_group(None):
        found = {"gradient": gradient(), "share": np.array(ranks.share(7))}
        found["agreed"] = np.array(ranks.agreed(10 + rank))
        found["mean"] = np.array(ranks.mean_over_ranks({"a": rank, "b": 4.0})["a"])
        found["random"] = np.array(drawn())
        for name, budget in TINY.items():
            found |= fitted(name, rows, labels, **budget)  # without a seed: that of rank 0 counts
        quick = fitted("autoencoder", rows, labels, **QUICK["autoencoder"])
        found["learned"] = quick["autoencoder.scores"]
        for wrong in (lambda: ranks.share(1), lambda: ranks.rows_of_rank(torch.ones(1, 2))):
            assert "2 processes" in refusal(wrong)
        checkpointed = make_detector("autoencoder", checkpoint=folder / "kept", random_state=0)
        assert "checkpoint is set but 2 processes" in refusal(lambda: checkpointed.fit(rows))
    np.savez(folder / f"{rank}.npz", **found)


def drawn() -> float:
    """A random number of this rank's own."""
    with ranks.own_randomness(torch.device("cpu")):
        return float(torch.rand(()))


def refusal(wrong: object) -> str:
    """The sentence of an error."""
    try:
        wrong()
    except ValueError as error:
        return str(error)
    return "nothing was refused"


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
