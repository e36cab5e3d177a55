"""A fitted pipeline -> one ONNX file, checked against the pipeline before it is left on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from da3d import __version__
from da3d.detectors import Detector, NetworkDetector
from da3d.detectors.standardised import Standardised
from da3d.errors import ExtraError, InputError, ParameterError
from da3d.persistence import archive, describe
from da3d.persistence.onnx.facts import FORMAT, OUTPUTS, PROPERTY, encoded
from da3d.persistence.whole import write_whole
from da3d.pipeline import AnomalyPipeline
from da3d.preprocessing import TableEncoder

if TYPE_CHECKING:
    from da3d.persistence.onnx.graph import Graph

__all__ = ["TOLERANCE", "export"]

TOLERANCE = 1e-5
"""How far a score may lie from the pipeline's, relative to one plus its size."""

# A score is taken for a held-out one if it is so many times nearer to it than the largest rounding seen. How
# much that is where there are no rows to see it on, and at least.
_SNAP, _USUAL_ROUNDING, _LEAST_ROUNDING = 3.0, 5e-7, 1e-12
# A network's own float32 arithmetic may be coarser than the tolerance; then so many times that is allowed.
_OWN_ROUNDING = 8.0
# Rows that the graph takes at a time, and how many numbers a comparison with all remembered rows may have.
_PASS, _LARGEST_BLOCK = 512, 16_000_000


def export(pipeline: AnomalyPipeline, path: str | Path) -> Path:
    """Write a fitted pipeline as one ONNX file, whole or not at all.

    Its inputs are the columns of the table as they are, its outputs `anomaly_score`, `p_value`, `severity`
    and, if the rule in force judges each row on its own, `is_anomaly` (see docs/onnx.md). Its scores are
    compared with the pipeline's on the normal rows that the pipeline remembers, and the file is only written
    if they agree within `TOLERANCE`.

    Parameters
    ----------
    pipeline : AnomalyPipeline
        Fitted.
    path : path
        A file there is replaced, but only by a complete one.

    Returns
    -------
    Path
        Where the file lies.

    Raises
    ------
    ParameterError
        `pipeline` is something else or cannot be written as ONNX: its detector is another library's, it
        calibrates by groups, or benign rows were suppressed.
    InputError
        `pipeline` is not fitted.
    ExtraError
        The extra `onnx` is not installed.
    FileError
        The folder does not exist or cannot be written, or the disk is full. A file at `path` is as it was.
    """
    _check(pipeline)
    _check_installed()
    return write_whole(_content(pipeline), path)


def _check(pipeline: AnomalyPipeline) -> None:
    if type(pipeline) is not AnomalyPipeline:
        raise ParameterError(
            f"a {type(pipeline).__name__} cannot be written as ONNX: a fitted AnomalyPipeline is needed, "
            "which knows columns and p-values; wrap a detector in AnomalyPipeline(detector) and fit it."
        )
    try:
        check_is_fitted(pipeline)
    except NotFittedError as error:
        raise InputError(
            "the AnomalyPipeline is not fitted, so there is nothing to export; call fit first."
        ) from error
    if type(pipeline.encoder_) is not TableEncoder:
        raise ParameterError(
            f"encoder is a {type(pipeline.encoder_).__name__}, which cannot be written as ONNX; fit with a "
            "TableEncoder."
        )
    if pipeline.calibrate_by is not None:
        raise ParameterError(
            f"the pipeline is calibrated by column '{pipeline.calibrate_by}', which an ONNX file cannot "
            "express; fit one without calibrate_by for export, or score with the model file."
        )
    if len(pipeline.suppression_.rows):
        raise ParameterError(
            "benign rows were suppressed, which an ONNX file cannot express; export the model from before "
            "da3d suppress, or score with the model file."
        )


def _check_installed() -> None:
    if missing := [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]:
        raise ExtraError(
            f"exporting to ONNX needs {', '.join(missing)}, which is not installed; pip install 'da3d[onnx]'."
        )


def _content(pipeline: AnomalyPipeline) -> bytes:
    """The bytes of the file, after the check."""
    from da3d.persistence.onnx.calibrate import judge, snapped
    from da3d.persistence.onnx.encode import encode, inputs_of
    from da3d.persistence.onnx.graph import Graph

    inputs = inputs_of(pipeline.encoder_, OUTPUTS)
    facts = _facts(pipeline) | {"inputs": [each.to_json() for each in inputs]}
    graph = Graph([*OUTPUTS, *(each.name for each in inputs)])
    score = _score(graph, pipeline.detector_, encode(graph, pipeline.encoder_, inputs))
    worst, rounding = _checked_rounding(pipeline, deepcopy(graph), score, facts)
    limit = _SNAP * max(rounding, _LEAST_ROUNDING)
    score = snapped(graph, score, pipeline.calibration_.scores, limit, max(TOLERANCE / 2, worst))
    outputs = judge(graph, score, pipeline.calibration_, pipeline.rule)
    return _bytes(graph, facts | {"outputs": outputs})


def _bytes(graph: Graph, facts: Mapping[str, Any]) -> bytes:
    model = graph.model({PROPERTY: json.dumps(facts, ensure_ascii=False)}, "da3d", __version__)
    content: bytes = model.SerializeToString()
    return content


def _score(graph: Graph, detector: Detector, features: str) -> str:
    from da3d.persistence.onnx.detectors import SCORES
    from da3d.persistence.onnx.graph import DOUBLE

    if isinstance(detector, NetworkDetector):
        from da3d.persistence.onnx.network import network_score

        return network_score(graph, detector, features)
    if type(detector) not in SCORES:
        raise ParameterError(
            f"{type(detector).__name__} is not a detector that can be written as ONNX; keep its scores, or "
            "use one of da3d's own detectors."
        )
    rows = graph.cast(features, DOUBLE)
    if isinstance(detector, Standardised):
        rows = graph.scaled(rows, detector.mean_, detector.deviation_)
    return SCORES[type(detector)](graph, detector, rows)


def _facts(pipeline: AnomalyPipeline) -> dict[str, Any]:
    """What a scorer needs to know beside the graph, and where the model comes from."""
    detector = describe.detector(pipeline.detector_)
    whole = describe.pipeline(pipeline)
    members = archive.described(
        archive.members_of(detector.arrays | whole.arrays, detector.estimators | whole.estimators)
    )
    digests = "".join(f"{name} {member.sha256}\n" for name, member in sorted(members.items()))
    return {
        "format": FORMAT,
        "version": __version__,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "source": hashlib.sha256(digests.encode()).hexdigest(),
        "detector": detector.record.name,
        "parameters": detector.record.parameters,
        "columns": [str(name) for name in pipeline.encoder_.feature_names_in_],
        "named": hasattr(pipeline, "feature_names_in_"),
        "ignored": dict(pipeline.encoder_.ignored_columns_),
        "threshold": {"rule": pipeline.rule.rule, "value": float(pipeline.rule.value)},
        "calibration": encoded(pipeline.calibration_.scores),
        "rows_per_pass": _rows_per_pass(pipeline.detector_),
    }


def _rows_per_pass(detector: Detector) -> int:
    """As many rows as keep a comparison with all remembered rows within a bounded block of memory."""
    remembered = max((len(array) for array in detector.fitted_arrays().values() if array.ndim > 1), default=1)
    return max(1, min(_PASS, _LARGEST_BLOCK // remembered))


def _checked_rounding(
    pipeline: AnomalyPipeline, graph: Graph, score: str, facts: Mapping[str, Any]
) -> tuple[float, float]:
    """How far scores lie from the pipeline's on the remembered rows.

    Relative to one plus their size, and to their and the usual size.

    Raises
    ------
    ParameterError
        It is more than rounding: above `TOLERANCE`, relative to 1 plus their size.
    """
    from da3d.persistence.onnx.graph import DOUBLE
    from da3d.persistence.onnx.model import OnnxModel

    rows = pipeline.reference_.rows
    if not len(rows):
        return _USUAL_ROUNDING, _USUAL_ROUNDING
    graph.output("anomaly_score", score, DOUBLE)
    features = pipeline.encoder_.transform(rows)
    wanted = pipeline.detector_.anomaly_score(features)
    found = OnnxModel(_bytes(graph, facts), facts).anomaly_score(rows.reindex(columns=facts["columns"]))
    worst = _worst(found, wanted, 1.0)
    if not worst <= max(TOLERANCE, _OWN_ROUNDING * _own_rounding(pipeline.detector_, features, wanted)):
        raise ParameterError(
            f"the scores of this {type(pipeline.detector_).__name__} as ONNX differ from its own by up to "
            f"{worst:.1g}, so nothing was written; keep it in a model file (da3d.save) and score with it."
        )
    return worst, _worst(found, wanted, float(np.median(np.abs(pipeline.calibration_.scores))))


def _own_rounding(detector: Detector, features: NDArray[np.float32], scores: NDArray[np.float64]) -> float:
    """How far a network's scores lie from those that it would give in float64, measured as above."""
    if not isinstance(detector, NetworkDetector):
        return 0.0
    from da3d.persistence.onnx.network import precise_scores

    return _worst(precise_scores(detector, features), scores, 1.0)


def _worst(found: NDArray[np.float64], wanted: NDArray[np.float64], usual: float) -> float:
    """The largest difference, relative to a usual size plus that of the score."""
    return float((np.abs(found - wanted) / np.maximum(usual + np.abs(wanted), 1e-300)).max())
