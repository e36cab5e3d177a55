"""Census-Income (KDD): persons in surveys of 1994 and 1995, and an official test set.

The official archive holds ``census-income.data`` and ``census-income.test`` inside ``census.tar.gz``:
comma-separated text without a header, 41 columns and the income. The documentation names eight columns whose
numbers mean something; numbers in other columns are codes and become text. It also says that one of the
eight, the weight of a person in the survey, is not to be used.

Two faults of published results can be switched on: the weight as a feature, and the test file as training
set. The number of training rows in DA3D's Table 1 fits the test file only.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

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
from da3d.errors import FileError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "DATASET", "NUMBERS", "WEIGHT", "load"]

WEIGHT = "instance weight"
INCOME = "income"
_COLUMNS = """
    age; class of worker; detailed industry recode; detailed occupation recode; education; wage per hour;
    enroll in edu inst last wk; marital stat; major industry code; major occupation code; race;
    hispanic origin; sex; member of a labor union; reason for unemployment;
    full or part time employment stat; capital gains; capital losses; dividends from stocks; tax filer stat;
    region of previous residence; state of previous residence; detailed household and family stat;
    detailed household summary in household; instance weight; migration code-change in msa;
    migration code-change in reg; migration code-move within reg; live in this house 1 year ago;
    migration prev res in sunbelt; num persons worked for employer; family members under 18;
    country of birth father; country of birth mother; country of birth self; citizenship;
    own business or self employed; fill inc questionnaire for veteran's admin; veterans benefits;
    weeks worked in year; year; income
"""
COLUMNS = tuple(" ".join(name.split()) for name in _COLUMNS.split(";"))
NUMBERS = (
    "age",
    "wage per hour",
    "capital gains",
    "capital losses",
    "dividends from stocks",
    WEIGHT,
    "num persons worked for employer",
    "weeks worked in year",
)
FILES = ("census-income.data", "census-income.test")
INCOMES = ("- 50000.", "50000+.")
TEST_ROWS, TEST_ANOMALIES = 99762, 6186


def load(
    instance_weight: bool = False, train_on_test_file: bool = False, unique_rows: bool = False
) -> LabelledTable:
    """Incomes up to 50 000 dollars as normal, higher ones as anomalies.

    Parameters
    ----------
    instance_weight, train_on_test_file, unique_rows : bool
        As `DATASET.options` describes them.

    Returns
    -------
    LabelledTable
        199523 training rows (12382 anomalies) and, as `test`, 99762 rows (6186 anomalies); 40 features, 7 of
        them numbers; groups are ``Female`` and ``Male`` for normal rows and ``50000+`` for anomalies.

    Raises
    ------
    FileError
        The files are damaged, or can neither be found nor downloaded.
    """
    paths = cache.prepared(DATASET.prepared)
    if paths is not None:
        frames = [read_parquet(path, COLUMNS, "Census-Income") for path in paths]
        table = _assemble(paths[0].parent, *frames)
    else:
        table = cache.official(DATASET.files[0], DATASET.source, _read_archive)
    if not instance_weight:
        table = _without_weight(table)
    if unique_rows:
        table = without_repeats(table)
    if train_on_test_file and table.test is not None:
        table = LabelledTable(table.test.frame, table.test.labels, table.test.groups, test=table.test)
    return table


def _read_archive(path: Path) -> LabelledTable:
    inner = read_members(path, ("census.tar.gz",), DATASET.source)["census.tar.gz"]
    texts = _unpacked(path, inner)
    return _assemble(path, *(_parse(texts[name], f"{name} in {path}") for name in FILES))


def _unpacked(path: Path, archive: bytes) -> Mapping[str, bytes]:
    """The two texts of the inner archive, in whatever folder of it they lie."""
    texts = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar.getmembers():
                name = PurePosixPath(member.name).name
                if name in FILES and (stream := tar.extractfile(member)) is not None:
                    texts[name] = stream.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise FileError(
            f"census.tar.gz in {path} cannot be read ({error}); get it again from {DATASET.source}."
        ) from error
    if missing := [name for name in FILES if name not in texts]:
        raise FileError(f"{path} has no {missing[0]} in census.tar.gz; get it again from {DATASET.source}.")
    return texts


def _parse(text: bytes, name: str) -> pd.DataFrame:
    """The 42 columns of an official text, named; `NA` is a value of `hispanic origin`, not a gap."""
    frame = read_csv(
        io.BytesIO(text), name, header=None, skipinitialspace=True, keep_default_na=False, index_col=False
    )
    if frame.shape[1] != len(COLUMNS):
        raise FileError(f"{name} has {frame.shape[1]} columns instead of {len(COLUMNS)}; not Census-Income.")
    frame.columns = list(COLUMNS)
    return frame


def _assemble(origin: Path, train: pd.DataFrame, test: pd.DataFrame) -> LabelledTable:
    """Training and test rows as one table, after a count; the weight is still in it."""
    width = len(COLUMNS) - 1
    labelled_test = check_counts(origin, _labelled(origin, test), TEST_ROWS, width, TEST_ANOMALIES)
    table = _labelled(origin, train, labelled_test)
    return check_counts(origin, table, DATASET.rows, width, DATASET.anomalies)


def _labelled(origin: Path, frame: pd.DataFrame, test: LabelledTable | None = None) -> LabelledTable:
    """Features and income apart; codes as text."""
    check_numbers(frame[list(NUMBERS)], str(origin))
    income = frame[INCOME].to_numpy(dtype=object)
    if not np.isin(income, INCOMES).all():
        raise FileError(f"{origin} has incomes other than {' and '.join(map(repr, INCOMES))}.")
    labels = (income == INCOMES[1]).astype(np.int64)
    groups = np.where(labels == 1, "50000+", frame["sex"].to_numpy(dtype=object))
    codes = {name: frame[name].astype(str) for name in COLUMNS if name not in (*NUMBERS, INCOME)}
    return LabelledTable(frame.assign(**codes).drop(columns=INCOME), labels, groups, test)


def _without_weight(table: LabelledTable) -> LabelledTable:
    test = None if table.test is None else _without_weight(table.test)
    return LabelledTable(table.frame.drop(columns=WEIGHT), table.labels, table.groups, test)


DATASET = Dataset(
    name="census_income",
    title="Census-Income (KDD)",
    source="https://archive.ics.uci.edu/dataset/117/census+income+kdd",
    licence="CC BY 4.0",
    citation="Lane, Kohavi: Census-Income (KDD). UCI Machine Learning Repository, 2000.",
    files=(
        RemoteFile(
            "https://archive.ics.uci.edu/static/public/117/census+income+kdd.zip",
            save_as="census-income-kdd.zip",
        ),
    ),
    prepared=("census_income_kdd_train.parquet", "census_income_kdd_test.parquet"),
    rows=199523,
    features=40,
    anomalies=12382,
    normal_rule="normal = income up to 50 000 dollars; anomaly = more",
    load=load,
    options={
        "instance_weight": "leak: keep the person's weight in the survey as a feature, as DA3D's code did",
        "train_on_test_file": "leak: the test file is also the training set, as in DA3D's published numbers",
        "unique_rows": UNIQUE_ROWS,
    },
)
