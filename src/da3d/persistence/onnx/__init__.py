"""One ONNX file from raw columns to score and p-value, and a scorer that reads it without torch.

`export` writes the file, `load` reads it, `is_onnx` and `inspect` look at it without running anything. The
names are imported when they are first used: scoring needs neither torch nor scikit-learn nor scipy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from da3d.persistence.onnx.exporter import export
    from da3d.persistence.onnx.facts import inspect, is_onnx
    from da3d.persistence.onnx.model import OnnxModel, load

__all__ = ["OnnxModel", "export", "inspect", "is_onnx", "load"]

_HOMES = {
    "OnnxModel": "da3d.persistence.onnx.model",
    "export": "da3d.persistence.onnx.exporter",
    "inspect": "da3d.persistence.onnx.facts",
    "is_onnx": "da3d.persistence.onnx.facts",
    "load": "da3d.persistence.onnx.model",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'da3d.persistence.onnx' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
