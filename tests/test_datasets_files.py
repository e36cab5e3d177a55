"""The sets that are read from files: NSL-KDD, Mammography, ADBench."""

import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from da3d import datasets
from da3d.datasets import content, folder, mammography, nsl_kdd
from da3d.errors import FileError, LabelError

# Four invented connections in the official format: 41 features, label, difficulty; no header.
EXCERPT = b"""\
0,tcp,http,SF,215,1290,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,3,3,0.00,0.00,0.00,0.00,1.00,0.00,0.00,40,255,1.00,0.00,0.03,0.04,0.00,0.00,0.00,0.00,normal,21
0,tcp,private,S0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,121,9,1.00,1.00,0.00,0.00,0.07,0.06,0.00,255,9,0.04,0.06,0.00,0.00,1.00,1.00,0.00,0.00,neptune,20
5,udp,domain_u,SF,44,130,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,1,0.00,0.00,0.00,0.00,1.00,0.00,0.00,255,253,0.99,0.01,0.00,0.00,0.00,0.00,0.00,0.00,normal,18
1,tcp,telnet,SF,129,174,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0,1,1,0.00,0.00,0.00,0.00,1.00,0.00,0.00,255,2,0.01,0.02,0.00,0.00,0.00,0.00,0.50,0.25,guess_passwd,11
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder as `DA3D_DATA`, and no cache."""
    monkeypatch.setenv("DA3D_DATA", str(tmp_path))
    monkeypatch.setenv("DA3D_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def data(monkeypatch, tmp_path):
    """The real data folder, where the machine has one."""
    if not os.environ.get("DA3D_DATA"):
        pytest.skip("DA3D_DATA is not set")
    monkeypatch.setenv("DA3D_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def small_nsl_kdd(monkeypatch):
    """NSL-KDD as if the excerpt were all of it, both for training and for the test."""
    digest = hashlib.sha256(EXCERPT).hexdigest()
    monkeypatch.setattr(nsl_kdd, "TEXT_SHA256", {"KDDTrain+.txt": digest, "KDDTest+.txt": digest})
    monkeypatch.setattr(nsl_kdd, "TEST_ROWS", 4)
    monkeypatch.setattr(nsl_kdd, "TEST_ANOMALIES", 2)
    small = {**vars(nsl_kdd.DATASET), "rows": 4, "anomalies": 2}
    monkeypatch.setattr(nsl_kdd, "DATASET", datasets.Dataset(**small))


def zip_texts(path, train, test, prefix=""):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{prefix}KDDTrain+.txt", train)
        archive.writestr(f"{prefix}KDDTest+.txt", test)
        archive.writestr("__MACOSX/._KDDTrain+.txt", b"\0")


def test_the_official_text_is_parsed_into_named_columns():
    frame = nsl_kdd.parse(EXCERPT, "excerpt")
    assert list(frame.columns) == [*nsl_kdd.FEATURES, "label", "difficulty"]
    assert len(nsl_kdd.FEATURES) == 41
    assert list(frame["label"]) == ["normal", "neptune", "normal", "guess_passwd"]
    assert list(frame["difficulty"]) == [21, 20, 18, 11]
    third = frame.iloc[2]
    assert (third["duration"], third["protocol_type"], third["service"], third["flag"]) == (
        5,
        "udp",
        "domain_u",
        "SF",
    )
    assert (third["src_bytes"], third["dst_bytes"], third["dst_host_same_srv_rate"]) == (44, 130, 0.99)
    assert list(frame["num_failed_logins"]) == [0, 0, 0, 1]
    assert frame["dst_host_srv_rerror_rate"].iloc[3] == 0.25
    assert all(
        frame[column].dtype.kind in "if"
        for column in frame.columns.difference([*nsl_kdd.CATEGORIES, "label"])
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not comma-separated"),
        (b"a,b\n1,2\n", "2 columns instead of 43"),
        (EXCERPT + b"1,2,3\n", "gaps|not comma-separated|text or gaps"),
        (EXCERPT + EXCERPT.splitlines()[0] + b",7\n", "not comma-separated"),
        (EXCERPT.replace(b"5,udp", b"five,udp"), "numeric column duration"),
        (b"\xff\xfe" + EXCERPT, "not comma-separated|numeric column"),
    ],
)
def test_a_text_that_is_not_the_format_is_refused(text, message):
    with pytest.raises(FileError, match=message):
        nsl_kdd.parse(text, "excerpt")


@pytest.mark.parametrize("prefix", ["", "NSL-KDD/"])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_the_official_archive_is_read(home, small_nsl_kdd, prefix, ends):
    text = EXCERPT.replace(b"\n", ends)
    zip_texts(home / "NSL-KDD.zip", text, text.rstrip(), prefix)
    table = nsl_kdd.load()
    assert list(table.frame.columns) == list(nsl_kdd.FEATURES)
    assert list(table.labels) == [0, 1, 0, 1]
    assert list(table.groups) == ["normal", "neptune", "normal", "guess_passwd"]
    assert list(table.test.labels) == [0, 1, 0, 1]
    assert datasets.state(nsl_kdd.DATASET) == "cached"


def test_another_text_in_the_archive_is_refused(home):
    zip_texts(home / "NSL-KDD.zip", EXCERPT, EXCERPT)
    with pytest.raises(FileError, match=r"KDDTrain\+.txt in .* is not the official text"):
        datasets.load_dataset("nsl_kdd")


def test_an_archive_that_is_none_is_refused(home):
    (home / "NSL-KDD.zip").write_bytes(b"<html>please register</html>")
    with pytest.raises(FileError, match="is not an archive with"):
        datasets.load_dataset("nsl_kdd")
    with zipfile.ZipFile(home / "NSL-KDD.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing else")
    with pytest.raises(FileError, match=r"KDDTrain\+.txt"):
        datasets.load_dataset("nsl_kdd")


def test_prepared_files_of_another_size_are_refused(home):
    for name in ("nsl_kdd_train.parquet", "nsl_kdd_test.parquet"):
        nsl_kdd.parse(EXCERPT, "excerpt").to_parquet(home / name)
    with pytest.raises(FileError, match="has 4 rows, 41 features and 2 anomalies instead of 22544"):
        datasets.load_dataset("nsl_kdd")
    (home / "nsl_kdd_test.parquet").write_bytes(b"PAR1")
    with pytest.raises(FileError, match="cannot be read as NSL-KDD in Parquet"):
        datasets.load_dataset("nsl_kdd")


def test_attacks_belong_to_families():
    assert list(nsl_kdd.attack_families(["neptune", "satan", "guess_passwd", "rootkit", "normal"])) == [
        "DoS",
        "Probe",
        "R2L",
        "U2R",
        "normal",
    ]
    with pytest.raises(LabelError, match="'wannacry' is not an attack of NSL-KDD"):
        nsl_kdd.attack_families(["neptune", "wannacry"])


def test_nsl_kdd_in_full(data):
    table = datasets.load_dataset("nsl_kdd")
    assert (table.frame.shape, table.anomalies) == ((125973, 41), 58630)
    assert (table.test.frame.shape, table.test.anomalies) == ((22544, 41), 12833)
    families = pd.Series(nsl_kdd.attack_families(table.test.groups)).value_counts().to_dict()
    assert families == {"normal": 9711, "DoS": 7458, "R2L": 2754, "Probe": 2421, "U2R": 200}


def test_the_official_archive_in_full_gives_the_prepared_rows(data, tmp_path, monkeypatch):
    """The official text, rebuilt from the prepared rows, has the recorded digest and gives the same table."""
    prepared = datasets.load_dataset("nsl_kdd")
    texts = []
    for name in nsl_kdd.DATASET.prepared:
        frame = pd.read_parquet(Path(os.environ["DA3D_DATA"]) / name)
        texts.append(frame.to_csv(header=False, index=False, float_format="%.2f", lineterminator="\n"))
    zip_texts(tmp_path / "NSL-KDD.zip", *texts)
    monkeypatch.setenv("DA3D_DATA", str(tmp_path))
    official = datasets.load_dataset("nsl_kdd")
    for ours, theirs in ((official, prepared), (official.test, prepared.test)):
        pd.testing.assert_frame_equal(ours.frame, theirs.frame)
        np.testing.assert_array_equal(ours.groups, theirs.groups)


def test_mammography_in_full(data):
    table = datasets.load_dataset("mammography")
    assert (table.frame.shape, table.anomalies) == ((11183, 6), 260)
    assert datasets.state(datasets.get_dataset("mammography")) == "cached"


def test_the_official_mammography_file_is_read(home):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(11183, 6))
    labels = (np.arange(11183) < 260).astype(np.float64)[:, None]
    savemat(home / "mammography.mat", {"X": values, "y": labels})
    table = datasets.load_dataset("mammography")
    np.testing.assert_array_equal(table.frame.to_numpy(), values)
    assert table.anomalies == 260
    assert list(table.frame.columns) == list(mammography.COLUMNS)
    savemat(home / "mammography.mat", {"X": values[1:], "y": labels[1:]})
    with pytest.raises(FileError, match="has 11182 rows, 6 features and 259 anomalies instead of 11183"):
        datasets.load_dataset("mammography")


@pytest.mark.parametrize("damage", ["half", "text", "no X", "labels"])
def test_a_damaged_mat_file_is_refused(tmp_path, damage):
    path = tmp_path / "x.mat"
    arrays = {"X": np.zeros((50, 3)), "y": np.zeros((50, 1))}
    if damage == "no X":
        del arrays["X"]
    if damage == "labels":
        arrays["y"] += 0.5
    savemat(path, arrays, do_compression=True)
    if damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if damage == "text":
        path.write_bytes(b"<html>" * 40)
    with pytest.raises(FileError, match=r"x.mat cannot be read as a MATLAB file"):
        content.read_mat(path)


@pytest.fixture
def adbench(home):
    """Two small ADBench files in the data folder."""
    (home / "adbench").mkdir()
    rng = np.random.default_rng(1)
    for name, rows in (("7_Cardio-tiny", 30), ("22_magic.tiny", 20)):
        labels = (np.arange(rows) % 5 == 0).astype(int)
        np.savez(home / "adbench" / f"{name}.npz", X=rng.normal(size=(rows, 3)), y=labels)
    return home


def test_adbench_tables_are_listed_only_where_they_are(adbench):
    listed = {dataset.name: dataset for dataset in datasets.list_datasets()}
    assert {"adbench/cardio_tiny", "adbench/magic.tiny"} < set(listed)
    record = listed["adbench/cardio_tiny"]
    assert (record.rows, record.features, record.anomalies) == (30, 3, 6)
    assert datasets.state(record) == "cached"
    table = datasets.load_dataset("adbench/Cardio-tiny")
    assert (table.frame.shape, table.anomalies) == ((30, 3), 6)
    assert list(table.frame.columns) == ["x0", "x1", "x2"]


def test_a_folder_of_tables_is_read_by_name(adbench):
    tables = folder.load_npz_folder(adbench / "adbench")
    assert {name: len(table.frame) for name, table in tables.items()} == {"cardio-tiny": 30, "magic.tiny": 20}
    with pytest.raises(FileError, match="not a folder"):
        folder.load_npz_folder(adbench / "absent")


@pytest.mark.parametrize("damage", ["half", "no y", "pickle", "shape"])
def test_a_damaged_npz_file_is_refused(tmp_path, damage):
    path = tmp_path / "1_x.npz"
    arrays = {"X": np.zeros((50, 3)), "y": np.zeros(50)}
    if damage == "no y":
        del arrays["y"]
    if damage == "pickle":
        arrays["X"] = np.array([{"a": 1}] * 50, dtype=object)
    if damage == "shape":
        arrays["y"] = np.zeros(49)
    np.savez(path, **arrays)
    if damage == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FileError, match=r"1_x.npz cannot be read as a NumPy archive"):
        content.read_npz(path)


def test_a_damaged_file_in_the_folder_is_named_when_listing(adbench):
    (adbench / "adbench" / "9_bad.npz").write_bytes(b"nothing")
    with pytest.raises(FileError, match=r"9_bad.npz is not a NumPy archive"):
        datasets.list_datasets()


def test_adbench_in_full(data):
    table = datasets.load_dataset("adbench/cardio")
    assert (table.frame.shape, table.anomalies) == ((1831, 21), 176)
