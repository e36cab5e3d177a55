"""Model files as commands use them."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from da3d.cli.terminal import Terminal
from da3d.errors import FileError, ParameterError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from da3d.pipeline import AnomalyPipeline, Threshold

__all__ = ["Scored", "check_writable", "fitted_columns", "joined", "load_pipeline", "read_rows", "scores_of"]


class Scored(NamedTuple):
    """What `AnomalyPipeline.judge` wants to know about rows.

    Attributes
    ----------
    scores : ndarray of shape (rows,)
    groups : ndarray of shape (rows,) or None
    benign : ndarray of shape (rows,) or None
    """

    scores: "NDArray[np.float64]"
    groups: "NDArray[np.object_] | None"
    benign: "NDArray[np.bool_] | None"

    def judged(
        self, pipeline: "AnomalyPipeline", threshold: "Threshold", index: "pd.Index | None" = None
    ) -> "pd.DataFrame":
        """The verdicts of the pipeline that scored them."""
        return pipeline.judge(self.scores, threshold, index, self.groups, self.benign)


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


def fitted_columns(pipeline: "AnomalyPipeline", rows: "pd.DataFrame") -> "pd.DataFrame":
    """A table without the columns that the one that was fitted did not have."""
    fitted = set(pipeline.encoder_.feature_names_in_)
    known = [name for name in rows.columns if name in fitted]
    return rows[known] if known else rows


def read_rows(pipeline: "AnomalyPipeline", table: str) -> "pd.DataFrame":
    """A whole table as a pipeline reads it, without the columns that the fitted one did not have."""
    from da3d.preprocessing import read_table

    return fitted_columns(pipeline, read_table(table, kinds=pipeline.encoder_.schema_.kinds))


def scores_of(pipeline: "AnomalyPipeline", rows: "pd.DataFrame") -> Scored:
    """What is to be judged about the rows of a table that may have more columns than the fitted one."""
    known = fitted_columns(pipeline, rows)
    return Scored(pipeline.anomaly_score(known), pipeline.groups(known), pipeline.benign(known))


def joined(parts: list[Scored]) -> Scored:
    """The same for all parts of a table, in their order."""
    import numpy as np

    groups = [part.groups for part in parts if part.groups is not None]
    benign = [part.benign for part in parts if part.benign is not None]
    return Scored(
        np.concatenate([part.scores for part in parts]),
        np.concatenate(groups) if groups else None,
        np.concatenate(benign) if benign else None,
    )


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
