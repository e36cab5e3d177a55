"""Several processes that train one model together."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from contract import TINY
from da3d import AnomalyPipeline, Mahalanobis, inspect
from da3d.distributed import fit_on_ray, process_group
from da3d.distributed.fit import launched_rank
from da3d.errors import ParameterError
from da3d.training import ranks
from test_cli_main import refused, run, write_toy

HERE = Path(__file__).parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """What two processes left that trained together, by rank; the last 20 rows are anomalies."""
    folder = tmp_path_factory.mktemp("together")
    random = np.random.default_rng(0)
    normal = random.normal(size=(201, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 0.5]])
    far = random.normal(size=(20, 3)) + random.choice([-8.0, 8.0], size=(20, 3))
    np.save(folder / "rows.npy", np.concatenate([normal, far]))
    np.save(folder / "labels.npy", np.repeat([0, 1], [201, 20]))
    line = [sys.executable, "-W", "error", str(HERE / "together.py")]
    port = free_port()
    both = [
        subprocess.Popen([*line, str(rank), port, str(folder)], stderr=subprocess.PIPE) for rank in range(2)
    ]
    for each in both:
        _, said = each.communicate()
        assert each.returncode == 0, said.decode()
    return [dict(np.load(folder / f"{rank}.npz")) for rank in (0, 1)]


@pytest.mark.parametrize("name", TINY)
def test_both_end_with_the_same_model_and_history(ended, name):
    keys = [key for key in ended[0] if key.startswith(f"{name}.")]
    assert len(keys) > 4
    for key in keys:
        assert np.array_equal(ended[0][key], ended[1][key]), key


def test_together_they_learn(ended):
    scores = ended[0]["learned"]
    assert roc_auc_score(np.repeat([0, 1], [201, 20]), scores) >= 0.9


def test_the_gradient_is_that_of_the_whole_batch(ended):
    for each in ended:
        assert each["gradient"] == pytest.approx([np.mean([1, 2, 6, 5])])


def test_ranks_share_a_batch_and_agree_but_draw_other_numbers(ended):
    assert [int(each["share"]) for each in ended] == [4, 3]
    assert [int(each["agreed"]) for each in ended] == [10, 10]
    assert [float(each["mean"]) for each in ended] == [0.5, 0.5]
    assert ended[0]["random"] != ended[1]["random"]


def test_alone_nothing_is_shared():
    assert (ranks.rank(), ranks.size(), ranks.share(1), ranks.agreed(3)) == (0, 1, 1, 3)
    assert launched_rank() == 0
    with process_group(Mahalanobis()):
        assert ranks.size() == 1


def test_what_is_not_trained_by_gradient_is_refused(monkeypatch):
    with pytest.raises(
        ParameterError, match=r"Mahalanobis is not trained by gradient.* fit it on one machine"
    ):
        fit_on_ray(AnomalyPipeline(Mahalanobis()), None, workers=2)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    with pytest.raises(ParameterError, match="not trained by gradient"), process_group(Mahalanobis()):
        pass


def test_workers_and_clusters_come_together(tmp_path):
    train, _ = write_toy(tmp_path)
    line = ["fit", train, "-o", tmp_path / "m.da3d"]
    refused(run(*line, "--ray", "local"), "--ray is given without --workers")
    refused(run(*line, "--workers", 2), "--workers is given without --ray")
    both = ["--ray", "local", "--workers", 2]
    refused(run(*line, *both, "--checkpoint", tmp_path / "c"), "--checkpoint keeps the fit of one process")
    refused(run(*line, *both, "--detector", "knn"), "not trained by gradient")


@pytest.mark.slow
def test_torchrun_writes_one_model(tmp_path):
    train, _ = write_toy(tmp_path)
    model = tmp_path / "m.da3d"
    line = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "da3d", "fit"]
    how = ["--detector", "autoencoder", "--param", "steps=20"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*line, str(train), "-o", str(model), *how], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Learned what is normal") == 1
    assert inspect(model)["detector"] == "autoencoder"
