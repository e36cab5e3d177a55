"""Rows in, verdicts out: a fitted model behind HTTP. Nothing here trains.

The names are imported when they are first used; all but `ModelStore` need the extra ``serve``.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from da3d.errors import ExtraError

if TYPE_CHECKING:
    from da3d.serve.app import create_app
    from da3d.serve.limits import Settings
    from da3d.serve.models import ModelStore

__all__ = ["ModelStore", "Settings", "create_app", "need_extra"]

_HOMES = {
    "ModelStore": "da3d.serve.models",
    "Settings": "da3d.serve.limits",
    "create_app": "da3d.serve.app",
}


def need_extra() -> None:
    """Check that what the service is made of is installed.

    Raises
    ------
    ExtraError
        A package is missing.
    """
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        if find_spec(package) is None:
            raise ExtraError(
                f"serving needs the package {package}, which is not installed; "
                'pip install "da3d[serve]" installs it.'
            )


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'da3d.serve' has no attribute {name!r}")
    if name != "ModelStore":
        need_extra()
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
