"""KDD Cup 1999, the 10 % file: network connections, four fifths of them attacks.

The official file is comma-separated text without a header: 41 features and the name of the attack (or
``normal``) with a full stop. Seven of ten rows repeat an earlier one.

Because attacks are the majority, DAGMM and Fence GAN turn the task around: attacks are what is normal, and
ordinary traffic is to be found (option ``attacks_are_normal``).
"""

from __future__ import annotations

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
from da3d.datasets.nsl_kdd import CATEGORIES, FEATURES, NORMAL, by_family
from da3d.errors import FileError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DATASET", "load"]

COLUMNS = (*FEATURES, "label")


def load(
    attacks_are_normal: bool = False, attack_families: bool = False, unique_rows: bool = False
) -> LabelledTable:
    """Connections without attack as normal, every attack as an anomaly; or the other way round.

    Parameters
    ----------
    attacks_are_normal, attack_families, unique_rows : bool
        As `DATASET.options` describes them.

    Returns
    -------
    LabelledTable
        494021 rows, 396743 of them attacks; 41 features as in NSL-KDD; groups are the names of the attacks.

    Raises
    ------
    FileError
        The file is damaged, or can neither be found nor downloaded.
    """
    paths = cache.prepared(DATASET.prepared)
    if paths is not None:
        table = _labelled(paths[0], read_parquet(paths[0], COLUMNS, "KDD Cup 1999"))
    else:
        table = cache.official(DATASET.files[0], DATASET.source, _read_official)
    if unique_rows:
        table = without_repeats(table)
    if attack_families:
        table = by_family(table)
    return LabelledTable(table.frame, 1 - table.labels, table.groups) if attacks_are_normal else table


def _read_official(path: Path) -> LabelledTable:
    frame = read_csv(path, str(path), header=None, keep_default_na=False)
    if frame.shape[1] != len(COLUMNS):
        raise FileError(f"{path} has {frame.shape[1]} columns instead of {len(COLUMNS)}; not KDD Cup 1999.")
    frame.columns = list(COLUMNS)
    return _labelled(path, check_numbers(frame, str(path), (*CATEGORIES, "label")))


def _labelled(path: Path, frame: pd.DataFrame) -> LabelledTable:
    attacks = frame["label"].str.removesuffix(".").to_numpy(dtype=object)
    table = LabelledTable(frame[list(FEATURES)], (attacks != NORMAL).astype(np.int64), groups=attacks)
    return check_counts(path, table, DATASET.rows, DATASET.features, DATASET.anomalies)


DATASET = Dataset(
    name="kddcup99",
    title="KDD Cup 1999, 10 % (network intrusion)",
    source="https://archive.ics.uci.edu/dataset/130/kdd+cup+1999+data",
    licence="CC BY 4.0",
    citation="Stolfo et al.: KDD Cup 1999 Data. UCI Machine Learning Repository, 1999.",
    # The copy and digest that scikit-learn uses; the digest is also that of an independent copy.
    files=(
        RemoteFile(
            "https://ndownloader.figshare.com/files/5976042",
            sha256="8045aca0d84e70e622d1148d7df782496f6333bf6eb979a1b0837c42a9fd9561",
            save_as="kddcup.data_10_percent.gz",
        ),
    ),
    prepared=("kddcup99_10percent.parquet",),
    rows=494021,
    features=len(FEATURES),
    anomalies=396743,
    normal_rule="normal = label is 'normal'; anomaly = every attack",
    load=load,
    options={
        "attacks_are_normal": "attacks are normal and ordinary traffic is the anomaly, as in Fence GAN",
        "attack_families": "groups are the families DoS, Probe, R2L and U2R instead of the 22 attacks",
        "unique_rows": UNIQUE_ROWS,
    },
)
