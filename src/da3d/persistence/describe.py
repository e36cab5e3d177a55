"""Models taken apart: what goes into the manifest, the arrays, and the scikit-learn objects."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from da3d.detectors import DETECTORS, Detector
from da3d.errors import ParameterError
from da3d.persistence import manifest as models
from da3d.persistence.archive import ENCODER, estimator_member
from da3d.persistence.estimators import dump
from da3d.persistence.manifest import plain
from da3d.pipeline import AnomalyPipeline, Threshold
from da3d.preprocessing import TableEncoder
from da3d.training import History

__all__ = ["Parts", "detector", "pipeline"]

_DROPPED = ("callbacks", "checkpoint")  # they watch or secure one fit and say nothing about the model


Record = TypeVar("Record")


class Parts(NamedTuple, Generic[Record]):
    """A fitted detector, or a pipeline without its detector; parts have their names in the file."""

    record: Record
    arrays: dict[str, NDArray[Any]]
    estimators: dict[str, bytes]


def detector(model: Detector) -> Parts[models.DetectorRecord]:
    """Return the parts of a fitted detector.

    Raises
    ------
    ParameterError
        The detector is not one of `DETECTORS`, or a part of it cannot be kept.
    """
    arrays = model.fitted_arrays()  # first, since it knows best why a detector cannot be kept
    template = _template(model, model.seed_)
    transposed = sorted(name for name, array in arrays.items() if _by_columns(array))
    history = getattr(model, "history_", None)
    record = models.DetectorRecord(
        name=template.name,
        parameters=template.parameters,
        seed=model.seed_,
        offset=model.offset_,
        features=int(model.n_features_in_),
        feature_names=_names(model),
        image_shape=None if model.image_shape_ is None else list(model.image_shape_),
        history=_rows(history) if isinstance(history, History) else None,
        transposed=transposed,
    )
    stored = {f"detector/{name}": array.T if name in transposed else array for name, array in arrays.items()}
    found = {estimator_member(name): estimator for name, estimator in model.fitted_estimators().items()}
    return Parts(record, stored, {member: dump(estimator, member) for member, estimator in found.items()})


def pipeline(model: AnomalyPipeline) -> Parts[models.PipelineRecord]:
    """Return the parts of a fitted pipeline, but for its detector's.

    Raises
    ------
    ParameterError
        A parameter cannot be kept.
    """
    learnt, transformer = model.encoder_.state()
    parameters = models.Parameters(
        detector=None if model.detector is None else _template(model.detector, model.detector_.seed_),
        quality=model.quality,
        encoder=None if model.encoder is None else _encoder(model.encoder),
        threshold=None if model.threshold is None else _rule(model.threshold),
        contamination=float(model.contamination),
        calibrate_by=model.calibrate_by,
        reference_rows=int(model.reference_rows),
        random_state=_random_state(model.random_state, model.detector_.seed_),
    )
    calibration = model.calibration_
    reference, remembered = model.reference_.state()
    suppression, suppressed = model.suppression_.state(model.reference_.usual)
    record = models.PipelineRecord(
        parameters=parameters,
        encoder={name: plain(name, value) for name, value in learnt.items()},
        features=int(model.n_features_in_),
        feature_names=_names(model),
        threshold=_rule(model.rule),
        calibration_rows=len(calibration.scores),
        calibration_groups=list(calibration.groups),
        reference=models.ReferenceRecord.model_validate(reference),
        profile_rows=model.profile_.rows,
        suppression=models.SuppressionRecord.model_validate(suppression),
    )
    arrays = {"calibration/scores": calibration.scores, "reference/rows": remembered}
    arrays |= {f"profile/{name}": array for name, array in model.profile_.state().items()}
    arrays |= {f"suppression/{name}": array for name, array in suppressed.items()}
    for place, own in enumerate(calibration.groups.values()):
        arrays[f"calibration/group/{place}"] = own.scores
    return Parts(record, arrays, {ENCODER: dump(transformer, ENCODER)})


def _template(model: Detector, seed: int) -> models.Template:
    names = [name for name, kind in DETECTORS.items() if kind is type(model)]
    if not names:
        raise ParameterError(
            f"{type(model).__name__} is not one of da3d's detectors and cannot be kept in a model file; "
            f"those are {', '.join(DETECTORS)}."
        )
    given = {name: value for name, value in model.get_params(deep=False).items() if name not in _DROPPED}
    given["random_state"] = _random_state(given["random_state"], seed)
    return models.Template(
        name=names[0], parameters={name: plain(name, value) for name, value in given.items()}
    )


def _encoder(encoder: TableEncoder) -> dict[str, Any]:
    if type(encoder) is not TableEncoder:
        raise ParameterError(
            f"encoder is a {type(encoder).__name__}; only a TableEncoder can be kept in a model file."
        )
    return {name: plain(name, value) for name, value in encoder.get_params(deep=False).items()}


def _random_state(given: object, seed: int) -> int | None:
    if given is None:
        return None
    return int(given) if isinstance(given, int | np.integer) else seed


def _rule(threshold: Threshold) -> models.Rule:
    value = plain("threshold", threshold.value)
    return models.Rule.model_validate({"rule": threshold.rule, "value": value})


def _names(model: Detector | AnomalyPipeline) -> list[str] | None:
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _rows(history: History) -> list[dict[str, str | int | float]]:
    return [{name: np.asarray(value).item() for name, value in row.items()} for row in history]


def _by_columns(array: NDArray[Any]) -> bool:
    return bool(array.flags.f_contiguous and not array.flags.c_contiguous)
