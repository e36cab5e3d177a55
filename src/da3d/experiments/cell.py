"""One cell: load, split, fit, score, measure."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
import traceback
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from da3d import __version__
from da3d.datasets.cache import CACHE_VARIABLE, DATA_VARIABLE
from da3d.datasets.splits import Split
from da3d.detectors import Detector
from da3d.errors import ParameterError
from da3d.experiments.classifier import Classifier, train_classifier
from da3d.experiments.data import groups_of_training, split_of
from da3d.experiments.kept import for_figures
from da3d.experiments.plan import Cell
from da3d.experiments.record import Failure, Record, Seconds, Size, scores_digest
from da3d.experiments.resolve import as_json, make
from da3d.metrics import summarise
from da3d.pipeline import AnomalyPipeline

__all__ = ["Scores", "blank", "run_and_keep", "run_cell"]

Scores = npt.NDArray[np.float64]
_LONGEST = 1000  # characters of an error's message that a record keeps


def run_cell(cell: Cell) -> tuple[Record, Scores | None]:
    """Work one cell in this process.

    Returns
    -------
    record : Record
        Of what was measured, or of the error that ended it.
    scores : float64 array of shape (test rows,), or None
        None after an error.
    """
    return run_and_keep(cell, keep_for_figures=False)[:2]


def run_and_keep(
    cell: Cell, keep_for_figures: bool
) -> tuple[Record, Scores | None, dict[str, npt.NDArray[Any]] | None]:
    """As `run_cell`, with what figures need of the rows.

    Returns
    -------
    record : Record
        Of what was measured, or of the error that ended it.
    scores : float64 array of shape (test rows,), or None
        None after an error.
    kept : dict of arrays, or None
        As `kept.for_figures` has it; None after an error, or where it is not asked for.
    """
    begin = time.perf_counter()
    scores, kept = None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            facts, scores, kept = _measured(cell, keep_for_figures)
        except Exception as error:  # recorded, so that the other cells go on
            facts = {"error": _failure(error)}
    heard = (str(each.message) for each in caught if issubclass(each.category, UserWarning))
    said = dict.fromkeys(map(_of_any_machine, heard))
    total = round(time.perf_counter() - begin, 3)
    record = blank(cell, warnings=list(said), seconds_total=total, peak_memory_mib=_peak_memory(), **facts)
    return record, scores, kept


def blank(cell: Cell, **facts: Any) -> Record:
    """The record of a cell with these facts."""
    return Record(
        cell=cell.id,
        configuration=cell.configuration,
        digest=cell.digest,
        content=cell.content,
        versions=_versions(cell.detector.name),
        **facts,
    )


def _measured(
    cell: Cell, keep_for_figures: bool
) -> tuple[dict[str, Any], Scores, dict[str, npt.NDArray[Any]] | None]:
    """The facts of a cell, its scores, and what figures need."""
    split = split_of(cell)
    model = _model(cell, split)
    train, test = (_pixels(part, split.image_shape) for part in (split.train, split.test))
    wall, processor = time.perf_counter(), time.process_time()
    model.fit(train, split.train_labels if split.train_labels.any() else None)
    fitted, used = time.perf_counter(), time.process_time() - processor
    scores = model.anomaly_score(test)
    scored = time.perf_counter()
    detector, width = (
        (model.detector_, len(model.encoder_.feature_names_))
        if isinstance(model, AnomalyPipeline)
        else (model, model.n_features_in_)
    )
    facts = {
        "settings": as_json(getattr(detector, "settings_", None)),
        "train": Size(rows=len(split.train), anomalies=int(split.hidden_anomalies.sum())),
        "test": Size(rows=len(split.test), anomalies=int(split.test_labels.sum())),
        "columns": split.train.shape[1],
        "features": width,
        "contamination_reached": split.contamination_reached,
        "seconds": Seconds(
            fit=round(fitted - wall, 3), fit_cpu=round(used, 3), score=round(scored - fitted, 3)
        ),
        "metrics": summarise(split.test_labels, scores),
        "scores_sha256": scores_digest(scores),
    }
    kept = for_figures(model, split, test, scores) if keep_for_figures else None
    return facts, scores, kept


def _model(cell: Cell, split: Split) -> AnomalyPipeline | Detector:
    """What learns: every detector sees tables through the pipeline, but images and raw tables as they are."""
    detector = make(cell.detector.name, cell.detector.parameters)
    if cell.detector.classifier is not None:
        detector.set_params(target=_classifier(cell, split, cell.detector.classifier.epochs))
    if split.image_shape is None and not cell.data.raw:
        return AnomalyPipeline(detector, random_state=cell.seed)
    detector.set_params(random_state=cell.seed)
    return detector


def _classifier(cell: Cell, split: Split, epochs: int) -> Classifier:
    """A classifier of the groups of the rows believed normal, which have to be images."""
    if split.image_shape is None:
        raise ParameterError("classifier needs a data set of images; leave it out for tables.")
    believed = split.train_labels == 0
    images = split.train.to_numpy().reshape(-1, *split.image_shape)[believed]
    return train_classifier(images, groups_of_training(cell, split)[believed], epochs, cell.seed)


def _pixels(frame: pd.DataFrame, shape: tuple[int, int, int] | None) -> Any:
    """A table as it is, or images as an array of shape (rows, channels, height, width)."""
    return frame if shape is None else frame.to_numpy().reshape(-1, *shape)


def _failure(error: Exception) -> Failure:
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else None
    message = _of_any_machine(str(error))[:_LONGEST]
    return Failure(type=type(error).__name__, message=message, where=where)


def _of_any_machine(text: str) -> str:
    """A message without this machine's folders, since records are shared."""
    folders = {
        **{os.environ.get(name, ""): f"${name}" for name in (DATA_VARIABLE, CACHE_VARIABLE)},
        str(Path.cwd()): ".",
        str(Path.home()): "~",
        tempfile.gettempdir(): "$TMPDIR",
    }
    for folder in sorted((each for each in folders if len(each) > 1), key=len, reverse=True):
        text = text.replace(folder, folders[folder])
    return text


def _versions(detector: str) -> dict[str, str]:
    libraries = ["torch", "numpy", "scikit-learn", *(["pyod"] if detector.startswith("pyod:") else [])]
    others = {name: version(name) for name in libraries}
    return {"da3d": __version__, **others, "python": platform.python_version()}


def _peak_memory() -> float | None:
    """Largest resident memory of this process so far, MiB."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
