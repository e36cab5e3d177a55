"""What data sets of images share: their binary formats, and tables whose rows are pixels.

A pixel is a column of 0 to 255; pixels are ordered by channel, then row, then column. Files are read as
bytes: nothing is ever unpickled.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from da3d.datasets import cache
from da3d.datasets.base import Dataset, LabelledTable, RemoteFile
from da3d.datasets.content import check_counts
from da3d.errors import FileError

__all__ = [
    "DIGITS",
    "IDX_FILES",
    "POOLED",
    "Images",
    "image_table",
    "images_of_idx",
    "images_of_npz",
    "load_idx",
    "parse_cifar",
    "parse_idx",
    "pool",
    "read_gzip",
]

Images = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]
"""Pixels, shape (rows, channels, height, width), and the number of each image's class, shape (rows,)."""

IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
"""Names of MNIST's four files, which other sets took over."""

DIGITS = tuple("0123456789")
POOLED = "the training and the test images as one table without an official test set, as in Fence GAN"
"""What the option ``pooled`` does, wherever there is one."""


def image_table(images: Images, classes: Sequence[str], anomalous: Collection[str]) -> LabelledTable:
    """Images as a table whose groups are their classes.

    Parameters
    ----------
    images : Images
    classes : sequence of str
        Name of each class, by its number.
    anomalous : collection of str
        Classes whose images are anomalies.
    """
    import pandas as pd

    pixels, numbers = images
    channels, height, width = pixels.shape[1:]
    columns = [f"pixel {place}" for place in range(channels * height * width)]
    groups = np.asarray(classes, dtype=object)[numbers]
    return LabelledTable(
        pd.DataFrame(pixels.reshape(len(pixels), -1), columns=columns),
        np.isin(groups, list(anomalous)).astype(np.int64),
        groups=groups,
        image_shape=(channels, height, width),
    )


def pool(table: LabelledTable) -> LabelledTable:
    """The rows of a table and then those of its official test set, as one table."""
    import pandas as pd

    test = table.test
    if test is None or table.groups is None or test.groups is None:
        return table
    return replace(
        table,
        frame=pd.concat([table.frame, test.frame], ignore_index=True),
        labels=np.concatenate([table.labels, test.labels]),
        groups=np.concatenate([table.groups, test.groups]),
        test=None,
    )


def load_idx(
    dataset: Dataset, classes: Sequence[str], anomalous: Collection[str], pooled: bool
) -> LabelledTable:
    """A data set in MNIST's format, from a prepared archive or the four official files."""
    paths = cache.prepared(dataset.prepared)
    if paths is not None:
        parts = [images_of_npz(paths[0], part) for part in ("train", "test")]
        return _assemble(dataset, paths[0], parts, classes, anomalous, pooled)

    def read(paths: tuple[Path, ...]) -> LabelledTable:
        texts = [(read_gzip(path), str(path)) for path in paths]
        parts = [images_of_idx(*texts[:2]), images_of_idx(*texts[2:])]
        return _assemble(dataset, paths[0].parent, parts, classes, anomalous, pooled)

    return cache.officials(dataset.files, dataset.source, read)


def _assemble(
    dataset: Dataset,
    origin: Path,
    parts: Sequence[Images],
    classes: Sequence[str],
    anomalous: Collection[str],
    pooled: bool,
) -> LabelledTable:
    """Training and test images as one table, after a count."""
    train, test = (image_table(part, classes, anomalous) for part in parts)
    table = check_counts(origin, replace(train, test=test), dataset.rows, dataset.features, dataset.anomalies)
    return pool(table) if pooled else table


def idx_files(address: str, folder: str, facts: Sequence[tuple[int, str]]) -> tuple[RemoteFile, ...]:
    """The four official files of a data set in MNIST's format.

    Parameters
    ----------
    address : str
        Where they lie, with a slash at its end.
    folder : str
        Folder that they are kept in, as several sets have files of these names.
    facts : sequence of (bytes, sha256)
        In the order of `IDX_FILES`.
    """
    return tuple(
        RemoteFile(address + name, sha256=digest, bytes=size, save_as=f"{folder}/{name}")
        for name, (size, digest) in zip(IDX_FILES, facts, strict=True)
    )


def read_gzip(path: Path) -> bytes:
    """The content of a gzip file.

    Raises
    ------
    FileError
        It is none, or damaged.
    """
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"{path} cannot be read as gzip ({error}); delete it and load again.") from error


def parse_idx(content: bytes, name: str) -> npt.NDArray[np.uint8]:
    """The array in an IDX file: two zero bytes, type 8 (bytes), number of axes, their lengths, the values.

    Raises
    ------
    FileError
        The content is of another type, or has not as many values as its lengths say.
    """
    axes = content[3] if len(content) > 3 else 0
    if content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * axes:
        raise FileError(f"{name} is not an IDX file of bytes; delete it and load again.")
    shape = np.frombuffer(content, ">u4", count=axes, offset=4).astype(np.int64)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if len(values) != shape.prod():
        raise FileError(
            f"{name} has {len(values)} values instead of {shape.prod()}; delete it and load again."
        )
    return values.reshape(shape)


def images_of_idx(images: tuple[bytes, str], labels: tuple[bytes, str]) -> Images:
    """Images with one channel from the contents (and names) of two IDX files."""
    return _paired(parse_idx(*images)[:, None], parse_idx(*labels), images[1])


def parse_cifar(content: bytes, name: str) -> Images:
    """Images of CIFAR-10's binary version: per image a byte for the class, then 3 × 32 × 32 pixels.

    Raises
    ------
    FileError
        The content is not made of such records.
    """
    values = np.frombuffer(content, np.uint8)
    if len(values) % 3073 or not len(values):
        raise FileError(f"{name} is not made of records of 3073 bytes; delete it and load again.")
    records = values.reshape(-1, 3073)
    return _paired(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0], name)


def images_of_npz(path: Path, part: str) -> Images:
    """Images of a prepared archive: arrays ``x_<part>``, channels last if there are any, and ``y_<part>``.

    Raises
    ------
    FileError
        It is not a NumPy archive with these arrays.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            pixels, numbers = archive[f"x_{part}"], archive[f"y_{part}"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FileError(
            f"{path} cannot be read as a NumPy archive with x_{part} and y_{part} ({error}); fetch it again."
        ) from error
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    return _paired(pixels, numbers, str(path))


def _paired(pixels: npt.NDArray[np.uint8], numbers: npt.NDArray[np.uint8], name: str) -> Images:
    """Images and labels, after a count."""
    if len(pixels) != len(numbers) or pixels.dtype != np.uint8:
        raise FileError(f"{name} has {len(pixels)} images of {pixels.dtype}, but {len(numbers)} labels.")
    return pixels, numbers
