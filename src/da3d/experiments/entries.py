"""What an experiment's TOML file may say.

A file holds::

    title = "..."                        one line above the table
    about = "..."                        what the experiment shows (optional)
    budget = "quick"                     or "paper": a mark beside the numbers, nothing else
    seeds = [0, 1, 2]
    contamination = [0.0, 0.01]          shares of hidden anomalies among the training rows
    metric = ["auc"]                     one table each (optional)
    keep_scores = false                  leave the scores of the test rows beside each record (optional)
    keep_for_figures = false             leave what figures need of the rows beside each record, as in `kept`

    [[data]]
    name = "nsl_kdd"                     a data set of `da3d datasets`, or a list of several
    split = "official"                   or "one_class" (if left out), "paper", "preprint", "a3",
                                         "fence_kdd99", "fence_mnist", "fence_cifar10"; see `datasets.splits`
    options = { unique_rows = true }     switches of the data set, as in `da3d datasets get` (optional)
    normal = ["normal"]                  groups that are normal, as in `datasets.classes` (optional)
    anomalous = ["DoS", "R2L"]           groups that are anomalies (optional)
    known = 100                          anomalies that train with label 1 (optional)
    known_groups = ["DoS"]               groups that they come from; all if left out
    max_train = 3000                     normal rows that train, at most (optional)
    max_test = 10000                     rows that are tested, at most (optional)
    raw = true                           a table of numbers reaches detectors as it is, without the encoder
    title = "NSL-KDD"                    what tables call it; the name if left out

    [[data]]
    path = "flows.csv"                   a file of your own; a relative path starts at the TOML file
    label = "kind"                       its column of labels
    anomaly = ["attack"]                 labels that mean anomaly; all others mean normal

    [[detector]]
    label = "kNN, 10"                    what tables call it
    name = "knn"                         as in `detectors.DETECTORS`; "default", "pyod:CLASS", "sklearn:CLASS"
    parameters = { neighbors = 10 }      arguments of its constructor (optional)
    published = { "NSL-KDD" = { "0.0" = 0.96 } }   AUC that the paper prints, by data and contamination; or
                                         several figures, { auc = 0.96, average_precision = 0.94 }
    classifier = { epochs = 4 }          the detector's `target` is a classifier of the groups of the normal
                                         images, trained so many passes (optional)

    [[figure]]                           what `da3d experiment figures` draws; any number (optional)
    kind = "comparison"                  as in `FigureEntry`
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

__all__ = [
    "METRICS",
    "ClassifierEntry",
    "DataEntry",
    "DetectorEntry",
    "FigureEntry",
    "Plan",
    "first_fault",
    "slug",
]

METRICS = {
    "auc": "AUC",
    "average_precision": "average precision",
    "recall_at_1pct_fpr": "recall at 1 % false positives",
    "f1_at_true_rate": "F1 at the true rate",
    "precision_at_20pct": "precision of the strangest 20 %",
    "recall_at_20pct": "recall of the strangest 20 %",
}
"""What tables call the figures of `metrics.summarise`; of all of them more is better."""

Rows = Annotated[int, Field(ge=1)] | None
Label = str | int | float | bool


def _as_texts(given: object) -> object:
    """As `_as_tuple`, with whole numbers as text: the digit 7 is the group "7"."""
    given = _as_tuple(given)
    if not isinstance(given, tuple):
        return given
    return tuple(
        str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in given
    )


def _as_tuple(given: object) -> object:
    """A list, or a single value, as a tuple."""
    if isinstance(given, list):
        return tuple(given)
    return given if given is None or isinstance(given, tuple) else (given,)


Groups = Annotated[tuple[str, ...] | None, Field(min_length=1), BeforeValidator(_as_texts)]


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
    split: Literal[
        "official", "one_class", "paper", "preprint", "a3", "fence_kdd99", "fence_mnist", "fence_cifar10"
    ] = "one_class"
    max_train: Rows = None
    max_test: Annotated[int, Field(ge=2)] | None = None
    title: str | None = None
    # What follows is None where it is left out, so that configurations of before it existed stay the same.
    options: dict[str, bool] | None = None
    normal: Groups = None
    anomalous: Groups = None
    known: Rows = None
    known_groups: Groups = None
    raw: Literal[True] | None = None

    @field_validator("options")
    @classmethod
    def _switched_on(cls, given: dict[str, bool] | None) -> dict[str, bool] | None:
        """Only switches that are on: the others change nothing."""
        return {name: on for name, on in (given or {}).items() if on} or None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (not self.name) == (not self.path):
            raise ValueError("give either name (a data set of da3d datasets) or path (a file of your own)")
        of_file = {"label": self.label, "anomaly": self.anomaly}
        wrong = [key for key, value in of_file.items() if (self.path is None) != (not value)]
        if wrong:
            verb = "belongs to" if self.path is None else "is needed with"
            raise ValueError(f"{wrong[0]} {verb} path")
        if self.path is not None and self.split == "official":
            raise ValueError("a file of your own has no official test set; choose another split")
        for_one = {"title": self.title, "options": self.options}
        if wrong := [key for key, value in for_one.items() if value and len(self.name or ()) > 1]:
            raise ValueError(f"{wrong[0]} stands for one data set, but name lists several")
        return self

    @model_validator(mode="after")
    def _classes_that_fit(self) -> Self:
        of_set = {"options": self.options, "normal": self.normal, "anomalous": self.anomalous}
        if wrong := [key for key, value in of_set.items() if value is not None and self.path is not None]:
            raise ValueError(f"{wrong[0]} belongs to name; in a file of your own, anomaly says who is one")
        if self.known_groups is not None and self.known is None:
            raise ValueError("known_groups says where known anomalies come from; say in known how many")
        normal, anomalous = set(self.normal or ()), set(self.anomalous or ())
        if normal & anomalous:
            raise ValueError(f"{min(normal & anomalous)!r} is in both normal and anomalous")
        known = set(self.known_groups or ())
        if wrong_groups := known & normal or (known - anomalous if anomalous else set()):
            raise ValueError(f"{min(wrong_groups)!r} is in known_groups but is no anomaly")
        return self

    def each(self) -> list[DataEntry]:
        """One entry per data set."""
        return [self.model_copy(update={"name": (name,)}) for name in self.name] if self.name else [self]

    @property
    def shown(self) -> str:
        """What tables call it."""
        return self.title or ", ".join(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the data sets, or that of the file."""
        return self.name or (Path(self.path or "").stem,)


class ClassifierEntry(_Strict):
    """The classifier that a detector has for a target: passes over the normal images."""

    epochs: Annotated[int, Field(ge=1)]


class DetectorEntry(_Strict):
    """A ``[[detector]]`` entry: which detector, with which arguments, beside which published numbers."""

    label: Annotated[str, Field(min_length=1)]
    name: str
    parameters: dict[str, Any] = {}
    published: dict[str, dict[str, float | dict[str, float]]] = {}
    classifier: ClassifierEntry | None = None

    @field_validator("parameters")
    @classmethod
    def _leaves_the_seed(cls, given: dict[str, Any]) -> dict[str, Any]:
        if "random_state" in given:
            raise ValueError("random_state is decided by seeds; leave it out")
        return given

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.classifier is not None and "target" in self.parameters:
            raise ValueError("classifier is the target; leave target out of parameters")
        return self

    @field_validator("published")
    @classmethod
    def _by_number(
        cls, given: dict[str, dict[str, float | dict[str, float]]]
    ) -> dict[str, dict[str, float | dict[str, float]]]:
        for levels in given.values():
            for level, figures in levels.items():
                float(level)  # pydantic turns its ValueError into a sentence
                if isinstance(figures, dict) and (unknown := sorted(set(figures) - set(METRICS))):
                    raise ValueError(f"{unknown[0]!r} is none of {', '.join(METRICS)}")
        return given

    def printed(self, data: DataEntry, contamination: float, metric: str = "auc") -> float | None:
        """The published figure, if there is one."""
        levels = self.published.get(data.shown) or next(
            (self.published[name] for name in data.names if name in self.published), {}
        )
        figures = {float(level): given for level, given in levels.items()}.get(contamination)
        if isinstance(figures, dict):
            return figures.get(metric)
        return figures if metric == "auc" else None


class FigureEntry(_Strict):
    """A ``[[figure]]`` entry: one picture of the records.

    Attributes
    ----------
    kind : str
        ``"comparison"``: the metric of every detector by data set, ours beside the published one, with the
        spread over seeds. ``"known-anomalies"``: the metric over the number of known anomalies, for data
        entries that differ in `known`. ``"contamination"``: the metric over the share of hidden anomalies.
        ``"ranks"``: critical-difference diagram of mean ranks. Of what `keep_for_figures` left:
        ``"roc"``: ROC curves of one seed by data set; ``"scores"``: histograms of the scores of normal,
        generated and anomalous rows; ``"groups"``: the mean score of each group; ``"codes"``: the plane of
        DA3D's codes; ``"fence"``: points in the plane and what the discriminator says between them.
    name : str or None
        Of the file; the kind if left out.
    title : str
        Above the picture.
    metric : str or None
        The plan's first if left out.
    data : tuple of str or None
        Titles of the data sets shown; all if left out.
    detectors : tuple of str or None
        Labels of the detectors shown; all if left out.
    contamination : float or None
        The one that is shown, where a kind shows one; the plan's first if left out.
    """

    kind: Literal[
        "comparison",
        "known-anomalies",
        "contamination",
        "ranks",
        "roc",
        "scores",
        "groups",
        "codes",
        "fence",
    ]
    name: str | None = None
    title: str = ""
    metric: str | None = None
    data: Annotated[tuple[str, ...] | None, BeforeValidator(_as_tuple)] = None
    detectors: Annotated[tuple[str, ...] | None, BeforeValidator(_as_tuple)] = None
    contamination: float | None = None

    @property
    def file(self) -> str:
        """The stem of the file's name."""
        return slug(self.name or self.kind)

    @property
    def needs_rows(self) -> bool:
        """Whether it shows what `keep_for_figures` leaves."""
        return self.kind in ("roc", "scores", "groups", "codes", "fence")


class Plan(_Strict):
    """What a TOML file says."""

    title: str
    about: str = ""
    budget: Literal["quick", "paper"]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    contamination: Annotated[list[Annotated[float, Field(ge=0, lt=0.5)]], Field(min_length=1)]
    metric: Annotated[list[str], Field(min_length=1)] = ["auc"]
    keep_scores: bool = False
    keep_for_figures: bool = False
    data: Annotated[list[DataEntry], Field(min_length=1)]
    detector: Annotated[list[DetectorEntry], Field(min_length=1)]
    figure: list[FigureEntry] = []

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
            "data (give each a title of its own)": [slug(title) for title in titles],
            "detector (give each a label of its own)": [slug(entry.label) for entry in self.detector],
        }
        for what, values in lists.items():
            if twice := [value for value, times in Counter(values).items() if times > 1]:
                raise ValueError(f"{twice[0]!r} occurs twice in {what}")
        known = {*titles, *(name for entry in self.data for name in entry.names)}
        for entry in self.detector:
            if unknown := sorted(set(entry.published) - known):
                raise ValueError(
                    f"detector {entry.label!r} has published numbers for {unknown[0]!r}, which is none of "
                    f"the data: {', '.join(titles)}"
                )
        return self

    @model_validator(mode="after")
    def _figures_of_what_is_there(self) -> Self:
        labels = [entry.label for entry in self.detector]
        titles = [entry.shown for entry in self.data_sets]
        for entry in self.figure:
            asked: list[tuple[str, Any, Any]] = [
                ("metric", [entry.metric] if entry.metric else [], METRICS),
                ("data", entry.data or [], titles),
                ("detectors", entry.detectors or [], labels),
                (
                    "contamination",
                    [] if entry.contamination is None else [entry.contamination],
                    self.contamination,
                ),
            ]
            for key, given, known in asked:
                if unknown := [value for value in given if value not in known]:
                    shown = ", ".join(map(str, known))
                    raise ValueError(
                        f"the figure {entry.file!r} has {key} {unknown[0]!r}, which is none of {shown}"
                    )
            if entry.needs_rows and not self.keep_for_figures:
                raise ValueError(
                    f"the figure {entry.file!r} shows rows; set keep_for_figures = true to keep them"
                )
        files = [entry.file for entry in self.figure]
        if twice := [file for file, times in Counter(files).items() if times > 1]:
            raise ValueError(f"{twice[0]!r} occurs twice in figure (give each a name of its own)")
        return self

    @property
    def data_sets(self) -> list[DataEntry]:
        """The data entries, one per data set."""
        return [each for entry in self.data for each in entry.each()]


def slug(text: str) -> str:
    """Text as one part of a path."""
    return "".join(sign if sign.isalnum() or sign in "._+-" else "-" for sign in text).strip(".-") or "-"


def first_fault(error: ValidationError) -> str:
    """Where the first fault lies and what it is, as the end of a sentence."""
    fault = error.errors(include_url=False, include_context=False)[0]
    place: list[str | int] = list(fault["loc"])
    where = ""
    if len(place) > 1 and isinstance(place[1], int) and place[0] in ("data", "detector", "figure"):
        where = f", [[{place[0]}]] {place[1] + 1}"
        place = place[2:]
    inner = ".".join(part for part in place if isinstance(part, str) and part in _KEYS)
    said = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    said = said[0].lower() + said[1:]
    given = fault["input"]
    shown = (
        f", but is {given!r}" if said.startswith("should") and isinstance(given, str | int | float) else ""
    )
    return f"{where}{f', {inner}' if inner else ''}: {said}{shown}"


_KEYS = {
    *Plan.model_fields,
    *DataEntry.model_fields,
    *DetectorEntry.model_fields,
    *ClassifierEntry.model_fields,
    *FigureEntry.model_fields,
}
