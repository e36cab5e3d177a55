"""A TOML file -> a checked plan -> the cells that it asks for.

A file holds::

    title = "..."                        one line above the table
    about = "..."                        what the experiment shows (optional)
    budget = "quick"                     or "paper": a mark beside the numbers, nothing else
    seeds = [0, 1, 2]
    contamination = [0.0, 0.01]          shares of hidden anomalies among the training rows
    metric = ["auc"]                     one table each (optional)
    keep_scores = false                  leave the scores of the test rows beside each record (optional)

    [[data]]
    name = "nsl_kdd"                     a data set of `da3d datasets`, or a list of several
    split = "official"                   or "one_class" (if left out) or "paper", as in `datasets.splits`
    max_train = 3000                     normal rows that train, at most (optional)
    max_test = 10000                     rows that are tested, at most (optional)
    title = "NSL-KDD"                    what tables call it; the name if left out

    [[data]]
    path = "flows.csv"                   a file of your own; a relative path starts at the TOML file
    label = "kind"                       its column of labels
    anomaly = ["attack"]                 labels that mean anomaly; all others mean normal

    [[detector]]
    label = "kNN, 10"                    what tables call it
    name = "knn"                         as in `detectors.DETECTORS`, or "default"
    parameters = { neighbors = 10 }      arguments of its constructor (optional)
    published = { "NSL-KDD" = { "0.0" = 0.96 } }   AUC that the paper prints, by data title and contamination
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from da3d.errors import FileError, ParameterError
from da3d.experiments.resolve import content_digest, resolved

__all__ = ["METRICS", "Cell", "DataEntry", "DetectorEntry", "Experiment", "Plan", "read_experiment", "select"]

METRICS = {
    "auc": "AUC",
    "average_precision": "average precision",
    "recall_at_1pct_fpr": "recall at 1 % false positives",
    "f1_at_true_rate": "F1 at the true rate",
}
"""What tables call the figures of `metrics.summarise`; of all of them more is better."""

Rows = Annotated[int, Field(ge=1)] | None
Label = str | int | float | bool


def _as_tuple(given: object) -> object:
    """A list, or a single value, as a tuple."""
    if isinstance(given, list):
        return tuple(given)
    return given if given is None or isinstance(given, tuple) else (given,)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _knows_every_key(cls, given: object) -> object:
        if isinstance(given, dict) and (unknown := sorted(set(given) - set(cls.model_fields))):
            what = "keys" if len(unknown) > 1 else "key"
            raise ValueError(
                f"unknown {what} {', '.join(map(repr, unknown))}; allowed are {', '.join(cls.model_fields)}"
            )
        return given


class DataEntry(_Strict):
    """A ``[[data]]`` entry: which rows, and who trains and is tested."""

    name: Annotated[tuple[str, ...] | None, BeforeValidator(_as_tuple)] = None
    path: str | None = None
    label: str | None = None
    anomaly: Annotated[tuple[Label, ...] | None, BeforeValidator(_as_tuple)] = None
    split: Literal["official", "one_class", "paper"] = "one_class"
    max_train: Rows = None
    max_test: Annotated[int, Field(ge=2)] | None = None
    title: str | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.name is None) == (self.path is None):
            raise ValueError("give either name (a data set of da3d datasets) or path (a file of your own)")
        of_file = {"label": self.label, "anomaly": self.anomaly}
        wrong = [key for key, value in of_file.items() if (self.path is None) != (not value)]
        if wrong:
            verb = "belongs to" if self.path is None else "is needed with"
            raise ValueError(f"{wrong[0]} {verb} path")
        if self.path is not None and self.split == "official":
            raise ValueError("a file of your own has no official test set; split is one_class or paper")
        if self.name is not None and self.title is not None and len(self.name) > 1:
            raise ValueError("title stands for one data set, but name lists several")
        return self

    def each(self) -> list[DataEntry]:
        """One entry per data set."""
        return [self.model_copy(update={"name": (name,)}) for name in self.name] if self.name else [self]

    @property
    def shown(self) -> str:
        """What tables call it."""
        return self.title or (Path(self.path).stem if self.path else ", ".join(self.name or ()))


class DetectorEntry(_Strict):
    """A ``[[detector]]`` entry: which detector, with which arguments, beside which published numbers."""

    label: Annotated[str, Field(min_length=1)]
    name: str
    parameters: dict[str, Any] = {}
    published: dict[str, dict[str, float]] = {}

    @field_validator("parameters")
    @classmethod
    def _leaves_the_seed(cls, given: dict[str, Any]) -> dict[str, Any]:
        if "random_state" in given:
            raise ValueError("random_state is decided by seeds; leave it out")
        return given

    @field_validator("published")
    @classmethod
    def _by_number(cls, given: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        for levels in given.values():
            for level in levels:
                float(level)  # pydantic turns its ValueError into a sentence
        return given

    def printed(self, data: str, contamination: float) -> float | None:
        """The published AUC, if there is one."""
        return {float(level): auc for level, auc in self.published.get(data, {}).items()}.get(contamination)


class Plan(_Strict):
    """What a TOML file says."""

    title: str
    about: str = ""
    budget: Literal["quick", "paper"]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    contamination: Annotated[list[Annotated[float, Field(ge=0, lt=0.5)]], Field(min_length=1)]
    metric: Annotated[list[str], Field(min_length=1)] = ["auc"]
    keep_scores: bool = False
    data: Annotated[list[DataEntry], Field(min_length=1)]
    detector: Annotated[list[DetectorEntry], Field(min_length=1)]

    @field_validator("metric")
    @classmethod
    def _known_metrics(cls, given: list[str]) -> list[str]:
        if unknown := [name for name in given if name not in METRICS]:
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(METRICS)}")
        return given

    @model_validator(mode="after")
    def _everything_once(self) -> Self:
        titles = [entry.shown for entry in self.data_sets]
        lists: dict[str, list[Any]] = {
            "seeds": self.seeds,
            "contamination": self.contamination,
            "metric": self.metric,
            "data (give each a title of its own)": [_slug(title) for title in titles],
            "detector (give each a label of its own)": [_slug(entry.label) for entry in self.detector],
        }
        for what, values in lists.items():
            if twice := [value for value, times in Counter(values).items() if times > 1]:
                raise ValueError(f"{twice[0]!r} occurs twice in {what}")
        for entry in self.detector:
            if unknown := sorted(set(entry.published) - set(titles)):
                raise ValueError(
                    f"detector {entry.label!r} has published numbers for {unknown[0]!r}, which is none of "
                    f"the data: {', '.join(titles)}"
                )
        return self

    @property
    def data_sets(self) -> list[DataEntry]:
        """The data entries, one per data set."""
        return [each for entry in self.data for each in entry.each()]


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
        return "/".join(_slug(part) for part in parts)

    @cached_property
    def configuration(self) -> dict[str, JsonValue]:
        """Everything that decides the result, but for the content of files and the code."""
        data = self.data.model_dump(mode="json", exclude={"title"}, exclude_none=True)
        if self.data.name:
            data["name"] = self.data.name[0]
        return {
            "data": data,
            "contamination": self.contamination,
            "detector": {"name": self.detector.name, **self.arguments},
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
        raise ParameterError(f"'{path}'{_first_fault(error)}.") from error
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


def _slug(text: str) -> str:
    """Text as one part of a path."""
    return "".join(sign if sign.isalnum() or sign in "._+-" else "-" for sign in text).strip(".-") or "-"


def _first_fault(error: ValidationError) -> str:
    """Where the first fault lies and what it is, as the end of a sentence."""
    fault = error.errors(include_url=False, include_context=False)[0]
    place: list[str | int] = list(fault["loc"])
    where = ""
    if len(place) > 1 and isinstance(place[1], int) and place[0] in ("data", "detector"):
        where = f", [[{place[0]}]] {place[1] + 1}"
        place = place[2:]
    inner = ".".join(part for part in place if isinstance(part, str) and part in _KEYS)
    said = fault["msg"].removeprefix("Value error, ")
    given = fault["input"]
    shown = f", but is {given!r}" if isinstance(given, str | int | float) and "nput should" in said else ""
    return f"{where}{f', {inner}' if inner else ''}: {said.replace('Input should', 'should')}{shown}"


_KEYS = {*Plan.model_fields, *DataEntry.model_fields, *DetectorEntry.model_fields}
