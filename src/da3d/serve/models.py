"""The models that are served: read from files, and exchanged as soon as a file is a better one."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import pandas as pd

from da3d.errors import Da3dError, FileError, ModelFileError, ParameterError
from da3d.persistence import load, onnx
from da3d.pipeline import AnomalyPipeline, Threshold
from da3d.pipeline.judging import Scored
from da3d.preprocessing import Kind

__all__ = ["Loaded", "ModelStore", "OnnxModel", "PipelineModel", "Servable", "read_model"]

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Outcome = Literal["reloaded", "refused"]
_Signature = tuple[int, int, int]


class Servable(Protocol):
    """What a model must be able to do in order to be served; a row's score depends on that row alone."""

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """Kind of each column that a row must have, by name, in their order at fit."""

    @property
    def ignored(self) -> Collection[str]:
        """Columns that a row may have, too, and that say nothing."""

    @property
    def rule(self) -> Threshold:
        """The threshold in force where a request names none."""

    @property
    def explains(self) -> bool:
        """Whether `explain` is of use."""

    def score(self, frame: pd.DataFrame) -> Scored:
        """What is to be judged about the rows of a table with the columns of `kinds`."""

    def judge(self, scored: Scored, threshold: Threshold) -> pd.DataFrame:
        """The verdicts that belong to it: a column for each of `anomaly_score`, `p_value` ..."""

    def explain(self, row: pd.DataFrame, columns: int) -> dict[str, Any]:
        """Why a table of one row has its score, by so many columns; ready for JSON."""


class PipelineModel:
    """A fitted pipeline as it is served.

    Parameters
    ----------
    pipeline : AnomalyPipeline
    """

    def __init__(self, pipeline: AnomalyPipeline) -> None:
        self._pipeline = pipeline
        encoder = pipeline.encoder_
        self.kinds: Mapping[str, Kind] = dict(encoder.schema_.kinds)
        by = pipeline.calibrate_by
        if by is not None and by not in self.kinds:  # it groups the rows but is no feature
            self.kinds = {**self.kinds, by: "category"}
        self.ignored: Collection[str] = [name for name in encoder.ignored_columns_ if name not in self.kinds]
        # A pipeline that was fitted without column names counts columns, so it gets those that it ignores.
        self._absent = [] if hasattr(pipeline, "feature_names_in_") else list(self.ignored)

    @property
    def pipeline(self) -> AnomalyPipeline:
        """The pipeline itself."""
        return self._pipeline

    @property
    def rule(self) -> Threshold:
        """The threshold in force."""
        return self._pipeline.rule

    @property
    def explains(self) -> bool:
        """Whether the pipeline remembers normal rows to compare with."""
        return len(self._pipeline.reference_.rows) > 0

    def score(self, frame: pd.DataFrame) -> Scored:
        """Scores, groups and likeness to suppressed rows."""
        frame = self._whole(frame)
        pipeline = self._pipeline
        return Scored(pipeline.anomaly_score(frame), pipeline.groups(frame), pipeline.benign(frame))

    def judge(self, scored: Scored, threshold: Threshold) -> pd.DataFrame:
        """As `AnomalyPipeline.judge`."""
        return scored.judged(self._pipeline, threshold)

    def explain(self, row: pd.DataFrame, columns: int) -> dict[str, Any]:
        """The sentence and the columns that raise the score most."""
        found = self._pipeline.explain(self._whole(row))[0].to_dict()
        return {
            "sentence": found["sentence"],
            "columns": [dict(each) for each in found["contributions"][:columns]],
        }

    def _whole(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(**dict.fromkeys(self._absent)) if self._absent else frame


class OnnxModel:
    """An exported pipeline as it is served.

    Parameters
    ----------
    model : onnx.OnnxModel
    """

    explains = False

    def __init__(self, model: onnx.OnnxModel) -> None:
        self._model = model
        self.kinds: Mapping[str, Kind] = model.kinds
        self.ignored: Collection[str] = [name for name in model.columns if name not in self.kinds]

    @property
    def rule(self) -> Threshold:
        """The threshold in force."""
        return self._model.rule

    def score(self, frame: pd.DataFrame) -> Scored:
        """Scores: an exported pipeline has neither groups nor suppressed rows."""
        # A model of a table without column names counts columns, so it gets those that it ignores, too.
        frame = frame.assign(**dict.fromkeys(self.ignored)) if self.ignored else frame
        return Scored(self._model.anomaly_score(frame), None, None)

    def judge(self, scored: Scored, threshold: Threshold) -> pd.DataFrame:
        """As `OnnxModel.judge`."""
        return self._model.judge(scored.scores, threshold)

    def explain(self, row: pd.DataFrame, columns: int) -> dict[str, Any]:
        """Not to be asked for: no normal rows are exported.

        Raises
        ------
        ParameterError
            Always.
        """
        raise ParameterError("an ONNX model explains nothing; serve the model file that it was made of.")


@dataclass(frozen=True)
class Loaded:
    """A model in memory and the file that it came from.

    Attributes
    ----------
    name : str
        As clients call it.
    model : Servable
    path : Path
    digest : str
        SHA-256 of the file, in hexadecimal digits.
    loaded : datetime
        When it was read, UTC.
    signature
        By which a changed file is noticed: inode, time of change, size.
    """

    name: str
    model: Servable
    path: Path
    digest: str
    loaded: datetime
    signature: _Signature


def read_model(path: Path) -> Servable:
    """The model of a file that `da3d.save` or `onnx.export` wrote.

    Raises
    ------
    FileError
        The file cannot be read, or is damaged, foreign, newer or tampered with.
    ParameterError
        It holds a detector alone.
    """
    if onnx.is_onnx(path):
        return OnnxModel(onnx.load(path))
    model = load(path)
    if not isinstance(model, AnomalyPipeline):
        raise ParameterError(
            f"'{path}' holds a {type(model).__name__} alone, which knows neither the table's columns nor "
            "p-values; give a model file of a whole AnomalyPipeline, such as da3d fit writes."
        )
    return PipelineModel(model)


class ModelStore:
    """Models by name. `refresh` exchanges those whose files have changed, each in one step.

    Parameters
    ----------
    paths : mapping of str to path
        Name to file. All files are read at once.
    read : callable, optional
        Makes a model of a file.

    Raises
    ------
    ParameterError
        There is no model, or a name cannot be part of an address.
    FileError
        A file cannot be used.
    """

    def __init__(
        self, paths: Mapping[str, str | Path], read: Callable[[Path], Servable] = read_model
    ) -> None:
        if not paths:
            raise ParameterError("there is no model to serve; give at least one model file.")
        for name in paths:
            if not _NAME.fullmatch(name):
                raise ParameterError(
                    f"a model cannot be called '{name}'; use at most 64 letters, digits, '.', '_' and '-', "
                    "with a letter or a digit first."
                )
        self._read = read
        self._failed: dict[str, _Signature | None] = {}
        self.errors: dict[str, str] = {}
        self._models = {name: self._loaded(name, Path(path)) for name, path in paths.items()}

    @classmethod
    def named(cls, files: Sequence[Path], names: Sequence[str] = ()) -> dict[str, Path]:
        """Names for files: those given, in the files' order, else the files' own without their endings.

        Raises
        ------
        ParameterError
            There are names, but not one for each file; or two models would have the same one.
        """
        if names and len(names) != len(files):
            raise ParameterError(
                f"{len(names)} names are given for {len(files)} model files; give one for each, or none."
            )
        chosen = list(names) or [file.stem for file in files]
        if repeated := sorted({name for name in chosen if chosen.count(name) > 1}):
            raise ParameterError(
                f"more than one model is called '{repeated[0]}'; give each a name of its own."
            )
        return dict(zip(chosen, files, strict=True))

    @property
    def names(self) -> list[str]:
        """The models' names, in the order in which they were given."""
        return list(self._models)

    def get(self, name: str) -> Loaded | None:
        """The model of this name as it is now, or None. What is returned never changes."""
        return self._models.get(name)

    def refresh(self) -> dict[str, Outcome]:
        """Read the files that have changed; a model whose new file cannot be used stays as it was.

        Returns
        -------
        dict
            What became of the models whose files had changed; `errors` says why a file was refused.
        """
        outcomes: dict[str, Outcome] = {}
        for name, now in list(self._models.items()):
            signature = _signature(now.path)
            if signature == now.signature:
                self._settled(name)
            elif name not in self.errors or signature != self._failed[name]:
                outcomes[name] = self._exchange(name, now, signature)
        return outcomes

    def _exchange(self, name: str, now: Loaded, signature: _Signature | None) -> Outcome:
        try:
            new = self._loaded(name, now.path)
        except Da3dError as error:
            self.errors[name], self._failed[name] = str(error), signature
            log.error("model '%s' stays as it was (%s): %s", name, now.digest[:12], error)
            return "refused"
        self._models[name] = new
        self._settled(name)
        log.info("model '%s' is now %s", name, new.digest[:12])
        return "reloaded"

    def _settled(self, name: str) -> None:
        self.errors.pop(name, None)
        self._failed.pop(name, None)

    def _loaded(self, name: str, path: Path) -> Loaded:
        before = _signature(path)
        if before is None:
            raise FileError(f"there is no file '{path}'; give a model file, such as da3d fit writes.")
        model = self._read(path)
        digest = _digest(path)
        if _signature(path) != before:
            raise ModelFileError(
                f"'{path}' was written while it was read; move a finished file to its place."
            )
        return Loaded(name, model, path, digest, datetime.now(UTC), before)


def _signature(path: Path) -> _Signature | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - follows links, as reading does
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"'{path}' cannot be read ({error.strerror or error}).") from error
