"""Reading and writing in threads: order, errors, and no more than one chunk ahead."""

import threading
import time

import pandas as pd
import pytest

from da3d.preprocessing import TableWriter
from da3d.preprocessing.ahead import Behind, ahead


def counted(made, most=None, error=None):
    """Numbers from 0; how many were made is told."""
    number = 0
    while most is None or number < most:
        made.append(number)
        yield number
        number += 1
    if error is not None:
        raise error


def test_items_keep_their_order():
    assert list(ahead(counted([], 100))) == list(range(100))
    assert list(ahead([])) == []
    assert list(ahead([None, 0])) == [None, 0]


def test_one_item_is_made_ahead_and_no_more():
    made = []
    items = ahead(counted(made))
    for number in items:
        deadline = time.monotonic() + 10
        while len(made) < number + 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert len(made) == number + 2
        if number == 5:
            break
    items.close()
    assert len(made) == 7


def test_an_error_comes_after_the_items_before_it():
    items = ahead(counted([], 3, OSError("gone")))
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="gone"):
        next(items)


def test_no_thread_is_left():
    before = set(threading.enumerate())
    items = ahead(counted([]))
    next(items)
    (thread,) = set(threading.enumerate()) - before
    items.close()
    assert not thread.is_alive()


def frame(number):
    return pd.DataFrame({"x": [number]})


def test_chunks_are_written_in_order(tmp_path):
    with TableWriter(tmp_path / "t.csv") as file, Behind(file) as writer:
        for number in range(50):
            writer.write(frame(number))
    assert (tmp_path / "t.csv").read_text().split() == ['"x"', *map(str, range(50))]


class Broken:
    """A writer that cannot write the chunk of a given number."""

    def __init__(self, number):
        self.number, self.seen = number, []

    def write(self, frame):
        if len(self.seen) == self.number:
            raise OSError("the disk is gone")
        self.seen.append(frame)


@pytest.mark.parametrize("number", [0, 3, 9])
def test_a_failed_write_is_raised_and_ends_the_writing(number):
    broken = Broken(number)

    def write():
        with Behind(broken) as writer:
            for each in range(10):
                writer.write(frame(each))

    with pytest.raises(OSError, match="the disk is gone"):
        write()
    assert len(broken.seen) == number


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interruption_leaves_no_file(tmp_path, error):
    def interrupted():
        with TableWriter(tmp_path / "t.parquet") as file, Behind(file) as writer:
            writer.write(frame(0))
            raise error

    with pytest.raises(error):
        interrupted()
    assert list(tmp_path.iterdir()) == []
