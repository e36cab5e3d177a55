"""What a cell leaves behind: one small JSON file, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError, model_validator

from da3d.errors import FileError, UnavailableError
from da3d.experiments.plan import Cell
from da3d.preprocessing import atomic_path

__all__ = ["Failure", "Found", "Record", "Records", "Seconds", "Size", "State", "scores_digest"]

State = Literal["finished", "failed", "stale", "missing"]
Scores = npt.NDArray[np.float64]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Size(_Strict):
    """Rows of a part, and how many of them are anomalies (hidden ones in training)."""

    rows: int
    anomalies: int


class Seconds(_Strict):
    """Wall-clock seconds of fitting and scoring, and processor seconds of fitting; on one thread."""

    fit: float
    fit_cpu: float
    score: float


class Failure(_Strict):
    """Why a cell failed, and the line of code that said so."""

    type: str
    message: str
    where: str | None = None


class Record(_Strict):
    """Everything about one cell that was run.

    Attributes
    ----------
    cell : str
        `Cell.id`.
    configuration : dict
        `Cell.configuration`; its ``seed`` decides every random choice.
    digest : str
        `Cell.digest`: SHA-256 of the configuration.
    content : str or None
        SHA-256 of a user's own file.
    settings : JSON or None
        What the detector made of its arguments for this table (`settings_`), if it says so.
    versions : dict of str to str
    train, test : Size or None
    columns, features : int or None
        Columns of the table, and what the encoder made of them.
    contamination_reached : float or None
        True share of anomalies among the training rows.
    seconds : Seconds or None
    seconds_total : float
        Of the whole cell, loading included.
    peak_memory_mib : float or None
        Largest resident memory of the cell's process, the libraries included; None where the operating system
        does not tell.
    metrics : dict of str to float or None
        `metrics.summarise` of the test rows.
    scores_sha256 : str or None
        `scores_digest` of the test rows.
    warnings : list of str
    error : Failure or None
        None for a cell that finished; then everything above but `content` and `settings` is there.
    """

    format: Literal[1] = 1
    cell: str
    configuration: dict[str, JsonValue]
    digest: str
    content: str | None = None
    settings: JsonValue = None
    versions: dict[str, str]
    train: Size | None = None
    test: Size | None = None
    columns: int | None = None
    features: int | None = None
    contamination_reached: float | None = None
    seconds: Seconds | None = None
    seconds_total: float = 0.0
    peak_memory_mib: float | None = None
    metrics: dict[str, float] | None = None
    scores_sha256: str | None = None
    warnings: list[str] = []
    error: Failure | None = None

    @model_validator(mode="after")
    def _finished_or_failed(self) -> Self:
        facts = (
            self.train,
            self.test,
            self.contamination_reached,
            self.seconds,
            self.metrics,
            self.scores_sha256,
        )
        if self.error is None and None in facts:
            raise ValueError(
                "a record without an error needs sizes, contamination, seconds, metrics and digest"
            )
        return self

    @property
    def unavailable(self) -> bool:
        """Whether it ended because its data set is not here and cannot be fetched."""
        return self.error is not None and self.error.type == UnavailableError.__name__

    def to_text(self) -> str:
        """The record as JSON with sorted keys, the same text for the same content."""
        return json.dumps(self.model_dump(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in a file.

        Raises
        ------
        FileError
            The file cannot be read, or is no record.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise FileError(f"'{path}' cannot be read ({error.strerror}).") from error
        except ValidationError as error:
            fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(map(str, fault["loc"])) or "the whole"
            raise FileError(
                f"'{path}' is no record of a cell: {where}: {fault['msg']}; delete it and run the cell again."
            ) from error


@dataclass(frozen=True)
class Found:
    """What lies in a cell's place; `record` is None if it is missing or stale."""

    state: State
    record: Record | None = None


@dataclass(frozen=True)
class Records:
    """The records of one experiment, in a folder of their own: one file per cell, by the cell's name."""

    folder: Path

    def path(self, cell: Cell) -> Path:
        """Where the record of a cell lies."""
        return self.folder / f"{cell.id}.json"

    def scores_path(self, cell: Cell) -> Path:
        """Where the scores of a cell's test rows lie, if they are kept."""
        return self.folder / f"{cell.id}.npy"

    def kept_path(self, cell: Cell) -> Path:
        """Where lies what figures need of a cell's rows, if it is kept."""
        return self.folder / f"{cell.id}.npz"

    def kept(self, cell: Cell) -> dict[str, npt.NDArray[Any]] | None:
        """What figures need of a cell's rows, as `kept.for_figures` made it; None if it is not there.

        Raises
        ------
        FileError
            The file is damaged.
        """
        path = self.kept_path(cell)
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise FileError(f"'{path}' is damaged ({error}); delete it and run the cell again.") from error

    def find(self, cell: Cell) -> Found:
        """The record of a cell; one of another configuration, or that cannot be read, is stale."""
        path = self.path(cell)
        if not path.exists():
            return Found("missing")
        try:
            record = Record.read(path)
        except FileError:
            return Found("stale")
        changed = None not in (cell.content, record.content) and cell.content != record.content
        if changed or _what(record.configuration) != _what(cell.configuration):
            return Found("stale")
        return Found("finished" if record.error is None else "failed", record)

    def put(
        self,
        cell: Cell,
        record: Record,
        scores: Scores | None = None,
        kept: Mapping[str, npt.NDArray[Any]] | None = None,
    ) -> None:
        """Write what stands beside a record, then the record, in place of what an earlier run left.

        Raises
        ------
        FileError
            The folder cannot be written, or the disk is full.
        """
        self.make_folder(cell)
        for path, array in ((self.scores_path(cell), scores), (self.kept_path(cell), kept)):
            if array is None:
                path.unlink(missing_ok=True)
                continue
            with atomic_path(path) as unfinished, unfinished.open("wb") as stream:
                if isinstance(array, Mapping):
                    np.savez_compressed(stream, **array)  # type: ignore[arg-type]  # names are those of arrays
                else:
                    np.save(stream, array)
        with atomic_path(self.path(cell)) as unfinished:
            unfinished.write_text(record.to_text(), encoding="utf-8")

    def make_folder(self, cell: Cell) -> None:
        """Make the folder that a cell's record is for.

        Raises
        ------
        FileError
            It cannot be made or written.
        """
        folder = self.path(cell).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(
                f"the folder '{folder}' cannot be written ({error.strerror}); give another for the results."
            ) from error
        if not os.access(folder, os.W_OK):
            raise FileError(f"the folder '{folder}' cannot be written; give another for the results.")


def _what(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what decides nothing.

    Device and threads say only how a model is made; a parameter left at None is the preset's choice, so it
    says the same as a parameter that did not exist yet when the record was made.
    """
    detector = dict(configuration["detector"])
    parameters = detector.get("parameters") or {}
    detector["parameters"] = {
        k: v for k, v in parameters.items() if v is not None and k not in ("device", "threads")
    }
    return {**configuration, "detector": detector}


def scores_digest(scores: Scores) -> str:
    """SHA-256 of the scores as text with six significant digits, one per line.

    Text, so that the digest is the same on every machine; six digits, so that it survives another order of
    summation.
    """
    lines = "\n".join(f"{score + 0.0:.6g}" for score in scores.tolist())
    return hashlib.sha256(lines.encode("ascii")).hexdigest()
