"""ISCX-URL2016: lexical features of web addresses.

The official archive has ``All.csv``: 79 features and, in the last column, the kind of address. Some features
are missing or infinite in many rows. The authors of DA3D dropped every column with such a value, which leaves
69; the default keeps all columns, with infinite numbers as missing ones.

The publisher's page asks for a form, so the file has to be fetched by hand.
"""

from __future__ import annotations

import numpy as np

from da3d.datasets import cache
from da3d.datasets.base import Dataset, LabelledTable
from da3d.datasets.content import (
    UNIQUE_ROWS,
    check_counts,
    check_numbers,
    finite,
    read_csv,
    without_repeats,
)
from da3d.errors import FileError

__all__ = ["DATASET", "KIND", "NORMAL", "load"]

KIND = "URL_Type_obf_Type"
NORMAL = "benign"


def load(drop_incomplete_columns: bool = False, unique_rows: bool = False) -> LabelledTable:
    """Benign addresses as normal; defacement, malware, phishing and spam as anomalies.

    Parameters
    ----------
    drop_incomplete_columns, unique_rows : bool
        As `DATASET.options` describes them.

    Returns
    -------
    LabelledTable
        36707 rows, 79 features (lengths, counts, ratios, entropies; some values are missing), 28926
        anomalies; groups are the five kinds.

    Raises
    ------
    FileError
        The file is damaged or not here.
    """
    (path,) = cache.by_hand(DATASET.by_hand, DATASET.source)
    frame = read_csv(path, str(path))
    if KIND not in frame.columns:
        raise FileError(f"{path} has no column {KIND}; get All.csv again from {DATASET.source}.")
    kinds = frame.pop(KIND).str.strip().to_numpy(dtype=object)
    features = finite(check_numbers(frame, str(path)))
    table = LabelledTable(features, (kinds != NORMAL).astype(np.int64), groups=kinds)
    check_counts(path, table, DATASET.rows, DATASET.features, DATASET.anomalies)
    if drop_incomplete_columns:
        table = LabelledTable(features.dropna(axis="columns"), table.labels, table.groups)
    return without_repeats(table) if unique_rows else table


DATASET = Dataset(
    name="url",
    title="ISCX-URL2016 (malicious web addresses)",
    source="https://www.unb.ca/cic/datasets/url-2016.html",
    licence="free for research with citation; no formal licence text",
    citation="Mamun et al.: Detecting malicious URLs using lexical analysis. NSS 2016.",
    files=(),
    prepared=(),
    rows=36707,
    features=79,
    anomalies=28926,
    normal_rule="normal = benign; anomaly = Defacement, malware, phishing, spam",
    load=load,
    options={
        "drop_incomplete_columns": "without the columns that miss a value anywhere, as in DA3D (69 are left)",
        "unique_rows": UNIQUE_ROWS,
    },
    by_hand=("All.csv",),
)
