"""Trees as evidence: how well columns predict each other, and how like known anomalies a row is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from da3d.networks.evidence import Calibrated

__all__ = ["KnownForest", "MaskedForest", "Trees"]

Array = NDArray[Any]

_DEPTH = 8
_INNER, _LEAVES = 2**_DEPTH - 1, 2**_DEPTH
_HIDDEN = 4  # most columns that one tree predicts, and about a sixth of them in narrower tables
_BAG = 512  # so few that a handful of polluting rows gets no leaf of its own
_JUDGED = 4096  # rows whose out-of-bag predictions tell what is usual
_USUAL = 0.9  # share of normal rows that known anomalies leave as they are
_CANDIDATES = 48  # most columns among which a split is chosen


class Trees(nn.Module):
    """Regression trees of one depth, learned by scikit-learn, kept as tensors so that every device has them.

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
        self.register_buffer("split", torch.zeros(0, _INNER, dtype=torch.int32))
        self.register_buffer("threshold", torch.zeros(0, _INNER))
        self.register_buffer("leaves", torch.zeros(0, _LEAVES, 0))

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
        first = trees * _INNER
        node = first.expand(len(x), len(trees))
        for _ in range(_DEPTH):
            here = node.flatten()
            column = split.index_select(0, here).view_as(node)
            right = cells.index_select(0, (rows + column).flatten()) > threshold.index_select(0, here)
            node = torch.add(1 - first, node, alpha=2) + right.view_as(node)
        leaf = node - first - _INNER + trees * _LEAVES
        return self.leaves.flatten(0, 1).index_select(0, leaf.flatten()).view(*leaf.shape, -1)

    def _load_from_state_dict(self, state: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        # How large the arrays are is only known once the trees have been grown.
        for name, held in self.named_buffers(recurse=False):
            if prefix + name in state:
                setattr(self, name, torch.empty_like(state[prefix + name], device=held.device))
        super()._load_from_state_dict(state, prefix, *rest)


class MaskedForest(Trees):
    r"""How far a row's columns lie from what its other columns say, calibrated.

    Each tree hides a few columns from itself and predicts them from the rest; a column's prediction is the
    mean over the trees that hid it. With residuals r, and their root mean square s over normal rows that a
    tree did not learn from,

    .. math:: \log \Big( \tfrac{1}{d} \sum_j r_j^2 / s_j + 10^{-3} \Big)

    is the evidence: the better a column can be predicted, the more it counts, though not without bound. A row
    that breaks a dependence between columns stands out even if it lies among the others in every single one.

    Each tree is learned from at most 512 rows, to a depth of 8.

    Parameters
    ----------
    trees : int
        0 switches the forest off; its evidence is 0 then.
    """

    def __init__(self, trees: int) -> None:
        super().__init__(trees)
        self.places: Tensor
        self.share: Tensor
        self.precision: Tensor
        self.register_buffer("places", torch.zeros(0, 0, dtype=torch.int32))
        self.register_buffer("share", torch.zeros(0, 0))
        self.register_buffer("precision", torch.zeros(0))
        self.calibrated = Calibrated()

    def fit(self, x: Float[Tensor, "row feature"]) -> None:
        """Grow the trees, and take what residuals are usual from rows outside their bags."""
        varied = (x.amax(0) > x.amin(0)).nonzero().flatten().cpu()
        hidden = min(_HIDDEN, max(1, len(varied) // 6), len(varied) - 1)
        if not self.trees or hidden < 1 or len(x) < 4:
            return
        outputs = _take_turns(varied, self.trees, hidden)
        bags = _bags(len(x), self.trees)
        rows = x.cpu()
        self.plant([_column_tree(rows[bag], varied, out) for bag, out in zip(bags, outputs, strict=True)])
        self.places, self.share = (part.to(x.device) for part in _places(outputs, x.shape[1]))
        self._calibrate(x, bags, outputs)

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row"]:
        """Calibrated evidence."""
        if not len(self.split):
            return torch.zeros(len(x), dtype=x.dtype, device=x.device)
        values = self.reached(x).flatten(1)
        hidden = values.index_select(1, self.places.flatten()).view(len(x), *self.places.shape)
        predicted = (hidden * self.share).sum(2)
        return self.calibrated(self._log(x - predicted, (self.precision > 0).sum()))

    def _calibrate(self, x: Tensor, bags: list[Tensor], outputs: Int[Tensor, "tree hidden"]) -> None:
        """Fit precisions and the usual evidence to predictions of trees that did not learn from a row."""
        judged, outside = _outside(len(x), bags)
        x, outside = x[judged.to(x.device)], outside.to(x)
        values = self.reached(x)
        total, count = torch.zeros_like(x), torch.zeros_like(x)
        for tree, out in enumerate(outputs):
            total[:, out] += outside[:, tree, None] * values[:, tree]
            count[:, out] += outside[:, tree, None]
        seen = count > 0
        residual = torch.where(seen, x - total / count.clamp_min(1), 0.0)
        usual = (residual.square().sum(0) / seen.sum(0).clamp_min(1)).sqrt()
        self.precision = torch.where(seen.any(0), 1 / (usual + 0.02), 0.0)
        self.calibrated.fit(self._log(residual, (seen & (self.precision > 0)).sum(1)))

    def _log(self, residual: Tensor, columns: Tensor) -> Float[Tensor, "row"]:
        return torch.log((residual.square() * self.precision).sum(1) / columns.clamp_min(1) + 1e-3)


class KnownForest(Trees):
    """How much a row is like anomalies that somebody has named, from 0 to 1.

    Every tree learns to tell the known anomalies from at most 512 normal rows, both sides weighing the same;
    with p the mean of their answers and q what nine of ten normal rows stay below (asked only of trees that
    did not learn from them), the evidence is max(0, p - q) / (1 - q). So a row that is unlike the known
    anomalies loses nothing by it, and most normal rows gain nothing.

    Parameters
    ----------
    trees : int
        0 switches the forest off; its evidence is 0 then, as it is where no anomaly is known.
    """

    def __init__(self, trees: int) -> None:
        super().__init__(trees)
        self.usual: Tensor
        self.register_buffer("usual", torch.zeros(()))

    def fit(self, x: Float[Tensor, "row feature"], known: Float[Tensor, "anomaly feature"]) -> None:
        """Grow the trees, and take what normal rows stay below from rows outside their bags."""
        if not self.trees or not len(known) or len(x) < 4:
            return
        bags = _bags(len(x), self.trees)
        rows, anomalies = x.cpu(), known.cpu()
        self.plant([_label_tree(rows[bag], anomalies) for bag in bags])
        judged, outside = _outside(len(x), bags)
        said, outside = self.reached(x[judged.to(x.device)])[:, :, 0], outside.to(x)
        answers = (said * outside).sum(1) / outside.sum(1).clamp_min(1)
        self.usual.copy_(answers.quantile(_USUAL).clamp_max(0.99))

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row"]:
        """Likeness."""
        if not len(self.split):
            return torch.zeros(len(x), dtype=x.dtype, device=x.device)
        return self.beyond_usual(self.reached(x).mean((1, 2)))

    def beyond_usual(self, answers: Float[Tensor, "row"]) -> Float[Tensor, "row"]:
        """How far mean answers are above those of normal rows."""
        return (answers - self.usual).clamp_min(0) / (1 - self.usual)


def _bags(rows: int, trees: int) -> list[Int[Tensor, "row"]]:
    """Which rows each tree learns from."""
    return [torch.randperm(rows)[: min(_BAG, round(0.63 * rows))] for _ in range(trees)]


def _outside(
    rows: int, bags: list[Int[Tensor, "row"]]
) -> tuple[Int[Tensor, "judged"], Bool[Tensor, "judged tree"]]:
    """Places of the rows to judge by, and which trees did not learn from each."""
    judged = torch.arange(rows)[:: -(-rows // _JUDGED)]
    outside = torch.ones(rows, len(bags), dtype=torch.bool)
    for tree, bag in enumerate(bags):
        outside[bag, tree] = False
    return judged, outside[judged]


def _take_turns(columns: Int[Tensor, "column"], trees: int, hidden: int) -> Int[Tensor, "tree hidden"]:
    """Which columns each tree hides: all of them equally often, give or take one."""
    turns = torch.cat([torch.randperm(len(columns)) for _ in range(-(-trees * hidden // len(columns)) + 1)])
    chosen, waiting = [], turns.tolist()
    for _ in range(trees):
        own: list[int] = []
        for column in waiting:
            if column not in own:
                own.append(column)
            if len(own) == hidden:
                break
        for column in own:
            waiting.remove(column)
        chosen.append(own)
    return columns[torch.tensor(chosen)].sort(1).values


def _column_tree(rows: Tensor, varied: Tensor, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A tree that predicts some columns from the others."""
    from sklearn.tree import DecisionTreeRegressor

    shown = varied[~torch.isin(varied, out)]
    model = DecisionTreeRegressor(
        max_depth=_DEPTH,
        min_samples_leaf=3,
        max_features=min(len(shown), _CANDIDATES),
        random_state=int(torch.randint(2**31, ())),
    ).fit(rows[:, shown].numpy(), rows[:, out].numpy())
    return _as_tensors(model.tree_, shown)


def _label_tree(normal: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A tree that tells known anomalies, drawn with replacement, from normal rows."""
    from sklearn.tree import ExtraTreeRegressor

    known = known[torch.randint(len(known), (min(_BAG, len(known)),))]
    labels = np.repeat([0.0, 1.0], [len(normal), len(known)])
    weights = np.repeat([1 / len(normal), 1 / len(known)], [len(normal), len(known)])
    model = ExtraTreeRegressor(
        max_depth=_DEPTH, max_features="sqrt", random_state=int(torch.randint(2**31, ()))
    ).fit(torch.cat([normal, known]).numpy(), labels, sample_weight=weights)
    return _as_tensors(model.tree_, torch.arange(normal.shape[1]))


def _as_tensors(tree: Any, columns: Int[Tensor, "column"]) -> tuple[Tensor, Tensor, Tensor]:
    """Node i has the children 2i + 1 and 2i + 2; unused nodes lead to the left."""
    split, threshold, leaves = (torch.from_numpy(part) for part in _as_arrays(tree))
    return columns[split].int() * torch.isfinite(threshold), threshold, leaves


def _as_arrays(tree: Any) -> tuple[Array, Array, Array]:
    """Split columns, thresholds and leaves of scikit-learn's tree, filled up to its full depth.

    A node that the tree lacks sends every row to the left, below the leaf that stands in its place.
    """
    split = np.zeros(_INNER, dtype=np.int64)
    threshold = np.full(_INNER, np.inf, dtype=np.float32)
    level = np.zeros(1, dtype=np.int64)  # the tree's nodes from left to right; a leaf is its own left child
    for depth in range(_DEPTH):
        inner = tree.children_left[level] >= 0
        here = slice(2**depth - 1, 2 ** (depth + 1) - 1)
        split[here] = np.where(inner, tree.feature[level], 0)
        threshold[here] = np.where(inner, tree.threshold[level], np.inf)
        left = np.where(inner, tree.children_left[level], level)
        level = np.stack([left, np.where(inner, tree.children_right[level], level)], 1).flatten()
    return split, threshold, tree.value[level, :, 0].astype(np.float32)


def _places(outputs: Int[Tensor, "tree hidden"], features: int) -> tuple[Tensor, Tensor]:
    """Where each column's predictions lie among those of all trees, and the share of each in their mean."""
    owner = outputs.flatten()
    found = [(owner == column).nonzero().flatten() for column in range(features)]
    places = nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=-1)
    counts = (places >= 0).sum(1, keepdim=True)
    share = (places >= 0) / counts.clamp_min(1)
    return places.clamp_min(0).int(), share.float()
