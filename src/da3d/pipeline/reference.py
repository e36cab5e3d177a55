"""What a pipeline remembers of the normal rows, so that it can say what is unusual about another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray

from da3d.errors import TableError
from da3d.preprocessing import Kind, Schema
from da3d.preprocessing.values import WEEKDAYS, numbers, seconds, texts

__all__ = ["Reference", "Usual", "plain_table"]

_LOW, _HIGH = 0.01, 0.99
_HOUR, _DAY = 3_600, 86_400
_ORDINARY = 0.9


@dataclass(frozen=True)
class Usual:
    """What is usual in one column.

    Attributes
    ----------
    name : str
    kind : {"number", "boolean", "category", "date"}
    missing : float
        Share of the normal rows without a value, in [0, 1].
    low, high : float or None
        Of a number the values below and above which 1 % of those given lie.
    least, most : float or None
        The extremes of a number.
    shares : dict of str to float
        Of all given values: the share of each category, of ``true`` and ``false``; of a date the share of
        each hour (``0`` to ``23``; none if all were midnight) and of each weekday (``Mon`` to ``Sun``).
    """

    name: str
    kind: Kind
    missing: float
    low: float | None
    high: float | None
    least: float | None
    most: float | None
    shares: dict[str, float]

    @classmethod
    def learn(cls, name: str, kind: Kind, values: pd.Series[Any]) -> Usual:
        """Take what is usual from a column of a `plain_table` with at least one value."""
        known = values.dropna()
        missing = 1 - len(known) / len(values)
        if kind == "number":
            cuts = np.quantile(known, [0, _LOW, _HIGH, 1], method="inverted_cdf")
            least, low, high, most = map(float, cuts)
            return cls(name, kind, missing, low, high, least, most, {})
        return cls(name, kind, missing, None, None, None, None, _shares(kind, known))


def _shares(kind: Kind, known: pd.Series[Any]) -> dict[str, float]:
    if kind != "date":
        names = known.map({True: "true", False: "false"}) if kind == "boolean" else known
        counts = pc.value_counts(texts(names))
        pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
        return {text: count / len(known) for text, count in sorted(pairs, key=lambda p: (-p[1], p[0]))}
    instants, _ = seconds(known)
    hours = instants % _DAY // _HOUR
    timed = (
        {str(hour): float((hours == hour).mean()) for hour in range(24)} if (instants % _DAY).any() else {}
    )
    days = (instants // _DAY + 3) % 7  # 1970 began on a Thursday
    return timed | {day: float((days == i).mean()) for i, day in enumerate(WEEKDAYS)}


def plain_table(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return the columns of a schema in plain values, whatever they were given as.

    Numbers are floats, NaN where missing or infinite; booleans True, False or None; categories text or None;
    dates whole seconds without time zone, NaT where missing.
    """
    columns = {name: _plain(frame[name], kind) for name, kind in schema.kinds.items()}
    return pd.DataFrame(columns).set_axis(frame.index)


def _plain(series: pd.Series[Any], kind: Kind) -> pd.Series[Any]:
    if kind == "date":
        instants, missing = seconds(series)
        stamps = instants.astype("datetime64[s]")
        stamps[missing] = np.datetime64("NaT")
        return pd.Series(stamps)
    if kind == "category":
        return pd.Series(texts(series).to_pylist(), dtype=object)
    values = numbers(series)
    if kind == "number":
        return pd.Series(values)
    return pd.Series([None if np.isnan(value) else bool(value) for value in values], dtype=object)


class Reference:
    """Some ordinary normal rows, and what is usual in every column.

    Parameters
    ----------
    rows : DataFrame
        A `plain_table`, its index counting from 0; may have no rows.
    usual : mapping of str to Usual
        By column, in the table's order.
    """

    def __init__(self, rows: pd.DataFrame, usual: Mapping[str, Usual]) -> None:
        self.rows, self.usual = rows, dict(usual)

    @classmethod
    def learn(
        cls,
        normal: pd.DataFrame,
        candidates: pd.DataFrame,
        scores: NDArray[np.float64],
        schema: Schema,
        *,
        most: int,
        seed: int,
    ) -> Reference:
        """Take what is usual from all normal rows, and a sample of ordinary ones from the candidates.

        Parameters
        ----------
        normal : DataFrame
            All rows believed normal.
        candidates : DataFrame
            The rows to remember some of; the strangest tenth is left out.
        scores : ndarray of shape (candidates,)
            Their anomaly scores.
        schema : Schema
        most : int
            How many rows are remembered at most, >= 0.
        seed : int
            Draws the sample.
        """
        ordinary = np.flatnonzero(scores <= np.quantile(scores, _ORDINARY))
        chosen = np.sort(np.random.default_rng(seed).permutation(ordinary)[:most])
        kinds = schema.kinds
        usual = {
            name: Usual.learn(name, kind, plain_table(normal[[name]], _only(schema, name))[name])
            for name, kind in kinds.items()
        }
        rows = plain_table(candidates.iloc[chosen], schema).reset_index(drop=True)
        return cls(rows, usual)

    def state(self) -> tuple[dict[str, Any], NDArray[np.float64]]:
        """Return all that `from_state` needs: JSON, and the rows as numbers, shape (rows, columns).

        A date is the seconds since 1970, a category its place in a list of texts; NaN is missing.
        """
        names: dict[str, list[str]] = {}
        columns = []
        for name, usual in self.usual.items():
            values = self.rows[name]
            if usual.kind == "category":
                names[name] = sorted(set(values.dropna()))
                values = values.map({text: place for place, text in enumerate(names[name])})
            elif usual.kind == "date":
                values = values.astype("int64").where(values.notna())
            columns.append(values.to_numpy(dtype=np.float64, na_value=np.nan))
        learnt = {"usual": [asdict(each) for each in self.usual.values()], "texts": names}
        return learnt, np.column_stack(columns)

    @classmethod
    def from_state(cls, learnt: Mapping[str, Any], values: NDArray[np.float64], schema: Schema) -> Reference:
        """Return the reference whose `state` this was.

        Raises
        ------
        TableError
            The state is not one that `state` makes, or not of a table of this schema.
        """
        usual = {entry["name"]: Usual(**entry) for entry in learnt["usual"]}
        if {name: each.kind for name, each in usual.items()} != schema.kinds:
            raise TableError("the stored reference rows have other columns than the encoder: fit again")
        if values.ndim != 2 or values.shape[1] != len(usual) or np.isinf(values).any():
            raise TableError("the stored reference rows are damaged: fit again")
        columns = {
            name: _restored(column, each.kind, learnt["texts"].get(name, []))
            for (name, each), column in zip(usual.items(), values.T, strict=True)
        }
        return cls(pd.DataFrame(columns), usual)


def _only(schema: Schema, name: str) -> Schema:
    return Schema(tuple(column for column in schema.columns if column.name == name))


def _restored(column: NDArray[np.float64], kind: Kind, names: list[str]) -> pd.Series[Any]:
    missing = np.isnan(column)
    if kind == "number":
        return pd.Series(column)
    if kind == "date":
        stamps = np.where(missing, 0, column).astype(np.int64).astype("datetime64[s]")
        stamps[missing] = np.datetime64("NaT")
        return pd.Series(stamps)
    values = [False, True] if kind == "boolean" else names
    known = column[~missing]
    if len(known) and not (0 <= known.min() <= known.max() < len(values)):
        raise TableError("the stored reference rows are damaged: fit again")
    return pd.Series([None if np.isnan(place) else values[int(place)] for place in column], dtype=object)
