"""All columns' plans side by side: table -> plain float64 matrix -> features, and what each feature means.

The plain matrix has four blocks, in this order: numbers (to be scaled), flags (booleans, points on a clock,
"is missing"), codes (one per category column), and the count of unexpected gaps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

from da3d.preprocessing.plans import CategoryPlan, NumberPlan, Scaling
from da3d.preprocessing.values import Floats

LIMIT = 1e6  # features are cut here: far outside any fitted range, and safe to square in float32
CHUNK_ROWS = 65_536
UNEXPECTED = "unexpected missing values"


@dataclass
class Layout:
    """The plans of all columns in use and the shape of the matrices between table and features.

    Parameters
    ----------
    scaling
        How the numbers are scaled.
    numbers, flags, categories
        The plans of number columns, of boolean and date columns, and of category columns.
    """

    scaling: Scaling
    numbers: list[NumberPlan] = field(default_factory=list)
    flags: list[NumberPlan] = field(default_factory=list)
    categories: list[CategoryPlan] = field(default_factory=list)

    def add(self, plan: NumberPlan | CategoryPlan) -> None:
        """Add a column's plan to the block where it belongs."""
        if isinstance(plan, CategoryPlan):
            self.categories.append(plan)
        elif plan.kind == "number":
            self.numbers.append(plan)
        else:
            self.flags.append(plan)

    @property
    def countable(self) -> list[NumberPlan]:
        """The plans whose gaps are flagged or counted."""
        return self.numbers + self.flags

    @property
    def columns(self) -> list[str]:
        """The names of the table's columns in use."""
        return [plan.name for plan in self.countable] + [plan.name for plan in self.categories]

    @property
    def blocks(self) -> dict[str, list[int]]:
        """The plain matrix's columns by block."""
        flags = sum(len(plan.fills) for plan in self.flags) + sum(plan.gaps for plan in self.countable)
        widths = [len(self.numbers), flags, len(self.categories), int(bool(self.countable))]
        ends = np.cumsum(widths).tolist()
        names = ("numbers", "flags", "categories", "unexpected")
        return {n: list(range(end - width, end)) for n, width, end in zip(names, widths, ends, strict=True)}

    @property
    def width(self) -> int:
        """The number of columns of the plain matrix."""
        return sum(map(len, self.blocks.values()))

    def prepare(self, frame: pd.DataFrame) -> Floats:
        """Return the plain matrix of a table: finite, shape (rows, `width`)."""
        out = np.empty((len(frame), self.width))
        unexpected = np.zeros(len(frame))
        parts: list[NDArray[Any]] = []
        gaps: list[NDArray[Any]] = []
        for plan in self.countable:
            values, missing = plan.apply(frame[plan.name])
            parts.extend(((values + 1) / 2 if self._shifted(plan) else values).T)
            if plan.gaps:
                gaps.append(missing)
            else:
                unexpected += missing
        codes = [category.apply(frame[category.name]) for category in self.categories]
        last = [unexpected] if self.countable else []
        for i, column in enumerate([*parts, *gaps, *codes, *last]):
            out[:, i] = column
        return out

    def _shifted(self, plan: NumberPlan) -> bool:
        return plan.kind == "date" and self.scaling == "minmax"

    def fit_transformer(self, frame: pd.DataFrame) -> ColumnTransformer:
        """Return the fitted scaler and one-hot encoder in one transformer of scikit-learn's own classes.

        The scaler sees the table in chunks and is then frozen, for a column transformer's own ``fit`` would
        build the whole feature matrix of all rows.
        """
        blocks = self.blocks
        scaler = StandardScaler() if self.scaling == "standard" else MinMaxScaler()
        for start in range(0, len(frame), CHUNK_ROWS) if self.numbers else ():
            scaler.partial_fit(self.prepare(frame.iloc[start : start + CHUNK_ROWS])[:, blocks["numbers"]])
        codes = [np.arange(len(plan.names), dtype=np.float64) for plan in self.categories]
        steps = {
            "numbers": FrozenEstimator(scaler),
            "flags": "passthrough",
            "categories": OneHotEncoder(categories=codes, sparse_output=False, dtype=np.float32),
            "unexpected": "passthrough",
        }
        used = [(name, steps[name], columns) for name, columns in blocks.items() if columns]
        return ColumnTransformer(used, sparse_threshold=0).fit(self.prepare(frame.iloc[:1]))

    def encode(self, frame: pd.DataFrame, transformer: ColumnTransformer) -> NDArray[np.float32]:
        """Return the features of a table, float32 of shape (rows, features), finite."""
        with np.errstate(over="ignore"):  # a huge value over a tiny scale: infinite here, cut below
            features = transformer.transform(self.prepare(frame))
        np.clip(features, -LIMIT, LIMIT, out=features)
        return np.asarray(features, dtype=np.float32)

    def decode(self, features: Floats, transformer: ColumnTransformer) -> dict[str, list[Any]]:
        """Return the values that features stand for, by column: the way back, as far as there is one."""
        widths = [len(self.numbers), *(len(plan.fills) for plan in self.flags)]
        widths += [sum(plan.gaps for plan in self.countable), *(len(plan.names) for plan in self.categories)]
        numbers, *rest = np.split(features, np.cumsum(widths), axis=1)
        flags, gaps, codes = rest[: len(self.flags)], rest[len(self.flags)], rest[len(self.flags) + 1 : -1]
        if self.numbers:
            numbers = transformer.named_transformers_["numbers"].inverse_transform(numbers)
        out = {plan.name: plan.read(numbers[:, [i]]) for i, plan in enumerate(self.numbers)}
        for plan, values in zip(self.flags, flags, strict=True):
            out[plan.name] = plan.read(2 * values - 1 if self._shifted(plan) else values)
        for plan, missing in zip([plan for plan in self.countable if plan.gaps], gaps.T, strict=True):
            known = zip(out[plan.name], missing, strict=True)
            out[plan.name] = [None if gone >= 0.5 else value for value, gone in known]
        return out | {p.name: p.read(each) for p, each in zip(self.categories, codes, strict=True)}

    def counted_gaps(self, frame: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
        """Return by column where values are missing that the count of unexpected gaps is made of."""
        return {plan.name: plan.apply(frame[plan.name])[1] for plan in self.countable if not plan.gaps}

    def features(self) -> list[tuple[str, str | None]]:
        """Return each feature's name and the column that it comes from (None: all of them)."""
        own = [(name, plan.name) for plan in self.countable for name in plan.names]
        gaps = [(f"{plan.name} is missing", plan.name) for plan in self.countable if plan.gaps]
        codes = [(name, plan.name) for plan in self.categories for name in plan.names]
        last = [(UNEXPECTED, None)] if self.countable else []
        pairs = [*own, *gaps, *codes, *last]
        return list(zip(_distinct([name for name, _ in pairs]), (source for _, source in pairs), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return the plans as JSON."""
        return {
            "numbers": [plan.to_json() for plan in self.countable],
            "categories": [plan.to_json() for plan in self.categories],
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], scaling: Scaling) -> "Layout":
        """Return the layout that `to_json` wrote."""
        layout = cls(scaling)
        for number in entry["numbers"]:
            layout.add(NumberPlan.from_json(number))
        for category in entry["categories"]:
            layout.add(CategoryPlan.from_json(category))
        return layout


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names where later twins carry a number: a column may be called like another's feature."""
    out: dict[str, None] = {}
    for name in names:
        unique, count = name, 1
        while unique in out:
            count += 1
            unique = f"{name} ({count})"
        out[unique] = None
    return list(out)
