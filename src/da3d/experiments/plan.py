"""A TOML file -> a checked plan -> the cells that it asks for; `entries` says what a file may hold."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

from pydantic import JsonValue, ValidationError

from da3d.errors import FileError, ParameterError
from da3d.experiments.entries import DataEntry, DetectorEntry, Plan, first_fault, slug
from da3d.experiments.resolve import content_digest, resolved

__all__ = ["Cell", "Experiment", "read_experiment", "select"]


@dataclass(frozen=True)
class Cell:
    """One number of a table under one seed: what is run, recorded and resumed as a whole.

    Parameters
    ----------
    data : DataEntry
        One data set.
    contamination : float
        Share of hidden anomalies among the training rows that is asked for, in [0, 0.5).
    detector : DetectorEntry
    seed : int
    folder : Path
        Absolute; relative paths of data start here.
    arguments : dict
        The detector's type and all its arguments, also those that the plan leaves at their defaults.
    content : str or None
        SHA-256 of a user's own file; None for other data, or where the file is not here.
    """

    data: DataEntry
    contamination: float
    detector: DetectorEntry
    seed: int
    folder: Path
    arguments: dict[str, JsonValue]
    content: str | None = None

    @cached_property
    def id(self) -> str:
        """A readable name, unique in its experiment: ``data/contamination/detector/seed``."""
        parts = (self.data.shown, f"{self.contamination:g}", self.detector.label, str(self.seed))
        return "/".join(slug(part) for part in parts)

    @cached_property
    def configuration(self) -> dict[str, JsonValue]:
        """Everything that decides the result, but for the content of files and the code."""
        data = self.data.model_dump(mode="json", exclude={"title"}, exclude_none=True)
        if self.data.name:
            data["name"] = self.data.name[0]
        detector = {"name": self.detector.name, **self.arguments}
        if self.detector.classifier is not None:
            detector["classifier"] = self.detector.classifier.model_dump(mode="json")
        return {
            "data": data,
            "contamination": self.contamination,
            "detector": detector,
            "seed": self.seed,
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the configuration."""
        return hashlib.sha256(json.dumps(self.configuration, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Experiment:
    """A plan, its name (that of its file) and the absolute folder that its paths start from."""

    name: str
    folder: Path
    plan: Plan

    def cells(self) -> list[Cell]:
        """All cells, by seed first: one seed of everything says more than all seeds of something.

        Raises
        ------
        ParameterError
            There is no such detector, or it has no such parameter.
        """
        arguments = [resolved(entry.name, entry.parameters) for entry in self.plan.detector]
        contents = [content_digest(entry.path, self.folder) for entry in self.plan.data_sets]
        return [
            Cell(data, level, detector, seed, self.folder, settled, content)
            for seed, (data, content), level, (detector, settled) in product(
                self.plan.seeds,
                zip(self.plan.data_sets, contents, strict=True),
                self.plan.contamination,
                zip(self.plan.detector, arguments, strict=True),
            )
        ]


def read_experiment(path: str | Path) -> Experiment:
    """The experiment in a TOML file.

    Raises
    ------
    FileError
        The file cannot be read or is not TOML.
    ParameterError
        A key is unknown or missing, or a value is not what it must be.
    """
    file = Path(path)
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(
            f"'{path}' cannot be read ({error.strerror}); give an experiment's TOML file."
        ) from error
    except ValueError as error:  # UnicodeDecodeError, TOMLDecodeError
        raise FileError(f"'{path}' is not TOML ({error}); correct it.") from error
    try:
        plan = Plan.model_validate(entries)
    except ValidationError as error:
        raise ParameterError(f"'{path}'{first_fault(error)}.") from error
    return Experiment(file.stem, file.resolve().parent, plan)


def select(cells: Sequence[Cell], seeds: Sequence[int] | None = None, only: Sequence[str] = ()) -> list[Cell]:
    """Cells of these seeds whose name holds one of these texts; all where nothing is asked for.

    Raises
    ------
    ParameterError
        No cell has such a seed, or none is left.
    """
    known = sorted({cell.seed for cell in cells})
    if unknown := [seed for seed in seeds or () if seed not in known]:
        raise ParameterError(f"seed {unknown[0]} is none of the file's: {', '.join(map(str, known))}.")
    wanted = [text.lower() for text in only]
    chosen = [
        cell
        for cell in cells
        if (seeds is None or cell.seed in seeds)
        and (not wanted or any(text in cell.id.lower() for text in wanted))
    ]
    if not chosen:
        raise ParameterError(f"no cell's name holds {' or '.join(map(repr, only))}; one is {cells[0].id!r}.")
    return chosen
