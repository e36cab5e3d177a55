import datetime as dt
import errno
import io
import json
import os
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from da3d.errors import FileError, ParameterError
from da3d.preprocessing import TableWriter, atomic_path, read_table

FRAME = pd.DataFrame(
    {
        "score": [0.1, np.nan, 1 / 3],
        "n": [1, 2, 3],
        "text": ['a,"b"', None, "NA\nü"],
        "flag": [True, False, True],
        "when": [pd.Timestamp("2024-05-01"), pd.NaT, pd.Timestamp("2024-05-02 13:37")],
    }
)


@pytest.fixture(params=["out.csv", "out.parquet", "out.jsonl"])
def path(request, tmp_path):
    return tmp_path / request.param


def write(path, *chunks, error=None, **options):
    with TableWriter(path, **options) as writer:
        for chunk in chunks:
            writer.write(chunk)
        if error is not None:
            raise error


def left(path):
    return sorted(file.name for file in path.parent.iterdir())


def test_what_is_written_in_chunks_is_read_back(path):
    with TableWriter(path) as writer:
        writer.write(FRAME.iloc[:2])
        assert path.name not in left(path)
        writer.write(FRAME.iloc[2:])
    assert left(path) == [path.name]
    pd.testing.assert_frame_equal(read_table(path), FRAME, check_dtype=False)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(allow_infinity=False), min_size=1, max_size=5))
def test_scores_keep_their_last_bit(tmp_path_factory, values):
    frame = pd.DataFrame({"score": [*values, 0.5]})
    for ending in ("csv", "parquet", "jsonl"):
        path = tmp_path_factory.mktemp("bits") / f"out.{ending}"
        with TableWriter(path) as writer:
            writer.write(frame)
        if ending == "csv":  # a lone empty cell is an empty line, which readers skip
            frame = frame.dropna()
        assert read_table(path)["score"].dropna().tolist() == frame["score"].dropna().tolist()


def test_later_chunks_take_the_types_of_the_first(path):
    with TableWriter(path) as writer:
        writer.write(pd.DataFrame({"a": [1], "b": [None], "c": pd.Series(["x"], dtype="category")}))
        writer.write(pd.DataFrame({"a": [np.nan], "b": [2.5], "c": pd.Series(["y"], dtype="category")}))
    frame = read_table(path)
    assert frame["a"].tolist()[0] == 1
    assert frame["a"].isna().tolist() == [False, True]
    assert str(frame["b"].iloc[1]) == "2.5"
    assert frame["c"].tolist() == ["x", "y"]


def test_unlike_and_nested_values_can_be_written(path):
    with TableWriter(path) as writer:
        writer.write(pd.DataFrame({"a": pd.Series([1, "x", None], dtype=object), "b": [[1], [2], [3]]}))
    assert read_table(path)["a"].tolist()[:2] == ["1", "x"]


def test_json_is_strict(tmp_path):
    with TableWriter(tmp_path / "out.jsonl") as writer:
        writer.write(pd.DataFrame({"a": [np.inf, np.nan, 1.0], "d": [dt.date(2024, 5, 1)] * 3}))
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(lines[0], parse_constant=pytest.fail) == {"a": None, "d": "2024-05-01"}
    assert json.loads(lines[2]) == {"a": 1.0, "d": "2024-05-01"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_what_was_there(path, error):
    path.write_text("before")
    with pytest.raises(error):
        write(path, FRAME, error=error)
    assert left(path) == [path.name]
    assert path.read_text() == "before"


def test_nothing_written_is_an_error(path):
    with pytest.raises(FileError, match="no rows"), TableWriter(path):
        pass
    assert left(path) == []


def test_other_columns_are_refused(path):
    with pytest.raises(FileError, match="'b' but the first one had 'a'"):
        write(path, pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]}))
    assert left(path) == []


def test_other_types_are_refused_where_a_file_has_types(path):
    chunks = pd.DataFrame({"a": [1]}), pd.DataFrame({"a": ["x"]})
    if path.suffix == ".parquet":
        with pytest.raises(FileError, match="does not fit the first one"):
            write(path, *chunks)
        assert left(path) == []
    else:
        write(path, *chunks)
        assert '"x"' in path.read_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [("no/folder/out.csv", "folder does not exist"), ("", "is a folder"), ("out.xlsx", "no known ending")],
)
def test_places_that_cannot_be_written(tmp_path, name, said):
    with pytest.raises(FileError, match=said), TableWriter(tmp_path / name, form="csv" if not name else None):
        pass


def test_a_folder_without_permission(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    with pytest.raises(FileError, match="Permission denied"), TableWriter(tmp_path / "out.csv"):
        pass


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")  # noqa: PTH110
def test_a_full_disk_is_one_sentence_and_leaves_nothing(path, monkeypatch):
    opened = type(path).open

    def full(self, mode="r", **options):
        if mode != "wb":
            return opened(self, mode, **options)
        self.unlink()
        self.symlink_to("/dev/full")
        return opened(self, mode, **options)

    monkeypatch.setattr("pathlib.Path.open", full)
    with pytest.raises(FileError, match="disk is full"):
        write(path, *[pd.concat([FRAME] * 100)] * 50)
    assert left(path) == []


@pytest.mark.parametrize(("form", "first"), [(None, "{"), ("jsonl", "{"), ("csv", '"score"')])
def test_standard_output(monkeypatch, form, first):
    stream = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", type("Stdout", (), {"buffer": stream}))
    with TableWriter("-", form=form) as writer:
        writer.write(FRAME)
        before = stream.tell()
        writer.write(FRAME)
    assert stream.getvalue().startswith(first.encode())
    assert 0 < before < stream.tell()
    assert stream.getvalue().count(b'"score"') == (1 if form == "csv" else 6)


def test_a_reader_that_has_had_enough_is_not_the_callers_mistake(monkeypatch):
    class Closed(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", type("Stdout", (), {"buffer": Closed()}))
    with pytest.raises(BrokenPipeError), TableWriter("-") as writer:
        writer.write(FRAME)


def test_form_is_checked():
    with pytest.raises(ParameterError, match="'xml'"):
        TableWriter("out.csv", form="xml")


def test_atomic_path_replaces_at_the_end_only(tmp_path):
    target = tmp_path / "model.bin"
    target.write_text("before")
    with atomic_path(target) as temporary:
        temporary.write_text("after")
        assert temporary.parent == tmp_path
        assert target.read_text() == "before"
    assert target.read_text() == "after"
    assert left(target) == ["model.bin"]


def test_atomic_path_reports_a_full_disk_and_lets_other_errors_pass(tmp_path):
    with pytest.raises(FileError, match="disk is full"), atomic_path(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(TimeoutError), atomic_path(tmp_path / "a"):
        raise TimeoutError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_later_chunks_of_a_growing_table_may_have_other_columns(tmp_path, ending):
    path = tmp_path / f"t.{ending}"
    with TableWriter(path, growing=True) as writer:
        writer.write(pd.DataFrame({"a": [1.5], "gone": ["x"]}))
        writer.write(pd.DataFrame({"a": [2.5], "late": [7]}))
    back = read_table(path)
    assert back["a"].tolist() == [1.5, 2.5]
    assert back["gone"].iloc[0] == "x"
    assert pd.isna(back["gone"].iloc[1])
    assert writer.left_out == ([] if ending == "jsonl" else ["late"])
    assert ("late" in back.columns) == (ending == "jsonl")


def test_lists_and_objects_are_json_in_csv(tmp_path):
    with TableWriter(tmp_path / "t.csv") as writer:
        writer.write(pd.DataFrame({"deep": [{"k": [1, "ä"]}, None], "list": [[1, 2], []]}))
    back = pd.read_csv(tmp_path / "t.csv")
    assert json.loads(back["deep"].iloc[0]) == {"k": [1, "ä"]}
    assert pd.isna(back["deep"].iloc[1])
    assert back["list"].tolist() == ["[1, 2]", "[]"]
