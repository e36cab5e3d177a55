"""CSE-CIC-IDS2018: network flows of ten days, with seven kinds of attack.

The official files are one CSV text per day, seven gigabytes together. Their faults are repaired here: one
day (its name misspelt by the publishers) has addresses and flow numbers that the others lack, some days
repeat their header among the rows, and two rates are infinite or missing in some rows. `Timestamp`, addresses
and flow numbers are no features; the destination port stays one, as in A3. Numbers are kept in single
precision, or the whole would not fit the memory of most machines.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from da3d.datasets import cache
from da3d.datasets.base import Dataset, LabelledTable, RemoteFile
from da3d.datasets.content import UNIQUE_ROWS, check_counts, finite, without_repeats
from da3d.errors import FileError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DATASET", "GROUPS", "NORMAL", "load"]

NORMAL = "Benign"
GROUPS = {
    "Benign": NORMAL,
    "Bot": "Bot",
    "FTP-BruteForce": "BruteForce",
    "SSH-Bruteforce": "BruteForce",
    "DDOS attack-HOIC": "DDoS",
    "DDOS attack-LOIC-UDP": "DDoS",
    "DDoS attacks-LOIC-HTTP": "DDoS",
    "DoS attacks-GoldenEye": "DoS",
    "DoS attacks-Hulk": "DoS",
    "DoS attacks-SlowHTTPTest": "DoS",
    "DoS attacks-Slowloris": "DoS",
    "Infilteration": "Infiltration",
    "Brute Force -Web": "WebAttacks",
    "Brute Force -XSS": "WebAttacks",
    "SQL Injection": "WebAttacks",
}
"""Group of each official label, as in A3."""

DAYS = (
    "Wednesday-14-02-2018",
    "Thursday-15-02-2018",
    "Friday-16-02-2018",
    "Thuesday-20-02-2018",
    "Wednesday-21-02-2018",
    "Thursday-22-02-2018",
    "Friday-23-02-2018",
    "Wednesday-28-02-2018",
    "Thursday-01-03-2018",
    "Friday-02-03-2018",
)
DDOS_DAYS = ("Thuesday-20-02-2018", "Wednesday-21-02-2018")
NO_FEATURES = ("Flow ID", "Src IP", "Src Port", "Dst IP", "Timestamp")
LABEL, PROTOCOL = "Label", "Protocol"
_BUCKET = "https://cse-cic-ids2018.s3.ca-central-1.amazonaws.com/"
_FOLDER = "Processed Traffic Data for ML Algorithms/"
_CHUNK = 500_000  # rows read at a time; a repeated header makes the columns of its chunk text


def load(
    without_ddos_days: bool = False, drop_incomplete_rows: bool = False, unique_rows: bool = False
) -> LabelledTable:
    """Benign flows as normal, every attack as an anomaly.

    Parameters
    ----------
    without_ddos_days, drop_incomplete_rows, unique_rows : bool
        As `DATASET.options` describes them.

    Returns
    -------
    LabelledTable
        16232943 rows, 78 features (`Protocol` is a category; some rates are missing), 2748235 anomalies;
        groups are ``Benign``, ``Bot``, ``BruteForce``, ``DDoS``, ``DoS``, ``Infiltration``, ``WebAttacks``.

    Raises
    ------
    FileError
        A file is damaged, or can neither be found nor downloaded.
    """
    days = tuple(day for day in DAYS if not (without_ddos_days and day in DDOS_DAYS))
    table = cache.officials(tuple(_remote(day) for day in days), DATASET.source, _read)
    if drop_incomplete_rows:
        table = table.take(table.frame.notna().all(axis="columns").to_numpy())
    return without_repeats(table) if unique_rows else table


def _remote(day: str) -> RemoteFile:
    name = f"{day}_TrafficForML_CICFlowMeter.csv"
    return RemoteFile(_BUCKET + quote(_FOLDER + name), save_as=f"ids2018/{name}")


def _read(paths: tuple[Path, ...]) -> LabelledTable:
    """The rows of several days; counted if they are all days."""
    import pandas as pd

    parts = [part for path in paths for part in _chunks(path)]
    try:
        frame = pd.concat([features for features, _ in parts], ignore_index=True)
    except ValueError as error:
        raise FileError(f"{paths[0].parent} holds no rows ({error}).") from error
    groups = np.concatenate([groups for _, groups in parts])
    table = LabelledTable(frame, (groups != NORMAL).astype(np.int64), groups)
    if len(paths) < len(DAYS):
        return table
    return check_counts(paths[0].parent, table, DATASET.rows, DATASET.features, DATASET.anomalies)


def _chunks(path: Path) -> Iterator[tuple[pd.DataFrame, np.ndarray[tuple[int], np.dtype[np.object_]]]]:
    """Features and groups of a day, some rows at a time."""
    import pandas as pd

    try:
        with pd.read_csv(path, chunksize=_CHUNK, low_memory=False) as chunks:
            for chunk in chunks:
                rows = chunk[chunk[LABEL] != LABEL]  # a repeated header
                yield _features(rows), rows[LABEL].map(GROUPS.__getitem__).to_numpy(dtype=object)
    except (OSError, ValueError, KeyError) as error:
        raise FileError(f"{path} is not a day of CSE-CIC-IDS2018 ({error!r}); get it again.") from error


def _features(rows: pd.DataFrame) -> pd.DataFrame:
    """Numbers in single precision, the protocol as a category."""
    import pandas as pd

    kept = rows.drop(columns=[LABEL, *(name for name in NO_FEATURES if name in rows.columns)])
    numbers = finite(kept.apply(pd.to_numeric)).astype(np.float32)
    protocols = pd.CategoricalDtype(["0", "6", "17"])
    return numbers.assign(**{PROTOCOL: numbers[PROTOCOL].astype(int).astype(str).astype(protocols)})


DATASET = Dataset(
    name="ids2018",
    title="CSE-CIC-IDS2018 (network intrusion)",
    source="https://www.unb.ca/cic/datasets/ids-2018.html",
    licence="free for research with citation; no formal licence text",
    citation="Sharafaldin, Lashkari, Ghorbani: Toward generating a new intrusion detection dataset and "
    "intrusion traffic characterization. ICISSP 2018.",
    files=tuple(_remote(day) for day in DAYS),
    prepared=(),
    rows=16232943,
    features=78,
    anomalies=2748235,
    normal_rule="normal = Benign; anomaly = every attack",
    load=load,
    options={
        "without_ddos_days": "without the two days of DDoS attacks; A3 leaves these attacks out",
        "drop_incomplete_rows": "without rows that miss a rate, as in A3",
        "unique_rows": UNIQUE_ROWS,
    },
)
