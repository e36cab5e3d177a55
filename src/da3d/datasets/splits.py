"""Who trains and who is tested: the protocols of the papers, and the plain one-class split.

Every split trains on rows that are *believed* to be normal. With ``contamination`` p > 0 a few anomalies hide
among them, so that their share of the training rows is p; they carry label 0 like everyone else, and
`Split.hidden_anomalies` tells the truth. With `Known` a few other anomalies train with label 1. A row is
never in more than one part.

`classes.choose_classes` comes before a split: it says which groups of a table are normal and which are
anomalies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from da3d.datasets.base import LabelledTable
from da3d.datasets.parts import (
    NONE_KNOWN,
    Known,
    Rows,
    Split,
    by_label,
    check_contamination,
    draw_hidden,
    draw_known,
    make_split,
)
from da3d.errors import LabelError, ParameterError, TableError

__all__ = [
    "FENCE_GAN",
    "NONE_KNOWN",
    "Known",
    "Split",
    "a3_split",
    "fence_gan",
    "official",
    "one_class",
    "paper_split",
    "preprint_split",
]

PAPER_TEST_SHARE = 0.15
PAPER_VALIDATION_SHARE = 0.05
PAPER_TEST_SEED = 42
PREPRINT_TEST_SHARE = 0.2
A3_TEST_SHARE = 0.2


@dataclass(frozen=True)
class Shares:
    """How Fence GAN divides a table.

    Parameters
    ----------
    train, test, validation : float
        Shares of the normal rows.
    tested, validated : float
        Shares of the anomalies.
    shuffled : bool
        Whether the rows are put in random order before; else the first ones train.
    """

    train: float
    test: float
    validation: float
    tested: float
    validated: float
    shuffled: bool = True


FenceTable = Literal["kdd99", "mnist", "cifar10"]
FENCE_GAN: dict[FenceTable, Shares] = {
    "kdd99": Shares(0.5, 0.5, 0.0, tested=0.5, validated=0.0),
    "mnist": Shares(0.8, 0.15, 0.05, tested=0.75, validated=0.25, shuffled=False),
    "cifar10": Shares(0.75, 0.2, 0.05, tested=0.8, validated=0.2),
}
"""The protocols of Fence GAN by the table that each was made for."""


def one_class(
    table: LabelledTable,
    seed: int,
    train_share: float = 0.5,
    max_train: int | None = None,
    contamination: float = 0.0,
    known: Known = NONE_KNOWN,
) -> Split:
    """A random share of the normal rows trains; the other normal rows and all anomalies are tested.

    An official test set is left aside. Contaminating and known anomalies leave the test set.

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
        Share p of anomalies among the training rows that are believed normal, in [0, 0.5).
    known : Known
        Anomalies that train with label 1.

    Raises
    ------
    ParameterError
        A parameter is out of its range.
    LabelError
        A part would have no rows, no anomaly would be left for the test or could contaminate, or there are
        not enough anomalies of the groups that should be known.

    Warns
    -----
    UserWarning
        Fewer anomalies can be spared than the contamination asks for.
    """
    check_contamination(contamination)
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
    hidden = draw_hidden(spare, chosen, contamination, rng)
    marked = draw_known(table, np.setdiff1d(spare, hidden), known, seed)
    test = np.concatenate([normal[chosen:], np.setdiff1d(anomalous, np.concatenate([hidden, marked]))])
    return make_split(table, normal[:chosen], hidden, marked, table, np.sort(test), rng)


def paper_split(
    table: LabelledTable, seed: int, contamination: float = 0.0, known: Known = NONE_KNOWN
) -> Split:
    """The DA3D authors' protocol: 15 % test with a fixed seed, 5 % of the rest validation, normal rows train.

    Both divisions are random, not stratified, and made by scikit-learn's `train_test_split` as in the
    authors' code, so that the test rows are the same for every seed (and, for equal row order, the authors'
    own). Where the table has an official test set that one is used, and the training part is divided 95 : 5.
    Anomalies of the training part that neither contaminate nor are known are dropped.

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
    known : Known
        Anomalies of the training part that train with label 1.

    Raises
    ------
    ParameterError
        `contamination` is out of its range.
    LabelError
        The training part has no normal row, no anomaly although contamination is asked for, or not enough
        anomalies of the groups that should be known.

    Warns
    -----
    UserWarning
        The training part has fewer anomalies than the contamination asks for.
    """
    return _published(table, seed, PAPER_TEST_SHARE, PAPER_TEST_SEED, contamination, known)


def preprint_split(
    table: LabelledTable, seed: int, contamination: float = 0.0, known: Known = NONE_KNOWN
) -> Split:
    """The protocol behind the numbers of DA3D's preprint: 20 % test with a fixed seed; else as `paper_split`.

    The preprint's text says 80, 5 and 15 %. But with seed 110 this protocol gives exactly the numbers of
    training rows in its Table 1: 8296 for Mammography (15 % would leave 8819), and, with official test sets,
    63930 for NSL-KDD and 88902 for Census-Income (option ``train_on_test_file``).
    """
    return _published(table, seed, PREPRINT_TEST_SHARE, PAPER_TEST_SEED, contamination, known)


def a3_split(table: LabelledTable, seed: int, contamination: float = 0.0, known: Known = NONE_KNOWN) -> Split:
    """The A3 authors' protocol: 20 % test, 5 % of the rest validation, both with the seed of the run.

    Otherwise as `paper_split`; the authors have 5, 25, 50 or 100 known anomalies and no contamination.
    """
    return _published(table, seed, A3_TEST_SHARE, seed, contamination, known)


def fence_gan(
    table: LabelledTable,
    seed: int,
    contamination: float = 0.0,
    known: Known = NONE_KNOWN,
    made_for: FenceTable = "kdd99",
) -> Split:
    """The Fence GAN authors' protocols, each made for one table.

    ``kdd99``: half of the normal rows trains, the other half and half of the anomalies are tested (there,
    attacks are normal). ``mnist``: 80, 15 and 5 % of the normal rows train, are tested, and validate, in the
    order of the table; 75 and 25 % of the anomalies are tested and validate. ``cifar10``: the same with 75,
    20, 5 and 80, 20 %, in random order. An official test set is left aside; the authors join it with the
    training set (option ``pooled`` of the data sets). Anomalies that contaminate or are known are among those
    that neither are tested nor validate.

    Parameters and errors as in `paper_split`.
    """
    check_contamination(contamination)
    shares, rng = FENCE_GAN[made_for], np.random.default_rng(seed)
    normal, anomalous = by_label(table, np.arange(len(table.frame)))
    if shares.shuffled:
        normal, anomalous = rng.permutation(normal), rng.permutation(anomalous)
    train, test, validation = _cut(normal, shares.train, shares.test, shares.validation)
    tested, validated = _cut(anomalous, shares.tested, shares.validated)
    if not (len(train) and len(test) and len(tested)):
        raise LabelError(
            f"{len(normal)} normal rows and {len(anomalous)} anomalies are too few for Fence GAN's protocol."
        )
    spare = anomalous[len(tested) + len(validated) :]
    hidden = draw_hidden(spare, len(train), contamination, rng)
    marked = draw_known(table, np.setdiff1d(spare, hidden), known, seed)
    aside = np.concatenate([validation, validated]) if shares.validation else None
    return make_split(
        table, train, hidden, marked, table, np.sort(np.concatenate([test, tested])), rng, aside
    )


def _published(
    table: LabelledTable, seed: int, test_share: float, test_seed: int, contamination: float, known: Known
) -> Split:
    """The frame that DA3D's and A3's protocols share."""
    from sklearn.model_selection import train_test_split

    check_contamination(contamination)
    rest = np.arange(len(table.frame))
    tested, test_rows = table.test, None
    if tested is None:
        rest, test_rows = train_test_split(rest, test_size=test_share, random_state=test_seed)
        tested = table
    rest, validation = train_test_split(rest, test_size=PAPER_VALIDATION_SHARE, random_state=seed)
    rng = np.random.default_rng(seed)
    normal, anomalous = by_label(table, rest)
    hidden = draw_hidden(anomalous, len(normal), contamination, rng)
    marked = draw_known(table, np.setdiff1d(anomalous, hidden), known, seed)
    return make_split(table, normal, hidden, marked, tested, test_rows, rng, validation)


def official(table: LabelledTable, seed: int, contamination: float = 0.0, known: Known = NONE_KNOWN) -> Split:
    """All normal training rows train; the official test set is tested.

    Parameters
    ----------
    table : LabelledTable
        Rows with labels and an official test set.
    seed : int
        Chooses the contamination, the known anomalies and the order of the training rows.
    contamination : float
        As in `paper_split`.
    known : Known
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
    check_contamination(contamination)
    if table.test is None:
        raise TableError("This table has no official test set; use one_class or paper_split instead.")
    rng = np.random.default_rng(seed)
    normal, anomalous = by_label(table, np.arange(len(table.frame)))
    hidden = draw_hidden(anomalous, len(normal), contamination, rng)
    marked = draw_known(table, np.setdiff1d(anomalous, hidden), known, seed)
    return make_split(table, normal, hidden, marked, table.test, None, rng)


def _cut(rows: Rows, *shares: float) -> list[Rows]:
    """Rows in their order as parts of these shares, rounded down; what is left over is left out."""
    ends = np.floor(np.cumsum(shares) * len(rows) + 1e-6).astype(int)
    return np.split(rows, ends)[: len(shares)]
