"""Whether parameters are of the kinds that a detector's signature names; ranges are the detector's own."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from sklearn.base import BaseEstimator

from da3d.errors import ParameterError

__all__ = ["at_least", "check_kinds"]

_NUMBERS = {int: Integral, float: Real}
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", NoneType: "None"}
_MANY = {int: "whole numbers", float: "numbers", str: "texts"}


def check_kinds(estimator: BaseEstimator) -> None:
    """Refuse the first parameter whose value is of no kind that `__init__` names for it.

    Raises
    ------
    ParameterError
        It says what was given and what is needed.
    """
    owner: Any = type(estimator)
    for name, kind in _kinds(owner).items():
        value = getattr(estimator, name)
        if not _fits(value, kind):
            raise ParameterError(f"{name} is {value!r} but must be {_words(kind)}.")


def at_least(least: int, /, **counts: int) -> None:
    """Check parameters that count something.

    Raises
    ------
    ParameterError
        One of them is below `least`.
    """
    for name, count in counts.items():
        if count < least:
            raise ParameterError(f"{name} is {count} but must be at least {least}.")


@cache
def _kinds(owner: type) -> dict[str, Any]:
    """Annotations of a class's parameters."""
    hints = get_type_hints(owner.__init__)  # type: ignore[misc]  # that of this class, not of an instance
    return {name: hints[name] for name in inspect.signature(owner).parameters if name in hints}


def _fits(value: Any, kind: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in inner)
    if kind in _NUMBERS:
        return isinstance(value, _NUMBERS[kind]) and not isinstance(value, bool | np.bool_)
    if origin is tuple or origin is Sequence:
        several = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
        return several and all(_fits(each, inner[0]) for each in value)
    if origin is Mapping:
        return isinstance(value, Mapping)
    if origin is Literal:  # which name, is checked where the choice is made
        return isinstance(value, Hashable)
    if not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return True  # functions, and what is known by its methods
    return isinstance(value, kind)


def _words(kind: Any) -> str:
    """What is needed."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(_words(each) for each in inner)
    if origin is tuple or origin is Sequence:
        return f"a list of {_MANY.get(inner[0], 'values')}"
    if origin is Mapping:
        return "a mapping of names to values"
    if origin is Literal:
        return "one of " + ", ".join(map(str, inner))
    return _WORDS.get(kind) or f"a {getattr(kind, '__name__', 'known choice')}"
