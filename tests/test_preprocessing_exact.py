"""What stands in a text file comes out again: long numbers, quoted headers, empty lines, late columns."""

import io
import json

import pyarrow.parquet as parquet
import pytest

from da3d.errors import TableError
from da3d.preprocessing import TableWriter, read_table, stream_table

LONG = [1234567890123456789 + row for row in range(4)]


def copied(source, target, kinds, rows=2):
    """Stream a table into a file as `da3d score` does."""
    with TableWriter(target, growing=True) as writer:
        for chunk in stream_table(source, rows, kinds=kinds):
            writer.write(chunk)
    return target


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_long_numbers_keep_their_digits(tmp_path, ending):
    source = tmp_path / f"in.{ending}"
    if ending == "csv":
        source.write_text("id,a\n" + "".join(f"{n},{0.5 * n}\n" for n in LONG))
    else:
        source.write_text("".join(json.dumps({"id": n, "a": 0.5}) + "\n" for n in LONG))
    target = copied(source, tmp_path / f"out.{ending}", {"id": "number", "a": "number"})
    assert read_table(target)["id"].tolist() == LONG


def test_whole_numbers_may_get_fractions_later(tmp_path):
    source = tmp_path / "in.csv"
    source.write_text("id,a\n1,1\n2,2\n3,2.5\n4,\n")
    kinds = {"id": "number", "a": "number"}
    text = copied(source, tmp_path / "out.csv", kinds).read_text().splitlines()
    assert text[1:] == ["1,1", "2,2", "3,2.5", "4,"]
    table = parquet.read_table(copied(source, tmp_path / "out.parquet", kinds))
    assert table["a"].to_pylist() == [1.0, 2.0, 2.5, None]


def test_separators_within_quotes_do_not_count(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text('"name, first, last";b\nx;2\ny;4\n')
    assert read_table(path).columns.tolist() == ["name, first, last", "b"]


def test_tsv_is_separated_by_tabs(tmp_path):
    path = tmp_path / "in.tsv"
    path.write_text("a\tx, y, z\n1\t2\n3\t4\n")
    assert read_table(path).columns.tolist() == ["a", "x, y, z"]


@pytest.mark.parametrize("kinds", [None, {"v": "number"}])
def test_an_empty_line_of_a_single_column_is_a_missing_value(tmp_path, kinds):
    path = tmp_path / "in.csv"
    path.write_text("v\n\n1\n\n2\n")
    assert read_table(path, kinds=kinds)["v"].isna().tolist() == [True, False, True, False]


def test_a_row_of_another_length_is_named_by_its_line(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    path = tmp_path / "in.csv"
    path.write_text("a,b\n1,2\n1,2,3\n")
    with pytest.raises(TableError, match="line 3 has 3 fields"):
        read_table(path)


def test_a_column_that_comes_late_in_json_lines_is_there_from_the_start(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}\n{"a": 3, "port": 80}\n')
    chunks = list(stream_table(path, 1, kinds={"a": "number", "port": "number", "gone": "number"}))
    assert [chunk.columns.tolist() for chunk in chunks] == [["a", "port"]] * 3
    assert [chunk["port"].isna().all() for chunk in chunks] == [True, True, False]


def test_on_standard_input_the_first_lines_say_which_columns_there_are(monkeypatch):
    lines = b'{"a": 1}\n{"a": 2, "port": 80}\n'
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
    (frame,) = stream_table("-", 10, kinds={"a": "number", "port": "number"})
    assert frame.columns.tolist() == ["a", "port"]
