"""NSL-KDD: network connections, and an official test set that has attacks unseen in training.

The official archive holds ``KDDTrain+.txt`` and ``KDDTest+.txt``: comma-separated, without a header, 41
features, the name of the attack (or ``normal``), and a difficulty level. The last two are not features.

The Canadian Institute for Cybersecurity publishes no digest of the archive, and the archive comes over plain
HTTP. What can be known is the text inside: six independent public repositories hold both files with the same
git blob id (20002897… and b30e8960…), and the SHA-256 below are those of the very same bytes. A text is
therefore accepted by this digest, whatever its line ends, and by its counts of rows, features and anomalies.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from da3d.datasets import cache
from da3d.datasets.base import Dataset, LabelledTable, RemoteFile
from da3d.datasets.content import (
    UNIQUE_ROWS,
    check_counts,
    check_numbers,
    read_csv,
    read_members,
    read_parquet,
    without_repeats,
)
from da3d.errors import FileError, LabelError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CATEGORIES", "DATASET", "FEATURES", "NORMAL", "attack_families", "by_family", "load", "parse"]

NORMAL = "normal"
CATEGORIES = ("protocol_type", "service", "flag")
_FEATURE_NAMES = """
    duration protocol_type service flag src_bytes dst_bytes land wrong_fragment urgent hot num_failed_logins
    logged_in num_compromised root_shell su_attempted num_root num_file_creations num_shells num_access_files
    num_outbound_cmds is_host_login is_guest_login count srv_count serror_rate srv_serror_rate rerror_rate
    srv_rerror_rate same_srv_rate diff_srv_rate srv_diff_host_rate dst_host_count dst_host_srv_count
    dst_host_same_srv_rate dst_host_diff_srv_rate dst_host_same_src_port_rate dst_host_srv_diff_host_rate
    dst_host_serror_rate dst_host_srv_serror_rate dst_host_rerror_rate dst_host_srv_rerror_rate
"""
FEATURES = tuple(_FEATURE_NAMES.split())
COLUMNS = (*FEATURES, "label", "difficulty")

TEXT_SHA256 = {
    "KDDTrain+.txt": "1b86d2f957b33082081bba410fe129b475efebcc13c9014c3f447c8271aadf95",
    "KDDTest+.txt": "fa46b0935342616aa83b7c2578db355b6a7aaabbc492248172c7a1e8b7ab8f84",
}
TEST_ROWS, TEST_ANOMALIES = 22544, 12833

# The assignment of the KDD Cup's own evaluation, also used by the authors of A3; others count `httptunnel` as
# R2L.
FAMILIES = {
    "DoS": "apache2 back land mailbomb neptune pod processtable smurf teardrop udpstorm",
    "Probe": "ipsweep mscan nmap portsweep saint satan",
    "R2L": (
        "ftp_write guess_passwd imap multihop named phf sendmail snmpgetattack snmpguess spy warezclient "
        "warezmaster worm xlock xsnoop"
    ),
    "U2R": "buffer_overflow httptunnel loadmodule perl ps rootkit sqlattack xterm",
}
_FAMILY_OF = {attack: family for family, attacks in FAMILIES.items() for attack in attacks.split()} | {
    NORMAL: NORMAL
}


def load(
    attack_families: bool = False, unknown_attacks: bool = False, unique_rows: bool = False
) -> LabelledTable:
    """Connections without attack as normal, every attack as an anomaly.

    Parameters
    ----------
    attack_families, unknown_attacks, unique_rows : bool
        As `DATASET.options` describes them.

    Returns
    -------
    LabelledTable
        125973 training rows (58630 anomalies) and, as `test`, 22544 rows (12833 anomalies); 41 features, of
        which `protocol_type`, `service` and `flag` are text; groups are the names of the attacks.

    Raises
    ------
    FileError
        The files are damaged, or can neither be found nor downloaded.
    """
    paths = cache.prepared(DATASET.prepared)
    if paths is not None:
        train, test = (read_parquet(path, COLUMNS, "NSL-KDD") for path in paths)
        table = _assemble(paths[0].parent, train, test)
    else:
        table = cache.official(DATASET.files[0], DATASET.source, _read_archive)
    if unique_rows:
        table = without_repeats(table)
    if unknown_attacks:
        table = _only_unknown(table)
    return by_family(table) if attack_families else table


def attack_families(attacks: Iterable[str]) -> npt.NDArray[Any]:
    """Family of each attack: ``DoS``, ``Probe``, ``R2L`` or ``U2R``; ``normal`` stays ``normal``.

    Parameters
    ----------
    attacks : iterable of str
        Names as in the groups of the loaded table.

    Raises
    ------
    LabelError
        A name is not one of NSL-KDD's 39 attacks.
    """
    names = list(attacks)
    unknown = sorted(set(names) - set(_FAMILY_OF))
    if unknown:
        raise LabelError(
            f"{unknown[0]!r} is not an attack of NSL-KDD; known: {', '.join(sorted(_FAMILY_OF))}."
        )
    return np.array([_FAMILY_OF[name] for name in names], dtype=object)


def parse(text: bytes, name: str) -> pd.DataFrame:
    """The 43 columns of an official text file, named.

    Parameters
    ----------
    text : bytes
        Lines of 41 features, label and difficulty, separated by commas, without a header.
    name : str
        What the text is called in an error.

    Raises
    ------
    FileError
        A line has not 43 fields, a field is empty, or a number is not one.
    """
    import pandas as pd

    frame = read_csv(io.BytesIO(text), name, header=None, index_col=False, keep_default_na=False)
    if frame.shape[1] != len(COLUMNS):
        raise FileError(
            f"{name} has {frame.shape[1]} columns instead of {len(COLUMNS)}; not an official NSL-KDD text."
        )
    frame.columns = pd.Index(COLUMNS)
    return check_numbers(frame, name, (*CATEGORIES, "label"))


def by_family(table: LabelledTable) -> LabelledTable:
    """The table with families as groups in place of attacks, in its test set, too."""
    test = None if table.test is None else by_family(table.test)
    groups = None if table.groups is None else attack_families(table.groups)
    return replace(table, groups=groups, test=test)


def _only_unknown(table: LabelledTable) -> LabelledTable:
    """The table with a test set of normal rows and attacks that training has never seen."""
    assert table.test is not None
    assert table.groups is not None
    assert table.test.groups is not None
    unseen = ~np.isin(table.test.groups, np.unique(table.groups[table.labels == 1]))
    return replace(table, test=table.test.take(unseen))


def _read_archive(path: Path) -> LabelledTable:
    """Both texts of the official archive as one table."""
    texts = read_members(path, tuple(TEXT_SHA256), DATASET.source)
    for name, text in texts.items():
        _check_text(path, name, text)
    train, test = (parse(texts[name], f"{name} in {path}") for name in TEXT_SHA256)
    return _assemble(path, train, test)


def _check_text(path: Path, name: str, text: bytes) -> None:
    """Refuse a text that is not the official one, line ends aside."""
    found = hashlib.sha256(text.replace(b"\r\n", b"\n").rstrip(b"\n") + b"\n").hexdigest()
    if found != TEXT_SHA256[name]:
        raise FileError(
            f"{name} in {path} is not the official text: its SHA-256 is {found}, not {TEXT_SHA256[name]}; "
            f"get the archive again from {DATASET.source}."
        )


def _assemble(origin: Path, train: pd.DataFrame, test: pd.DataFrame) -> LabelledTable:
    """Training and test rows as one table, after a count."""
    width = len(FEATURES)
    labelled_test = check_counts(origin, _labelled(test), TEST_ROWS, width, TEST_ANOMALIES)
    return check_counts(origin, _labelled(train, labelled_test), DATASET.rows, width, DATASET.anomalies)


def _labelled(frame: pd.DataFrame, test: LabelledTable | None = None) -> LabelledTable:
    """Features, labels and attack names apart."""
    attacks = frame["label"].to_numpy(dtype=object)
    return LabelledTable(
        frame[list(FEATURES)], (attacks != NORMAL).astype(np.int64), groups=attacks, test=test
    )


DATASET = Dataset(
    name="nsl_kdd",
    title="NSL-KDD (network intrusion)",
    source="https://www.unb.ca/cic/datasets/nsl.html",
    licence="free for research with citation; no formal licence text",
    citation="Tavallaee, Bagheri, Lu, Ghorbani: A detailed analysis of the KDD CUP 99 data set. CISDA 2009.",
    files=(RemoteFile("http://205.174.165.80/CICDataset/NSL-KDD/Dataset/NSL-KDD.zip"),),
    prepared=("nsl_kdd_train.parquet", "nsl_kdd_test.parquet"),
    rows=125973,
    features=len(FEATURES),
    anomalies=58630,
    normal_rule="normal = label is 'normal'; anomaly = every attack",
    load=load,
    options={
        "attack_families": "groups are the families DoS, Probe, R2L and U2R instead of the 39 attacks",
        "unknown_attacks": "test only normal rows and the attacks that training has never seen",
        "unique_rows": UNIQUE_ROWS,
    },
)
