"""One model file: a sealed zip of JSON, safetensors and skops, which runs no code when it is read.

The names are imported when they are first used: `inspect` needs neither torch nor scikit-learn.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from da3d.persistence.facts import inspect
    from da3d.persistence.store import load, save

__all__ = ["inspect", "load", "save"]

_HOMES = {
    "inspect": "da3d.persistence.facts",
    "load": "da3d.persistence.store",
    "save": "da3d.persistence.store",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'da3d.persistence' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
