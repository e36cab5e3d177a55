"""One fit by several processes: under ``torchrun``, or as workers of a Ray cluster.

Each process has the whole table and draws its share of every batch (`da3d.training.ranks` has the equation).
Everything but the training of the detector is done by every process alike.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from da3d.errors import Da3dError, ParameterError

if TYPE_CHECKING:
    from da3d.detectors import Detector
    from da3d.pipeline import AnomalyPipeline

__all__ = ["fit_on_ray", "launched_rank", "process_group"]


def launched_rank() -> int:
    """The number of this process among those that ``torchrun`` has started; 0 without it."""
    return int(os.environ["RANK"]) if "TORCHELASTIC_RUN_ID" in os.environ else 0


@contextmanager
def process_group(detector: Detector | None) -> Iterator[None]:
    """Train together with the other processes of ``torchrun`` in this block; without it, do nothing.

    Parameters
    ----------
    detector
        What will be trained; None: the default.

    Raises
    ------
    ParameterError
        The detector is not trained by gradient.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    from torch import distributed

    _check(detector)
    distributed.init_process_group("gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def fit_on_ray(
    pipeline: AnomalyPipeline, X: Any, y: Any = None, *, workers: int, address: str = "auto"
) -> AnomalyPipeline:
    """Fit a pipeline with Ray Train, on the CPUs of a cluster.

    Parameters
    ----------
    pipeline : AnomalyPipeline
        Its parameters; it is not fitted itself.
    X : table of shape (rows, columns)
        Sent to every worker, so it must fit into the memory of each.
    y : array-like of shape (rows,), optional
        As for `AnomalyPipeline.fit`.
    workers : int
        How many processes train together, at least 1, each on one CPU.
    address : str
        The cluster, as in `da3d.distributed.cluster.connected`.

    Returns
    -------
    AnomalyPipeline
        Fitted.

    Raises
    ------
    ParameterError
        `workers` is below 1 or more than there are CPUs, the detector is not trained by gradient, or no
        cluster answers.
    Da3dError
        A worker died; or what `AnomalyPipeline.fit` raises.
    ExtraError
        Ray is not installed.
    """
    if workers < 1:
        raise ParameterError(f"workers is {workers} but must be at least 1.")
    _check(pipeline.detector)
    from da3d.distributed.cluster import connected

    with connected(address) as ray, tempfile.TemporaryDirectory() as folder:
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if workers > cpus:
            raise ParameterError(f"workers is {workers} but the Ray cluster has {cpus} CPUs; ask for fewer.")
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        shelf = ray.remote(num_cpus=0)(_Shelf).remote()
        trainer = TorchTrainer(
            _train,
            train_loop_config={"shelf": shelf, "task": [ray.put((pipeline, X, y))]},
            scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
            torch_config=TorchConfig(backend="gloo"),
            run_config=RunConfig(storage_path=folder),
        )
        try:
            trainer.fit()
        except Exception as error:  # Ray Train's own classes differ between its versions
            raise Da3dError(f"the fit on the Ray cluster was given up ({_first_line(error)}).") from error
        made = ray.get(shelf.taken.remote())
    if isinstance(made, Exception):
        raise made
    return _loaded(made)


class _Shelf:
    """Where rank 0 leaves the model, or the error that ended its fit: an actor, so no storage is shared."""

    def __init__(self) -> None:
        self.made: bytes | Exception = Da3dError("the fit on the Ray cluster ended without a model.")

    def put(self, made: bytes | Exception) -> None:
        """Keep a model file's content, or an error."""
        self.made = made

    def taken(self) -> bytes | Exception:
        """What was kept."""
        return self.made


def _train(config: dict[str, Any]) -> None:
    """One worker's part in a fit; Ray Train has initialised the process group."""
    import ray

    from da3d.persistence import save
    from da3d.training.ranks import rank

    pipeline, X, y = ray.get(config["task"][0])
    made: bytes | Exception
    try:
        pipeline.fit(X, y)
        with tempfile.TemporaryDirectory() as folder:
            made = save(pipeline, Path(folder) / "model.da3d").read_bytes()
    except Da3dError as error:  # the same on every rank: all have the same rows and losses
        made = error
    if rank() == 0:
        ray.get(config["shelf"].put.remote(made))


def _loaded(content: bytes) -> AnomalyPipeline:
    from da3d.persistence import load
    from da3d.pipeline import AnomalyPipeline

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.da3d"
        path.write_bytes(content)
        model = load(path)
    assert isinstance(model, AnomalyPipeline)
    return model


def _check(detector: Detector | None) -> None:
    from da3d.detectors import NetworkDetector

    if detector is not None and not isinstance(detector, NetworkDetector):
        raise ParameterError(
            f"{type(detector).__name__} is not trained by gradient, so several processes cannot share the "
            "work; fit it on one machine."
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
