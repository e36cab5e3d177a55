"""Readers and checks that several data sets share: ``.npz`` and ``.mat`` files with X and y, and counts."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from da3d.datasets.base import LabelledTable
from da3d.errors import Da3dError, FileError

__all__ = ["check_counts", "read_mat", "read_npz"]


def read_npz(path: Path, columns: Sequence[str] | None = None) -> LabelledTable:
    """A table from a NumPy archive with X, shape (rows, features), and y, shape (rows,), 1 = anomaly.

    Parameters
    ----------
    path : Path
        The ``.npz`` file; pickled content in it is refused.
    columns : sequence of str or None
        Names of the features; None gives ``x0``, ``x1``, ...

    Raises
    ------
    FileError
        The file cannot be read, lacks X or y, or they do not fit each other.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return _labelled(archive["X"], archive["y"], columns)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, Da3dError) as error:
        raise _unreadable(path, "a NumPy archive", error) from error


def read_mat(path: Path, columns: Sequence[str] | None = None) -> LabelledTable:
    """A table from a MATLAB file with X, shape (rows, features), and y, shape (rows, 1), 1 = anomaly.

    Parameters and errors as in `read_npz`.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path, variable_names=["X", "y"])
        return _labelled(content["X"], np.ravel(content["y"]), columns)
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        NotImplementedError,
        zlib.error,
        MatReadError,
        Da3dError,
    ) as error:
        raise _unreadable(path, "a MATLAB file", error) from error


def check_counts(path: Path, table: LabelledTable, rows: int, features: int, anomalies: int) -> LabelledTable:
    """The table itself, or a refusal because it has not the size that the official data set is known to have.

    Raises
    ------
    FileError
        Rows, features or anomalies are not as many as they should be.
    """
    found = (*table.frame.shape, table.anomalies)
    if found != (rows, features, anomalies):
        raise FileError(
            f"{path} has {found[0]} rows, {found[1]} features and {found[2]} anomalies instead of {rows}, "
            f"{features} and {anomalies}; it is not the official file: delete it and load again."
        )
    return table


def _labelled(values: npt.ArrayLike, labels: npt.ArrayLike, columns: Sequence[str] | None) -> LabelledTable:
    """Arrays as a table with named columns."""
    import pandas as pd

    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"X has shape {matrix.shape} instead of (rows, features)")
    names = [f"x{i}" for i in range(matrix.shape[1])] if columns is None else list(columns)
    given = np.asarray(labels)
    whole = given.astype(np.int64)
    if not np.array_equal(whole, given):
        raise ValueError("y holds something other than 0 and 1")
    return LabelledTable(pd.DataFrame(matrix, columns=names), whole)


def _unreadable(path: Path, kind: str, error: Exception) -> FileError:
    """The one sentence for every way in which such a file can be wrong."""
    return FileError(
        f"{path} cannot be read as {kind} with X (rows × features) and y (0 or 1 per row): {error}; "
        "delete it and fetch it again."
    )
