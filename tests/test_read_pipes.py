"""Tables that come through a pipe: read once, and no later than need be."""

import gzip
import io
import os
import sys
import threading
import time

import pandas as pd
import pytest

from da3d.errors import FileError, TableError
from da3d.preprocessing import read_table, sample_table, stream_table
from da3d.preprocessing.source import Prompt

FRAME = pd.DataFrame({"n": [1, 2, 3], "c": ["x", "y\nz", "w"]})
KINDS = {"n": "number", "c": "category"}

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")


def content(name):
    """The frame in the form that a name asks for."""
    data = FRAME.to_csv(index=False) if ".csv" in name else FRAME.to_json(orient="records", lines=True)
    return gzip.compress(data.encode()) if name.endswith(".gz") else data.encode()


@pytest.fixture
def piped(tmp_path):
    """A function that makes a named pipe into which bytes are written once."""
    writers = []

    def make(name, data):
        path = tmp_path / name
        os.mkfifo(path)
        writers.append(threading.Thread(target=path.write_bytes, args=(data,), daemon=True))
        writers[-1].start()
        return path

    yield make
    for writer in writers:
        writer.join(10)
        assert not writer.is_alive()


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.csv.gz", "t.jsonl.gz"])
@pytest.mark.parametrize("kinds", [None, KINDS])
def test_a_named_pipe_is_read_once(piped, name, kinds):
    rows = read_table(piped(name, content(name)), kinds=kinds)
    pd.testing.assert_frame_equal(rows, FRAME, check_dtype=False)


def test_a_sample_is_drawn_from_a_named_pipe(piped):
    assert len(sample_table(piped("t.jsonl", content("t.jsonl")), rows=2).frame) == 2


def test_a_damaged_pipe_is_refused(piped):
    with pytest.raises(TableError, match="is damaged"):
        read_table(piped("t.csv.gz", content("t.csv.gz")[:-9]))


def test_a_pipe_holds_no_parquet(tmp_path):
    os.mkfifo(tmp_path / "t.parquet")
    with pytest.raises(FileError, match="is a pipe"):
        read_table(tmp_path / "t.parquet")


class Pipe:
    """Both ends of a pipe; what is read from it is standard input. It ends by itself before long."""

    def __init__(self):
        end, start = os.pipe()
        self.buffer = os.fdopen(end, "rb")
        self._start = os.fdopen(start, "wb", buffering=0)
        self._watchdog = threading.Timer(30, self.end)
        self._watchdog.start()

    def send(self, *parts, after=0.0):
        """Write parts, in a thread of its own, with a pause before each."""

        def write():
            for part in parts:
                time.sleep(after)
                self._start.write(part.encode())

        threading.Thread(target=write, daemon=True).start()

    @property
    def is_open(self):
        return not self._start.closed

    def end(self):
        self._start.close()

    def close(self):
        self._watchdog.cancel()
        self.end()
        self.buffer.close()


@pytest.fixture
def pipe(monkeypatch):
    made = Pipe()
    monkeypatch.setattr(sys, "stdin", made)
    yield made
    made.close()


def test_a_row_of_csv_comes_out_when_the_next_one_has_come(pipe):
    chunks = stream_table("-", 1, kinds=KINDS)
    pipe.send("n,c\n1,x\n", "2,y\n", after=0.2)
    assert next(chunks).to_numpy().tolist() == [[1, "x"]]
    pipe.send('3,"a', "\n", 'b"\n', after=0.2)  # the first line's end is within quotes
    assert next(chunks).to_numpy().tolist() == [[2, "y"]]
    pipe.send("4,z\n", after=0.2)
    assert next(chunks).to_numpy().tolist() == [[3, "a\nb"]]
    assert pipe.is_open
    pipe.end()
    assert next(chunks).to_numpy().tolist() == [[4, "z"]]
    assert next(chunks, None) is None


def test_a_row_that_comes_piece_by_piece_is_whole(pipe):
    chunks = stream_table("-", 2, kinds=KINDS)
    pipe.send("n,c\n", "1,", "x", "\n2,", "y", "\n", "3,z\n4", ",w\n", "5,v\n", after=0.1)
    assert next(chunks)["c"].tolist() == ["x", "y"]
    assert next(chunks)["c"].tolist() == ["z", "w"]
    assert pipe.is_open
    pipe.end()
    assert next(chunks)["c"].tolist() == ["v"]


def test_only_lines_end_what_is_read(pipe):
    prompt = Prompt(pipe.buffer)
    pipe.send("1,2\n3", ",4\n", after=0.2)
    assert prompt.read(100) == b"1,2\n3,4\n"
    pipe.send("5,6\n")
    assert prompt.read(3) == b"5,6"
    assert prompt.read(100) == b"\n"


def test_what_nobody_can_wait_for_is_read_until_it_is_full():
    prompt = Prompt(io.BufferedReader(io.BytesIO(b"1\n2\n3\n")))
    begin = time.perf_counter()
    assert prompt.read(4) == b"1\n2\n"
    assert (prompt.read(100), prompt.read(100)) == (b"3\n", b"")
    assert time.perf_counter() - begin < 10
