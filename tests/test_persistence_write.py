"""What `save` refuses, and writes that fail: one sentence each, and nothing half-written."""

import errno
import os

import numpy as np
import pytest

from da3d.detectors import DA3D, KNN
from da3d.errors import FileError, InputError, ParameterError
from da3d.persistence import inspect, load, save, whole
from da3d.pipeline import AnomalyPipeline
from da3d.preprocessing import TableEncoder

ROWS = np.random.default_rng(0).normal(size=(60, 3))


@pytest.mark.parametrize("model", [KNN(), DA3D(), AnomalyPipeline()])
def test_an_unfitted_model_is_refused(model, tmp_path):
    with pytest.raises(InputError, match="not fitted"):
        save(model, tmp_path / "model.da3d")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", [None, {"a": 1}, TableEncoder()])
def test_another_object_is_refused(model, tmp_path):
    with pytest.raises(ParameterError, match="AnomalyPipeline or a fitted detector"):
        save(model, tmp_path / "model.da3d")


def test_a_detector_that_no_one_could_load_is_refused(tmp_path):
    class Mine(KNN):
        pass

    with pytest.raises(ParameterError, match="Mine is not one of"):
        save(Mine().fit(ROWS), tmp_path / "model.da3d")


def test_a_parameter_that_json_cannot_hold_is_refused(tmp_path):
    fitted = KNN().fit(ROWS).set_params(neighbors=object())
    with pytest.raises(ParameterError, match="neighbors is a object"):
        save(fitted, tmp_path / "model.da3d")


def test_an_array_of_objects_is_refused(tmp_path):
    fitted = KNN().fit(ROWS)
    fitted.mean_ = np.array(["a", None, 1], dtype=object)
    with pytest.raises(ParameterError, match="dtype object"):
        save(fitted, tmp_path / "model.da3d")


def test_a_folder_that_is_missing_or_a_path_that_is_a_folder(tmp_path):
    with pytest.raises(FileError, match="folder does not exist"):
        save(KNN().fit(ROWS), tmp_path / "nowhere" / "model.da3d")
    with pytest.raises(FileError, match="is a folder"):
        save(KNN().fit(ROWS), tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(FileError, match="was not written"):
            save(KNN().fit(ROWS), tmp_path / "model.da3d")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "disk is full"), (errno.EIO, "was not written")])
def test_the_old_file_survives_a_write_that_fails(number, said, tmp_path, monkeypatch):
    path = save(KNN().fit(ROWS), tmp_path / "model.da3d")
    before = path.read_bytes()

    def fail(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(whole.os, "fsync", fail)
    with pytest.raises(FileError, match=said):
        save(KNN(neighbors=2).fit(ROWS), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.da3d"]


def test_ctrl_c_while_writing_leaves_nothing_half_written(tmp_path, monkeypatch):
    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(whole.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(KNN().fit(ROWS), tmp_path / "model.da3d")
    assert not list(tmp_path.iterdir())


def test_a_save_replaces_an_older_model(tmp_path):
    path = tmp_path / "model.da3d"
    save(KNN().fit(ROWS), path)
    save(KNN(neighbors=2).fit(ROWS), str(path))
    assert load(str(path)).neighbors == 2


def test_a_file_that_does_not_exist(tmp_path):
    for read in (load, inspect):
        with pytest.raises(FileError, match="does not exist"):
            read(tmp_path / "model.da3d")
        with pytest.raises(FileError, match="cannot be read"):
            read(tmp_path)
