"""Models to files and back: `load(save(model, path))` scores equal to the last bit."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from da3d import __version__
from da3d.detectors import Detector
from da3d.errors import Da3dError, InputError, ModelFileError, ParameterError
from da3d.persistence import archive, describe, rebuild
from da3d.persistence.manifest import FORMAT, DetectorRecord, Manifest, PipelineRecord
from da3d.persistence.whole import write_whole
from da3d.pipeline import AnomalyPipeline

__all__ = ["load", "save"]


def save(model: AnomalyPipeline | Detector, path: str | Path) -> Path:
    """Write a fitted pipeline or detector to one file, whole or not at all.

    Callbacks and checkpoints are not kept; a `random_state` that is a generator is kept as the seed that it
    came to. Two saves of one fit differ in nothing but the time of writing.

    Parameters
    ----------
    model : AnomalyPipeline or Detector
        Fitted; the detector is one of `detectors.DETECTORS`.
    path : path
        A file there is replaced, but only by a complete one.

    Returns
    -------
    Path
        Where the model lies.

    Raises
    ------
    ParameterError
        `model` is something else, or has a parameter that a file cannot hold.
    InputError
        `model` is not fitted.
    FileError
        The folder does not exist or cannot be written, or the disk is full. A file at `path` is as it was.
    """
    return write_whole(_packed(model), path)


def load(path: str | Path) -> AnomalyPipeline | Detector:
    """Read the model that `save` wrote. No code of the file is run, whoever made it.

    A model whose `device` is missing on this machine gets ``device="auto"`` (CUDA if there is one, else the
    CPU), which a log record says.

    Parameters
    ----------
    path : path

    Returns
    -------
    AnomalyPipeline or Detector
        As it was saved. Its scores are equal to the last bit on the same kind of machine and versions.

    Raises
    ------
    FileError
        The file does not exist or cannot be read.
    ModelFileError
        It is damaged, foreign, newer or tampered with.
    """
    manifest, members = archive.unpack(path)
    arrays = archive.read_arrays(members.pop(archive.ARRAYS, b""), path)
    try:
        detector = rebuild.detector(manifest.detector, rebuild.under("detector/", arrays), members)
        if manifest.pipeline is None:
            return detector
        return rebuild.pipeline(manifest.pipeline, detector, arrays, members)
    except Exception as error:  # parts that do not fit each other can fail anywhere in the rooms below
        said = str(error) if isinstance(error, Da3dError) else f"{type(error).__name__}: {error}"
        raise ModelFileError(
            f"'{path}' holds a model that this da3d {__version__} cannot restore: {said.rstrip('.')}; it was "
            f"written by da3d {manifest.versions.get('da3d', '?')}, use that version or save the model again."
        ) from error


def _packed(model: AnomalyPipeline | Detector) -> bytes:
    if not isinstance(model, Detector) and type(model) is not AnomalyPipeline:
        raise ParameterError(
            f"model is a {type(model).__name__} but must be a fitted AnomalyPipeline or a fitted detector."
        )
    try:
        check_is_fitted(model)
    except NotFittedError as error:
        raise InputError(
            f"the {type(model).__name__} is not fitted, so there is nothing to save; call fit first."
        ) from error
    if isinstance(model, Detector):
        return _file(describe.detector(model), None)
    return _file(describe.detector(model.detector_), describe.pipeline(model))


def _file(detector: describe.Parts[DetectorRecord], pipeline: describe.Parts[PipelineRecord] | None) -> bytes:
    record, arrays, estimators = detector
    if pipeline is not None:
        arrays, estimators = arrays | pipeline.arrays, estimators | pipeline.estimators
    members = archive.members_of(arrays, estimators)
    manifest = Manifest(
        format=FORMAT,
        library="da3d",
        created=_now(),
        versions=_versions(),
        kind="detector" if pipeline is None else "pipeline",
        detector=record,
        pipeline=None if pipeline is None else pipeline.record,
        members=archive.described(members),
    )
    return archive.pack(manifest, members)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _versions() -> dict[str, str]:
    return {"da3d": __version__} | {
        name: version(name) for name in ("numpy", "scikit-learn", "skops", "torch")
    }
