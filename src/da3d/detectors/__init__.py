"""One paper, one file: the maths, the module, its schedule, the estimator."""

from typing import Any

from da3d.detectors.base import Detector, known_anomalies
from da3d.detectors.da3d import DA3D
from da3d.detectors.network import NetworkDetector
from da3d.detectors.reference import KNN, BaggedNN, IsolationForest, Mahalanobis
from da3d.errors import ParameterError

__all__ = [
    "DA3D",
    "DETECTORS",
    "KNN",
    "BaggedNN",
    "Detector",
    "IsolationForest",
    "Mahalanobis",
    "NetworkDetector",
    "default_detector",
    "known_anomalies",
    "make_detector",
]

DETECTORS: dict[str, type[Detector]] = {
    "da3d": DA3D,
    "knn": KNN,
    "bagged-nn": BaggedNN,
    "mahalanobis": Mahalanobis,
    "isolation-forest": IsolationForest,
}
"""Every detector by the name that the command line, experiments and model files use."""


def make_detector(name: str, **parameters: Any) -> Detector:
    """The unfitted detector of that name.

    Raises
    ------
    ParameterError
        There is no such detector, or it has no such parameter.
    """
    if name not in DETECTORS:
        raise ParameterError(f"detector is {name!r} but must be one of {', '.join(DETECTORS)}.")
    known = DETECTORS[name]().get_params()
    if unknown := sorted(set(parameters) - set(known)):
        raise ParameterError(
            f"{name} has no parameter {', '.join(unknown)}; it has {', '.join(sorted(known))}."
        )
    return DETECTORS[name](**parameters)


def default_detector() -> Detector:
    """The detector that `AnomalyPipeline` and `da3d fit` use unless told otherwise."""
    return DA3D()
