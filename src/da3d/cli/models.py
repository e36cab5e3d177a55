"""Model files as commands use them."""

from pathlib import Path
from typing import TYPE_CHECKING

from da3d.cli.terminal import Terminal
from da3d.errors import FileError, ParameterError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from da3d.pipeline import AnomalyPipeline

__all__ = ["check_writable", "load_pipeline", "scores_of"]


def load_pipeline(terminal: Terminal, path: Path) -> "AnomalyPipeline":
    """The pipeline in a model file.

    Raises
    ------
    FileError
        The file cannot be read, or is damaged, foreign, newer or tampered with.
    ParameterError
        It holds a detector alone.
    """
    with terminal.working(f"Loading {path}"):
        from da3d.persistence import load
        from da3d.pipeline import AnomalyPipeline

        model = load(path)
    if not isinstance(model, AnomalyPipeline):
        raise ParameterError(
            f"'{path}' holds a {type(model).__name__} alone, which knows neither the table's columns nor "
            "p-values; give a model file of a whole AnomalyPipeline, such as da3d fit writes."
        )
    return model


def scores_of(pipeline: "AnomalyPipeline", rows: "pd.DataFrame") -> "NDArray[np.float64]":
    """Anomaly scores of a table that may have more columns than the one that was fitted."""
    fitted = set(pipeline.encoder_.feature_names_in_)
    known = [name for name in rows.columns if name in fitted]
    return pipeline.anomaly_score(rows[known] if known else rows)


def check_writable(path: Path) -> None:
    """Refuse an output file now that could only fail after all the work.

    Raises
    ------
    FileError
        The file's folder does not exist or cannot be written, or the path is no ordinary file.
    """
    from da3d.preprocessing import atomic_path

    if path.exists() and not path.is_file() and not path.is_dir():
        raise FileError(f"'{path}' is a device or a pipe: give the name of an ordinary file, or - for stdout")
    try:
        with atomic_path(path):
            raise _Enough
    except _Enough:
        pass


class _Enough(Exception):  # noqa: N818 - not an error: ends the trial before it leaves a file
    """The file could be written."""
