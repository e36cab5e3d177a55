"""Names and values of a plan -> detectors, their full arguments, and plain JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import JsonValue
from sklearn.base import BaseEstimator

from da3d.detectors import (
    DETECTORS,
    Detector,
    default_detector,
    is_foreign,
    make_detector,
    unknown_detector,
)
from da3d.errors import ParameterError

__all__ = ["as_json", "content_digest", "make", "resolved"]

DEFAULT = "default"
_NO_SETTING = frozenset(
    {"callbacks", "checkpoint", "random_state"}
)  # do not decide what is learned, or `seeds` do


def make(name: str, parameters: Mapping[str, Any]) -> Detector:
    """The unfitted detector of that name; "default" is the one that `AnomalyPipeline` uses unless told.

    Raises
    ------
    ParameterError
        There is no such detector, or it has no such parameter.
    """
    if name != DEFAULT:
        if name not in DETECTORS and not is_foreign(name):
            raise unknown_detector(name, (DEFAULT, *DETECTORS))
        return make_detector(name, **parameters)
    detector = default_detector()
    known_parameters = detector.get_params()
    if unknown := sorted(set(parameters) - set(known_parameters)):
        raise ParameterError(
            f"{DEFAULT} has no parameter {', '.join(unknown)}; it has {', '.join(sorted(known_parameters))}."
        )
    detector.set_params(**parameters)
    return detector


def resolved(name: str, parameters: Mapping[str, Any]) -> dict[str, JsonValue]:
    """The type of a detector and all its arguments that decide what is learned.

    Raises
    ------
    ParameterError
        As `make`.
    """
    detector = make(name, parameters)
    arguments = detector.get_params(deep=False)
    kept = {key: as_json(value) for key, value in arguments.items() if key not in _NO_SETTING}
    return {"type": type(detector).__name__, "parameters": kept}


def as_json(value: object) -> JsonValue:
    """A value as JSON: arrays and tuples as lists, estimators by type and arguments, others by type alone."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return as_json(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [as_json(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return as_json(asdict(value))
    if isinstance(value, BaseEstimator):
        return {"type": type(value).__name__, "parameters": as_json(value.get_params(deep=False))}
    return type(value).__name__


def content_digest(path: str | None, folder: Path) -> str | None:
    """SHA-256 of a file, or of the files in a folder; None where there is no path or nothing lies there."""
    if path is None:
        return None
    place = folder / path
    files = sorted(place.rglob("*.parquet")) if place.is_dir() else [place]
    if not all(file.is_file() for file in files):
        return None
    digests = [_digest(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
