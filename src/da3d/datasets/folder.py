"""ADBench's tables, as far as their files lie in ``adbench/`` below `DA3D_DATA`.

A file ``adbench/6_cardio.npz`` becomes the data set ``adbench/cardio``. Nothing is downloaded: the collection
is a download of its own, from https://github.com/Minqi824/ADBench.
"""

from __future__ import annotations

import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from da3d.datasets import cache
from da3d.datasets.base import Dataset, LabelledTable
from da3d.datasets.content import check_counts, read_npz
from da3d.errors import FileError

__all__ = ["PREFIX", "adbench_dataset", "adbench_datasets", "adbench_names", "load_npz_folder"]

PREFIX = "adbench/"


def adbench_names() -> list[str]:
    """Names of the tables that are present, in alphabetical order; empty without `DA3D_DATA`."""
    return sorted(_files())


def adbench_datasets() -> list[Dataset]:
    """The tables that are present, in alphabetical order; empty without `DA3D_DATA`.

    Raises
    ------
    FileError
        A file is not a NumPy archive with X and y.
    """
    return [_describe(name, path) for name, path in sorted(_files().items())]


def adbench_dataset(name: str) -> Dataset | None:
    """The table of that name (``adbench/cardio``), or None when its file is not present.

    Errors as in `adbench_datasets`.
    """
    path = _files().get(name)
    return None if path is None else _describe(name, path)


def load_npz_folder(path: Path) -> dict[str, LabelledTable]:
    """Every table in a folder of ``<number>_<name>.npz`` files with X and y, by its name.

    Parameters
    ----------
    path : Path
        The folder; other files in it are ignored.

    Raises
    ------
    FileError
        There is no such folder, or a file in it is not a NumPy archive with X and y.
    """
    if not path.is_dir():
        raise FileError(f"{path} is not a folder; give one that holds .npz files with X and y.")
    return {_short(file): read_npz(file) for file in sorted(path.glob("*.npz"))}


def _files() -> dict[str, Path]:
    """Path by data-set name of every file that is present."""
    root = cache.data_folder()
    if root is None:
        return {}
    # `-` and `_` are the same in a data set's name, so the name that is compared has only one of them.
    return {PREFIX + _short(path).replace("-", "_"): path for path in (root / PREFIX).glob("*.npz")}


def _short(path: Path) -> str:
    """``6_cardio.npz`` as ``cardio``."""
    head, _, tail = path.stem.partition("_")
    return (tail if head.isdigit() and tail else path.stem).lower()


def _describe(name: str, path: Path) -> Dataset:
    """The record of one file; its feature matrix is not read."""
    rows, features, anomalies = _size(path)
    return Dataset(
        name=name,
        title=f"ADBench: {path.stem.partition('_')[2] or path.stem}",
        source="https://github.com/Minqi824/ADBench",
        licence="BSD-2-Clause for the collection; the tables keep their own terms",
        citation="Han et al.: ADBench: Anomaly Detection Benchmark. NeurIPS 2022.",
        files=(),
        prepared=(PREFIX + path.name,),
        rows=rows,
        features=features,
        anomalies=anomalies,
        normal_rule="normal = y is 0; anomaly = y is 1",
        load=partial(_load, PREFIX + path.name, (rows, features, anomalies)),
    )


def _load(file: str, size: tuple[int, int, int]) -> LabelledTable:
    """The table of one file, checked against the manifest if there is one."""
    paths = cache.prepared([file])
    if paths is None:
        raise FileError(f"{file} is no longer in the folder that {cache.DATA_VARIABLE} names; put it back.")
    return check_counts(paths[0], read_npz(paths[0]), *size)


def _size(path: Path) -> tuple[int, int, int]:
    """Rows, features and anomalies, from the header of X and from y."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("X.npy") as stream:
            version = np.lib.format.read_magic(stream)
            read_header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            rows, features = read_header(stream)[0]
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return rows, features, int(np.sum(arrays["y"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FileError(
            f"{path} is not a NumPy archive with X and y ({error}); fetch it again or remove it."
        ) from error
