"""EMNIST letters: handwritten letters of 28 × 28 pixels, upper and lower case together.

The official archive ``gzip.zip`` has IDX files, ``matlab.zip`` the same images as ``emnist-letters.mat``,
which the authors of DA3D read; either will do. In both the images lie on their side and are turned upright
here.
"""

from __future__ import annotations

import gzip
import string
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from da3d.datasets import cache
from da3d.datasets.base import Dataset, LabelledTable, RemoteFile
from da3d.datasets.content import check_counts, read_members
from da3d.datasets.images import POOLED, Images, image_table, images_of_idx, images_of_npz, pool
from da3d.errors import FileError

__all__ = ["ANOMALOUS", "DATASET", "LETTERS", "load"]

LETTERS = tuple(string.ascii_uppercase)
ANOMALOUS = LETTERS[13:]
MEMBERS = tuple(
    f"emnist-letters-{part}-{kind}-ubyte.gz"
    for part in ("train", "test")
    for kind in ("images-idx3", "labels-idx1")
)


def load(pooled: bool = False) -> LabelledTable:
    """Letters A to M as normal, N to Z as anomalies.

    Parameters
    ----------
    pooled : bool
        As `DATASET.options` describes it.

    Returns
    -------
    LabelledTable
        124800 training images (62400 anomalies) and, as `test`, 20800 (10400 anomalies), of 28 × 28 pixels
        from 0 to 255; groups are the letters.

    Raises
    ------
    FileError
        The files are damaged, or can neither be found nor downloaded.
    """
    paths = cache.prepared(DATASET.prepared)
    if paths is not None:
        table = _assemble(paths[0], *(images_of_npz(paths[0], part) for part in ("train", "test")))
    elif cache.find(DATASET.by_hand) is not None:
        table = _read_mat(cache.by_hand(DATASET.by_hand, DATASET.source)[0])
    else:
        table = cache.official(DATASET.files[0], DATASET.source, _read_archive)
    return pool(table) if pooled else table


def _read_archive(path: Path) -> LabelledTable:
    packed = read_members(path, MEMBERS, DATASET.source)
    try:
        texts = [(gzip.decompress(content), f"{name} in {path}") for name, content in packed.items()]
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"{path} is damaged ({error}); delete it and load again.") from error
    return _assemble(path, images_of_idx(*texts[:2]), images_of_idx(*texts[2:]))


def _read_mat(path: Path) -> LabelledTable:
    """The MATLAB file; its rows of pixels run down the columns of an upright image."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path, squeeze_me=True, struct_as_record=False)["dataset"]
        parts = [
            (np.asarray(part.images, np.uint8).reshape(-1, 1, 28, 28), np.asarray(part.labels, np.uint8))
            for part in (content.train, content.test)
        ]
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        NotImplementedError,
        zlib.error,
        MatReadError,
    ) as error:
        raise FileError(f"{path} is not the official emnist-letters.mat ({error}).") from error
    return _assemble(path, *parts)


def _assemble(origin: Path, train: Images, test: Images) -> LabelledTable:
    """Upright training and test images as one table, after a count; labels are 1 to 26."""
    upright = [(np.swapaxes(pixels, 2, 3), numbers - 1) for pixels, numbers in (train, test)]
    table, tested = (image_table(part, LETTERS, ANOMALOUS) for part in upright)
    whole = replace(table, test=tested)
    return check_counts(origin, whole, DATASET.rows, DATASET.features, DATASET.anomalies)


DATASET = Dataset(
    name="emnist_letters",
    title="EMNIST, handwritten letters",
    source="https://www.nist.gov/itl/products-and-services/emnist-dataset",
    licence="public, no formal licence text; cite",
    citation="Cohen et al.: EMNIST: extending MNIST to handwritten letters. IJCNN 2017.",
    # The digest is the one that TensorFlow Datasets uses.
    files=(
        RemoteFile(
            "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
            sha256="fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
            bytes=561753746,
            save_as="emnist-gzip.zip",
        ),
    ),
    prepared=("emnist_letters.npz",),
    rows=124800,
    features=784,
    anomalies=62400,
    normal_rule="normal = letters A to M; anomaly = letters N to Z",
    load=load,
    options={"pooled": POOLED},
    by_hand=("emnist-letters.mat",),
)
