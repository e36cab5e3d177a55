"""CIRA-CIC-DoHBrw-2020, layer 2: benign and malicious tunnels of DNS over HTTPS.

The official ``Total_CSVs.zip`` has ``l2-benign.csv`` and ``l2-malicious.csv``: addresses, ports and the time
of a flow, 29 features and the label. Addresses and ports are never features. Nor is the time: benign flows
were captured in December and January, malicious ones in March, so that the week of the year alone separates
them. The authors of DA3D had it as a feature; the option ``capture_week`` brings it back.

The publisher's page asks for a form, so the files have to be fetched by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DATASET", "WEEK", "load"]

IDENTIFIERS = ("SourceIP", "DestinationIP", "SourcePort", "DestinationPort")
TIME = "TimeStamp"
LABEL = "Label"
WEEK = "capture week"


def load(
    capture_week: bool = False,
    drop_incomplete_rows: bool = False,
    drop_incomplete_columns: bool = False,
    unique_rows: bool = False,
) -> LabelledTable:
    """Benign flows as normal, malicious ones as anomalies.

    Parameters
    ----------
    capture_week, drop_incomplete_rows, drop_incomplete_columns, unique_rows : bool
        As `DATASET.options` describes them.

    Returns
    -------
    LabelledTable
        269643 rows, 29 features (some values are missing), 249836 anomalies; groups are ``malicious`` and,
        for benign rows, the week of the capture such as ``week 50``.

    Raises
    ------
    FileError
        The files are damaged or not here.
    """
    import pandas as pd

    paths = cache.by_hand(DATASET.by_hand, DATASET.source)
    table, weeks = _read(paths)
    frame = table.frame
    if drop_incomplete_columns:
        frame = frame.dropna(axis="columns")
    if capture_week:
        frame = pd.concat([frame, weeks], axis="columns")
    table = LabelledTable(frame, table.labels, table.groups)
    if drop_incomplete_rows:
        table = table.take(frame.notna().all(axis="columns").to_numpy())
    return without_repeats(table) if unique_rows else table


def _read(paths: tuple[Path, ...]) -> tuple[LabelledTable, pd.Series[int]]:
    """All rows, and the week of the year in which each was captured."""
    import pandas as pd

    frames = [read_csv(path, str(path)) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if missing := [name for name in (*IDENTIFIERS, TIME, LABEL) if name not in frame.columns]:
            raise FileError(f"{path} has no column {missing[0]}; get it again from {DATASET.source}.")
    whole = pd.concat(frames, ignore_index=True)
    labels = np.repeat([0, 1], [len(frame) for frame in frames])
    name = str(paths[0].parent)
    try:
        weeks = (
            pd.to_datetime(whole[TIME], format="ISO8601").dt.isocalendar().week.astype(np.int64).rename(WEEK)
        )
    except ValueError as error:
        raise FileError(f"{name} has a {TIME} that is no time ({error}).") from error
    groups = np.where(labels == 1, "malicious", [f"week {week}" for week in weeks]).astype(object)
    features = whole.drop(columns=[*IDENTIFIERS, TIME, LABEL])
    table = LabelledTable(finite(check_numbers(features, name)), labels, groups)
    return check_counts(paths[0].parent, table, DATASET.rows, DATASET.features, DATASET.anomalies), weeks


DATASET = Dataset(
    name="doh",
    title="CIRA-CIC-DoHBrw-2020, layer 2 (DNS over HTTPS)",
    source="https://www.unb.ca/cic/datasets/dohbrw-2020.html",
    licence="free for research with citation; no formal licence text",
    citation="MontazeriShatoori et al.: Detection of DoH tunnels using time-series classification of "
    "encrypted traffic. CyberSciTech 2020.",
    files=(),
    prepared=(),
    rows=269643,
    features=29,
    anomalies=249836,
    normal_rule="normal = l2-benign.csv; anomaly = l2-malicious.csv",
    load=load,
    options={
        "capture_week": "leak: add the week of the capture, which separates the classes, as DA3D's code did",
        "drop_incomplete_rows": "without rows that miss a value, as in DA3D's released code",
        "drop_incomplete_columns": "without the columns that miss a value anywhere, as in DA3D's preprint",
        "unique_rows": UNIQUE_ROWS,
    },
    by_hand=("l2-benign.csv", "l2-malicious.csv"),
)
