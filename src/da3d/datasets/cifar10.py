"""CIFAR-10: colour photographs of 32 × 32 pixels, in ten classes.

The official archive of the binary version holds five files of 10 000 training images and one of 10 000 test
images. (The official Python version is pickled and is not read.)

`PART` has every tenth training image of each class, beside all test images.
"""

from __future__ import annotations

import tarfile
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from da3d.datasets import cache
from da3d.datasets.base import Dataset, LabelledTable, RemoteFile
from da3d.datasets.content import check_counts
from da3d.datasets.images import POOLED, Images, image_table, images_of_npz, parse_cifar, pool
from da3d.errors import FileError

__all__ = ["ANOMALOUS", "CLASSES", "DATASET", "PART", "load", "load_part"]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ANOMALOUS = CLASSES[:1]
MEMBERS = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")


def load(pooled: bool = False) -> LabelledTable:
    """Airplanes as anomalies, the other nine classes as normal; Fence GAN takes each class in turn.

    Parameters
    ----------
    pooled : bool
        As `DATASET.options` describes it.

    Returns
    -------
    LabelledTable
        50000 training images (5000 anomalies) and, as `test`, 10000 (1000 anomalies), of 3 × 32 × 32 pixels
        from 0 to 255; groups are the names of the classes.

    Raises
    ------
    FileError
        The file is damaged, or can neither be found nor downloaded.
    """
    table = cache.official(DATASET.files[0], DATASET.source, _read_archive)
    return pool(table) if pooled else table


def load_part(pooled: bool = False) -> LabelledTable:
    """A tenth of the training images; otherwise as `load`."""
    test, train = cache.only_prepared(PART.prepared)
    table = _assemble(PART, train, images_of_npz(train, "train"), images_of_npz(test, "test"))
    return pool(table) if pooled else table


def _read_archive(path: Path) -> LabelledTable:
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if name in MEMBERS and (stream := tar.extractfile(member)) is not None:
                    contents[name] = stream.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise FileError(f"{path} is not the official archive ({error}); delete it and load again.") from error
    if missing := [name for name in MEMBERS if name not in contents]:
        raise FileError(f"{path} has no {missing[0]}; get the binary version again from {DATASET.source}.")
    *train, test = (parse_cifar(contents[name], f"{name} in {path}") for name in MEMBERS)
    pixels, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return _assemble(DATASET, path, (pixels, labels), test)


def _assemble(dataset: Dataset, origin: Path, train: Images, test: Images) -> LabelledTable:
    tables = [image_table(part, CLASSES, ANOMALOUS) for part in (train, test)]
    whole = replace(tables[0], test=tables[1])
    return check_counts(origin, whole, dataset.rows, dataset.features, dataset.anomalies)


_describe = partial(
    Dataset,
    source="https://www.cs.toronto.edu/~kriz/cifar.html",
    licence="no formal licence; cite",
    citation="Krizhevsky: Learning multiple layers of features from tiny images. Univ. of Toronto, 2009.",
    features=3072,
    normal_rule="normal = all classes but one; anomaly = airplane",
    options={"pooled": POOLED},
)

DATASET = _describe(
    name="cifar10",
    title="CIFAR-10, photographs",
    # The digest is the one that TensorFlow Datasets uses.
    files=(
        RemoteFile(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            bytes=170052171,
        ),
    ),
    prepared=(),
    rows=50000,
    anomalies=5000,
    load=load,
)

PART = _describe(
    name="cifar10_part",
    title="CIFAR-10, a tenth of the training images",
    files=(),
    prepared=("cifar10_test.npz", "cifar10_train_subset5k.npz"),
    rows=5000,
    anomalies=500,
    load=load_part,
)
