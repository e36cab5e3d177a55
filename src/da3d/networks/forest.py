"""Trees that predict some columns of a row from its others: evidence about how columns belong together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from da3d.networks.evidence import Calibrated

__all__ = ["MaskedForest"]

_DEPTH = 8
_INNER, _LEAVES = 2**_DEPTH - 1, 2**_DEPTH
_HIDDEN = 4  # most columns that one tree predicts, and about a sixth of them in narrower tables
_BAG = 512  # so few that a handful of polluting rows gets no leaf of its own
_JUDGED = 4096  # rows whose out-of-bag predictions tell what is usual
_CANDIDATES = 48  # most columns among which a split is chosen


class MaskedForest(nn.Module):
    r"""How far a row's columns lie from what its other columns say, calibrated.

    Each tree hides a few columns from itself and predicts them from the rest; a column's prediction is the
    mean over the trees that hid it. With residuals r, and their root mean square s over normal rows that a
    tree did not learn from,

    .. math:: \log \Big( \tfrac{1}{d} \sum_j r_j^2 / s_j + 10^{-3} \Big)

    is the evidence: the better a column can be predicted, the more it counts, though not without bound. A row
    that breaks a dependence between columns stands out even if it lies among the others in every single one.

    The trees are scikit-learn's, each learned from at most 512 rows to a depth of 8 and kept as tensors, so
    that they score on every device. They have no slope.

    Parameters
    ----------
    trees : int
        0 switches the forest off; its evidence is 0 then.
    """

    def __init__(self, trees: int) -> None:
        super().__init__()
        self.trees = trees
        self.split: Tensor
        self.threshold: Tensor
        self.leaves: Tensor
        self.places: Tensor
        self.share: Tensor
        self.precision: Tensor
        self.register_buffer("split", torch.zeros(0, _INNER, dtype=torch.int32))
        self.register_buffer("threshold", torch.zeros(0, _INNER))
        self.register_buffer("leaves", torch.zeros(0, _LEAVES, 0))
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
        bags = [torch.randperm(len(x))[: min(_BAG, round(0.63 * len(x)))] for _ in range(self.trees)]
        rows = x.cpu()
        grown = [_grow(rows[bag], varied, out) for bag, out in zip(bags, outputs, strict=True)]
        device = self.precision.device
        self.split, self.threshold, self.leaves = (
            torch.stack(part).to(device) for part in zip(*grown, strict=True)
        )
        self.places, self.share = (part.to(device) for part in _places(outputs, x.shape[1]))
        self._calibrate(x, bags, outputs)

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row"]:
        """Calibrated evidence."""
        if not len(self.split):
            return torch.zeros(len(x), dtype=x.dtype, device=x.device)
        values = self._reached(x).flatten(1)
        predicted = (values[:, self.places.long()] * self.share).sum(2)
        return self.calibrated(self._log(x - predicted, (self.precision > 0).sum()))

    def _calibrate(self, x: Tensor, bags: list[Tensor], outputs: Int[Tensor, "tree hidden"]) -> None:
        """Fit precisions and the usual evidence to predictions of trees that did not learn from a row."""
        judged = torch.arange(len(x))[:: -(-len(x) // _JUDGED)]
        x = x[judged.to(x.device)]
        values = self._reached(x)
        total, count = torch.zeros_like(x), torch.zeros_like(x)
        for tree, (bag, out) in enumerate(zip(bags, outputs, strict=True)):
            outside = (~torch.isin(judged, bag)).to(x)[:, None]
            total[:, out] += outside * values[:, tree]
            count[:, out] += outside
        seen = count > 0
        residual = torch.where(seen, x - total / count.clamp_min(1), 0.0)
        usual = (residual.square().sum(0) / seen.sum(0).clamp_min(1)).sqrt()
        self.precision = torch.where(seen.any(0), 1 / (usual + 0.02), 0.0)
        self.calibrated.fit(self._log(residual, (seen & (self.precision > 0)).sum(1)))

    def _reached(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row tree hidden"]:
        """What every tree predicts for its hidden columns."""
        first = torch.arange(len(self.split), device=x.device)
        split, threshold = self.split.flatten(), self.threshold.flatten()
        node = torch.zeros(len(x), len(self.split), dtype=torch.long, device=x.device)
        for _ in range(_DEPTH):
            here = node + first * _INNER
            node = 2 * node + 1 + (x.gather(1, split[here].long()) > threshold[here]).long()
        return self.leaves.flatten(0, 1)[node - _INNER + first * _LEAVES]

    def _log(self, residual: Tensor, columns: Tensor) -> Float[Tensor, "row"]:
        return torch.log((residual.square() * self.precision).sum(1) / columns.clamp_min(1) + 1e-3)

    def _load_from_state_dict(self, state: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        # How large the trees' arrays are is only known once they have been grown.
        for name in ("split", "threshold", "leaves", "places", "share", "precision"):
            if prefix + name in state:
                setattr(self, name, torch.empty_like(state[prefix + name], device=self.precision.device))
        super()._load_from_state_dict(state, prefix, *rest)


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


def _grow(rows: Tensor, varied: Tensor, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One tree as arrays: node i has the children 2i + 1 and 2i + 2; unused nodes lead to the left."""
    from sklearn.tree import DecisionTreeRegressor

    shown = varied[~torch.isin(varied, out)]
    model = DecisionTreeRegressor(
        max_depth=_DEPTH,
        min_samples_leaf=3,
        max_features=min(len(shown), _CANDIDATES),
        random_state=int(torch.randint(2**31, ())),
    ).fit(rows[:, shown].numpy(), rows[:, out].numpy())
    tree = model.tree_
    split = torch.zeros(_INNER, dtype=torch.int32)
    threshold = torch.full((_INNER,), torch.inf)
    leaves = torch.zeros(_LEAVES, len(out))
    at = {0: 0}
    for node in range(tree.node_count):  # parents come before their children
        place = at[node]
        if tree.children_left[node] < 0:
            while place < _INNER:
                place = 2 * place + 1
            leaves[place - _INNER] = torch.from_numpy(tree.value[node, :, 0])
        else:
            split[place] = shown[tree.feature[node]]
            threshold[place] = float(tree.threshold[node])
            at[int(tree.children_left[node])] = 2 * place + 1
            at[int(tree.children_right[node])] = 2 * place + 2
    return split, threshold, leaves


def _places(outputs: Int[Tensor, "tree hidden"], features: int) -> tuple[Tensor, Tensor]:
    """Where each column's predictions lie among those of all trees, and the share of each in their mean."""
    owner = outputs.flatten()
    found = [(owner == column).nonzero().flatten() for column in range(features)]
    places = nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=-1)
    counts = (places >= 0).sum(1, keepdim=True)
    share = (places >= 0) / counts.clamp_min(1)
    return places.clamp_min(0).int(), share.float()
