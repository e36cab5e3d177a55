"""How one column becomes features: learnt at fit, kept as JSON, applied to any rows.

A plan only looks at one row at a time, so a row's features never depend on its neighbours.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from da3d.errors import TableError
from da3d.preprocessing.kinds import Kind
from da3d.preprocessing.values import (
    HOUR_NAMES,
    WEEKDAY_NAMES,
    Floats,
    clock,
    clock_texts,
    has_hours,
    numbers,
    texts,
)

Scaling = Literal["standard", "minmax"]

IDENTIFIER_DISTINCT = 100  # a category column with more distinct values than this ...
IDENTIFIER_SHARE = 0.5  # ... that make up more than this share of its rows names rows, not categories


@dataclass(frozen=True)
class NumberPlan:
    """A column of numbers, booleans or dates: one value per feature, and what to put where it is missing.

    Parameters
    ----------
    name
        The column.
    kind
        ``"number"``, ``"boolean"`` or ``"date"``.
    fills
        Per feature the value that stands for a missing one: the median at fit, for booleans the majority.
    gaps
        Whether values were missing at fit; if so a feature says where they are.
    hours
        Dates only: whether the time of day is a feature.
    """

    name: str
    kind: Kind
    fills: tuple[float, ...]
    gaps: bool
    hours: bool = False

    @classmethod
    def learn(cls, series: "pd.Series[Any]", kind: Kind) -> "NumberPlan | str":
        """Return the plan of a column, or the reason why it cannot be used."""
        hours = kind == "date" and has_hours(series)
        values = _values(series, kind, hours)
        known = values[~np.isnan(values[:, 0])]
        if len(known) == 0:
            return "it holds no finite value"
        fills = np.median(known, axis=0)
        if kind == "boolean":
            fills = (known.mean(axis=0) >= 0.5).astype(np.float64)
        return cls(str(series.name), kind, tuple(map(float, fills)), len(known) < len(values), hours)

    @property
    def names(self) -> list[str]:
        """The features' names (without the one that says where values are missing)."""
        if self.kind != "date":
            return [self.name]
        return [f"{self.name}: {part}" for part in (HOUR_NAMES if self.hours else ()) + WEEKDAY_NAMES]

    def apply(self, series: "pd.Series[Any]") -> tuple[Floats, NDArray[np.bool_]]:
        """Return a column's features with every gap filled, and where the gaps were.

        Returns
        -------
        tuple of ndarrays, shapes (rows, features) and (rows,)
        """
        values = _values(series, self.kind, self.hours)
        missing = np.isnan(values[:, 0])
        values[missing] = self.fills
        return values, missing

    def read(self, values: Floats) -> list[Any]:
        """Return what a column's features stand for, as far as they can say.

        Numbers as they are, booleans by the nearer of their values; of a date only weekday and time of day,
        as in ``Tue 14:05``.

        Parameters
        ----------
        values
            Shape (rows, features), on the scale of `apply`.
        """
        if self.kind == "date":
            return clock_texts(values, self.hours)
        known = [float(value) for value in values[:, 0]]
        return [value >= 0.5 for value in known] if self.kind == "boolean" else known

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "NumberPlan":
        """Return the plan that `to_json` wrote."""
        plan = cls(**{**entry, "fills": tuple(map(float, entry["fills"]))})
        if len(plan.fills) != len(plan.names):
            raise TableError(f"the stored plan of column '{plan.name}' is damaged: fit again")
        return plan


def _values(series: "pd.Series[Any]", kind: Kind, hours: bool) -> Floats:
    return clock(series, hours) if kind == "date" else numbers(series)[:, None]


@dataclass(frozen=True, eq=False)
class CategoryPlan:
    """A column of categories: a code per row, which becomes one feature per code.

    Codes count up: the `kept` most frequent categories; all rarer ones together, if there are any; missing,
    if values were missing at fit; and last everything that was not seen at fit.

    Parameters
    ----------
    name
        The column.
    known
        All categories seen at fit, the most frequent first (ties: by their text).
    kept
        How many of them have a code of their own.
    gaps
        Whether values were missing at fit.
    """

    name: str
    known: pa.Array
    kept: int
    gaps: bool
    kind: ClassVar[Kind] = "category"

    @classmethod
    def learn(cls, series: "pd.Series[Any]", most: int) -> "CategoryPlan | str":
        """Return the plan of a column with codes for at most `most` categories, or why it cannot be used."""
        column = texts(series)
        counts = pc.value_counts(column.drop_null())
        table = pa.table({"text": counts.field("values"), "count": counts.field("counts")})
        table = table.sort_by([("count", "descending"), ("text", "ascending")])
        known = table["text"].combine_chunks()
        distinct, rows = len(known), len(column) - column.null_count
        if distinct > IDENTIFIER_DISTINCT and distinct > IDENTIFIER_SHARE * rows:
            return (
                f"{distinct} of its {rows} values are distinct, so it names rows instead of describing them"
            )
        return cls(str(series.name), known, min(most, distinct), column.null_count > 0)

    @property
    def names(self) -> list[str]:
        """The features' names, one per code."""
        return [f"{self.name}={text}" for text in self.values]

    @property
    def values(self) -> list[str]:
        """What each code stands for: a category, ``<rare>``, ``<missing>`` or ``<unseen>``."""
        special = ["<rare>"] * self._rare + ["<missing>"] * self.gaps + ["<unseen>"]
        return [*self.known[: self.kept].to_pylist(), *special]

    @property
    def _rare(self) -> bool:
        return self.kept < len(self.known)

    def apply(self, series: "pd.Series[Any]") -> Floats:
        """Return each row's code as a whole number, shape (rows,)."""
        column = texts(series)
        unseen = self.kept + self._rare + self.gaps
        found = pc.fill_null(pc.index_in(column, value_set=self.known, skip_nulls=True), -1)
        codes = cast(NDArray[np.int32], found.to_numpy(zero_copy_only=False))
        out = np.where(codes < 0, unseen, np.minimum(codes, self.kept)).astype(np.float64)
        if self.gaps:
            out[column.is_null().to_numpy(zero_copy_only=False)] = unseen - 1
        return out

    def read(self, features: Floats) -> list[Any]:
        """Return the likeliest value of each row, None for a missing one; `features` is one per code."""
        values = [None if value == "<missing>" and self.gaps else value for value in self.values]
        return [values[code] for code in features.argmax(1)]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        return {"name": self.name, "known": self.known.to_pylist(), "kept": self.kept, "gaps": self.gaps}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "CategoryPlan":
        """Return the plan that `to_json` wrote."""
        known = pa.array(entry["known"], type=pa.large_string())
        plan = cls(entry["name"], known, int(entry["kept"]), bool(entry["gaps"]))
        if not 0 < plan.kept <= len(plan.known):
            raise TableError(f"the stored plan of column '{plan.name}' is damaged: fit again")
        return plan
