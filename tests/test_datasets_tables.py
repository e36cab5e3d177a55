"""Tables in their official formats: invented excerpts are parsed, leaks are off, damage is refused."""

import gzip
import inspect
import io
import os
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from da3d import datasets
from da3d.datasets import (
    cache,
    census_income,
    covertype,
    creditcard,
    doh,
    ids2018,
    kddcup99,
    nsl_kdd,
    unsw_nb15,
    url,
)
from da3d.errors import FileError, ParameterError

ALL = {
    "census_income": (199523, 12382, 99762, 6186),
    "creditcard_part": (13282, 492, None, None),
    "kddcup99": (494021, 396743, None, None),
    "unsw_nb15_part": (82332, 45332, None, None),
}


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
def shrink(monkeypatch):
    """A function that makes a module's data set as small as an excerpt, and its digest unknown."""

    def smaller(module, name="DATASET", **sizes):
        dataset = getattr(module, name)
        files = tuple(replace(file, sha256=None, bytes=None) for file in dataset.files)
        monkeypatch.setattr(module, name, replace(dataset, files=files, **sizes))

    return smaller


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode()
    path.write_bytes(packed)


# ------------------------------------------------------------------------------------------ KDD Cup 1999

FLOW = "0,tcp,http,SF,181,5450," + "0," * 16 + "8,8," + "0.00," * 6 + "0.11,9,9," + "0.00," * 8
KDD = FLOW + "normal.\n" + FLOW + "smurf.\n" + FLOW + "smurf.\n" + FLOW + "guess_passwd.\n"


def test_kdd_cup_is_read_and_turned_around(home, shrink):
    shrink(kddcup99, rows=4, anomalies=3)
    write(home / "kddcup.data_10_percent.gz", KDD)
    table = datasets.load_dataset("kddcup99")
    assert list(table.frame.columns) == list(nsl_kdd.FEATURES)
    assert list(table.groups) == ["normal", "smurf", "smurf", "guess_passwd"]
    assert list(table.labels) == [0, 1, 1, 1]
    turned = datasets.load_dataset("kddcup99", attacks_are_normal=True, unique_rows=True)
    assert list(turned.groups) == ["normal", "smurf"]  # rows of one class and equal features are one
    assert list(turned.labels) == [1, 0]
    families = datasets.load_dataset("kddcup99", attack_families=True)
    assert list(families.groups) == ["normal", "DoS", "DoS", "R2L"]


def test_a_kdd_cup_of_another_width_or_size_is_refused(home, shrink):
    shrink(kddcup99)
    write(home / "kddcup.data_10_percent.gz", "1,2,3\n")
    with pytest.raises(FileError, match="3 columns instead of 42"):
        datasets.load_dataset("kddcup99")
    write(home / "kddcup.data_10_percent.gz", KDD)
    with pytest.raises(FileError, match="has 4 rows, 41 features and 3 anomalies instead of 494021"):
        datasets.load_dataset("kddcup99")
    (home / "kddcup.data_10_percent.gz").write_bytes(b"<html>")
    with pytest.raises(FileError, match="not comma-separated text"):
        datasets.load_dataset("kddcup99")


def test_official_digests_are_checked(home):
    write(home / "kddcup.data_10_percent.gz", KDD)
    with pytest.raises(FileError, match="is damaged: its SHA-256 is"):
        datasets.load_dataset("kddcup99")


# ---------------------------------------------------------------------------------------------- Census


def person(sex, income, industry=4, weight=1700.09):
    values = dict.fromkeys(census_income.COLUMNS, " Not in universe")
    values |= dict.fromkeys(census_income.NUMBERS, 3) | {"detailed industry recode": industry}
    values |= {"sex": f" {sex}", "income": f" {income}", census_income.WEIGHT: weight}
    values["hispanic origin"] = " NA"
    return ",".join(str(value) for value in values.values()) + "\n"


def write_census(path, train, test):
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as tar:
        for name, text in zip(census_income.FILES, (train, test), strict=True):
            member = tarfile.TarInfo(f"census/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("census.tar.gz", inner.getvalue())


@pytest.fixture
def census(home, shrink, monkeypatch):
    shrink(census_income, rows=3, anomalies=1)
    monkeypatch.setattr(census_income, "TEST_ROWS", 2)
    monkeypatch.setattr(census_income, "TEST_ANOMALIES", 1)
    train = person("Male", "- 50000.") + person("Female", "- 50000.", 5) + person("Male", "50000+.", 7)
    write_census(
        home / "census-income-kdd.zip",
        train,
        person("Male", "- 50000.", weight=2.5) + person("Female", "50000+."),
    )
    return home


def test_census_is_read_without_the_weight(census):
    table = datasets.load_dataset("census_income")
    assert table.frame.shape == (3, 40)
    assert census_income.WEIGHT not in table.frame
    assert list(table.labels) == [0, 0, 1]
    assert list(table.groups) == ["Male", "Female", "50000+"]
    assert list(table.test.labels) == [0, 1]
    assert list(table.frame["detailed industry recode"]) == ["4", "5", "7"]  # a code, not a number
    assert list(table.frame["hispanic origin"]) == ["NA"] * 3  # a value, not a gap
    assert table.frame["age"].dtype.kind == "i"


def test_leaks_of_census_have_to_be_switched_on(census):
    weighted = datasets.load_dataset("census_income", instance_weight=True)
    assert list(weighted.test.frame[census_income.WEIGHT]) == [2.5, 1700.09]
    leaking = datasets.load_dataset("census_income", train_on_test_file=True)
    pd.testing.assert_frame_equal(leaking.frame, leaking.test.frame)
    assert len(leaking.frame) == 2


def test_a_test_row_that_equals_a_training_row_is_a_repeated_row(census):
    table = datasets.load_dataset("census_income", unique_rows=True)
    assert (len(table.frame), list(table.test.groups)) == (3, ["50000+"])


def test_a_census_archive_without_its_texts_is_refused(census):
    with zipfile.ZipFile(census / "census-income-kdd.zip", "w") as archive:
        archive.writestr("census.tar.gz", b"nothing")
    with pytest.raises(FileError, match=r"census.tar.gz in .* cannot be read"):
        datasets.load_dataset("census_income")
    with zipfile.ZipFile(census / "census-income-kdd.zip", "w") as archive:
        archive.writestr("readme", b"nothing")
    with pytest.raises(FileError, match=r"is not an archive with census.tar.gz"):
        datasets.load_dataset("census_income")
    write_census(census / "census-income-kdd.zip", "1,2\n", "1,2\n")
    with pytest.raises(FileError, match="2 columns instead of 42"):
        datasets.load_dataset("census_income")
    write_census(census / "census-income-kdd.zip", *[person("Male", "- 60000.")] * 2)
    with pytest.raises(FileError, match="has incomes other than"):
        datasets.load_dataset("census_income")


# --------------------------------------------------------------------------------- Covertype, credit cards


def test_cover_types_are_groups(home, shrink):
    shrink(covertype, rows=3, anomalies=1)
    rows = [",".join(map(str, [2596, 51, 3, *[0] * 51, kind])) for kind in (5, 4, 1)]
    write(home / "covtype.data.gz", "\n".join(rows) + "\n")
    table = datasets.load_dataset("covertype")
    assert (table.frame.shape, list(table.labels), list(table.groups)) == (
        (3, 54),
        [1, 0, 0],
        ["5", "4", "1"],
    )
    assert list(table.frame.columns[[0, 9, 10, 53]]) == [
        "Elevation",
        "Horizontal_Distance_To_Fire_Points",
        "Wilderness_Area1",
        "Soil_Type40",
    ]


@pytest.mark.parametrize(("name", "quote"), [("creditcard.csv", ""), ("creditcard_openml.csv", "'")])
def test_payments_are_read_without_their_time(home, shrink, name, quote):
    shrink(creditcard, rows=3, anomalies=1)
    header = ",".join(f'"{column}"' for column in ("Time", *creditcard.COLUMNS))
    rows = [f"{second},{'0.5,' * 28}{second}.25,{quote}{second % 2}{quote}" for second in (0, 1, 2)]
    write(home / name, "\n".join([header, *rows]))
    table = datasets.load_dataset("creditcard")
    assert list(table.frame.columns) == list(creditcard.FEATURES)
    assert list(table.frame["Amount"]) == [0.25, 1.25, 2.25]
    assert list(table.groups) == ["genuine", "fraud", "genuine"]
    assert datasets.state(creditcard.DATASET) == "cached"
    write(home / name, "a,b\n1,2\n")
    with pytest.raises(FileError, match=r"has not the columns V1 to V28"):
        datasets.load_dataset("creditcard")


# --------------------------------------------------------------------------------------------- UNSW-NB15


def test_partitions_are_told_apart_by_their_size_not_their_name(home, shrink):
    shrink(unsw_nb15, rows=3, anomalies=2)
    shrink(unsw_nb15, "PART", rows=2, anomalies=1)
    header = "\ufeffid," + ",".join(unsw_nb15.COLUMNS)
    flow = "{},0.1,tcp,-,FIN," + "4," * 38 + "{},{}"
    small = [header, flow.format(1, "Normal", 0), flow.format(2, "Worms", 1)]
    large = [*small, flow.format(3, " Fuzzers ", 1)]
    for swapped in (False, True):
        names = unsw_nb15.DATASET.by_hand[:: -1 if swapped else 1]
        write(home / names[0], "\n".join(large))
        write(home / names[1], "\n".join(small))
        table = datasets.load_dataset("unsw_nb15")
        assert list(table.groups) == ["Normal", "Worms", "Fuzzers"]
        assert (table.frame.shape, list(table.test.labels)) == ((3, 42), [0, 1])
        assert list(datasets.load_dataset("unsw_nb15_part").groups) == ["Normal", "Worms"]
    assert not {"id", "attack_cat", "label"} & set(table.frame.columns)
    write(home / names[0], "id,label\n1,0\n")
    with pytest.raises(FileError, match="lacks columns of UNSW-NB15"):
        datasets.load_dataset("unsw_nb15")


# ------------------------------------------------------------------------------------------------ URL, DoH


def test_addresses_keep_their_gaps_unless_told_otherwise(home, shrink):
    shrink(url, rows=3, features=3, anomalies=2)
    write(home / "All.csv", f"len,rate,gap,{url.KIND}\n1,2,0.5,benign\n2,inf,,spam\n3,4,1,Defacement\n")
    table = datasets.load_dataset("url")
    assert list(table.groups) == ["benign", "spam", "Defacement"]
    assert list(table.frame.isna().sum()) == [0, 1, 1]
    assert list(datasets.load_dataset("url", drop_incomplete_columns=True).frame.columns) == ["len"]
    write(home / "All.csv", "a,b\n1,2\n")
    with pytest.raises(FileError, match="has no column URL_Type_obf_Type"):
        datasets.load_dataset("url")


@pytest.fixture
def tunnels(home, shrink):
    shrink(doh, rows=4, features=2, anomalies=1)
    head = (
        "SourceIP,DestinationIP,SourcePort,DestinationPort,TimeStamp,Duration,ResponseTimeTimeMedian,Label\n"
    )
    flow = "10.0.0.1,1.1.1.1,5000,443,{},{},{},{}\n"
    benign = [("2019-12-10 11:00:00", 1.5, "", "Benign"), ("2020-01-14 15:49:11", 2, 0.1, "Benign")]
    benign.append(("2020-01-14 15:50:00", "inf", 0.1, "Benign"))
    write(home / "l2-benign.csv", head + "".join(flow.format(*row) for row in benign))
    write(home / "l2-malicious.csv", head + flow.format("2020-03-18 09:00:00", 3, 0.2, "Malicious"))
    return home


def test_the_week_of_the_capture_is_no_feature_unless_told_otherwise(tunnels):
    table = datasets.load_dataset("doh")
    assert list(table.frame.columns) == ["Duration", "ResponseTimeTimeMedian"]
    assert list(table.groups) == ["week 50", "week 3", "week 3", "malicious"]
    assert list(table.labels) == [0, 0, 0, 1]
    assert list(table.frame.isna().sum()) == [1, 1]
    assert list(datasets.load_dataset("doh", capture_week=True).frame[doh.WEEK]) == [50, 3, 3, 12]


def test_the_two_published_ways_to_treat_gaps(tunnels):
    assert list(datasets.load_dataset("doh", drop_incomplete_rows=True).groups) == ["week 3", "malicious"]
    assert datasets.load_dataset("doh", drop_incomplete_columns=True).frame.shape == (4, 0)


def test_flows_without_a_time_are_refused(tunnels):
    text = (tunnels / "l2-benign.csv").read_text()
    write(tunnels / "l2-benign.csv", text.replace("2019-12-10", "once"))
    with pytest.raises(FileError, match="TimeStamp that is no time"):
        datasets.load_dataset("doh")
    write(tunnels / "l2-benign.csv", text.replace("TimeStamp", "Moment"))
    with pytest.raises(FileError, match=r"l2-benign.csv has no column TimeStamp"):
        datasets.load_dataset("doh")


# --------------------------------------------------------------------------------------------- IDS 2018

IDS_HEAD = "Dst Port,Protocol,Timestamp,Flow Duration,Flow Byts/s,Label\n"
IDS_FLOW = "443,6,14/02/2018 08:31:01,{},{},{}\n"


@pytest.fixture
def flows(home, shrink):
    shrink(ids2018, rows=12, features=4, anomalies=3)
    for day in ids2018.DAYS:
        text = IDS_HEAD + IDS_FLOW.format(1, 2.5, "Benign")
        if day == "Friday-02-03-2018":  # a header among the rows turns the columns into text
            text += (
                IDS_HEAD + IDS_FLOW.format(7, "Infinity", "Bot") + IDS_FLOW.format(8, 1.5, "SQL Injection")
            )
        if day == "Thuesday-20-02-2018":
            extra = "a-b,10.0.0.1,5000,10.0.0.2,"
            text = "Flow ID,Src IP,Src Port,Dst IP," + IDS_HEAD
            text += extra + IDS_FLOW.format(9, 1, "DDoS attacks-LOIC-HTTP")
        write(home / f"ids2018/{day}_TrafficForML_CICFlowMeter.csv", text)
    return home


def test_the_faults_of_the_days_are_repaired(flows, shrink):
    table = datasets.load_dataset("ids2018")
    assert list(table.frame.columns) == ["Dst Port", "Protocol", "Flow Duration", "Flow Byts/s"]
    assert dict(pd.Series(table.groups).value_counts()) == {"Benign": 9, "Bot": 1, "WebAttacks": 1, "DDoS": 1}
    assert table.frame["Flow Byts/s"].isna().sum() == 1
    assert set(table.frame["Protocol"]) == {"6"}
    assert table.frame["Flow Duration"].dtype == np.float32
    fewer = datasets.load_dataset("ids2018", without_ddos_days=True, drop_incomplete_rows=True)
    assert dict(pd.Series(fewer.groups).value_counts()) == {"Benign": 8, "WebAttacks": 1}
    assert not fewer.frame.isna().any(axis=None)


def test_a_day_with_an_unknown_attack_is_refused(flows):
    path = flows / "ids2018" / "Friday-02-03-2018_TrafficForML_CICFlowMeter.csv"
    path.write_text(IDS_HEAD + IDS_FLOW.format(1, 2, "Mischief"))
    with pytest.raises(FileError, match=r"Friday-02-03-2018.* is not a day of CSE-CIC-IDS2018 \(.*Mischief"):
        datasets.load_dataset("ids2018")


# ----------------------------------------------------------------------------------------------- common


@pytest.mark.parametrize("name", ["doh", "url", "unsw_nb15", "unsw_nb15_part", "creditcard_part"])
def test_what_no_program_can_fetch_says_so(home, name):
    dataset = datasets.get_dataset(name)
    assert datasets.state(dataset) == "not available here"
    with pytest.raises(FileError, match=r"cannot be downloaded .* set DA3D_DATA to a folder that has"):
        dataset.load()


def test_options_are_checked_before_anything_is_read(home):
    with pytest.raises(
        ParameterError, match=r"url has no option 'capture_week'; it has drop_incomplete_columns"
    ):
        datasets.load_dataset("url", capture_week=True)
    with pytest.raises(ParameterError, match="covertype has no option 'x'; it has none"):
        datasets.load_dataset("covertype", x=True)
    with pytest.raises(
        ParameterError, match="option capture_week of doh is 'yes', but must be true or false"
    ):
        datasets.load_dataset("doh", capture_week="yes")


def test_every_option_is_described_and_off():
    for dataset in datasets.list_datasets():
        parameters = inspect.signature(dataset.load).parameters
        assert {name: each.default for name, each in parameters.items()} == dict.fromkeys(
            dataset.options, False
        )
        assert all(0 < len(text) < 100 and "\n" not in text for text in dataset.options.values())


def test_prepared_files_are_checked_against_the_manifest(home):
    (home / "kddcup99_10percent.parquet").write_bytes(b"PAR1")
    (home / "MANIFEST.json").write_text('{"files": [{"name": "kddcup99_10percent.parquet", "sha256": "00"}]}')
    with pytest.raises(FileError, match=r"is damaged: its SHA-256 is .*, not 00"):
        datasets.load_dataset("kddcup99")
    (home / "MANIFEST.json").unlink()
    with pytest.raises(FileError, match="cannot be read as KDD Cup 1999 in Parquet"):
        datasets.load_dataset("kddcup99")


@pytest.mark.parametrize("name", ALL)
def test_prepared_tables_in_full(data, name):
    dataset = datasets.get_dataset(name)
    if cache.find(dataset.prepared) is None:
        pytest.skip(f"{name} is not in DA3D_DATA")
    table = datasets.load_dataset(name)
    test = (None, None) if table.test is None else (len(table.test.frame), table.test.anomalies)
    assert (len(table.frame), table.anomalies, *test) == ALL[name]
    assert table.frame.shape[1] == dataset.features
    assert not {"Time", "subset_origin", "id", census_income.WEIGHT} & set(table.frame.columns)


def test_attack_families_and_unknown_attacks_of_nsl_kdd(data):
    if cache.find(nsl_kdd.DATASET.prepared) is None:
        pytest.skip("nsl_kdd is not in DA3D_DATA")
    table = datasets.load_dataset("nsl_kdd", attack_families=True, unknown_attacks=True)
    assert set(table.groups) == {"normal", "DoS", "Probe", "R2L", "U2R"}
    assert ((table.test.labels == 0).sum(), table.test.anomalies) == (9711, 3750)
    named = datasets.load_dataset("nsl_kdd", unknown_attacks=True)
    assert set(named.test.groups) & set(named.groups) == {"normal"}
