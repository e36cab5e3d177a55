"""Detectors without a network as graphs: features -> score, in float64 as they are.

Each function follows the `_score` of the class that it is for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3d.detectors import (
    ECOD,
    KNN,
    LOF,
    MCD,
    PCA,
    BaggedNN,
    Detector,
    IsolationForest,
    Mahalanobis,
    OneClassSVM,
)
from da3d.persistence.onnx.graph import DOUBLE, FLOAT, Graph

__all__ = ["SCORES"]

Floats = NDArray[np.float64]


def _knn(graph: Graph, model: KNN, x: str) -> str:
    distances, _ = graph.nearest(x, model.rows_, min(model.neighbors, len(model.rows_)))
    return _mean(graph, distances)


def _bagged_nn(graph: Graph, model: BaggedNN, x: str) -> str:
    bags, size, features = model.bags_.shape
    rows = model.bags_.reshape(-1, features)
    product = graph.apply("MatMul", x, graph.constant(-2 * rows.T))
    rough = graph.apply("Add", product, graph.constant(np.square(rows).sum(1)))
    by_bag = graph.apply("Reshape", rough, graph.constant(np.array([-1, bags, size])))
    nearest = graph.apply("ArgMin", by_bag, axis=2, keepdims=0)
    places = graph.apply("Add", nearest, graph.constant(np.arange(bags) * size))
    return _mean(graph, graph.distances(x, rows, places))


def _lof(graph: Graph, model: LOF, x: str) -> str:
    factor: Any = model._factor
    count = factor.n_neighbors_
    distances, places = graph.nearest(x, model.rows_, count)
    own = graph.constant(np.asarray(factor._distances_fit_X_[:, count - 1], dtype=np.float64))
    reach = graph.apply("Max", distances, graph.apply("Gather", own, places))
    apart = graph.apply("Add", _mean(graph, reach), graph.constant(np.float64(1e-10)))
    densities = graph.apply("Gather", graph.constant(np.asarray(factor._lrd, dtype=np.float64)), places)
    return graph.apply("Mul", _mean(graph, densities), apart)


def _mahalanobis(graph: Graph, model: Mahalanobis, x: str) -> str:
    return _length(graph, x, model.precision_)


def _mcd(graph: Graph, model: MCD, x: str) -> str:
    centered = graph.apply("Sub", x, graph.constant(model.location_))
    return _length(graph, centered, model.precision_)


def _pca(graph: Graph, model: PCA, x: str) -> str:
    shadow = graph.apply("MatMul", x, graph.constant(model.minor_))
    return graph.sum(graph.apply("Mul", shadow, shadow))


def _ocsvm(graph: Graph, model: OneClassSVM, x: str) -> str:
    vectors, weights = model.vectors_[model.weights_ > 0], model.weights_[model.weights_ > 0]
    own = graph.apply("ReduceSumSquare", x, graph.constant(np.array([1])), keepdims=1)
    product = graph.apply("MatMul", x, graph.constant(-2 * vectors.T))
    lengths = graph.constant(np.square(vectors).sum(1))
    squared = graph.apply("Add", graph.apply("Add", product, lengths), own)
    squared = graph.apply("Max", squared, graph.constant(np.float64(0)))
    logs = graph.apply("Mul", squared, graph.constant(-np.float64(model.gamma_)))
    logs = graph.apply("Add", logs, graph.constant(np.log(weights)))
    most = graph.apply("ReduceMax", logs, graph.constant(np.array([1])), keepdims=1)
    total = graph.sum(graph.apply("Exp", graph.apply("Sub", logs, most)))
    density = graph.apply("Add", graph.apply("Log", total), graph.flat(most))
    return graph.apply("Sub", graph.constant(np.log(np.float64(model.level_))), density)


def _ecod(graph: Graph, model: ECOD, x: str) -> str:
    learned = len(model.sorted_)
    one = graph.constant(np.float64(1))
    below = graph.cast(graph.rank(x, model.sorted_, or_equal=True), DOUBLE)
    above = graph.cast(graph.rank(x, model.sorted_), DOUBLE)
    left = graph.apply("Add", one, below)
    right = graph.apply("Sub", graph.constant(np.float64(1 + learned)), above)
    total = graph.constant(np.float64(learned + 1))
    left, right = (
        graph.apply("Neg", graph.apply("Log", graph.apply("Div", tail, total))) for tail in (left, right)
    )
    if model.tails == "column":
        return graph.sum(graph.apply("Max", left, right))
    longer = graph.apply("Where", graph.constant(model.skewness_ < 0), left, right)
    return graph.apply("Max", *(graph.sum(tails) for tails in (left, right, longer)))


def _isolation_forest(graph: Graph, model: IsolationForest, x: str) -> str:
    forest: Any = model.forest_
    depth = graph.apply("TreeEnsembleRegressor", graph.cast(x, FLOAT), **_trees(forest))
    usual = len(forest.estimators_) * _usual_path(int(forest._max_samples))
    share = graph.apply("Div", graph.cast(graph.flat(depth), DOUBLE), graph.constant(-np.float64(usual)))
    return graph.apply("Pow", graph.constant(np.float64(2)), share)


def _trees(forest: Any) -> dict[str, Any]:
    """All trees of a forest; a leaf gives the length of the path to it."""
    parts: dict[str, list[NDArray[Any]]] = {}
    for number, (tree, depths) in enumerate(
        zip((each.tree_ for each in forest.estimators_), forest._decision_path_lengths, strict=True)
    ):
        inner = tree.children_left >= 0
        paths = depths + forest._average_path_length_per_tree[number] - 1.0
        values = {
            "nodes_treeids": np.full(tree.node_count, number),
            "nodes_nodeids": np.arange(tree.node_count),
            "nodes_featureids": np.where(inner, tree.feature, 0),
            "nodes_truenodeids": np.where(inner, tree.children_left, 0),
            "nodes_falsenodeids": np.where(inner, tree.children_right, 0),
            "nodes_values": _rounded_down(np.where(inner, tree.threshold, 0.0)),
            "nodes_modes": np.where(inner, "BRANCH_LEQ", "LEAF"),
            "target_treeids": np.full((~inner).sum(), number),
            "target_nodeids": np.flatnonzero(~inner),
            "target_ids": np.zeros((~inner).sum(), dtype=np.int64),
            "target_weights": paths[~inner],
        }
        for name, array in values.items():
            parts.setdefault(name, []).append(array)
    return {name: np.concatenate(arrays).tolist() for name, arrays in parts.items()} | {"n_targets": 1}


def _rounded_down(values: Floats) -> NDArray[np.float32]:
    """The largest float32 that is not above each value: no float32 lies between the two."""
    out = values.astype(np.float32)
    return np.where(out > values, np.nextafter(out, np.float32(-np.inf)), out)


def _usual_path(rows: int) -> float:
    """Average length of a path in a tree of so many rows (Liu, Ting and Zhou 2008, equation 1)."""
    return 1.0 if rows == 2 else 2.0 * (np.log(rows - 1.0) + np.euler_gamma) - 2.0 * (rows - 1.0) / rows


def _length(graph: Graph, x: str, precision: NDArray[np.floating[Any]]) -> str:
    turned = graph.apply("MatMul", x, graph.constant(precision))
    return graph.sum(graph.apply("Mul", turned, x))


def _mean(graph: Graph, value: str) -> str:
    return graph.apply("ReduceMean", value, graph.constant(np.array([1])), keepdims=0)


SCORES: dict[type[Detector], Callable[[Graph, Any, str], str]] = {
    BaggedNN: _bagged_nn,
    ECOD: _ecod,
    IsolationForest: _isolation_forest,
    KNN: _knn,
    LOF: _lof,
    MCD: _mcd,
    Mahalanobis: _mahalanobis,
    OneClassSVM: _ocsvm,
    PCA: _pca,
}
"""How each detector without a network scores features in float64, shape (rows, features); standardised ones
get them standardised."""
