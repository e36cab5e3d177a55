"""The table encoder as a graph: raw columns -> features.

Columns enter as they are in the table, each of shape (rows, 1):

- *number*, *boolean*: float64, NaN where missing (infinite counts as missing, true is 1);
- *date*: float64, seconds of the local wall clock since 1970-01-01 00:00, NaN where missing;
- *category*: text; one particular text, as a rule the empty one, stands for missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from da3d.persistence.onnx.graph import DOUBLE, FLOAT, INTEGER, TEXT, Graph
from da3d.preprocessing import TableEncoder
from da3d.preprocessing.layout import LIMIT, Layout
from da3d.preprocessing.plans import CategoryPlan, NumberPlan
from da3d.preprocessing.values import DAY, LARGEST

__all__ = ["Input", "encode", "inputs_of"]


@dataclass(frozen=True)
class Input:
    """An input of the graph.

    Attributes
    ----------
    name : str
        What the graph calls it: as a rule the column's name.
    column, kind : str
        The column of the table, and what it holds.
    missing, unseen : str or None
        Of text: what stands for a missing value, and a text that was not seen at fit either.
    """

    name: str
    column: str
    kind: str
    missing: str | None = None
    unseen: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The input as JSON."""
        return asdict(self)


def inputs_of(encoder: TableEncoder, taken: Sequence[str]) -> list[Input]:
    """The graph's inputs, one per column in use; none has a name that is taken."""
    plans = {plan.name: plan for plan in _layout(encoder).categories}
    names = set(taken)
    found = []
    for column in encoder.schema_.columns:
        name = _free(column.name or "column", names)
        names.add(name)
        if column.kind != "category":
            found.append(Input(name, column.name, column.kind))
            continue
        known = {*plans[column.name].known.to_pylist()}
        missing = _free("", known, "<missing>")
        unseen = _free("<unseen>", {*known, missing})
        found.append(Input(name, column.name, column.kind, missing, unseen))
    return found


def _free(wanted: str, taken: set[str], then: str | None = None) -> str:
    """A name that is not taken: the wanted one, or one that is made of it."""
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted if then is None else then} ({count})"
    return name


def encode(graph: Graph, encoder: TableEncoder, inputs: Sequence[Input]) -> str:
    """Features of raw columns, float32 of shape (rows, features), as `TableEncoder.transform` makes them."""
    return _Encoding(graph, encoder, inputs).features()


def _layout(encoder: TableEncoder) -> Layout:
    learnt, _ = encoder.state()
    return Layout.from_json(learnt, encoder.scaling)


class _Encoding:
    """The same blocks as in `Layout`: numbers, flags, gaps, codes, unexpected gaps."""

    def __init__(self, graph: Graph, encoder: TableEncoder, inputs: Sequence[Input]) -> None:
        self.graph, self.layout = graph, _layout(encoder)
        self.inputs = {each.column: each for each in inputs}
        self.transformer = encoder.transformer_

    def features(self) -> str:
        graph, layout = self.graph, self.layout
        blocks, gaps = [], []
        if layout.numbers:
            values, missing = self._filled(layout.numbers)
            blocks.append(self._scaled(values))
            gaps.append(missing)
        for plan in layout.flags:
            values, missing = self._clock(plan) if plan.kind == "date" else self._filled([plan])
            blocks.append(values)
            gaps.append(missing)
        flagged, counted = self._gaps(gaps) if gaps else (None, None)
        blocks += [flagged] if flagged else []
        limits = [graph.constant(np.float64(bound)) for bound in (-LIMIT, LIMIT)]
        parts = [graph.apply("Clip", graph.beside(blocks), *limits)] if blocks else []
        parts = [graph.cast(part, FLOAT) for part in parts]
        parts += [self._codes(plan) for plan in layout.categories]
        parts += [graph.cast(counted, FLOAT)] if counted else []
        return graph.beside(parts)

    def _filled(self, plans: Sequence[NumberPlan]) -> tuple[str, str]:
        """Numbers within bounds and without gaps, and where the gaps were, of shape (rows, plans) each."""
        graph = self.graph
        raw = graph.beside([graph.input(self.inputs[plan.name].name, DOUBLE) for plan in plans])
        missing = graph.apply("Or", graph.apply("IsNaN", raw), graph.apply("IsInf", raw))
        bounds = [graph.constant(np.float64(bound)) for bound in (-LARGEST, LARGEST)]
        fills = graph.constant(np.array([[plan.fills[0] for plan in plans]]))
        return graph.apply("Where", missing, fills, graph.apply("Clip", raw, *bounds)), missing

    def _scaled(self, values: str) -> str:
        graph, scaler = self.graph, self.transformer.named_transformers_["numbers"]
        scaler = getattr(scaler, "estimator", scaler)
        if self.layout.scaling == "standard":
            return graph.scaled(values, scaler.mean_, scaler.scale_)
        stretched = graph.apply("Mul", values, graph.constant(scaler.scale_))
        return graph.apply("Add", stretched, graph.constant(scaler.min_))

    def _clock(self, plan: NumberPlan) -> tuple[str, str]:
        """Points on the circles of day and week, and where the date is missing."""
        graph = self.graph
        raw = graph.input(self.inputs[plan.name].name, DOUBLE)
        missing = graph.apply("Or", graph.apply("IsNaN", raw), graph.apply("IsInf", raw))
        known = graph.apply("Where", missing, graph.constant(np.float64(0)), raw)
        seconds = graph.cast(graph.apply("Floor", known), INTEGER)
        of_day = graph.apply("Mod", seconds, graph.constant(np.int64(DAY)))
        midnight = graph.apply("Sub", seconds, of_day)
        days = graph.apply("Div", midnight, graph.constant(np.int64(DAY)))
        days = graph.apply("Add", days, graph.constant(np.int64(3)))  # 1970 began on a Thursday
        turns = [self._share(of_day, DAY)] if plan.hours else []
        turns.append(self._share(graph.apply("Mod", days, graph.constant(np.int64(7))), 7))
        points = graph.beside(
            [
                graph.apply(wave, graph.apply("Mul", graph.constant(np.float64(2 * math.pi)), turn))
                for turn in turns
                for wave in ("Sin", "Cos")
            ]
        )
        filled = graph.apply("Where", missing, graph.constant(np.array([plan.fills])), points)
        if self.layout.scaling == "minmax":
            filled = graph.apply("Add", filled, graph.constant(np.float64(1)))
            filled = graph.apply("Div", filled, graph.constant(np.float64(2)))
        return filled, missing

    def _share(self, count: str, of: int) -> str:
        return self.graph.apply("Div", self.graph.cast(count, DOUBLE), self.graph.constant(np.float64(of)))

    def _gaps(self, parts: Sequence[str]) -> tuple[str | None, str]:
        """Where values are missing in columns that had gaps at fit, and the count of all other gaps."""
        graph, gaps = self.graph, [plan.gaps for plan in self.layout.countable]
        missing = graph.cast(graph.beside(list(parts)), DOUBLE)
        flagged = np.flatnonzero(gaps)
        chosen = graph.apply("Gather", missing, graph.constant(flagged), axis=1) if len(flagged) else None
        weights = (~np.array(gaps)).astype(np.float64)[:, None]
        return chosen, graph.apply("MatMul", missing, graph.constant(weights))

    def _codes(self, plan: CategoryPlan) -> str:
        """One 0/1 feature per code of a category."""
        graph, own, known = self.graph, self.inputs[plan.name], plan.known.to_pylist()
        unseen = len(plan.names) - 1
        codes = dict(zip(known, np.minimum(np.arange(len(known)), plan.kept).tolist(), strict=True))
        if plan.gaps and own.missing is not None:
            codes[own.missing] = unseen - 1
        text = graph.flat(graph.input(own.name, TEXT))
        code = graph.apply(
            "LabelEncoder",
            text,
            keys_strings=list(codes),
            values_int64s=list(codes.values()),
            default_int64=unseen,
        )
        depth, values = graph.constant(np.int64(unseen + 1)), graph.constant(np.array([0, 1], np.float32))
        return graph.apply("OneHot", code, depth, values)
