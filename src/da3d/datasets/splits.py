"""Who trains and who is tested: the protocols of the papers, and the plain one-class split.

Every split trains on rows that are *believed* to be normal. With ``contamination`` p > 0 a few anomalies hide
among them, so that their share of the training rows is p; they carry label 0 like everyone else, and
`Split.hidden_anomalies` tells the truth. A row is never in more than one part.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from da3d.datasets.base import LabelledTable
from da3d.errors import LabelError, ParameterError, TableError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Split", "official", "one_class", "paper_split"]

Rows = npt.NDArray[np.intp]

PAPER_TEST_SHARE = 0.15
PAPER_VALIDATION_SHARE = 0.05
PAPER_TEST_SEED = 42


@dataclass(frozen=True)
class Split:
    """A table divided into the rows that train and the rows that are tested; both keep their index.

    Parameters
    ----------
    train : DataFrame, shape (train rows, features)
        Rows believed to be normal, in random order.
    train_labels : int array, shape (train rows,)
        1 = known anomaly, else 0. The splits of this module know none, so all are 0.
    hidden_anomalies : bool array, shape (train rows,)
        The truth: which training rows contaminate. Never given to a detector.
    test : DataFrame, shape (test rows, features)
        Rows to score.
    test_labels : int array, shape (test rows,)
        1 = anomaly, 0 = normal.
    contamination_reached : float
        Share of the training rows that are hidden anomalies, in [0, 1).
    test_groups : array of str, shape (test rows,), or None
        Group of each test row, where the table has groups.
    validation : DataFrame, or None
        Rows that the protocol sets aside; never used for training.
    validation_labels : int array, or None
        1 = anomaly, 0 = normal.
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


def one_class(
    table: LabelledTable,
    seed: int,
    train_share: float = 0.5,
    max_train: int | None = None,
    contamination: float = 0.0,
) -> Split:
    """A random share of the normal rows trains; the other normal rows and all anomalies are tested.

    An official test set is left aside. Contaminating anomalies leave the test set.

    Parameters
    ----------
    table : LabelledTable
        Rows with labels.
    seed : int
        Fixes every choice.
    train_share : float
        Share of the normal rows that trains, in (0, 1).
    max_train : int or None
        Largest number of normal rows that trains; the surplus is tested.
    contamination : float
        Share p of anomalies among the training rows, in [0, 0.5).

    Raises
    ------
    ParameterError
        A parameter is out of its range.
    LabelError
        A part would have no rows, or no anomaly would be left for the test or could contaminate.

    Warns
    -----
    UserWarning
        Fewer anomalies can be spared than the contamination asks for.
    """
    _check_contamination(contamination)
    if not 0.0 < train_share < 1.0:
        raise ParameterError(f"train_share is {train_share}, but must lie between 0 and 1.")
    if max_train is not None and max_train < 1:
        raise ParameterError(f"max_train is {max_train}, but at least one row must train.")
    rng = np.random.default_rng(seed)
    normal = rng.permutation(np.flatnonzero(table.labels == 0))
    anomalous = rng.permutation(np.flatnonzero(table.labels == 1))
    chosen = round(train_share * len(normal))
    chosen = chosen if max_train is None else min(chosen, max_train)
    if not 0 < chosen < len(normal) or len(anomalous) == 0:
        raise LabelError(
            f"{len(normal)} normal rows and {len(anomalous)} anomalies cannot be divided: training needs a "
            "normal row, the test needs a normal row and an anomaly."
        )
    spare = anomalous[1:]  # one anomaly must be left to be found
    hidden = _draw(spare, chosen, contamination, rng)
    test = np.concatenate([normal[chosen:], np.setdiff1d(anomalous, hidden)])
    return _split(table, normal[:chosen], hidden, table, np.sort(test), rng)


def paper_split(table: LabelledTable, seed: int, contamination: float = 0.0) -> Split:
    """The DA3D authors' protocol: 15 % test with a fixed seed, 5 % of the rest validation, normal rows train.

    Both divisions are random, not stratified, and made by scikit-learn's `train_test_split` as in the
    authors' code, so that the test rows are the same for every seed (and, for equal row order, the authors'
    own). Where the table has an official test set that one is used, and the training part is divided 95 : 5.
    Anomalies of the training part that do not contaminate are dropped.

    Parameters
    ----------
    table : LabelledTable
        Rows with labels.
    seed : int
        Seed of the run: chooses validation rows and contamination, not the test rows.
    contamination : float
        Share p of anomalies among the training rows, in [0, 0.5): n = round(n_normal · p / (1 − p)) anomalies
        of the training part are added. The authors draw with replacement when there are too few; here each
        row is taken at most once, and `contamination_reached` says how far that went.

    Raises
    ------
    ParameterError
        `contamination` is out of its range.
    LabelError
        The training part has no normal row, or no anomaly although contamination is asked for.

    Warns
    -----
    UserWarning
        The training part has fewer anomalies than the contamination asks for.
    """
    from sklearn.model_selection import train_test_split

    _check_contamination(contamination)
    rest = np.arange(len(table.frame))
    tested, test_rows = table.test, None
    if tested is None:
        rest, test_rows = train_test_split(rest, test_size=PAPER_TEST_SHARE, random_state=PAPER_TEST_SEED)
        tested = table
    rest, validation = train_test_split(rest, test_size=PAPER_VALIDATION_SHARE, random_state=seed)
    rng = np.random.default_rng(seed)
    normal, anomalous = _by_label(table, rest)
    hidden = _draw(anomalous, len(normal), contamination, rng)
    return _split(table, normal, hidden, tested, test_rows, rng, validation)


def official(table: LabelledTable, seed: int, contamination: float = 0.0) -> Split:
    """All normal training rows train; the official test set is tested.

    Parameters
    ----------
    table : LabelledTable
        Rows with labels and an official test set.
    seed : int
        Chooses the contamination and the order of the training rows.
    contamination : float
        As in `paper_split`.

    Raises
    ------
    ParameterError
        `contamination` is out of its range.
    TableError
        The table has no official test set.
    LabelError
        As in `paper_split`.

    Warns
    -----
    UserWarning
        As in `paper_split`.
    """
    _check_contamination(contamination)
    if table.test is None:
        raise TableError("This table has no official test set; use one_class or paper_split instead.")
    rng = np.random.default_rng(seed)
    normal, anomalous = _by_label(table, np.arange(len(table.frame)))
    hidden = _draw(anomalous, len(normal), contamination, rng)
    return _split(table, normal, hidden, table.test, None, rng)


def _check_contamination(contamination: float) -> None:
    if not 0.0 <= contamination < 0.5:
        raise ParameterError(f"contamination is {contamination}, but must be at least 0 and below 0.5.")


def _by_label(table: LabelledTable, rows: Rows) -> tuple[Rows, Rows]:
    """The given rows, apart by label."""
    normal, anomalous = rows[table.labels[rows] == 0], rows[table.labels[rows] == 1]
    if len(normal) == 0:
        raise LabelError("The training part has no normal row; a detector needs normal rows to train on.")
    return normal, anomalous


def _draw(anomalous: Rows, normal: int, contamination: float, rng: np.random.Generator) -> Rows:
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


def _split(
    table: LabelledTable,
    normal: Rows,
    hidden: Rows,
    tested: LabelledTable,
    test_rows: Rows | None,
    rng: np.random.Generator,
    validation: Rows | None = None,
) -> Split:
    """The parts as frames; the training rows are shuffled so that contamination has no place of its own."""
    train = rng.permutation(np.concatenate([normal, hidden]))
    is_hidden = np.isin(train, hidden)
    rows = slice(None) if test_rows is None else test_rows
    return Split(
        train=table.frame.iloc[train],
        train_labels=np.zeros(len(train), dtype=np.int64),
        hidden_anomalies=is_hidden,
        test=tested.frame.iloc[rows],
        test_labels=tested.labels[rows],
        contamination_reached=float(is_hidden.mean()),
        test_groups=None if tested.groups is None else tested.groups[rows],
        validation=None if validation is None else table.frame.iloc[validation],
        validation_labels=None if validation is None else table.labels[validation],
    )
