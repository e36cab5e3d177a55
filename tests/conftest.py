"""Fixtures and settings that all tests share."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small networks on shared cores are fastest with one thread
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # MLflow reports its use to its makers; no test may

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

# Run-time checks of every annotated tensor shape in the rooms that hold tensors only.
install_import_hook(["da3d.networks", "da3d.losses", "da3d.counterexamples"], "beartype.beartype")

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _global_generators_stay(request):
    """No test may leave a global generator other than it found it: the library never touches them."""
    if request.node.originalname == "test_scikit_learn":  # scikit-learn's own checks draw from NumPy's
        yield
        return
    before = np.random.get_state(legacy=False)["state"], torch.get_rng_state()  # noqa: NPY002 - watched
    yield
    after = np.random.get_state(legacy=False)["state"], torch.get_rng_state()  # noqa: NPY002 - watched
    assert all(np.array_equal(before[0][key], after[0][key]) for key in before[0])
    assert torch.equal(before[1], after[1])


@pytest.fixture
def rows():
    """Sixty normal rows of three correlated features."""
    random = np.random.default_rng(0)
    base = random.normal(size=(60, 3))
    return base @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 0.5]])


@pytest.fixture
def far_rows():
    """Eight rows far from all of `rows`."""
    random = np.random.default_rng(1)
    return random.normal(size=(8, 3)) + random.choice([-8.0, 8.0], size=(8, 3))
