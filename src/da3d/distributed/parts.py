"""A Parquet table in parts: each is judged once, written whole or not at all, and not judged again.

A part of the table becomes one file of the output folder, numbered in the order of the rows. It is written
under another name and renamed, so it is there as a whole or not; a part that is worked twice, because a
worker was lost, replaces its own file by an equal one. Beside the files lies a note for each:

::

    verdicts/part-00000.parquet
    verdicts/_notes/part-00000.json   rows, alarms, and two digests
    verdicts/_SUCCESS                 only if all parts are there

One digest is of everything that decides the file: the model, the rule, the rows as they are in their file and
the version of this library. The other one is of the file itself. A part is taken for finished only if both
are what they would be.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from da3d import __version__
from da3d.errors import FileError, ParameterError, TableError
from da3d.pipeline import AnomalyPipeline, Threshold
from da3d.pipeline.judging import judged, write_judged
from da3d.preprocessing import ParquetPart, TableWriter, atomic_path, parquet_parts, stream_part

__all__ = ["Job", "Note", "Part", "complete", "cut", "prepare"]

_ROWS = 1_000_000  # a part ends with the row group in which it gets so many rows
_NOTES = "_notes"
_SUCCESS = "_SUCCESS"


@dataclass(frozen=True)
class Part:
    """One part of the table and its number."""

    number: int
    rows: ParquetPart

    @property
    def name(self) -> str:
        """The name of its file of verdicts, without the ending."""
        return f"part-{self.number:05d}"


class Note(BaseModel):
    """What is known about a finished part.

    Attributes
    ----------
    rows, alarms : int
    made_of : str
        Digest of everything that decides the file.
    sha256 : str
        Digest of the file.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    rows: int
    alarms: int
    made_of: str
    sha256: str


@dataclass(frozen=True)
class Job:
    """What is done to every part.

    Attributes
    ----------
    output : Path
        The folder of verdicts, absolute.
    model : str
        SHA-256 of the model file.
    threshold : Threshold
        Judges each row on its own.
    keep : bool
        Whether the table's columns stand beside the verdicts, or the rows' numbers.
    only_anomalies : bool
        Whether only rows that raise an alarm are written.
    chunk : int
        Rows in memory at a time.
    """

    output: Path
    model: str
    threshold: Threshold
    keep: bool = True
    only_anomalies: bool = False
    chunk: int = 65_536

    def file(self, part: Part) -> Path:
        """Where the verdicts of a part lie."""
        return self.output / f"{part.name}.parquet"

    def note(self, part: Part) -> Path:
        """Where the note about a part lies."""
        return self.output / _NOTES / f"{part.name}.json"

    def made_of(self, part: Part) -> str:
        """Digest of everything that decides the verdicts of a part."""
        rows = part.rows
        decides = {
            "da3d": __version__,
            "model": self.model,
            "rule": [self.threshold.rule, self.threshold.value],
            "keep": self.keep,
            "only_anomalies": self.only_anomalies,
            "schema": str(rows.schema),
            "folders": str(rows.fragment.partition_expression),
            "first": rows.first,
        }
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode())
        for piece in rows.content():
            digest.update(piece)
        return digest.hexdigest()

    def found(self, part: Part) -> Note | None:
        """The note of a finished part; None if it is missing, damaged, or of other rows or another model."""
        try:
            note = Note.model_validate_json(self.note(part).read_bytes())
            valid = note.sha256 == _digest(self.file(part)) and note.made_of == self.made_of(part)
        except (FileNotFoundError, ValidationError):
            return None
        return note if valid else None

    def work(self, part: Part, pipeline: AnomalyPipeline) -> Note:
        """Judge a part and write its verdicts, then its note.

        Raises
        ------
        TableError, SchemaError
            The rows cannot be judged.
        FileError
            The part cannot be read, or its verdicts cannot be written.
        """
        file = self.file(part)
        with TableWriter(file) as writer:
            chunks = judged(pipeline, self.threshold, stream_part(part.rows, self.chunk))
            done = write_judged(chunks, writer, keep=self.keep, only_anomalies=self.only_anomalies)
        note = Note(rows=done.rows, alarms=done.alarms, made_of=self.made_of(part), sha256=_digest(file))
        with atomic_path(self.note(part)) as path:
            path.write_text(note.model_dump_json(), encoding="utf-8")
        return note


def cut(table: Path, rows: int = _ROWS) -> list[Part]:
    """The parts of a Parquet file or of a folder of them, in the order of the rows; none is empty.

    Raises
    ------
    ParameterError
        `table` is another kind of file.
    FileError, TableError
        It cannot be read, or has no rows.
    """
    if not table.is_dir() and table.suffix.lower() != ".parquet":
        raise ParameterError(
            f"'{table}' is to be judged in parts, but only Parquet can be cut; give a .parquet file or a "
            "folder of them."
        )
    found = [part for part in parquet_parts(table.absolute(), rows) if part.rows]
    if not found:
        raise TableError(f"'{table}' has columns but no rows: at least one row is needed")
    return [Part(number, part) for number, part in enumerate(found)]


def prepare(job: Job, table: Path, parts: Sequence[Part]) -> None:
    """Make the output folder; what an earlier, unfinished run left stays for `Job.found`.

    Raises
    ------
    ParameterError
        The folder lies in the table, or holds Parquet files that are no part of this job.
    FileError
        It cannot be made.
    """
    output = job.output
    if table.is_dir() and output.resolve().is_relative_to(table.resolve()):
        raise ParameterError(f"the verdicts would lie in '{table}', among the rows; give another folder.")
    strange = sorted(set(output.rglob("*.parquet")) - {job.file(part) for part in parts})
    if strange:
        raise ParameterError(
            f"'{strange[0]}' is no part of this job, so the folder would hold more rows than the table; give "
            "an empty folder, or delete the file."
        )
    try:
        (output / _NOTES).mkdir(parents=True, exist_ok=True)
        (output / _SUCCESS).unlink(missing_ok=True)
        _sweep(output)
    except OSError as error:
        raise FileError(f"the folder '{output}' cannot be made ({error.strerror}); give another.") from error


def complete(job: Job, parts: Sequence[Part]) -> None:
    """Make sure that all files have arrived, and say so in the folder.

    Raises
    ------
    FileError
        A part's verdicts are not where this machine sees them.
    """
    missing = [part for part in parts if not job.file(part).exists()]
    if missing:
        raise FileError(
            f"the verdicts of {len(missing)} of {len(parts)} parts are not in '{job.output}': it must lie on "
            "storage that all machines of the cluster share."
        )
    _sweep(job.output)
    (job.output / _SUCCESS).touch()


def _sweep(output: Path) -> None:
    """Remove what workers that died left half written."""
    for unfinished in [*output.glob(".part-*.part"), *(output / _NOTES).glob(".part-*.part")]:
        unfinished.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
