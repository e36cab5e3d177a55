"""Images: binary formats, orientation, classes; every file here is made by the test."""

import gzip
import io
import os
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from scipy.io import savemat

from da3d import datasets
from da3d.datasets import cache, cifar10, emnist_letters, fashion_mnist, images, mnist, mnist_letters
from da3d.datasets.base import LabelledTable
from da3d.errors import FileError, TableError

TRAIN, TEST = 6, 4
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (TRAIN + TEST, 28, 28), dtype=np.uint8)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder as `DA3D_DATA`, and no cache."""
    monkeypatch.setenv("DA3D_DATA", str(tmp_path))
    monkeypatch.setenv("DA3D_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def shrink(monkeypatch):
    """A function that makes a module's data set as small as the files of these tests."""

    def smaller(module, rows, anomalies, name="DATASET"):
        dataset = getattr(module, name)
        files = tuple(replace(file, sha256=None, bytes=None) for file in dataset.files)
        monkeypatch.setattr(module, name, replace(dataset, files=files, rows=rows, anomalies=anomalies))

    return smaller


def idx(array):
    """An array as the text of an IDX file."""
    shape = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return b"\0\0\x08" + bytes([array.ndim]) + shape + array.astype(np.uint8).tobytes()


def write_idx(folder, labels, names=images.IDX_FILES):
    folder.mkdir(exist_ok=True)
    numbers = np.asarray(labels)
    for name, array in zip(
        names, (PIXELS[:TRAIN], numbers[:TRAIN], PIXELS[TRAIN:], numbers[TRAIN:]), strict=True
    ):
        (folder / name).write_bytes(gzip.compress(idx(array)))


def test_idx_files_hold_what_they_say():
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(images.parse_idx(idx(array), "x"), array)
    for damaged in (b"", b"\0\0\x08", b"\0\0\x0d\1\0\0\0\1" + bytes(4), b"\x1f\x8b\x08\0"):
        with pytest.raises(FileError, match="is not an IDX file of bytes"):
            images.parse_idx(damaged, "x")
    with pytest.raises(FileError, match="x has 23 values instead of 24"):
        images.parse_idx(idx(array)[:-1], "x")


@pytest.mark.parametrize("module", [mnist, fashion_mnist])
def test_sets_in_the_format_of_mnist(home, shrink, module):
    name = module.DATASET.name
    labels = [0, 5, 4, 9, 1, 2, 3, 8, 7, 0]
    shrink(module, rows=TRAIN, anomalies=2)
    write_idx(home / name, labels)
    table = module.load()
    names = getattr(module, "CLASSES", images.DIGITS)
    assert list(table.groups) == [names[label] for label in labels[:TRAIN]]
    assert list(table.labels) == [0, 1, 0, 1, 0, 0]
    assert list(table.test.labels) == [0, 1, 1, 0]
    assert table.image_shape == table.test.image_shape == (1, 28, 28)
    assert list(table.frame.columns[[0, 783]]) == ["pixel 0", "pixel 783"]
    assert set(table.frame.dtypes) == {np.dtype(np.uint8)}
    assert np.array_equal(table.frame.to_numpy().reshape(-1, 28, 28), PIXELS[:TRAIN])
    pooled = datasets.load_dataset(name, pooled=True)
    assert pooled.test is None
    assert np.array_equal(pooled.frame.to_numpy().reshape(-1, 28, 28), PIXELS)
    assert list(pooled.labels) == [*table.labels, *table.test.labels]


def test_prepared_images_are_the_same_rows(home, shrink):
    labels = np.array([0, 5, 4, 9, 1, 2, 3, 8, 7, 0], dtype=np.uint8)
    shrink(mnist, rows=TRAIN, anomalies=2)
    write_idx(home / "mnist", labels)
    official = mnist.load()
    arrays = {"x_train": PIXELS[:TRAIN], "y_train": labels[:TRAIN], "x_test": PIXELS[TRAIN:]}
    np.savez(home / "mnist.npz", **arrays, y_test=labels[TRAIN:])
    (home / "mnist" / images.IDX_FILES[0]).unlink()
    prepared = mnist.load()
    assert prepared.frame.equals(official.frame)
    assert prepared.test.frame.equals(official.test.frame)
    np.savez(home / "mnist.npz", **arrays)
    with pytest.raises(FileError, match="NumPy archive with x_test and y_test"):
        mnist.load()


def test_sets_of_the_same_file_names_do_not_mix(home, shrink):
    shrink(mnist, rows=TRAIN, anomalies=2)
    write_idx(home / "fashion_mnist", [0] * 10)
    assert datasets.state(mnist.DATASET) == "downloadable"
    assert datasets.state(fashion_mnist.DATASET) == "cached"


def test_damaged_images_are_refused(home, shrink):
    shrink(mnist, rows=TRAIN, anomalies=2)
    write_idx(home / "mnist", [0, 5, 4, 9, 1, 2, 3, 8, 7, 0])
    labels = home / "mnist" / images.IDX_FILES[1]
    labels.write_bytes(gzip.compress(idx(np.zeros(5))))
    with pytest.raises(FileError, match="has 6 images of uint8, but 5 labels"):
        mnist.load()
    labels.write_bytes(b"<html>")
    with pytest.raises(FileError, match="cannot be read as gzip"):
        mnist.load()
    write_idx(home / "mnist", [0] * 10)
    with pytest.raises(FileError, match="0 anomalies instead of 6, 784 and 2"):
        mnist.load()


def letters_zip(path, labels, lying):
    numbers = np.asarray(labels)
    with zipfile.ZipFile(path, "w") as archive:
        arrays = (lying[:TRAIN], numbers[:TRAIN], lying[TRAIN:], numbers[TRAIN:])
        for name, array in zip(emnist_letters.MEMBERS, arrays, strict=True):
            archive.writestr(f"gzip/{name}", gzip.compress(idx(array)))


def test_letters_are_turned_upright_from_each_format(home, shrink):
    shrink(emnist_letters, rows=TRAIN, anomalies=2)
    labels, lying = [1, 26, 13, 14, 2, 3, 4, 20, 25, 5], PIXELS.transpose(0, 2, 1)
    letters_zip(home / "emnist-gzip.zip", labels, lying)
    from_zip = datasets.load_dataset("emnist_letters")
    assert list(from_zip.groups) == list("AZMNBC")
    assert list(from_zip.labels) == [0, 1, 0, 1, 0, 0]
    assert np.array_equal(from_zip.frame.to_numpy().reshape(-1, 28, 28), PIXELS[:TRAIN])
    (home / "emnist-gzip.zip").unlink()
    part = {}
    for name, rows in (("train", slice(None, TRAIN)), ("test", slice(TRAIN, None))):
        # MATLAB's row of pixels runs down the columns of the upright image.
        flat = np.stack([image.flatten(order="F") for image in PIXELS[rows]])
        part[name] = {"images": flat, "labels": np.asarray(labels, np.uint8)[rows, None]}
    savemat(home / "emnist-letters.mat", {"dataset": part})
    assert datasets.state(emnist_letters.DATASET) == "cached"
    from_mat = datasets.load_dataset("emnist_letters")
    assert from_mat.frame.equals(from_zip.frame)
    assert from_mat.test.frame.equals(from_zip.test.frame)
    savemat(home / "emnist-letters.mat", {"X": np.zeros(3)})
    with pytest.raises(FileError, match="is not the official emnist-letters"):
        datasets.load_dataset("emnist_letters")


def test_digits_and_letters_in_one_table(home, shrink):
    shrink(mnist, rows=TRAIN, anomalies=2)
    shrink(emnist_letters, rows=TRAIN, anomalies=2)
    write_idx(home / "mnist", [0, 5, 4, 9, 1, 2, 3, 8, 7, 0])
    letters_zip(home / "emnist-gzip.zip", [1, 26, 13, 14, 2, 3, 4, 20, 25, 5], PIXELS)
    table = mnist_letters.load()
    assert "".join(table.groups) == "054912AZMNBC"
    assert list(table.labels) == [0] * 6 + [1] * 6
    assert list(table.test.labels) == [0] * 4 + [1] * 4
    assert table.image_shape == (1, 28, 28)


def photographs(count, first=0):
    """Records of CIFAR-10's binary version, classes in turn."""
    pixels = RNG.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(first, first + count, dtype=np.uint8) % 10
    return pixels, labels, np.column_stack([labels, pixels.reshape(count, -1)]).tobytes()


def write_cifar(path, names, content):
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_photographs_of_the_binary_version(home, shrink):
    shrink(cifar10, rows=100, anomalies=10)
    pixels, labels, content = photographs(20)
    path = home / "cifar-10-binary.tar.gz"
    write_cifar(path, cifar10.MEMBERS, content)
    table = datasets.load_dataset("cifar10")
    assert (table.image_shape, table.frame.shape) == ((3, 32, 32), (100, 3072))
    assert np.array_equal(table.frame.to_numpy().reshape(-1, 3, 32, 32), np.tile(pixels, (5, 1, 1, 1)))
    assert list(table.test.groups) == [cifar10.CLASSES[label] for label in labels]
    assert set(table.groups[table.labels == 1]) == {"airplane"}
    write_cifar(path, cifar10.MEMBERS[:3], content)
    with pytest.raises(FileError, match=r"has no data_batch_4.bin; get the binary version"):
        datasets.load_dataset("cifar10")
    write_cifar(path, cifar10.MEMBERS, content[:-1])
    with pytest.raises(FileError, match="not made of records of 3073 bytes"):
        datasets.load_dataset("cifar10")
    path.write_bytes(b"<html>")
    with pytest.raises(FileError, match="is not the official archive"):
        datasets.load_dataset("cifar10")


def test_channels_come_first(home, shrink):
    shrink(cifar10, rows=20, anomalies=2, name="PART")
    pixels, labels, _ = photographs(20)
    last = pixels.transpose(0, 2, 3, 1)
    np.savez(home / "cifar10_train_subset5k.npz", x_train=last, y_train=labels)
    np.savez(home / "cifar10_test.npz", x_test=last, y_test=labels)
    table = datasets.load_dataset("cifar10_part")
    assert np.array_equal(table.frame.to_numpy().reshape(-1, 3, 32, 32), pixels)
    assert len(datasets.load_dataset("cifar10_part", pooled=True).frame) == 40


def test_an_image_has_as_many_columns_as_pixels():
    table = datasets.load_dataset("digits")
    assert table.image_shape == (1, 8, 8)
    assert table.frame.to_numpy().max() == 255
    assert table.take(table.labels == 1).image_shape == (1, 8, 8)
    with pytest.raises(TableError, match="have 63 pixels, but the table has 64 columns"):
        LabelledTable(table.frame, table.labels, image_shape=(1, 7, 9))


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("mnist", (60000, 29404), (10000, 4861)),
        ("fashion_mnist", (60000, 30000), (10000, 5000)),
        ("emnist_letters", (124800, 62400), (20800, 10400)),
        ("cifar10_part", (5000, 500), (10000, 1000)),
    ],
)
def test_prepared_images_in_full(monkeypatch, tmp_path, name, train, test):
    if not os.environ.get("DA3D_DATA"):
        pytest.skip("DA3D_DATA is not set")
    monkeypatch.setenv("DA3D_CACHE", str(tmp_path / "cache"))
    dataset = datasets.get_dataset(name)
    if cache.find(dataset.prepared) is None:
        pytest.skip(f"{name} is not in DA3D_DATA")
    table = datasets.load_dataset(name)
    assert (len(table.frame), table.anomalies) == train
    assert (len(table.test.frame), table.test.anomalies) == test
    counts = np.unique(table.test.groups, return_counts=True)[1]
    assert counts.min() == (892 if name == "mnist" else 800 if name == "emnist_letters" else 1000)
