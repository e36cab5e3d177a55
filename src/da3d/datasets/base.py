"""What a data set is, which ones there are, and where their rows come from."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from da3d.datasets import cache
from da3d.datasets.cache import RemoteFile
from da3d.errors import InputError, LabelError, ParameterError, TableError, UnavailableError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Dataset",
    "LabelledTable",
    "RemoteFile",
    "State",
    "get_dataset",
    "list_datasets",
    "load_dataset",
    "register",
    "state",
]

State = Literal["bundled", "cached", "downloadable", "not available here"]


@dataclass(frozen=True)
class LabelledTable:
    """Rows with the truth about them.

    Parameters
    ----------
    frame : DataFrame, shape (rows, features)
        Features only: no label, no row number, nothing that gives the answer away.
    labels : int array, shape (rows,)
        1 = anomaly, 0 = normal.
    groups : array of str, shape (rows,), or None
        A finer name for each row, such as the attack; never a feature.
    test : LabelledTable or None
        The official test set where the data set has one, with the same columns.
    image_shape : tuple of three ints, or None
        (channels, height, width) where each row is an image: its columns are the pixels in this order.

    Raises
    ------
    LabelError
        Labels or groups do not fit the rows, or a label is neither 0 nor 1.
    TableError
        The test set has other columns, or an image has another number of pixels than there are columns.
    """

    frame: pd.DataFrame
    labels: npt.NDArray[np.int64]
    groups: npt.NDArray[Any] | None = None
    test: LabelledTable | None = None
    image_shape: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse a table whose parts do not belong together."""
        rows = len(self.frame)
        if self.labels.shape != (rows,) or not np.isin(self.labels, (0, 1)).all():
            raise LabelError(f"A table of {rows} rows needs {rows} labels of 0 (normal) or 1 (anomaly).")
        if self.groups is not None and self.groups.shape != (rows,):
            raise LabelError(f"A table of {rows} rows needs {rows} group names, not {len(self.groups)}.")
        if self.test is not None and list(self.test.frame.columns) != list(self.frame.columns):
            raise TableError("The official test set has other columns than the training set.")
        if self.image_shape is not None and prod(self.image_shape) != self.frame.shape[1]:
            raise TableError(
                f"Images of shape {self.image_shape} have {prod(self.image_shape)} pixels, but the table has "
                f"{self.frame.shape[1]} columns."
            )

    @property
    def anomalies(self) -> int:
        """Number of rows with label 1."""
        return int(self.labels.sum())

    def take(self, rows: npt.NDArray[Any]) -> LabelledTable:
        """The table with some of its rows (places, or a bool per row), which keep their index.

        The official test set stays as it is.
        """
        groups = None if self.groups is None else self.groups[rows]
        return replace(self, frame=self.frame.iloc[rows], labels=self.labels[rows], groups=groups)


@dataclass(frozen=True)
class Dataset:
    """What is known about a data set before a row of it is read.

    Parameters
    ----------
    name : str
        What `load_dataset` is asked for.
    title : str
        One line for a list.
    source : str
        URL of the official page.
    licence, citation : str
        Terms of use and the work to cite.
    files : tuple of RemoteFile
        Official files to download; empty when the rows come with an installed package or from `DA3D_DATA`
        only.
    prepared : tuple of str
        Files, relative to `DA3D_DATA`, that hold the same rows ready to read; all of them or none are used.
    rows, features, anomalies : int
        Size of the table (of the training part where there is an official test set).
    normal_rule : str
        Which rows count as normal and which as anomalies.
    load : callable
        Reads the rows; takes the options as keywords.
    options : mapping of str to str
        Name of each option and what it does, in one line. Every option is a switch that is off unless it is
        switched on: off is the honest table with all official rows.
    by_hand : tuple of str
        Official files that only a person can fetch from the source, which asks for a login or a form.
    """

    name: str
    title: str
    source: str
    licence: str
    citation: str
    files: tuple[RemoteFile, ...]
    prepared: tuple[str, ...]
    rows: int
    features: int
    anomalies: int
    normal_rule: str
    load: Callable[..., LabelledTable]
    options: Mapping[str, str] = field(default_factory=dict)
    by_hand: tuple[str, ...] = ()


_REGISTRY: dict[str, Dataset] = {}


def register(dataset: Dataset) -> None:
    """Make a data set known by its name; a second one of the same name is a mistake."""
    if dataset.name in _REGISTRY:
        raise InputError(f"There is already a data set named {dataset.name!r}; choose another name.")
    _REGISTRY[dataset.name] = dataset


def list_datasets() -> list[Dataset]:
    """Every data set by its name: the registered ones, then the ADBench files present in `DA3D_DATA`.

    Raises
    ------
    FileError
        `DA3D_DATA` names a folder that does not exist, or an ADBench file in it cannot be read.
    """
    from da3d.datasets import folder

    return [*_REGISTRY.values(), *folder.adbench_datasets()]


def get_dataset(name: str) -> Dataset:
    """The data set of that name; ``-`` and ``_`` are the same in it.

    Raises
    ------
    InputError
        There is none; the message lists those there are.
    UnavailableError
        It is a table of ADBench, and none of those is here.
    """
    from da3d.datasets import folder

    wanted = name.strip().lower().replace("-", "_")
    if wanted in _REGISTRY:
        return _REGISTRY[wanted]
    found = folder.adbench_dataset(wanted) if wanted.startswith(folder.PREFIX) else None
    if found is not None:
        return found
    if wanted.startswith(folder.PREFIX) and not folder.adbench_names():
        raise UnavailableError(
            f"{name!r} is a table of ADBench, and there is no folder '{folder.PREFIX}' with its tables below "
            "DA3D_DATA; put them there."
        )
    known = [*_REGISTRY, *folder.adbench_names()]
    near = difflib.get_close_matches(wanted, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InputError(f"There is no data set named {name!r}.{hint} Known: {', '.join(known)}.")


def load_dataset(name: str, **options: bool) -> LabelledTable:
    """The rows of the data set of that name, downloaded first if they are not yet here.

    Looked for in this order: the folder in `DA3D_DATA`, the cache folder (`DA3D_CACHE`, or the user's cache),
    the official server. What has a known digest is checked against it, whatever its origin.

    Parameters
    ----------
    name : str
        As `list_datasets` has it.
    **options : bool
        Switches of this data set, as its `Dataset.options` describes them.

    Raises
    ------
    InputError
        The name is unknown.
    ParameterError
        The data set has no such option, or the value is neither True nor False.
    FileError
        The files are damaged, or can neither be found nor downloaded.
    """
    dataset = get_dataset(name)
    for option, value in options.items():
        if option not in dataset.options:
            known = f"it has {', '.join(dataset.options)}" if dataset.options else "it has none"
            raise ParameterError(f"the data set {dataset.name} has no option {option!r}; {known}.")
        if not isinstance(value, bool):
            raise ParameterError(
                f"option {option} of {dataset.name} is {value!r}, but must be true or false."
            )
    return dataset.load(**options)


def state(dataset: Dataset) -> State:
    """Whether the rows come with the installation, lie on this machine, can be downloaded, or none of these.

    Files that only a person can fetch are "not available here" until they lie in one of the two folders.
    """
    downloads = tuple(remote.name for remote in dataset.files)
    sources = (dataset.prepared, downloads, dataset.by_hand)
    if not any(sources):
        return "bundled"
    if any(cache.find(names) for names in sources):
        return "cached"
    return "downloadable" if downloads else "not available here"
