"""Trees as ONNX's own operator for them, which walks them several times as fast as lookups written out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from onnx import helper
from torch import Tensor

from da3d.networks.trees import INNER, Trees
from da3d.persistence.onnx.graph import ML_OPSET

__all__ = ["column_shares", "ensemble", "filled_in", "walked"]

_OPERATOR, _PLACE = "TreeEnsembleRegressor", "forest"


def walked(x: Float[Tensor, "row feature"], forest: int, targets: int) -> Float[Tensor, "row target"]:
    """A node of the graph, still empty, that adds up what a forest's trees say of each row.

    The number of the forest is that by which `filled_in` finds the node. torch's exporter would take half a
    minute for the lists of a forest, so they come later.
    """
    return torch.onnx.ops.symbolic(
        f"ai.onnx.ml::{_OPERATOR}",
        [x],
        {_PLACE: forest},
        dtype=x.dtype,
        shape=(x.shape[0], targets),
        version=ML_OPSET,
    )


def filled_in(model: Any, forests: Mapping[int, Mapping[str, Any]]) -> Any:
    """The exported model with the trees, as `ensemble` gives them, in their places."""
    for node in model.graph.node:
        if node.op_type == _OPERATOR:
            (forest,) = (each.i for each in node.attribute if each.name == _PLACE)
            del node.attribute[:]
            node.attribute.extend(helper.make_attribute(*each) for each in forests[forest].items())
    return model


def column_shares(
    places: NDArray[Any], share: NDArray[Any], like: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each output of each tree, the column that it predicts and its share in that column's mean."""
    columns, shares = np.zeros(like, dtype=np.int64), np.zeros(like, dtype=np.float32)
    column, turn = np.nonzero(share)
    columns.flat[places[column, turn]] = column
    shares.flat[places[column, turn]] = share[column, turn]
    return columns, shares


def ensemble(
    trees: Trees, targets: NDArray[np.int64], shares: NDArray[np.float32], count: int
) -> dict[str, Any]:
    """Attributes of the operator: sums of leaves times shares.

    Parameters
    ----------
    trees : Trees
    targets, shares : ndarray of shape (trees, outputs)
        To which of `count` sums each output is added, and how much of it.
    count : int
    """
    split, threshold, leaves = (part.cpu().numpy() for part in (trees.split, trees.threshold, trees.leaves))
    nodes: list[tuple[int, int, int, float, str, int, int]] = []
    weights: list[tuple[int, int, int, float]] = []
    for tree in range(len(split)):
        first = len(nodes)
        waiting = [(0, -1, False)]  # place in the full tree, its parent among the nodes, whether on the right
        while waiting:
            place, parent, right = waiting.pop()
            own = len(nodes) - first
            if parent >= 0:
                nodes[parent] = _with_child(nodes[parent], own, right)
            while place < INNER and not np.isfinite(threshold[tree, place]):
                place = 2 * place + 1  # a node that the tree lacks sends every row to the left
            if place < INNER:
                here = len(nodes)
                column, limit = int(split[tree, place]), float(threshold[tree, place])
                nodes.append((tree, own, column, limit, "BRANCH_LEQ", 0, 0))
                waiting += [(2 * place + 2, here, True), (2 * place + 1, here, False)]
            else:
                nodes.append((tree, own, 0, 0.0, "LEAF", 0, 0))
                values = leaves[tree, place - INNER] * shares[tree]
                weights += [
                    (tree, own, int(target), float(value))
                    for target, value in zip(targets[tree], values, strict=True)
                ]
    found: dict[str, Any] = {"nodes_missing_value_tracks_true": [1] * len(nodes)}
    found |= _named("nodes", "treeids nodeids featureids values modes truenodeids falsenodeids", nodes)
    found |= _named("target", "treeids nodeids ids weights", weights)
    return found | {"n_targets": count, "aggregate_function": "SUM", "post_transform": "NONE"}


def _with_child(node: tuple[Any, ...], child: int, right: bool) -> Any:
    """A branch that knows one of its children: where the condition holds, rows go to the left."""
    *kept, left_child, right_child = node
    return (*kept, left_child, child) if right else (*kept, child, right_child)


def _named(prefix: str, names: str, rows: list[Any]) -> dict[str, Any]:
    """The columns of rows, by the names that the operator has for them."""
    columns = zip(*rows, strict=True)
    return {f"{prefix}_{name}": list(column) for name, column in zip(names.split(), columns, strict=True)}
