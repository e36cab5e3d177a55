"""Parquet files as one table, whole or cut into parts at the borders of their row groups."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as arrow_dataset

from da3d.errors import FileError, TableError
from da3d.preprocessing.source import Source

__all__ = ["ParquetPart", "parquet_parts", "parquet_tables"]


@dataclass(frozen=True)
class ParquetPart:
    """Successive row groups of one file, read with the types of the whole table.

    Attributes
    ----------
    fragment : pyarrow.dataset.ParquetFileFragment
        Those row groups, and the values of the columns that are folders.
    schema : pyarrow.Schema
        Of the whole table.
    first : int
        The number of the part's first row in the whole table, counted from 0.
    """

    fragment: arrow_dataset.ParquetFileFragment
    schema: pa.Schema
    first: int

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.fragment.path)

    @property
    def rows(self) -> int:
        """How many rows the part has."""
        return sum(group.num_rows for group in self.fragment.row_groups)

    def content(self) -> Iterator[bytes]:
        """The bytes of the part's pages as they are in the file, without those of other parts.

        Raises
        ------
        FileError
            The file cannot be read.
        """
        metadata = self.fragment.metadata
        with _readable(self.path), self.path.open("rb") as file:
            for group in self.fragment.row_groups:
                columns = metadata.row_group(group.id)
                for number in range(columns.num_columns):
                    column = columns.column(number)
                    # A column's dictionary, where it has one, lies before its data.
                    file.seek(column.dictionary_page_offset or column.data_page_offset)
                    yield file.read(column.total_compressed_size)

    def tables(self, rows: int) -> Iterator[pa.Table]:
        """The part's rows in order, at most so many at a time.

        Raises
        ------
        FileError
            The file cannot be read.
        TableError
            It is damaged.
        """
        # No reading ahead: it would not wait for a slow consumer.
        options = arrow_dataset.ParquetFragmentScanOptions(pre_buffer=False)
        with _readable(self.path):
            for group in self.fragment.split_by_row_group():
                batches = group.to_batches(schema=self.schema, batch_size=rows, fragment_scan_options=options)
                for batch in batches:
                    yield pa.Table.from_batches([batch])


def parquet_tables(path: Path, rows: int) -> Iterator[pa.Table]:
    """The rows of a file or a folder in order, at most so many at a time."""
    for part in parquet_parts(path):
        yield from part.tables(rows)


def parquet_parts(path: Path, rows: int | None = None) -> Iterator[ParquetPart]:
    """Cut a file, or all files of a folder and its folders, into parts.

    Parameters
    ----------
    path
        A file, or a folder with files that end in ``.parquet``, at any depth; a folder in it may end so, too,
        as those that Spark writes. What begins with a dot or an underscore in it, such as ``_temporary``, is
        no part of the table, columns such as ``_day=3`` aside.
    rows
        A part ends with the row group in which it gets this many rows, or with its file; None: with its file.

    Yields
    ------
    ParquetPart
        In the order of the files' names; every row lies in one part.

    Raises
    ------
    FileError
        There is no such file, no Parquet file in the folder, or one that cannot be read.
    TableError
        A file is empty or damaged, or the files do not have the same columns.
    """
    files = _files(path) if path.is_dir() else [path]
    if not files:
        raise FileError(
            f"the folder '{path}' has no .parquet file in it: give a folder that has, or one file"
        )
    if not path.exists():
        raise FileError(f"there is no file '{path}': check the path")
    for file in files:
        if file.is_file() and file.stat().st_size == 0:
            raise TableError(f"'{file}' is empty: write it again")
    first = 0
    with _readable(path):
        dataset = _dataset(path, files)
        for fragment in dataset.get_fragments():
            for groups in _together(fragment, rows):
                part = ParquetPart(fragment.subset(row_group_ids=groups), dataset.schema, first)
                yield part
                first += part.rows


def _files(folder: Path) -> list[Path]:
    """The Parquet files of a folder and its folders, in order."""
    found = sorted(folder.rglob("*.parquet"))
    return [
        file
        for file in found
        if (file.is_symlink() or not file.is_dir()) and not any(map(_hidden, file.relative_to(folder).parts))
    ]


def _hidden(name: str) -> bool:
    """Whether a file or folder is about the table instead of part of it, as ``_temporary`` or ``_delta_log``.

    Spark's and Hive's rule; ``_day=3`` is a column.
    """
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _together(fragment: arrow_dataset.ParquetFileFragment, rows: int | None) -> Iterator[list[int]]:
    """The numbers of a file's row groups, cut where there are enough rows."""
    waiting: list[int] = []
    count = 0
    for group in fragment.row_groups:
        waiting.append(group.id)
        count += group.num_rows
        if rows is not None and count >= rows:
            yield waiting
            waiting, count = [], 0
    if waiting:
        yield waiting


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What arrow says about a file, as an error that says what to do."""
    try:
        yield
    except PermissionError as error:
        raise FileError(f"'{path}' cannot be read ({error.strerror}): check its permissions") from error
    except (pa.ArrowException, OSError) as error:
        raise Source(path).damaged(error) from error


def _dataset(path: Path, files: list[Path]) -> arrow_dataset.Dataset:
    """Return the files as one table: folders such as ``day=3`` are columns, integers give way to decimals."""
    options = {
        "source": [str(file) for file in files],
        "format": "parquet",
        "partitioning": arrow_dataset.partitioning(flavor="hive") if path.is_dir() else None,
        "partition_base_dir": str(path if path.is_dir() else path.parent),
    }
    dataset = arrow_dataset.dataset(**options)
    schemas = [fragment.physical_schema for fragment in dataset.get_fragments()]
    schema = pa.unify_schemas([dataset.schema, *schemas], promote_options="permissive")
    return dataset if schema == dataset.schema else arrow_dataset.dataset(**options, schema=schema)
