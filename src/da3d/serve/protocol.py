"""What requests look like: plain rows, and the open inference protocol (KServe, version 2) in JSON.

In the protocol a table is one tensor per column, each of shape [rows] or [rows, 1], named as the column.
Where all columns are numbers or true/false, one tensor of shape [rows, columns] will do, with the columns in
their order at fit.

Beyond the protocol, ``null`` in ``data`` is a missing value, and ``parameters`` of a request may hold one of
``fpr``, ``budget``, ``top`` and ``fdr``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from da3d.errors import InputError, TableError
from da3d.pipeline import Threshold
from da3d.preprocessing import Kind
from da3d.preprocessing.frames import listed
from da3d.serve.rows import Rows, from_columns, said

__all__ = [
    "InferRequest",
    "ScoreRequest",
    "Tensor",
    "TooManyRowsError",
    "metadata",
    "outputs_of",
    "parsed",
    "rows_of",
    "tensor",
]

_WHOLE = {f"{sign}INT{bits}": (sign, bits) for sign in ("", "U") for bits in (8, 16, 32, 64)}
_REAL = ("FP16", "FP32", "FP64", "BF16")
_NUMBER = (*_WHOLE, *_REAL)
_TAKES: Mapping[Kind, tuple[str, ...]] = {
    "number": _NUMBER,
    "boolean": ("BOOL", *_WHOLE),
    "category": ("BYTES", *_WHOLE),
    "date": ("BYTES",),
}
_PREFERRED: Mapping[Kind, str] = {"number": "FP64", "boolean": "BOOL", "category": "BYTES", "date": "BYTES"}
_OUTPUTS = {"anomaly_score": "FP64", "p_value": "FP64", "severity": "FP64", "is_anomaly": "BOOL"}


Body = TypeVar("Body", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Tensor(_Strict):
    """A tensor as a request or an answer holds it; `data` is flat or nested, row by row."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] = {}


class Wanted(_Strict):
    """An output that a request asks for."""

    name: str
    parameters: dict[str, Any] = {}


class Rule(_Strict):
    """Which rows raise an alarm: at most one of these, as in `Threshold`; else the model's own rule."""

    fpr: float | None = None
    budget: float | None = None
    top: int | None = None
    fdr: float | None = None

    def threshold(self) -> Threshold | None:
        """The threshold that is asked for, or None.

        Raises
        ------
        ParameterError
            There is more than one, or it is out of its range.
        """
        return Threshold.of(fpr=self.fpr, budget=self.budget, top=self.top, fdr=self.fdr)


class ScoreRequest(Rule):
    """The body of ``/score``: either `rows` or one `row`.

    `model` may be left out if there is only one; `explain` is true, or the number of columns to name.
    """

    model: str | None = None
    rows: list[Any] | None = None
    row: Any = None
    explain: bool | int = False


class InferRequest(_Strict):
    """The body of ``/v2/models/NAME/infer``."""

    id: str | None = None
    parameters: Rule = Rule()
    inputs: list[Tensor]
    outputs: list[Wanted] = []


def parsed(body: bytes, form: type[Body]) -> Body:
    """The request that a body holds.

    Raises
    ------
    InputError
        It is not JSON in UTF-8, names a key twice, has numbers that JSON does not have, or another form.
    """
    try:
        content = json.loads(body.decode("utf-8"), parse_constant=_constant, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise InputError(f"the body is not UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise InputError("the body is nested too deeply") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"the body is not JSON: {error.msg} ({where})") from error
    except InputError:
        raise
    except ValueError as error:  # a whole number of more digits than Python reads
        raise InputError("the body holds a number of too many digits") from error
    if not isinstance(content, dict):
        raise InputError(f"the body is {said(content)} but must be a JSON object")
    try:
        return form.model_validate(content)
    except ValidationError as error:
        raise InputError(_explained(error)) from error


def _constant(name: str) -> NoReturn:
    raise InputError(f"the body holds {name}, which is not JSON; give null where a value is not known")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = [name for name in found if names.count(name) > 1]
        raise InputError(f"an object of the body names {listed(repeated)} twice")
    return found


def _explained(error: ValidationError) -> str:
    """The first thing that is wrong with a request."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}" if where else first["msg"]


def metadata(name: str, version: str, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Describe a model as ``/v2/models/NAME`` does."""
    inputs = [
        {"name": column, "datatype": _PREFERRED[kind], "shape": [-1], "parameters": {"kind": kind}}
        for column, kind in kinds.items()
    ]
    outputs = [{"name": output, "datatype": datatype, "shape": [-1]} for output, datatype in _OUTPUTS.items()]
    return {"name": name, "versions": [version], "platform": "da3d", "inputs": inputs, "outputs": outputs}


def rows_of(inputs: list[Tensor], kinds: Mapping[str, Kind], most: int) -> Rows:
    """The rows that tensors hold.

    Raises
    ------
    TableError
        The tensors do not fit each other or the model's columns, or hold no row or more than `most`.
    """
    if len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].shape[1] != 1:
        inputs = _columns_of(inputs[0], kinds)
    _check_names([tensor.name for tensor in inputs], kinds)
    counts = {_rows(tensor, kinds[tensor.name]) for tensor in inputs}
    columns = {tensor.name: _flat(tensor) for tensor in inputs}
    if len(counts) > 1:
        raise TableError(f"the inputs have between {min(counts)} and {max(counts)} rows; all need as many")
    if counts == {0}:
        raise TableError("the inputs have no rows; at least one row is needed")
    if max(counts) > most:
        raise TooManyRowsError(
            f"the request has {max(counts)} rows but may have {most}; send fewer at a time"
        )
    return from_columns(columns, kinds)


class TooManyRowsError(TableError):
    """A request has more rows than the service allows."""


def _columns_of(matrix: Tensor, kinds: Mapping[str, Kind]) -> list[Tensor]:
    rows, columns = matrix.shape
    if columns != len(kinds):
        raise TableError(
            f"input '{matrix.name}' has shape {matrix.shape} but the model has {len(kinds)} columns: "
            f"{listed(list(kinds))}"
        )
    if others := [name for name, kind in kinds.items() if kind not in ("number", "boolean")]:
        raise TableError(
            f"input '{matrix.name}' holds all columns, but {listed(others)} cannot be in one tensor; "
            "give one input of shape [rows] for each column"
        )
    values = _flat(matrix)
    return [
        Tensor(name=name, shape=[rows], datatype=matrix.datatype, data=values[place::columns])
        for place, name in enumerate(kinds)
    ]


def _check_names(names: list[str], kinds: Mapping[str, Kind]) -> None:
    if missing := [name for name in kinds if name not in names]:
        raise TableError(f"the inputs lack {len(missing)} of {len(kinds)} columns: {listed(missing)}")
    if unknown := [name for name in names if name not in kinds]:
        raise TableError(f"the model has no column {listed(unknown)}; it knows {listed(list(kinds))}")
    if len(set(names)) < len(names):
        raise TableError("two inputs have the same name; give one for each column")


def _rows(tensor: Tensor, kind: Kind) -> int:
    """The number of rows of a tensor that is one column, after checking its datatype and its shape."""
    if tensor.datatype not in _TAKES[kind]:
        raise TableError(
            f"input '{tensor.name}' has datatype {tensor.datatype[:16]} but the column's kind is {kind}; "
            f"use {', '.join(_TAKES[kind])}"
        )
    if len(tensor.shape) not in (1, 2) or tensor.shape[1:] not in ([], [1]):
        raise TableError(f"input '{tensor.name}' has shape {tensor.shape} but must have [rows] or [rows, 1]")
    return tensor.shape[0]


def _flat(tensor: Tensor) -> list[Any]:
    """The data of a tensor, row by row, after checking that they are as many and of the kind as it says."""
    values = tensor.data
    for _ in tensor.shape[1:]:
        if values and all(isinstance(value, list) for value in values):
            values = [value for inner in values for value in inner]
    count = 1
    for size in tensor.shape:
        count *= size
    if count != len(values) or any(size < 0 for size in tensor.shape):
        raise TableError(
            f"input '{tensor.name}' has {len(values)} values, which do not fit its shape {tensor.shape}"
        )
    fits = _fits(tensor.datatype)
    for value in values:
        if value is not None and not fits(value):
            raise TableError(
                f"input '{tensor.name}' holds {said(value)}, which is no {tensor.datatype}; null is a "
                "missing value"
            )
    return values


def _fits(datatype: str) -> Callable[[Any], bool]:
    if datatype in _WHOLE:
        sign, bits = _WHOLE[datatype]
        low, high = (0, 2**bits) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1))
        return lambda value: type(value) is int and low <= value < high
    if datatype in _REAL:
        return lambda value: type(value) in (int, float)
    return lambda value: type(value) is (bool if datatype == "BOOL" else str)


def outputs_of(verdicts: Mapping[str, list[Any]], wanted: list[Wanted]) -> list[dict[str, Any]]:
    """Verdicts as tensors: all of them, or those that are asked for, in that order.

    Raises
    ------
    TableError
        There is no such output.
    """
    names = [each.name for each in wanted] or list(verdicts)
    if unknown := [name for name in names if name not in verdicts]:
        raise TableError(f"there is no output {listed(unknown)}; those are {', '.join(verdicts)}")
    return [tensor(name, verdicts[name]) for name in names]


def tensor(name: str, values: list[Any]) -> dict[str, Any]:
    """A flat list as a tensor of an answer."""
    datatype = "INT64" if name == "row" else _OUTPUTS.get(name, "BOOL")
    return {"name": name, "datatype": datatype, "shape": [len(values)], "data": values}
