"""Anomaly detection for mixed tables with adversarially generated counterexamples.

The names below are imported when they are first used, so that ``import da3d`` and ``da3d --help`` stay quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from da3d.detectors import DA3D, KNN, BaggedNN, IsolationForest, Mahalanobis
    from da3d.persistence import inspect, load, save
    from da3d.pipeline import AnomalyPipeline, Threshold

__version__ = "0.1.0"

_HOMES = {
    "AnomalyPipeline": "da3d.pipeline",
    "BaggedNN": "da3d.detectors",
    "DA3D": "da3d.detectors",
    "IsolationForest": "da3d.detectors",
    "KNN": "da3d.detectors",
    "Mahalanobis": "da3d.detectors",
    "Threshold": "da3d.pipeline",
    "inspect": "da3d.persistence",
    "load": "da3d.persistence",
    "save": "da3d.persistence",
}

__all__ = [
    "DA3D",
    "KNN",
    "AnomalyPipeline",
    "BaggedNN",
    "IsolationForest",
    "Mahalanobis",
    "Threshold",
    "inspect",
    "load",
    "save",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'da3d' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
