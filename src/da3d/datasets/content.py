"""Readers and checks that several data sets share: text, Parquet, archives, X and y, counts, equal rows."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from da3d.datasets.base import LabelledTable
from da3d.errors import Da3dError, FileError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "UNIQUE_ROWS",
    "check_counts",
    "check_numbers",
    "finite",
    "read_csv",
    "read_mat",
    "read_members",
    "read_npz",
    "read_parquet",
    "without_repeats",
]

UNIQUE_ROWS = "keep only the first of equal rows of one class, and no test row that equals a training row"
"""What the option ``unique_rows`` does, wherever there is one."""


def read_csv(source: Path | IO[bytes], name: str, **settings: Any) -> pd.DataFrame:
    """Comma-separated text as a frame.

    Parameters
    ----------
    source : path or binary stream
        The text; a path that ends in ``.gz`` is decompressed.
    name : str
        What it is called in an error.
    **settings
        For `pandas.read_csv`.

    Raises
    ------
    FileError
        It is not comma-separated text.
    """
    import pandas as pd

    try:
        frame: pd.DataFrame = pd.read_csv(source, low_memory=False, **settings)
    # ValueError: also wrong encoding, ragged lines and no lines at all.
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise FileError(f"{name} is not comma-separated text ({error}); delete it and load again.") from error
    return frame


def read_parquet(path: Path, columns: Sequence[str], what: str) -> pd.DataFrame:
    """Columns of a Parquet file.

    Parameters
    ----------
    path : Path
    columns : sequence of str
        All of them must be there.
    what : str
        Name of the data set, for the error.

    Raises
    ------
    FileError
        The file is not Parquet or lacks a column.
    """
    import pandas as pd

    try:
        return pd.read_parquet(path)[list(columns)]
    except (OSError, ValueError, KeyError) as error:
        raise FileError(f"{path} cannot be read as {what} in Parquet ({error}); fetch it again.") from error


def read_members(path: Path, names: Sequence[str], page: str) -> dict[str, bytes]:
    """Files of a zip archive by their names, in whatever folder of it they lie.

    Parameters
    ----------
    path : Path
        The archive.
    names : sequence of str
        The files, without folders.
    page : str
        URL of the page that the archive comes from, for the error.

    Raises
    ------
    FileError
        It is not a zip archive, or lacks one of the files.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {PurePosixPath(member).name: member for member in archive.namelist()}
            return {name: archive.read(members[name]) for name in names}
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise FileError(
            f"{path} is not an archive with {' and '.join(names)} ({error}); get the official one from "
            f"{page}."
        ) from error


def check_numbers(frame: pd.DataFrame, name: str, texts: Collection[str] = ()) -> pd.DataFrame:
    """The frame itself, or a refusal because a column outside `texts` holds something other than numbers.

    Raises
    ------
    FileError
        The message names the column.
    """
    for column in frame.columns:
        if column not in texts and frame[column].dtype.kind not in "iuf":
            raise FileError(
                f"{name} has text or gaps in the numeric column {column}; delete it and load again."
            )
    return frame


def finite(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with infinite numbers as missing ones."""
    return frame.replace([np.inf, -np.inf], np.nan)


def without_repeats(table: LabelledTable) -> LabelledTable:
    """The table and its test set without repeated rows; rows of different classes are different rows."""
    import pandas as pd

    parts = [table, *([] if table.test is None else [table.test])]
    rows = pd.concat([part.frame.assign(**{"its label": part.labels}) for part in parts], ignore_index=True)
    first = ~rows.duplicated().to_numpy()
    test = None if table.test is None else table.test.take(first[len(table.frame) :])
    return replace(table.take(first[: len(table.frame)]), test=test)


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
