"""Files that are not, or no longer, what `save` wrote: one clear sentence each, whoever reads them."""

import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from da3d.datasets import toy
from da3d.detectors import KNN
from da3d.errors import ModelFileError
from da3d.persistence import archive, inspect, load, save
from da3d.persistence.container import SEAL
from da3d.pipeline import AnomalyPipeline

TABLE = toy.mixed(rows=60, seed=0).frame


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    fitted = AnomalyPipeline(KNN(), random_state=0).fit(TABLE)
    return save(fitted, tmp_path_factory.mktemp("model") / "model.da3d").read_bytes()


@pytest.fixture
def refused(tmp_path):
    """Assert that both readers refuse bytes in one sentence that names the file; give the sentence."""

    def check(data):
        path = tmp_path / "model.da3d"
        path.write_bytes(data)
        said = []
        for read in (load, inspect):
            with pytest.raises(ModelFileError) as caught:
                read(path)
            said.append(str(caught.value))
        assert said[0] == said[1]
        assert str(path) in said[0]
        assert said[0].endswith(".")
        assert "\n" not in said[0]
        return said[0]

    return check


def positions(content):
    """Random ones everywhere, all of the zip's tables at the end, and all of the first member's header."""
    random = np.random.default_rng(0).integers(0, len(content), 200).tolist()
    manifest = content.index(b'"library"')
    return sorted(
        {*random, *range(64), *range(manifest, manifest + 100), *range(len(content) - 400, len(content))}
    )


@pytest.mark.parametrize("flip", [0x01, 0x20, 0xFF])
def test_a_changed_byte_anywhere_is_found(flip, content, tmp_path):
    path = tmp_path / "model.da3d"
    spoilt = bytearray(content)
    for place in positions(content):
        spoilt[place] ^= flip
        path.write_bytes(spoilt)
        with pytest.raises(ModelFileError):
            archive.unpack(path)
        spoilt[place] ^= flip
    path.write_bytes(spoilt)
    archive.unpack(path)


def test_two_swapped_bytes_are_found(content, refused):
    place = next(i for i in range(5000, len(content)) if content[i] != content[i + 1])
    swapped = (
        content[:place] + content[place + 1 : place + 2] + content[place : place + 1] + content[place + 2 :]
    )
    assert "damaged" in refused(swapped)


def test_a_file_that_is_cut_short(content, refused):
    for length in (43, 44, 100, 1000, len(content) // 2, len(content) - 100, len(content) - 1):
        assert "cut short" in refused(content[:length])
    for length in (1, 3, 29, 42):
        refused(content[:length])


def test_a_file_with_something_appended(content, refused):
    assert "cut short or damaged at its end" in refused(content + b"\n")
    assert "damaged" in refused(content + content)


def test_an_empty_file(refused):
    assert "is empty" in refused(b"")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_not_opened(protocol, refused, tmp_path):
    class Evil:
        def __reduce__(self):
            return (subprocess.call, ([sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'w')"],))

    assert "is a pickle" in refused(pickle.dumps(Evil(), protocol=protocol))
    assert not (tmp_path / "ran").exists()


def test_a_pickle_in_text(refused):
    assert "is not a model file" in refused(pickle.dumps({"a": 1}, protocol=0))


@pytest.mark.parametrize(
    "data", [b"a,b\n1,2\n", b"\x00" * 1000, b"PK", b"\x89HDF\r\n", "{}".encode("utf-16")]
)
def test_a_file_of_another_kind(data, refused):
    assert "is not a model file" in refused(data)


def test_a_zip_of_something_else(refused, tmp_path):
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("readme.txt", "hello")
    assert "zip archive of something else" in refused(other.read_bytes())
    torch.save({"weight": torch.zeros(2)}, other)
    assert "zip archive of something else" in refused(other.read_bytes())


def test_a_model_zipped_again_by_another_tool(content, refused, tmp_path):
    (tmp_path / "in.zip").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "in.zip") as old, zipfile.ZipFile(tmp_path / "out.zip", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert "closing seal" in refused((tmp_path / "out.zip").read_bytes())


def test_any_tool_can_open_a_model_file(content, tmp_path):
    (tmp_path / "model.zip").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "model.zip") as file:
        assert file.testzip() is None
        assert file.namelist() == ["manifest.json", "arrays.safetensors", "encoder.skops"]
        assert file.comment.startswith(SEAL)
