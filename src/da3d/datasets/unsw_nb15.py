"""UNSW-NB15: network flows, with official training and test partitions.

The partitions are the files ``UNSW_NB15_training-set.csv`` and ``UNSW_NB15_testing-set.csv``, which the
publishers hand out through a file share that needs a person. In widespread copies the two names are swapped,
so the partitions are told apart by their number of rows: the training partition is the larger one. `id` is a
row number and `attack_cat` the answer; neither is a feature.

`PART` is the smaller partition alone, for machines that have only that.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from da3d.datasets import cache
from da3d.datasets.base import Dataset, LabelledTable
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

__all__ = ["CATEGORIES", "DATASET", "PART", "load", "load_part"]

CATEGORIES = ("proto", "service", "state")
_COLUMNS = """
    dur proto service state spkts dpkts sbytes dbytes rate sttl dttl sload dload sloss dloss sinpkt dinpkt
    sjit djit swin stcpb dtcpb dwin tcprtt synack ackdat smean dmean trans_depth response_body_len ct_srv_src
    ct_state_ttl ct_dst_ltm ct_src_dport_ltm ct_dst_sport_ltm ct_dst_src_ltm is_ftp_login ct_ftp_cmd
    ct_flw_http_mthd ct_src_ltm ct_srv_dst is_sm_ips_ports attack_cat label
"""
COLUMNS = tuple(_COLUMNS.split())
FEATURES = COLUMNS[:-2]


def load(unique_rows: bool = False) -> LabelledTable:
    """Ordinary flows as normal, nine categories of attack as anomalies.

    Parameters
    ----------
    unique_rows : bool
        As `DATASET.options` describes it.

    Returns
    -------
    LabelledTable
        175341 training rows (119341 anomalies) and, as `test`, 82332 rows (45332 anomalies); 42 features, of
        which `proto`, `service` and `state` are text; groups are ``Normal`` and the categories of attack.

    Raises
    ------
    FileError
        The files are damaged or not here.
    """
    paths = cache.by_hand(DATASET.by_hand, DATASET.source)
    small, large = sorted((_read_csv(path) for path in paths), key=lambda table: len(table.frame))
    test = check_counts(paths[0].parent, small, PART.rows, PART.features, PART.anomalies)
    table = LabelledTable(large.frame, large.labels, large.groups, test)
    table = check_counts(paths[0].parent, table, DATASET.rows, DATASET.features, DATASET.anomalies)
    return without_repeats(table) if unique_rows else table


def load_part(unique_rows: bool = False) -> LabelledTable:
    """The smaller partition as a table without an official test set; otherwise as `load`."""
    paths = cache.prepared(PART.prepared)
    if paths is not None:
        table = _labelled(read_parquet(paths[0], COLUMNS, "UNSW-NB15"), str(paths[0]))
        table = check_counts(paths[0], table, PART.rows, PART.features, PART.anomalies)
        return without_repeats(table) if unique_rows else table
    part = load(unique_rows).test
    assert part is not None
    return part


def _read_csv(path: Path) -> LabelledTable:
    frame = read_csv(path, str(path), encoding="utf-8-sig", keep_default_na=False)
    if not set(COLUMNS) <= set(frame.columns):
        raise FileError(f"{path} lacks columns of UNSW-NB15; get it again from {DATASET.source}.")
    return _labelled(frame[list(COLUMNS)], str(path))


def _labelled(frame: pd.DataFrame, name: str) -> LabelledTable:
    features = check_numbers(frame[list(FEATURES)], name, CATEGORIES)
    groups = frame["attack_cat"].str.strip().to_numpy(dtype=object)
    return LabelledTable(features, frame["label"].to_numpy(dtype=np.int64), groups)


_describe = partial(
    Dataset,
    source="https://research.unsw.edu.au/projects/unsw-nb15-dataset",
    licence="free for academic research with citation",
    citation="Moustafa, Slay: UNSW-NB15: a comprehensive data set for network intrusion detection systems. "
    "MilCIS 2015.",
    files=(),
    features=len(FEATURES),
    normal_rule="normal = ordinary flows (label 0); anomaly = attacks (label 1)",
    options={"unique_rows": UNIQUE_ROWS},
    by_hand=("UNSW_NB15_training-set.csv", "UNSW_NB15_testing-set.csv"),
)

DATASET = _describe(
    name="unsw_nb15",
    title="UNSW-NB15 (network intrusion)",
    prepared=(),
    rows=175341,
    anomalies=119341,
    load=load,
)

PART = _describe(
    name="unsw_nb15_part",
    title="UNSW-NB15, the partition of 82 332 rows alone",
    prepared=("unsw_nb15_82332.parquet",),
    rows=82332,
    anomalies=45332,
    load=load_part,
)
