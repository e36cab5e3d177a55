import codecs
import gzip
import io
import json
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from da3d.errors import FileError, ParameterError, TableError
from da3d.preprocessing import Schema, TableWriter, read_table, stream_table
from da3d.preprocessing import csv_file as csv_module

KINDS = {"n": "number", "b": "boolean", "c": "category", "d": "date"}
CSV = 'n,b,c,d\n1,true,x,2024-05-01\n2,False,"NA",2024-05-02 13:37:00\nNA,,,\n'
JSON = (
    '{"n": 1, "b": true, "c": "x", "d": "2024-05-01"}\n'
    '{"n": 2.0, "b": false, "c": "NA", "d": "2024-05-02 13:37:00"}\n\n'
    '{"n": null, "c": null}\n'
)


def put(path, text):
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


class Stdin:
    def __init__(self, text):
        self.buffer = io.BufferedReader(io.BytesIO(text.encode()))


@pytest.fixture(
    params=["t.csv", "t.csv.gz", "t.tsv", "t.jsonl", "t.ndjson.gz", "csv on stdin", "json on stdin"]
)
def given_path(request, tmp_path, monkeypatch):
    name = request.param
    text = JSON if "json" in name or "ndjson" in name else CSV
    if "stdin" in name:
        monkeypatch.setattr(sys, "stdin", Stdin(text))
        return "-"
    return put(tmp_path / name, text.replace(",", "\t") if name == "t.tsv" else text)


@pytest.mark.parametrize("kinds", [None, KINDS], ids=["inferred", "fitted kinds"])
@pytest.mark.parametrize("way", ["read", "stream"])
def test_every_form_gives_the_same_table(given_path, kinds, way):
    if way == "read":
        frame = read_table(given_path, kinds=kinds)
    else:
        frame = pd.concat(stream_table(given_path, 2, kinds=kinds))
    assert Schema.infer(frame).kinds == KINDS
    assert frame["n"].tolist()[:2] == [1, 2]
    assert pd.isna(frame["n"].iloc[2])
    assert frame["b"].tolist()[:2] == [True, False]
    assert frame["c"].tolist()[:2] == ["x", "NA"]  # an empty cell is missing in text, NA is not
    assert frame["d"].tolist()[:2] == [pd.Timestamp("2024-05-01"), pd.Timestamp("2024-05-02 13:37")]
    assert frame.iloc[2].isna().all()
    assert frame.index.tolist() == [0, 1, 2]


def test_a_type_that_shows_late_holds_for_the_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_module, "BLOCK_BYTES", 1 << 12)
    lines = [f"{i},{i},{i}" for i in range(5000)] + ["1.5,many,"]
    path = put(tmp_path / "t.csv", "half,text,whole\n" + "\n".join(lines))
    chunks = list(stream_table(path, 1000))
    assert [len(chunk) for chunk in chunks] == [1000] * 5 + [1]
    for chunk in chunks:
        assert Schema.infer(chunk[["half", "text"]]).kinds == {"half": "number", "text": "category"}
    frame = read_table(path)
    assert frame["half"].iloc[-1] == 1.5
    assert frame["text"].iloc[[0, -1]].tolist() == ["0", "many"]
    assert list(pd.concat(chunks)["half"]) == list(frame["half"])


def test_json_types_that_show_late(tmp_path):
    rows = [{"a": i, "d": "2024-05-01"} for i in range(50)] + [{"a": 1.5, "d": "soon", "new": True}]
    path = put(tmp_path / "t.jsonl", "\n".join(map(json.dumps, rows)))
    chunks = list(stream_table(path, 10))
    assert all(list(chunk.columns) == ["a", "d", "new"] for chunk in chunks)
    assert chunks[0]["d"].iloc[0] == "2024-05-01"
    assert chunks[0]["a"].dtype == np.float64


def test_whole_numbers_stay_whole_for_labels(tmp_path):
    assert read_table(put(tmp_path / "t.csv", "x,label\n0.5,0\n1,1\n"))["label"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "?", "-", " 2 "], "number"),
        (["0x10", "0x11"], "category"),
        (["none", "NA"], "category"),
        (["1e5", "inf", "nan"], "number"),
        (["TRUE", "false"], "boolean"),
        (["2024-05-01T10:00:00Z", "2024-05-01T10:00:00.123+02:00"], "date"),
        (["2024-05-01", "01/05/2024"], "category"),
        (["00123", "A12"], "category"),
    ],
)
def test_what_text_becomes(tmp_path, cells, kind):
    frame = read_table(put(tmp_path / "t.csv", "\n".join(["id,x", *(f"1,{cell}" for cell in cells)])))
    assert Schema.infer(frame).kinds["x"] == kind


def test_zones_become_utc(tmp_path):
    frame = read_table(put(tmp_path / "t.csv", "a,d\n1,2024-05-01T10:00:00+02:00\n"))
    assert frame["d"].tolist() == [pd.Timestamp("2024-05-01 08:00")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_header_tells_the_delimiter_and_a_byte_order_mark_is_no_name(tmp_path, delimiter):
    text = "a,b\n1,2\n".replace(",", delimiter)
    frame = read_table(put(tmp_path / "t.csv", codecs.BOM_UTF8 + text.encode()))
    assert list(frame.columns) == ["a", "b"]


def test_quoted_cells_may_hold_newlines_and_commas(tmp_path):
    frame = read_table(put(tmp_path / "t.csv", 'a,b\n"x,\ny",1\n'))
    assert frame["a"].tolist() == ["x,\ny"]


def test_columns_without_a_kind_are_text(tmp_path):
    frame = read_table(put(tmp_path / "t.csv", "n,label\n1,0\n"), kinds={"n": "number"})
    assert frame["label"].tolist() == ["0"]


def test_a_column_that_json_never_names_is_not_there(tmp_path):
    path = put(tmp_path / "t.jsonl", '{"n": 1}\n')
    assert list(read_table(path, kinds=KINDS).columns) == ["n"]


def test_standard_input_with_kinds_is_read_as_it_arrives(monkeypatch):
    class Endless(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            part = b'{"n": 1}\n' * (len(buffer) // 9)
            buffer[: len(part)] = part
            return len(part)

    stdin = type("Stdin", (), {"buffer": io.BufferedReader(Endless())})
    monkeypatch.setattr(sys, "stdin", stdin)
    chunks = stream_table("-", 100, kinds={"n": "number"})
    assert [len(next(chunks)) for _ in range(3)] == [100, 100, 100]


def test_parquet_file_folder_and_partitions(tmp_path):
    frame = pd.DataFrame({"a": range(10), "c": list("ababababab")}, index=range(5, 15))
    folder = tmp_path / "many"
    for day in (1, 2):
        (folder / f"day={day}").mkdir(parents=True)
        frame.to_parquet(folder / f"day={day}" / "part.parquet")
    (folder / "README.txt").write_text("not a table")
    frame.astype({"a": float}).to_parquet(folder / "day=2" / "part.parquet")
    frame.to_parquet(tmp_path / "one.parquet")
    one = read_table(tmp_path / "one.parquet")
    assert one["a"].tolist() == list(range(10))
    assert one.index.tolist() == list(range(10))  # a file's index is no data
    many = list(stream_table(folder, 4))
    assert [len(chunk) for chunk in many] == [4, 4, 4, 4, 4]
    assert {str(chunk["a"].dtype) for chunk in many} == {"float64"}
    assert pd.concat(many)["day"].tolist() == [1] * 10 + [2] * 10


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_streaming_takes_bounded_memory(tmp_path, form):
    path = tmp_path / f"t.{form}"
    rows = 300_000
    if form == "parquet":
        table = pa.table({"a": np.arange(rows) * 1.5, "c": ["word"] * rows})
        pq.write_table(table, path, row_group_size=20_000)
    else:
        line = "{},word\n" if form == "csv" else '{{"a": {}, "c": "word"}}\n'
        head = "a,c\n" if form == "csv" else ""
        put(path, head + "".join(line.format(i * 1.5) for i in range(rows)))
    total, most = 0, 0
    tracemalloc.start()
    try:
        for chunk in stream_table(path, 1000):
            total += len(chunk)
            most = max(most, pa.total_allocated_bytes())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == rows
    assert peak + most < 60e6


def test_a_chunk_has_a_row(tmp_path):
    with pytest.raises(ParameterError, match="rows is 0"):
        next(stream_table(tmp_path / "t.csv", 0))


def truncated_gzip():
    return gzip.compress(CSV.encode() * 1000)[:-20]


@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("t.csv", None, FileError, "there is no file"),
        ("t.parquet", None, FileError, "there is no file"),
        ("t.xlsx", b"x", FileError, r"no known ending: \.csv"),
        ("t.csv", b"", TableError, "is empty"),
        ("t.csv", b"\n\n", TableError, "is empty"),
        ("t.jsonl", b" \n", TableError, "is empty"),
        ("t.parquet", b"", TableError, "is empty"),
        ("t.csv", b"a,b\n", TableError, "columns but no rows"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n1,2\n", TableError, "line 3 has 3 fields but the header has 2"),
        ("t.csv", b"a,b\n1,2\n1\n", TableError, "line 3 has 1 fields"),
        ("t.csv", b"a,a\n1,2\n", TableError, "named 'a'"),
        ("t.csv", "name,n\nJos\xe9,1\n".encode("latin1"), TableError, "not UTF-8 .* UTF-8"),
        ("t.csv", "pa\xeds,n\nx,1\n".encode("latin1"), TableError, "not UTF-8"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), TableError, "UTF-16"),
        ("t.csv", b'a,b\n1,"' + b"x,y\n" * 3_000_000, TableError, "quote|fields"),
        ("t.csv.gz", b"not gzip", TableError, "damaged"),
        ("t.csv.gz", truncated_gzip(), TableError, "damaged"),
        ("t.jsonl.gz", truncated_gzip(), TableError, "damaged"),
        ("t.jsonl", b'{"a": 1}\n{"a":\n', TableError, "line 2 is not a JSON object"),
        ("t.jsonl", b'[{"a": 1}]\n', TableError, "line 1 is not a JSON object.*one JSON object per line"),
        ("t.jsonl", b'{"a": 1}\n{"a": "x"}\n', TableError, "column 'a' holds a string where a number"),
        ("t.jsonl", b'{"a": 1}\n\n{"a": "\xe9"}\n', TableError, "not UTF-8 .*line 3"),
        ("t.parquet", b"PAR1 but then nothing PAR1", TableError, "damaged"),
        ("t.parquet", b"a,b\n1,2\n", TableError, "damaged"),
    ],
)
@pytest.mark.parametrize("way", ["read", "stream"])
def test_bad_files_give_one_sentence(tmp_path, name, content, error, said, way):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=said) as caught:
        read_table(path) if way == "read" else list(stream_table(path))
    assert type(caught.value) is error
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_row_group_is_a_table_error(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": np.random.default_rng(0).normal(size=10_000)}), path, compression="snappy")
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)
    with pytest.raises(TableError, match="damaged"):
        read_table(path)


def test_folders_in_a_folder_may_be_called_like_files(tmp_path):
    frame = pd.DataFrame({"a": [1, 2, 3], "c": list("xyz")})
    for name in ("x.parquet", "y.parquet"):
        (tmp_path / name).mkdir()
        frame.to_parquet(tmp_path / name / "part-00000.snappy.parquet")
        (tmp_path / name / "_SUCCESS").touch()
    (tmp_path / "x.parquet" / "day=3").mkdir()
    frame.to_parquet(tmp_path / "x.parquet" / "day=3" / "part-00000.parquet")
    (tmp_path / "empty.parquet").mkdir()
    assert read_table(tmp_path / "y.parquet")["a"].tolist() == [1, 2, 3]
    rows = read_table(tmp_path)
    assert rows["a"].tolist() == [1, 2, 3] * 3
    assert rows["day"].isna().tolist() == [False] * 3 + [True] * 6
    with pytest.raises(FileError, match=r"no \.parquet file"):
        read_table(tmp_path / "empty.parquet")


def test_what_is_about_a_folder_is_no_part_of_it(tmp_path):
    folder = tmp_path / "_mine" / ".hidden"  # only what lies in the folder is looked at
    frame = pd.DataFrame({"a": [1, 2, 3]})
    for name in (
        "part.parquet",
        "_temporary/0/part.parquet",
        "_delta_log/1.checkpoint.parquet",
        ".part.parquet",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(folder / name)
    assert read_table(folder)["a"].tolist() == [1, 2, 3]
    (folder / "_day=3").mkdir()
    frame.to_parquet(folder / "_day=3" / "part.parquet")
    assert read_table(folder)["_day"].notna().sum() == 3


def test_folders_that_hold_no_table(tmp_path):
    with pytest.raises(FileError, match=r"no \.parquet file"):
        read_table(tmp_path)
    (tmp_path / "t.csv").mkdir()
    (tmp_path / "t.jsonl").mkdir()
    with pytest.raises(FileError, match=r"no \.parquet file"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "t.csv",
            "n,c\n" + "1,x\n" * 20 + "many,x\n",
            "column 'n' holds 'many' in data row 21.* not a number",
        ),
        ("t.csv", "b,c\n2,x\n", "column 'b' holds '2' in data row 1.* not true or false"),
        ("t.csv", "c,d\nx,yesterday\n", "'yesterday'.* not a date"),
        ("t.jsonl", '{"n": "many"}\n', "column 'n'.*numbers at fit"),
        ("t.jsonl", '{"b": "yes"}\n', "column 'b'.*true/false values at fit"),
        ("t.jsonl", '{"d": "soon"}\n', "column 'd'.*dates"),
        ("t.jsonl", '{"c": "x"}\n{"c": 3}\n', "column 'c' holds a number where a string"),
    ],
)
def test_cells_of_another_kind_than_at_fit(tmp_path, name, text, said):
    with pytest.raises(TableError, match=said):
        list(stream_table(put(tmp_path / name, text), kinds=KINDS))


@pytest.mark.parametrize("kinds", [None, {"a": "number", "n": "number"}], ids=["inferred", "fitted kinds"])
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_whole_numbers_stay_whole_beside_missing_ones(tmp_path, kinds, ending):
    path = tmp_path / f"t.{ending}"
    if ending == "csv":
        path.write_text("a,n\n0.5,100000000000000001\n1.5,\n")
    elif ending == "jsonl":
        path.write_text('{"a": 0.5, "n": 100000000000000001}\n{"a": 1.5, "n": null}\n')
    else:
        pq.write_table(pa.table({"a": [0.5, 1.5], "n": pa.array([100000000000000001, None])}), path)
    frame = read_table(path, kinds=kinds)
    assert frame["n"].iloc[0] == 100000000000000001
    for name in ("t.jsonl", "u.csv", "u.parquet"):
        with TableWriter(tmp_path / name, growing=True) as writer:
            writer.write(frame)
    assert json.loads((tmp_path / "t.jsonl").read_text().splitlines()[0])["n"] == 100000000000000001
    assert (tmp_path / "u.csv").read_text().splitlines()[1:] == ["0.5,100000000000000001", "1.5,"]
    assert pq.read_table(tmp_path / "u.parquet")["n"].to_pylist() == [100000000000000001, None]


def test_columns_of_json_lines_keep_their_order(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1, "word": "x", "more": 2}\n{"word": "y", "a": 3, "late": 4}\n')
    frame = read_table(path, kinds={"a": "number", "word": "category"})
    assert list(frame.columns) == ["a", "word", "more", "late"]
