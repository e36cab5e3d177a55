"""A graph that grows node by node, and the few things that every part of it needs.

A value is the name of a tensor; all values here have one line per row of the table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, inliner, numpy_helper

__all__ = ["BOOLEAN", "DOUBLE", "FLOAT", "TEXT", "Graph"]

DOUBLE, FLOAT, INTEGER = TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.INT64
BOOLEAN, TEXT = TensorProto.BOOL, TensorProto.STRING

OPSET, ML_OPSET, IR = 18, 3, 10
_ML = "ai.onnx.ml"


class Graph:
    """An ONNX graph under construction.

    Parameters
    ----------
    taken : sequence of str
        Names that no inner value may have: those of inputs and outputs.
    """

    def __init__(self, taken: Sequence[str]) -> None:
        self._taken = set(taken)
        self._nodes: list[Any] = []
        self._weights: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, kind: int) -> str:
        """A column of the table: shape (rows, 1)."""
        self._inputs.append(helper.make_tensor_value_info(name, kind, ["rows", 1]))
        return name

    def output(self, name: str, value: str, kind: int) -> None:
        """Give a value of shape (rows,) out under a name."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, kind, ["rows"]))

    def constant(self, array: ArrayLike) -> str:
        """A fixed tensor."""
        name = self._fresh("constant")
        self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def apply(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The first output of an operator of ONNX."""
        return self.apply_all(operator, 1, *inputs, **attributes)[0]

    def apply_all(self, operator: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """All outputs of an operator of ONNX, or of its extension for classic machine learning."""
        names = [self._fresh(operator) for _ in range(outputs)]
        domain = _ML if operator in ("LabelEncoder", "TreeEnsembleRegressor") else ""
        self._nodes.append(helper.make_node(operator, inputs, names, domain=domain, **attributes))
        return names

    def attach(self, model: Any, source: str) -> str:
        """The output of another model with one input and one output, fed with a value."""
        if model.functions:
            model = inliner.inline_local_functions(model)
        inner = model.graph
        new = {"": "", inner.input[0].name: source}
        for weight in inner.initializer:
            new[weight.name] = self._fresh("weight")
            weight.name = new[weight.name]
            self._weights[weight.name] = weight
        for node in inner.node:
            for name in node.output:
                if name:
                    new[name] = self._fresh(node.op_type)
        for node in inner.node:
            if any(
                part.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
                for part in node.attribute
            ):
                raise NotImplementedError("a branch or a loop inside a network")
            node.input[:] = [new[name] for name in node.input]
            node.output[:] = [new[name] for name in node.output]
            node.name = ""
            del node.metadata_props[:]
            self._nodes.append(node)
        return new[inner.output[0].name]

    # ---- what comes up again and again

    def cast(self, value: str, kind: int) -> str:
        """The same numbers in another type."""
        return self.apply("Cast", value, to=kind)

    def beside(self, parts: Sequence[str]) -> str:
        """Values side by side, shape (rows, all their columns)."""
        return parts[0] if len(parts) == 1 else self.apply("Concat", *parts, axis=1)

    def columns(self, value: str, start: int, stop: int) -> str:
        """Some columns of a value."""
        bounds = [self.constant(np.array([bound], dtype=np.int64)) for bound in (start, stop, 1)]
        return self.apply("Slice", value, *bounds)

    def sum(self, value: str, axis: int = 1) -> str:
        """Sum along an axis, which goes away."""
        return self.apply("ReduceSum", value, self.constant(np.array([axis])), keepdims=0)

    def scaled(self, value: str, center: NDArray[Any], unit: NDArray[Any]) -> str:
        """A value minus a center, divided by a unit."""
        moved = self.apply("Sub", value, self.constant(center))
        return self.apply("Div", moved, self.constant(unit))

    def flat(self, value: str) -> str:
        """A value of shape (rows, 1) in the shape (rows,)."""
        return self.apply("Reshape", value, self.constant(np.array([-1])))

    def nearest(self, value: str, rows: NDArray[np.float64], count: int) -> tuple[str, str]:
        """Distances to the nearest of fixed rows and their places, shape (rows, count) each.

        They are found by one product of matrices and then measured exactly, as the detectors do.
        """
        lengths = self.constant(np.square(rows).sum(1))
        product = self.apply("MatMul", value, self.constant(-2 * rows.T))
        rough = self.apply("Add", product, lengths)
        k = self.constant(np.array([count]))
        places = self.apply_all("TopK", 2, rough, k, axis=1, largest=0)[1]
        return self.distances(value, rows, places), places

    def distances(self, value: str, rows: NDArray[np.float64], places: str) -> str:
        """Distances of each row to those of fixed rows that stand at its places, shape (rows, places)."""
        chosen = self.apply("Gather", self.constant(rows), places, axis=0)
        wide = self.apply("Unsqueeze", value, self.constant(np.array([1])))
        apart = self.apply("Sub", wide, chosen)
        return self.apply("Sqrt", self.sum(self.apply("Mul", apart, apart), axis=2))

    def rank(self, value: str, ordered: NDArray[np.float64], *, or_equal: bool = False) -> str:
        """How many of fixed, ascending numbers are below each number (or equal to it).

        A binary search of all numbers at once: ONNX has no operator for it.

        Parameters
        ----------
        value : str
            Finite numbers in float64, of shape (rows,) or (rows, columns).
        ordered : ndarray of shape (numbers,) or (numbers, columns)

        Returns
        -------
        str
            int64, in the shape of `value`.
        """
        steps = max(1, math.ceil(math.log2(len(ordered) + 1)))
        padding = np.full((2**steps - 1 - len(ordered), *ordered.shape[1:]), np.inf)
        table = self.constant(np.concatenate([ordered, padding]))
        gather = "Gather" if ordered.ndim == 1 else "GatherElements"
        zero = numpy_helper.from_array(np.zeros(1, dtype=np.int64))
        place = self.apply("ConstantOfShape", self.apply("Shape", value), value=zero)
        for step in reversed(range(steps)):
            probe = self.apply("Add", place, self.constant(np.int64(2**step)))
            before = self.apply("Sub", probe, self.constant(np.int64(1)))
            met = self.apply(gather, table, before, axis=0)
            goes_on = self.apply("LessOrEqual" if or_equal else "Less", met, value)
            place = self.apply("Where", goes_on, probe, place)
        return place

    def model(self, properties: Mapping[str, str], producer: str, version: str) -> Any:
        """The finished model with its metadata, checked."""
        graph = helper.make_graph(
            self._nodes, producer, self._inputs, self._outputs, list(self._weights.values())
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(_ML, ML_OPSET)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR, producer_name=producer, producer_version=version
        )
        helper.set_model_props(model, dict(properties))
        onnx.checker.check_model(model)
        return model

    def _fresh(self, what: str) -> str:
        name = f"/{len(self._taken)}/{what}"
        while name in self._taken:
            name = f"/{name}"
        self._taken.add(name)
        return name
