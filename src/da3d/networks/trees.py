"""Regression trees as tensors: what the forests among the evidence have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["BAG", "DEPTH", "INNER", "LEAVES", "Trees", "as_tensors", "draw_bags", "outside_bags"]

Array = NDArray[Any]

DEPTH = 8
"""Questions from a tree's root to any leaf; where it ends earlier, the missing nodes lead to the left."""
INNER, LEAVES = 2**DEPTH - 1, 2**DEPTH
"""Inner nodes and leaves of a tree."""
BAG = 512
"""Most rows that a tree learns from: so few that a handful of polluting rows gets no leaf of its own."""

_JUDGED = 4096  # rows whose out-of-bag predictions tell what is usual


class Trees(nn.Module):
    """Regression trees of one depth, learned by scikit-learn, kept as tensors so that they score anywhere.

    They have no slope.

    Parameters
    ----------
    trees : int
        How many; 0 switches them off.
    """

    def __init__(self, trees: int) -> None:
        super().__init__()
        self.trees = trees
        self.split: Tensor
        self.threshold: Tensor
        self.leaves: Tensor
        self.register_buffer("split", torch.zeros(0, INNER, dtype=torch.int32))
        self.register_buffer("threshold", torch.zeros(0, INNER))
        self.register_buffer("leaves", torch.zeros(0, LEAVES, 0))

    def plant(self, grown: Sequence[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Keep trees, each given by its split columns, thresholds and leaves."""
        device = self.threshold.device
        parts = (torch.stack(part).to(device) for part in zip(*grown, strict=True))
        self.split, self.threshold, self.leaves = parts

    def reached(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row tree output"]:
        """What every tree says of every row."""
        # Flat int32 places, since lookups by them take half the time of any other way.
        trees = torch.arange(len(self.split), dtype=torch.int32, device=x.device)
        rows = torch.arange(len(x), dtype=torch.int32, device=x.device)[:, None] * x.shape[1]
        cells, split, threshold = x.flatten(), self.split.flatten(), self.threshold.flatten()
        first = trees * INNER
        node = first.expand(len(x), len(trees))
        for _ in range(DEPTH):
            here = node.flatten()
            column = split.index_select(0, here).view_as(node)
            right = cells.index_select(0, (rows + column).flatten()) > threshold.index_select(0, here)
            node = torch.add(1 - first, node, alpha=2) + right.view_as(node)
        leaf = node - first - INNER + trees * LEAVES
        return self.leaves.flatten(0, 1).index_select(0, leaf.flatten()).view(*leaf.shape, -1)

    def _load_from_state_dict(self, state: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        # How large the arrays are is only known once the trees have been grown.
        for name, held in self.named_buffers(recurse=False):
            if held.ndim and prefix + name in state:
                setattr(self, name, torch.empty_like(state[prefix + name], device=held.device))
        super()._load_from_state_dict(state, prefix, *rest)


def draw_bags(rows: int, trees: int) -> list[Int[Tensor, "row"]]:
    """Which rows each tree learns from."""
    order = torch.empty(rows, dtype=torch.int64)  # one for all: a bag that is a view would keep its own
    size = min(BAG, round(0.63 * rows))
    return [torch.randperm(rows, out=order)[:size].clone() for _ in range(trees)]


def outside_bags(
    rows: int, bags: list[Int[Tensor, "row"]]
) -> tuple[Int[Tensor, "judged"], Bool[Tensor, "judged tree"]]:
    """Places of the rows to judge by, and which trees did not learn from each."""
    judged = torch.arange(rows)[:: -(-rows // _JUDGED)]
    place = torch.full((rows,), -1)
    place[judged] = torch.arange(len(judged))
    outside = torch.ones(len(judged), len(bags), dtype=torch.bool)
    for tree, bag in enumerate(bags):
        learned = place[bag]
        outside[learned[learned >= 0], tree] = False
    return judged, outside


def as_tensors(tree: Any, columns: Int[Tensor, "column"]) -> tuple[Tensor, Tensor, Tensor]:
    """scikit-learn's tree as split columns, thresholds, leaves; node i has the children 2i + 1 and 2i + 2."""
    split, threshold, leaves = (torch.from_numpy(part) for part in _as_arrays(tree))
    return columns[split].int() * torch.isfinite(threshold), threshold, leaves


def _as_arrays(tree: Any) -> tuple[Array, Array, Array]:
    """Split columns, thresholds and leaves of scikit-learn's tree, filled up to its full depth.

    A node that the tree lacks sends every row to the left, below the leaf that stands in its place.
    """
    split = np.zeros(INNER, dtype=np.int64)
    threshold = np.full(INNER, np.inf, dtype=np.float32)
    level = np.zeros(1, dtype=np.int64)  # the tree's nodes from left to right; a leaf is its own left child
    for depth in range(DEPTH):
        inner = tree.children_left[level] >= 0
        here = slice(2**depth - 1, 2 ** (depth + 1) - 1)
        split[here] = np.where(inner, tree.feature[level], 0)
        threshold[here] = np.where(inner, tree.threshold[level], np.inf)
        left = np.where(inner, tree.children_left[level], level)
        level = np.stack([left, np.where(inner, tree.children_right[level], level)], 1).flatten()
    return split, threshold, tree.value[level, :, 0].astype(np.float32)
