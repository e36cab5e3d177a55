"""Credit card fraud: payments of two days, described by 28 principal components and the amount.

The official file is ``creditcard.csv`` behind a login; OpenML has the same rows without one, and there the
classes stand in quotes. `Time`, the seconds since the first payment, is left out, as by the authors of DA3D.

`PART` is a table that was pooled from partial copies: every fraud, but less than a twentieth of the genuine
payments, and those no uniform sample. Results on it cannot be compared with those on the whole.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from da3d.datasets import cache
from da3d.datasets.base import Dataset, LabelledTable, RemoteFile
from da3d.datasets.content import (
    UNIQUE_ROWS,
    check_counts,
    check_numbers,
    read_csv,
    read_parquet,
    without_repeats,
)
from da3d.errors import FileError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DATASET", "FEATURES", "PART", "load", "load_part"]

FEATURES = (*(f"V{number}" for number in range(1, 29)), "Amount")
COLUMNS = (*FEATURES, "Class")


def load(unique_rows: bool = False) -> LabelledTable:
    """Genuine payments as normal, frauds as anomalies.

    Parameters
    ----------
    unique_rows : bool
        As `DATASET.options` describes it.

    Returns
    -------
    LabelledTable
        284807 rows, 29 features (`Amount` in euro), 492 anomalies; groups are ``genuine`` and ``fraud``.

    Raises
    ------
    FileError
        The file is damaged, or can neither be found nor downloaded.
    """
    if cache.find(DATASET.by_hand) is not None:
        (path,) = cache.by_hand(DATASET.by_hand, DATASET.source)
        table = _read_official(path)
    else:
        table = cache.official(DATASET.files[0], DATASET.source, _read_official)
    return without_repeats(table) if unique_rows else table


def load_part(unique_rows: bool = False) -> LabelledTable:
    """All frauds, and some of the genuine payments; otherwise as `load`.

    Returns
    -------
    LabelledTable
        13282 rows, 492 anomalies.

    Raises
    ------
    FileError
        The file is damaged or not here.
    """
    (path,) = cache.only_prepared(PART.prepared)
    frame = read_parquet(path, COLUMNS, PART.title)
    table = check_counts(path, _labelled(frame), PART.rows, PART.features, PART.anomalies)
    return without_repeats(table) if unique_rows else table


def _read_official(path: Path) -> LabelledTable:
    frame = read_csv(path, str(path), quotechar='"')
    if not set(COLUMNS) <= set(frame.columns):
        raise FileError(f"{path} has not the columns V1 to V28, Amount and Class; not the official file.")
    if frame["Class"].dtype.kind not in "iu":
        frame["Class"] = (frame["Class"].str.strip("'") == "1").astype(np.int64)
    table = _labelled(check_numbers(frame[list(COLUMNS)], str(path)))
    return check_counts(path, table, DATASET.rows, DATASET.features, DATASET.anomalies)


def _labelled(frame: pd.DataFrame) -> LabelledTable:
    labels = frame["Class"].to_numpy(dtype=np.int64)
    return LabelledTable(frame[list(FEATURES)], labels, np.array(["genuine", "fraud"], object)[labels])


_describe = partial(
    Dataset,
    source="https://www.kaggle.com/datasets/mlg-ulb/creditcardfraud",
    licence="DbCL 1.0",
    citation="Dal Pozzolo et al.: Calibrating probability with undersampling for unbalanced classification. "
    "SSCI 2015.",
    features=len(FEATURES),
    anomalies=492,
    normal_rule="normal = genuine payments (Class 0); anomaly = frauds (Class 1)",
    options={"unique_rows": UNIQUE_ROWS},
)

DATASET = _describe(
    name="creditcard",
    title="Credit card fraud (ULB)",
    # The digest is the one that TensorFlow Datasets uses for OpenML's copy.
    files=(
        RemoteFile(
            "https://www.openml.org/data/get_csv/1673544/phpKo8OWT",
            sha256="a57f43b36bd695c8e984f481d9309c08a635e726068007f8d1751933e6866d86",
            bytes=150828752,
            save_as="creditcard_openml.csv",
        ),
    ),
    prepared=(),
    rows=284807,
    load=load,
    by_hand=("creditcard.csv",),
)

PART = _describe(
    name="creditcard_part",
    title="Credit card fraud, all frauds and 12 790 genuine payments",
    files=(),
    prepared=("creditcard_subset_fullprecision.parquet",),
    rows=13282,
    load=load_part,
)
