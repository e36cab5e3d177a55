"""What every split is made of: the parts, hidden anomalies, known anomalies."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from da3d.datasets.base import LabelledTable
from da3d.datasets.classes import groups_of, listed
from da3d.errors import LabelError, ParameterError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "NONE_KNOWN",
    "Known",
    "Rows",
    "Split",
    "by_label",
    "check_contamination",
    "draw_hidden",
    "draw_known",
    "make_split",
]

Rows = npt.NDArray[np.intp]
_KNOWN_STREAM = 1  # so that known anomalies do not change which rows contaminate


@dataclass(frozen=True)
class Known:
    """Anomalies that train with label 1.

    Parameters
    ----------
    count : int
        How many; under one seed, fewer are among more.
    groups : sequence of str or None
        Groups that they are drawn from; None for all anomalies.
    """

    count: int = 0
    groups: Sequence[str] | None = None


NONE_KNOWN = Known()


@dataclass(frozen=True)
class Split:
    """A table divided into the rows that train and the rows that are tested; both keep their index.

    Parameters
    ----------
    train : DataFrame, shape (train rows, features)
        Rows believed to be normal and known anomalies, in random order.
    train_labels : int array, shape (train rows,)
        1 = known anomaly, else 0.
    hidden_anomalies : bool array, shape (train rows,)
        The truth: which training rows contaminate. Never given to a detector.
    test : DataFrame, shape (test rows, features)
        Rows to score.
    test_labels : int array, shape (test rows,)
        1 = anomaly, 0 = normal.
    contamination_reached : float
        Share of hidden anomalies among the training rows that are believed normal, in [0, 1).
    test_groups : array of str, shape (test rows,), or None
        Group of each test row, where the table has groups.
    validation : DataFrame, or None
        Rows that the protocol sets aside; never used for training.
    validation_labels : int array, or None
        1 = anomaly, 0 = normal.
    image_shape : tuple of three ints, or None
        (channels, height, width) where each row is an image.
    """

    train: pd.DataFrame
    train_labels: npt.NDArray[np.int64]
    hidden_anomalies: npt.NDArray[np.bool_]
    test: pd.DataFrame
    test_labels: npt.NDArray[np.int64]
    contamination_reached: float
    test_groups: npt.NDArray[Any] | None = None
    validation: pd.DataFrame | None = None
    validation_labels: npt.NDArray[np.int64] | None = None
    image_shape: tuple[int, int, int] | None = None


def check_contamination(contamination: float) -> None:
    """Refuse a share that is out of range."""
    if not 0.0 <= contamination < 0.5:
        raise ParameterError(f"contamination is {contamination}, but must be at least 0 and below 0.5.")


def by_label(table: LabelledTable, rows: Rows) -> tuple[Rows, Rows]:
    """The given rows, apart by label."""
    normal, anomalous = rows[table.labels[rows] == 0], rows[table.labels[rows] == 1]
    if len(normal) == 0:
        raise LabelError("The training part has no normal row; a detector needs normal rows to train on.")
    return normal, anomalous


def draw_hidden(anomalous: Rows, normal: int, contamination: float, rng: np.random.Generator) -> Rows:
    """Anomalies that will hide among so many normal rows, each at most once."""
    wanted = round(normal * contamination / (1.0 - contamination))
    if wanted and len(anomalous) == 0:
        raise LabelError(
            f"Contamination of {contamination:g} asks for {wanted} anomalies, but none can be spared."
        )
    if wanted > len(anomalous):
        reached = len(anomalous) / (normal + len(anomalous))
        warnings.warn(
            f"Contamination of {contamination:g} asks for {wanted} anomalies, but only {len(anomalous)} are "
            f"to spare: {reached:.4f} is reached.",
            UserWarning,
            stacklevel=3,
        )
    return rng.choice(anomalous, size=min(wanted, len(anomalous)), replace=False)


def make_split(
    table: LabelledTable,
    normal: Rows,
    hidden: Rows,
    marked: Rows,
    tested: LabelledTable,
    test_rows: Rows | None,
    rng: np.random.Generator,
    validation: Rows | None = None,
) -> Split:
    """The parts as frames; the training rows are shuffled so that no anomaly has a place of its own.

    Known anomalies leave the order of the other training rows as it is without them.
    """
    believed = rng.permutation(np.concatenate([normal, hidden]))
    train = np.insert(believed, rng.integers(len(believed) + 1, size=len(marked)), marked)
    is_hidden, is_known = np.isin(train, hidden), np.isin(train, marked)
    rows = slice(None) if test_rows is None else test_rows
    return Split(
        train=table.frame.iloc[train],
        train_labels=is_known.astype(np.int64),
        hidden_anomalies=is_hidden,
        test=tested.frame.iloc[rows],
        test_labels=tested.labels[rows],
        contamination_reached=float(is_hidden[~is_known].mean()),
        test_groups=None if tested.groups is None else tested.groups[rows],
        validation=None if validation is None else table.frame.iloc[validation],
        validation_labels=None if validation is None else table.labels[validation],
        image_shape=table.image_shape,
    )


def draw_known(table: LabelledTable, anomalous: Rows, known: Known, seed: int) -> Rows:
    """The known anomalies among those that are free."""
    if known.count == 0:
        return anomalous[:0]
    if known.groups is not None:
        if missing := sorted(set(known.groups) - groups_of(table)):
            raise LabelError(
                f"known anomalies cannot be of group {missing[0]!r}: the training rows have "
                f"{listed(groups_of(table))}."
            )
        assert table.groups is not None
        anomalous = anomalous[np.isin(table.groups[anomalous], list(known.groups))]
    if len(anomalous) < known.count:
        raise LabelError(
            f"{known.count} anomalies should be known, but only {len(anomalous)} of the training part are of "
            "the groups they may come from and are not needed elsewhere; ask for fewer."
        )
    return np.random.default_rng((seed, _KNOWN_STREAM)).permutation(anomalous)[: known.count]
