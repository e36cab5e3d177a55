"""The same work on several machines: scores, experiments and fits on a Ray cluster, fits under torchrun.

::

    cluster    the connection to Ray, and results as they come
    parts      a Parquet table in parts: each is judged once, written whole, and not judged again
    score      parts as Ray tasks
    cells      cells of an experiment as Ray tasks
    fit        one fit by several processes

Ray is an extra (``pip install 'da3d[ray]'``); it is imported when it is first needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from da3d.distributed.cells import run_cells_on_ray
    from da3d.distributed.fit import fit_on_ray, process_group
    from da3d.distributed.score import score_on_ray

__all__ = ["fit_on_ray", "process_group", "run_cells_on_ray", "score_on_ray"]

_HOMES = {
    "fit_on_ray": "da3d.distributed.fit",
    "process_group": "da3d.distributed.fit",
    "run_cells_on_ray": "da3d.distributed.cells",
    "score_on_ray": "da3d.distributed.score",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'da3d.distributed' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
