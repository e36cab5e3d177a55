"""Anomaly detection for mixed tables with adversarially generated counterexamples.

The names below are imported when they are first used, so that ``import da3d`` and ``da3d --help`` stay quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from da3d.detectors import (
        A3,
        AAE,
        AE,
        DA3D,
        DAGMM,
        ECOD,
        KNN,
        LOF,
        MCD,
        PCA,
        VAE,
        BaggedNN,
        DeepSAD,
        DeepSVDD,
        DevNet,
        FenceGAN,
        IsolationForest,
        Mahalanobis,
        OneClassSVM,
    )
    from da3d.persistence import inspect, load, save
    from da3d.pipeline import AnomalyPipeline, Threshold

__version__ = "0.1.0"

_HOMES = {
    "A3": "da3d.detectors",
    "AAE": "da3d.detectors",
    "AE": "da3d.detectors",
    "AnomalyPipeline": "da3d.pipeline",
    "BaggedNN": "da3d.detectors",
    "DA3D": "da3d.detectors",
    "DAGMM": "da3d.detectors",
    "DeepSAD": "da3d.detectors",
    "DeepSVDD": "da3d.detectors",
    "DevNet": "da3d.detectors",
    "ECOD": "da3d.detectors",
    "FenceGAN": "da3d.detectors",
    "IsolationForest": "da3d.detectors",
    "KNN": "da3d.detectors",
    "LOF": "da3d.detectors",
    "MCD": "da3d.detectors",
    "Mahalanobis": "da3d.detectors",
    "OneClassSVM": "da3d.detectors",
    "PCA": "da3d.detectors",
    "Threshold": "da3d.pipeline",
    "VAE": "da3d.detectors",
    "inspect": "da3d.persistence",
    "load": "da3d.persistence",
    "save": "da3d.persistence",
}

__all__ = [
    "A3",
    "AAE",
    "AE",
    "DA3D",
    "DAGMM",
    "ECOD",
    "KNN",
    "LOF",
    "MCD",
    "PCA",
    "VAE",
    "AnomalyPipeline",
    "BaggedNN",
    "DeepSAD",
    "DeepSVDD",
    "DevNet",
    "FenceGAN",
    "IsolationForest",
    "Mahalanobis",
    "OneClassSVM",
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
