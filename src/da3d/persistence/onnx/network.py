"""Network detectors as graphs: features -> score, by torch's own exporter.

ONNX lacks a few operators that the networks use, and has no loops that are worth their cost. The modules that
need them are replaced, in a copy of the network, by ones that compute the same without. Forests become ONNX's
own operator for trees.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from da3d.detectors import NetworkDetector
from da3d.detectors.dagmm import AutoencodingMixture
from da3d.detectors.network import _FAR
from da3d.errors import ParameterError
from da3d.networks import Memory, Tails, Views
from da3d.networks.evidence import are_near, by_product
from da3d.networks.forest import KnownForest, MaskedForest
from da3d.persistence.onnx.graph import DOUBLE, FLOAT, OPSET, Graph
from da3d.persistence.onnx.trees import column_shares, ensemble, filled_in, walked

__all__ = ["network_score", "precise_scores"]


def network_score(graph: Graph, model: NetworkDetector, features: str) -> str:
    """Score of features, float64 of shape (rows,), as `NetworkDetector` computes it.

    Raises
    ------
    ParameterError
        The network has an operator that ONNX lacks.
    """
    scaled = graph.scaled(graph.cast(features, DOUBLE), model.center_, model.unit_)
    limits = [graph.constant(bound) for bound in (-_FAR, _FAR)]
    rows = graph.cast(graph.apply("Clip", scaled, *limits), FLOAT)
    try:
        exported = _exported(model)
        return graph.cast(graph.attach(exported, rows), DOUBLE)
    except (RuntimeError, ValueError, TypeError, NotImplementedError, KeyError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ParameterError(
            f"the network of this {type(model).__name__} cannot be written as ONNX ({said[0]}); keep it in a "
            "model file (da3d.save), or use one of da3d's own networks."
        ) from error


def precise_scores(model: NetworkDetector, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores of features by the same network in float64."""
    network = deepcopy(model.network_).cpu().eval().double()
    rows = model._tensor(features.astype(np.float64), torch.device("cpu")).double()
    with torch.inference_mode():
        scores: NDArray[np.float64] = network(rows).double().numpy()
    return scores


def _exported(model: NetworkDetector) -> Any:
    network = _replaced(deepcopy(model.network_).cpu().eval())
    example = torch.zeros(3, model.n_features_in_)
    rows = torch.export.Dim("rows", min=1)
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=({0: rows},),
            custom_translation_table={torch.ops.aten.log1p.default: _log1p()},
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch's exporter gave nothing")
    rows_seen = program.model_proto.graph.input[0].type.tensor_type.shape.dim[0]
    if not rows_seen.dim_param:
        raise RuntimeError("its operations fix the number of rows")
    return filled_in(program.model_proto, _written(network))


def _log1p() -> Any:
    """log(1 + x) to the last digits also near zero, where the exporter's own form loses them.

    With w = 1 + x as it is rounded, log(w) x / (w - 1) has the rounding in both w and so loses it (Kahan).
    """
    from onnxscript import opset18

    op: Any = opset18  # its types do not know that an untyped value may be any tensor

    def log1p(x: Any) -> Any:
        one = op.CastLike(op.Constant(value_float=1.0), x)
        w = op.Add(x, one)
        apart = op.Sub(w, one)
        nothing = op.Equal(apart, op.CastLike(op.Constant(value_float=0.0), x))
        return op.Where(nothing, x, op.Mul(op.Log(w), op.Div(x, op.Where(nothing, one, apart))))

    return log1p


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep the exporter's remarks off the streams; what it fails at, it raises."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _replaced(network: nn.Module) -> nn.Module:
    """The same network, of modules that can be exported."""
    for number, module in enumerate(network.modules()):
        if type(module) in _TWINS:
            twin: Any = module
            twin.__class__, twin.number = _TWINS[type(module)], number
            twin.prepare()
    return network


class _Memory(Memory):
    """All rows at once instead of chunk by chunk."""

    def prepare(self) -> None:
        """Nothing to prepare."""

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row"]:
        count = min(self.neighbors, len(self.rows))
        lowest, places = by_product(x, self.rows, count)
        again = are_near(x, lowest).nonzero().flatten()
        precise = by_product(x[again].double(), self.rows.double(), count)[1]
        places = places.index_copy(0, again, precise)
        distances = (x[:, None] - self.rows[places]).square().sum(2).sqrt()
        evidence: Tensor = self.calibrated(self._log(distances.mean(1)))
        return evidence


class _Views(Views):
    """Quantiles by a binary search that is written out, of the heavy-tailed columns alone."""

    def prepare(self) -> None:
        """Note which columns are heavy-tailed, and where each column is then found (the last place is 0)."""
        heavy = self.heavy.tolist()
        self.chosen = self.heavy.nonzero().flatten()
        self.places = torch.tensor(
            [sum(heavy[:column]) if own else sum(heavy) for column, own in enumerate(heavy)]
        )

    def quantile(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row feature"]:
        if not len(self.chosen):
            return 0 * x
        columns = self.standard(x).index_select(1, self.chosen)
        score, excess = _interpolated(columns, self.knots[self.chosen], self.levels[self.chosen])
        found = score + excess.sign() * excess.abs().log1p()
        return torch.cat([found, 0 * columns[:, :1]], 1).index_select(1, self.places)


def _interpolated(
    x: Float[Tensor, "row feature"],
    knots: Float[Tensor, "feature knot"],
    levels: Float[Tensor, "feature knot"],
) -> tuple[Float[Tensor, "row feature"], Float[Tensor, "row feature"]]:
    """As `networks.views.interpolate`, row by row instead of column by column."""
    width = knots.shape[1]
    inside = torch.minimum(torch.maximum(x, knots[:, 0]), knots[:, -1])
    flat, scores = knots.flatten(), levels.flatten()
    start = torch.arange(len(knots)) * width
    below = (x != x).long()  # zeros; the exporter would fix the number of rows of zeros_like
    step = 1 << ((width - 1).bit_length() - 1)
    while step:
        probe = below + step
        met = flat[start + (probe - 1).clamp_max(width - 1)]
        below = torch.where((met < inside) & (probe < width), probe, below)
        step //= 2
    above = start + below.clamp_min(1)
    low, high = flat[above - 1], flat[above]
    share = ((inside - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    return _lerp(scores[above - 1], scores[above], share), x - inside


def _lerp(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """`torch.lerp` to the last bit, on which a tree may hang: from the nearer end, rounded once."""
    near = share < 0.5
    base, step = torch.where(near, start, end), torch.where(near, share, share - 1)
    return (base.double() + step.double() * (end - start).double()).to(start)


class _Tails(Tails):
    """By the same binary search."""

    def prepare(self) -> None:
        """Nothing to prepare."""

    def added_up(self, z: Float[Tensor, "row feature"]) -> Float[Tensor, "row"]:
        surprise, excess = _interpolated(z, self.knots, self.levels)
        return (surprise + excess.abs().log1p()).sum(1)


class _MaskedForest(MaskedForest):
    """Each column's prediction is one sum of ONNX's operator for trees."""

    number: int

    def prepare(self) -> None:
        """Nothing to prepare."""

    def written(self) -> dict[str, Any]:
        """The trees, as the operator wants them."""
        places, share = self.places.numpy(), self.share.numpy()
        outputs = column_shares(places, share, (len(self.split), self.leaves.shape[2]))
        return ensemble(self, *outputs, len(places))

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row"]:
        if not len(self.split):
            return 0 * x[:, 0]
        residual = x - walked(x, self.number, len(self.places))
        evidence: Tensor = self.calibrated(self._log(residual, (self.precision > 0).sum()))
        return evidence


class _KnownForest(KnownForest):
    """All trees have an equal share in one sum of ONNX's operator for trees."""

    number: int

    def prepare(self) -> None:
        """Nothing to prepare."""

    def written(self) -> dict[str, Any]:
        """The trees, as the operator wants them."""
        count = len(self.split)
        return ensemble(self, np.zeros((count, 1), np.int64), np.full((count, 1), 1 / count, np.float32), 1)

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row"]:
        return self.beyond_usual(walked(x, self.number, 1)[:, 0]) if len(self.split) else 0 * x[:, 0]


def _written(network: nn.Module) -> dict[int, dict[str, Any]]:
    """All trees of a network, by the numbers under which they have a place in its graph."""
    forests = (each for each in network.modules() if isinstance(each, _MaskedForest | _KnownForest))
    return {forest.number: forest.written() for forest in forests if len(forest.split)}


class _AutoencodingMixture(AutoencodingMixture):
    """Inverse factors instead of triangular solves."""

    def prepare(self) -> None:
        """Compute all that does not depend on rows, in float64."""
        weights, means, factors = (part.double() for part in self.mixture.parts())
        self.means = means
        self.inverses = torch.linalg.inv(factors).tril().mT.contiguous()
        determinants = 2 * factors.diagonal(dim1=1, dim2=2).log().sum(1)
        constant = means.shape[1] * math.log(2 * math.pi)
        self.levels = weights.clamp_min(1e-30).log() - 0.5 * (determinants + constant)

    def forward(self, x: Float[Tensor, "row feature"]) -> Float[Tensor, "row"]:
        z = self.read(x)[0].double()
        lengths = torch.stack(
            [
                ((z - mean) @ inverse).square().sum(1)
                for mean, inverse in zip(self.means, self.inverses, strict=True)
            ],
            1,
        )
        return -torch.logsumexp(self.levels - 0.5 * lengths, 1).to(x)


_TWINS: dict[type[nn.Module], Any] = {
    AutoencodingMixture: _AutoencodingMixture,
    KnownForest: _KnownForest,
    MaskedForest: _MaskedForest,
    Memory: _Memory,
    Tails: _Tails,
    Views: _Views,
}
