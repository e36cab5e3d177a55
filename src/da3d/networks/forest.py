"""Trees as evidence: how well columns predict each other, and how like known anomalies a row is."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from da3d.networks.evidence import Calibrated
from da3d.networks.trees import BAG, DEPTH, Trees, as_tensors, draw_bags, outside_bags

__all__ = ["KnownForest", "MaskedForest"]

_HIDDEN = 4  # most columns that one tree predicts, and about a sixth of them in narrower tables
_USUAL = 0.9  # share of normal rows that known anomalies leave as they are
_CANDIDATES = 48  # most columns among which a split is chosen


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
        bags = draw_bags(len(x), self.trees)
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
        judged, outside = outside_bags(len(x), bags)
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
        bags = draw_bags(len(x), self.trees)
        rows, anomalies = x.cpu(), known.cpu()
        self.plant([_label_tree(rows[bag], anomalies) for bag in bags])
        judged, outside = outside_bags(len(x), bags)
        said, outside = self.reached(x[judged.to(x.device)])[:, :, 0], outside.to(x)
        answers = (said * outside).sum(1) / outside.sum(1).clamp_min(1)
        self.usual.copy_(answers.quantile(_USUAL).clamp_max(0.99))  # below 1, by which is divided

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row"]:
        """Likeness."""
        if not len(self.split):
            return torch.zeros(len(x), dtype=x.dtype, device=x.device)
        return self.beyond_usual(self.reached(x).mean((1, 2)))

    def beyond_usual(self, answers: Float[Tensor, "row"]) -> Float[Tensor, "row"]:
        """How far mean answers are above those of normal rows."""
        return (answers - self.usual).clamp_min(0) / (1 - self.usual)


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
        max_depth=DEPTH,
        min_samples_leaf=3,
        max_features=min(len(shown), _CANDIDATES),
        random_state=int(torch.randint(2**31, ())),
    ).fit(rows[:, shown].numpy(), rows[:, out].numpy())
    return as_tensors(model.tree_, shown)


def _label_tree(normal: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A tree that tells known anomalies, drawn with replacement, from normal rows."""
    from sklearn.tree import ExtraTreeRegressor

    known = known[torch.randint(len(known), (min(BAG, len(known)),))]
    labels = np.repeat([0.0, 1.0], [len(normal), len(known)])
    weights = np.repeat([1 / len(normal), 1 / len(known)], [len(normal), len(known)])
    model = ExtraTreeRegressor(
        max_depth=DEPTH, max_features="sqrt", random_state=int(torch.randint(2**31, ()))
    ).fit(torch.cat([normal, known]).numpy(), labels, sample_weight=weights)
    return as_tensors(model.tree_, torch.arange(normal.shape[1]))


def _places(outputs: Int[Tensor, "tree hidden"], features: int) -> tuple[Tensor, Tensor]:
    """Where each column's predictions lie among those of all trees, and the share of each in their mean."""
    owner = outputs.flatten()
    found = [(owner == column).nonzero().flatten() for column in range(features)]
    places = nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=-1)
    counts = (places >= 0).sum(1, keepdim=True)
    share = (places >= 0) / counts.clamp_min(1)
    return places.clamp_min(0).int(), share.float()
