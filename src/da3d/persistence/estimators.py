"""scikit-learn objects as skops, restricted to the classes that belong in their place.

skops restores objects without pickle, but trusts every estimator of scikit-learn. Here each member of a model
file may hold the classes of `ALLOWED` and plain data, nothing else: no functions, no methods, no partials.

skops does not trust scikit-learn's tree, because its nodes are indices into memory that scikit-learn does
not check. They are checked here, before anything is built: every index lies within its array, and every child
after its parent, so that a forged tree can neither read foreign memory nor walk in a circle.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.tree import ExtraTreeRegressor
from sklearn.tree._tree import Tree
from skops import io as skops

from da3d.errors import ModelFileError, ParameterError
from da3d.persistence.archive import ENCODER, estimator_member
from da3d.persistence.container import unzipped, zipped

__all__ = ["ALLOWED", "dump", "restore"]

ALLOWED: Mapping[str, tuple[type, ...]] = {
    ENCODER: (
        ColumnTransformer,
        FrozenEstimator,
        StandardScaler,
        MinMaxScaler,
        OneHotEncoder,
        FunctionTransformer,
    ),
    estimator_member("forest"): (IsolationForest, ExtraTreeRegressor, Tree),
}
"""The classes that each member may hold; the first is that of the object itself."""

_SCHEMA = "schema.json"
_PLAIN = {"DictNode", "ListNode", "TupleNode", "SliceNode", "JsonNode", "NdArrayNode"}
_TYPES = {f"builtins.{name}" for name in ("bool", "float", "int", "str")} | {"numpy.float32", "numpy.float64"}
_OBJECTS = {"ObjectNode", "TreeNode"}

Node = dict[str, Any]


def dump(estimator: BaseEstimator, member: str) -> bytes:
    """Return a fitted scikit-learn object as a member's content, the same bytes for the same object.

    skops names arrays by their addresses in memory; here they are numbered, and equal ones kept once. It also
    notes which objects are the same one; that is left out: a node that stands for another escapes the checks.

    Raises
    ------
    ParameterError
        `restore` would refuse the object.
    """
    parts = unzipped(skops.dumps(estimator), member)
    schema = json.loads(parts.pop(_SCHEMA))
    for node in _nodes(schema):
        node.pop("__id__", None)
    try:
        _check(schema, parts, member, getattr(estimator, "n_features_in_", None))
    except ModelFileError as error:
        raise ParameterError(f"{type(estimator).__name__} cannot be kept in a model file: {error}") from error
    files: dict[bytes, str] = {}
    for node in _nodes(schema):
        if "file" in node:
            node["file"] = files.setdefault(_clean(parts[node["file"]]), f"{len(files)}.npy")
    text = json.dumps(schema, separators=(",", ":")).encode("ascii")
    return zipped({_SCHEMA: text, **{name: content for content, name in files.items()}})


def restore(content: bytes, member: str, features: int | None = None) -> BaseEstimator:
    """Return the object that `dump` stored.

    Parameters
    ----------
    content : bytes
    member : str
        A key of `ALLOWED`.
    features : int, optional
        Number of columns that the object must take; objects with trees need it.

    Raises
    ------
    ModelFileError
        The content is not an object that belongs there. Nothing has been built then, except if parts of
        allowed classes do not fit each other.
    """
    parts = unzipped(content, member)
    try:
        schema = json.loads(parts.pop(_SCHEMA))
        _check(schema, parts, member, features)
        trusted = [kind for kind in ALLOWED[member] if kind is Tree]
        estimator: BaseEstimator = skops.loads(content, trusted=trusted)
        # A forest may show its trees fewer columns than it takes; ours never does.
        widths = {estimator.n_features_in_, getattr(estimator, "_max_features", estimator.n_features_in_)}
    except ModelFileError:
        raise
    except Exception as error:  # a forged schema can make skops and scikit-learn raise anything
        raise ModelFileError(f"{member} cannot be read ({type(error).__name__}: {error})") from error
    if features is not None and widths != {features}:
        raise ModelFileError(f"{member} takes {sorted(widths)} columns instead of {features}")
    return estimator


def _check(schema: object, parts: Mapping[str, bytes], member: str, features: int | None) -> None:
    allowed = [f"{kind.__module__}.{kind.__qualname__}" for kind in ALLOWED.get(member, ())]
    nodes = list(_nodes(schema))
    odd = {_name(node) for node in nodes if not _is_trusted(node, allowed)}
    if odd:
        raise ModelFileError(f"{member} holds types that are not trusted there: {', '.join(sorted(odd))}")
    if not nodes or _name(nodes[0]) != allowed[0]:
        raise ModelFileError(f"{member} is not the {allowed[0].rpartition('.')[2]} that belongs there")
    for node in nodes:
        if node["__loader__"] == "TreeNode" and not _tree_is_sound(node, parts, features):
            raise ModelFileError(f"{member} holds a tree whose nodes point outside of it")


def _is_trusted(node: Node, allowed: list[str]) -> bool:
    loader, name = node["__loader__"], _name(node)
    fits = (
        loader in _PLAIN
        or (loader == "TypeNode" and name in _TYPES)
        or (loader in _OBJECTS and name in allowed)
    )
    return fits and "__id__" not in node


def _tree_is_sound(node: Node, parts: Mapping[str, bytes], features: int | None) -> bool:
    width, classes, outputs = _content(node["__reduce__"]["args"], "TupleNode")
    state = _content(node["content"], "DictNode")
    nodes = _array(state["nodes"], parts)
    count = len(nodes)
    inner = nodes["left_child"] != -1
    place = np.arange(count)[inner]
    left, right, feature = (nodes[name][inner] for name in ("left_child", "right_child", "feature"))
    return bool(
        _number(width) == features
        and _number(outputs) == 1
        and _array(classes, parts).shape == (1,)
        and _number(state["node_count"]) == count > 0
        and ((place < left) & (left < count) & (place < right) & (right < count)).all()
        and ((feature >= 0) & (feature < _number(width))).all()
        and (nodes["right_child"][~inner] == -1).all()
    )


def _content(node: Node, loader: str) -> Any:
    if node["__loader__"] != loader:
        raise ModelFileError(f"a tree holds a {node['__loader__']} where a {loader} belongs")
    return node["content"]


def _number(node: Node) -> int:
    return int(json.loads(_content(node, "JsonNode")))


def _array(node: Node, parts: Mapping[str, bytes]) -> NDArray[Any]:
    if node["__loader__"] != "NdArrayNode" or node["type"] != "numpy" or _name(node) != "numpy.ndarray":
        raise ModelFileError("a tree holds something else where an array belongs")
    return np.asarray(np.load(io.BytesIO(parts[node["file"]]), allow_pickle=False))


def _clean(content: bytes) -> bytes:
    """Return an array's file without what happened to lie in memory between the fields of its records."""
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.names is None:
        return content
    clean, buffer = np.zeros(array.shape, array.dtype), io.BytesIO()
    for name in array.dtype.names:
        clean[name] = array[name]
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()


def _name(node: Node) -> str:
    return f"{node['__module__']}.{node['__class__']}"


def _nodes(value: object) -> Iterator[Node]:
    """Yield all nodes of a skops schema, parents first."""
    if isinstance(value, dict):
        if isinstance(value.get("__loader__"), str):
            yield value
        for item in list(value.values()):
            yield from _nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _nodes(item)
