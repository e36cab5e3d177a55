"""The rows of a cell: loaded, divided, cut to size."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from da3d.datasets import LabelledTable, load_dataset
from da3d.datasets.classes import choose_classes, groups_of
from da3d.datasets.splits import (
    NONE_KNOWN,
    Known,
    Split,
    a3_split,
    fence_gan,
    official,
    one_class,
    paper_split,
    preprint_split,
)
from da3d.errors import LabelError
from da3d.preprocessing import read_table
from da3d.preprocessing.labels import marked, take_column

if TYPE_CHECKING:
    from da3d.experiments.plan import Cell

__all__ = ["groups_of_training", "split_of"]

_SEED = 42  # draws the tested rows, the same for every seed of a cell
Rows = npt.NDArray[np.intp]

_SPLITS: dict[str, Callable[..., Split]] = {
    "official": official,
    "paper": paper_split,
    "preprint": preprint_split,
    "a3": a3_split,
    "fence_kdd99": partial(fence_gan, made_for="kdd99"),
    "fence_mnist": partial(fence_gan, made_for="mnist"),
    "fence_cifar10": partial(fence_gan, made_for="cifar10"),
}


def split_of(cell: Cell) -> Split:
    """The training and test rows of a cell.

    `max_train` bounds the training rows that are normal, `max_test` all tested rows; the share of anomalies
    stays what it was.

    Raises
    ------
    InputError
        The data set is unknown, not here, or cannot be divided in this way.
    """
    data = cell.data
    table = choose_classes(_whole(cell), data.normal, data.anomalous)
    known = NONE_KNOWN if data.known is None else Known(data.known, data.known_groups)
    if data.split == "one_class":
        split = one_class(
            table, cell.seed, max_train=data.max_train, contamination=cell.contamination, known=known
        )
    else:
        split = _SPLITS[data.split](table, cell.seed, contamination=cell.contamination, known=known)
        split = _fewer_train(split, data.max_train, cell.seed)
    return _fewer_tested(split, data.max_test)


def groups_of_training(cell: Cell, split: Split) -> npt.NDArray[np.object_]:
    """Group of each training row of a cell, shape (training rows,).

    Raises
    ------
    TableError
        The table has no groups.
    """
    table = _whole(cell)
    groups_of(table)  # refuses a table without
    return np.asarray(pd.Series(table.groups, index=table.frame.index).loc[split.train.index], dtype=object)


def _whole(cell: Cell) -> LabelledTable:
    """The table of a cell, undivided."""
    data = cell.data
    return _table(data.name[0], json.dumps(data.options or {})) if data.name else _own_table(cell)


@lru_cache(maxsize=1)
def _table(name: str, options: str) -> LabelledTable:
    """A public data set; a process that works several cells of it in turn reads it once."""
    return load_dataset(name, **json.loads(options))


def _own_table(cell: Cell) -> LabelledTable:
    path, label, anomaly = cell.data.path, cell.data.label, cell.data.anomaly
    assert path is not None  # the plan saw to these three
    assert label is not None
    assert anomaly is not None
    return _read(cell.folder / path, label, anomaly, cell.content)


@lru_cache(maxsize=1)
def _read(
    path: Path, label: str, anomaly: tuple[str | int | float | bool, ...], content: str | None
) -> LabelledTable:
    """A user's own table; `content` makes a changed file another one."""
    frame = read_table(path)
    features, column = take_column(frame, label)
    labels = marked(column, [str(value) for value in anomaly])
    if not labels.any():
        values = ", ".join(map(repr, column.unique()[:6].tolist()))
        raise LabelError(f"no label in column {label!r} of '{path}' is an anomaly; it holds {values}.")
    return LabelledTable(features, labels, groups=column.astype(str).to_numpy(object))


def _fewer_train(split: Split, most: int | None, seed: int) -> Split:
    """At most so many normal training rows, contaminating ones in proportion, and all known anomalies."""
    known = split.train_labels == 1
    normal = int((~split.hidden_anomalies & ~known).sum())
    if most is None or normal <= most:
        return split
    believed = np.flatnonzero(~known)
    drawn = _drawn(split.hidden_anomalies[believed], most / normal, np.random.default_rng(seed))
    kept = np.sort(np.concatenate([believed[drawn], np.flatnonzero(known)]))
    hidden = split.hidden_anomalies[kept]
    return replace(
        split,
        train=split.train.iloc[kept],
        train_labels=split.train_labels[kept],
        hidden_anomalies=hidden,
        contamination_reached=float(hidden[~known[kept]].mean()),
    )


def _fewer_tested(split: Split, most: int | None) -> Split:
    """At most so many tested rows, with the same share of anomalies, but at least one row of each kind."""
    rows = len(split.test)
    if most is None or rows <= most:
        return split
    kept = _drawn(split.test_labels == 1, most / rows, np.random.default_rng(_SEED), least=1)
    groups = split.test_groups
    return replace(
        split,
        test=split.test.iloc[kept],
        test_labels=split.test_labels[kept],
        test_groups=None if groups is None else groups[kept],
    )


def _drawn(mask: npt.NDArray[np.bool_], share: float, rng: np.random.Generator, least: int = 0) -> Rows:
    """Places of a random share of the rows in `mask` and of those outside, in their order."""
    parts = [np.flatnonzero(mask), np.flatnonzero(~mask)]
    sizes = [max(round(share * len(part)), min(least, len(part))) for part in parts]
    return np.sort(
        np.concatenate(
            [rng.choice(part, size, replace=False) for part, size in zip(parts, sizes, strict=True)]
        )
    )
