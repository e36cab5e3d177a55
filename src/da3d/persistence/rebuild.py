"""Models put together again from the parts that `persistence.describe` took apart."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from da3d.detectors import Detector, make_detector
from da3d.detectors.network import pick_device
from da3d.errors import ModelFileError, ParameterError
from da3d.persistence import manifest as models
from da3d.persistence.archive import ENCODER, estimator_member
from da3d.persistence.estimators import restore
from da3d.pipeline import AnomalyPipeline, Calibration, Profile, Reference, Suppression, Threshold
from da3d.preprocessing import TableEncoder
from da3d.training import History

__all__ = ["detector", "pipeline", "under"]

_log = logging.getLogger(__name__)


def under(prefix: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts whose names begin with `prefix`, under the rest of their names."""
    return {name.removeprefix(prefix): part for name, part in parts.items() if name.startswith(prefix)}


def detector(
    record: models.DetectorRecord, arrays: dict[str, NDArray[Any]], members: Mapping[str, bytes]
) -> Detector:
    """Return the fitted detector of a record, its arrays and the file's members.

    Raises
    ------
    Exception
        The parts do not fit each other; `load` turns it into a `ModelFileError`.
    """
    model = make_detector(record.name, **_usable(record.parameters))
    model.n_features_in_ = record.features
    if record.feature_names is not None:
        model.feature_names_in_ = np.asarray(record.feature_names, dtype=object)
    model.offset_, model.seed_ = record.offset, record.seed
    model.image_shape_ = None if record.image_shape is None else cast(Any, tuple(record.image_shape))
    if record.history is not None:
        cast(Any, model).history_ = History(record.history)
    found = {name: array.T if name in record.transposed else array for name, array in arrays.items()}
    names = [name.removesuffix(".skops") for name in under("detector/", members)]
    places = {name: estimator_member(name) for name in names}
    estimators = {name: restore(members[place], place, record.features) for name, place in places.items()}
    model.restore(found, estimators)
    odd = (model.fitted_arrays().keys() ^ found.keys()) | (
        model.fitted_estimators().keys() ^ estimators.keys()
    )
    if odd:
        raise ModelFileError(f"its parts are not those of {record.name}: {', '.join(sorted(odd))}")
    if model.score_samples_of(np.zeros((1, record.features))).shape != (1,):
        raise ModelFileError("its detector does not give one score per row")
    return model


def pipeline(
    record: models.PipelineRecord,
    fitted: Detector,
    arrays: Mapping[str, NDArray[Any]],
    members: Mapping[str, bytes],
) -> AnomalyPipeline:
    """Return the fitted pipeline of a record, its detector, its own arrays and the file's members.

    Raises
    ------
    Exception
        The parts do not fit each other; `load` turns it into a `ModelFileError`.
    """
    given = record.parameters
    model = AnomalyPipeline(
        None
        if given.detector is None
        else make_detector(given.detector.name, **_usable(given.detector.parameters)),
        quality=given.quality,
        encoder=None if given.encoder is None else TableEncoder(**cast(dict[str, Any], given.encoder)),
        threshold=None if given.threshold is None else _threshold(given.threshold),
        contamination=given.contamination,
        calibrate_by=given.calibrate_by,
        reference_rows=given.reference_rows,
        random_state=given.random_state,
    )
    model.encoder_ = TableEncoder.from_state(record.encoder, restore(members[ENCODER], ENCODER))
    if (width := len(model.encoder_.feature_names_)) != fitted.n_features_in_:
        raise ModelFileError(
            f"its encoder makes {width} features but its detector takes {fitted.n_features_in_}"
        )
    model.detector_ = fitted
    model.calibration_ = _calibration(record, under("calibration/", arrays))
    model.reference_ = Reference.from_state(
        record.reference.model_dump(), under("reference/", arrays)["rows"], model.encoder_.schema_
    )
    schema = model.encoder_.schema_
    model.profile_ = Profile.from_state(record.profile_rows, under("profile/", arrays), schema)
    model.suppression_ = Suppression.from_state(
        record.suppression.model_dump(), under("suppression/", arrays), model.reference_, model.encoder_
    )
    model.n_features_in_ = record.features
    if record.feature_names is not None:
        model.feature_names_in_ = np.asarray(record.feature_names, dtype=object)
    return model


def _calibration(record: models.PipelineRecord, arrays: Mapping[str, NDArray[Any]]) -> Calibration:
    """Return the calibration; what contamination dropped is not in the file."""
    scores = arrays["scores"]
    if len(scores) != record.calibration_rows:
        raise ModelFileError(f"it has {len(scores)} calibration scores instead of {record.calibration_rows}")
    own = under("group/", arrays)
    groups = {name: Calibration(own[str(place)]) for place, name in enumerate(record.calibration_groups)}
    if len(own) != len(groups):
        raise ModelFileError(f"it has calibration scores of {len(own)} groups instead of {len(groups)}")
    return Calibration(scores, groups=groups)


def _usable(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters, with `device` "auto" if the saved one is missing here."""
    wanted = parameters.get("device")
    if wanted is None:
        return dict(parameters)
    try:
        torch.empty(0, device=pick_device(wanted))
    except (ParameterError, RuntimeError):
        _log.warning(
            "the model was saved with device=%r, which is missing here: it is loaded with 'auto'", wanted
        )
        return {**parameters, "device": "auto"}
    return dict(parameters)


def _threshold(rule: models.Rule) -> Threshold:
    return Threshold(cast(Any, rule.rule), rule.value)
