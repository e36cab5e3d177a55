"""What people said about alarms: this one is an anomaly, that one is normal, those are known to be benign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from da3d.errors import LabelError, ParameterError, TableError
from da3d.pipeline.reference import Reference, Usual, plain_table
from da3d.preprocessing import Schema, TableEncoder, to_frame

__all__ = ["COLUMN", "Feedback", "Mark", "Suppression", "with_feedback"]

COLUMN = "feedback"
"""The column that says what a row was found to be."""

Mark = Literal["anomaly", "normal", "benign"]

_COMPARED, _ASKED = 10_000, 512
_CHUNK = 8_192


@dataclass(frozen=True)
class Feedback:
    """Rows that someone looked at.

    Attributes
    ----------
    rows : DataFrame
        Their values, and whatever else the table held.
    marks : ndarray of str, shape (rows,)
        What each was found to be: "anomaly"; "normal"; or "benign", which is strange but no reason for an
        alarm.
    """

    rows: pd.DataFrame
    marks: NDArray[np.str_]

    @classmethod
    def of(cls, table: Any) -> Feedback:
        """Take the marks from the column `feedback`; rows without a mark are left out.

        Raises
        ------
        TableError
            There is no such column.
        LabelError
            It holds something else than anomaly, normal and benign, or nothing.
        """
        frame = to_frame(table)
        if COLUMN not in frame.columns:
            raise TableError(
                f"the table has no column '{COLUMN}'; add one that says anomaly, normal or benign for the "
                "rows that were looked at."
            )
        column = frame[COLUMN]
        marks = column.where(column.notna(), "").astype(str).str.strip().str.lower().to_numpy(dtype=str)
        known = np.isin(marks, get_args(Mark))
        if len(odd := np.unique(marks[~known & (marks != "")])):
            raise LabelError(
                f"column '{COLUMN}' holds '{odd[0]}' but must hold anomaly, normal or benign, or be empty "
                "for rows that nobody looked at."
            )
        if not known.any():
            raise LabelError(f"column '{COLUMN}' is empty; mark at least one row anomaly, normal or benign.")
        return cls(frame[known].drop(columns=COLUMN).reset_index(drop=True), marks[known])

    def found(self, mark: Mark) -> pd.DataFrame:
        """The rows of one mark."""
        rows: pd.DataFrame = self.rows.loc[self.marks == mark]
        return rows


def with_feedback(
    frame: pd.DataFrame, labels: NDArray[np.bool_], feedback: Feedback, schema: Schema
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Add the rows of a feedback to a table.

    Rows of the table that are equal to an anomaly of the feedback, in all columns of the schema, are
    anomalies, too.

    Parameters
    ----------
    frame : DataFrame
    labels : ndarray of shape (rows,)
        Which of its rows are known anomalies.
    feedback : Feedback
    schema : Schema
        The columns that the feedback must have; others are taken over if the table has them.

    Returns
    -------
    tuple of DataFrame and ndarray
        All rows, and 1 for each known anomaly.

    Raises
    ------
    SchemaError
        Table or feedback lack a column, or one holds values of another kind.
    """
    table, extra = _plain(frame, schema), _plain(feedback.rows, schema)
    anomalous = feedback.marks == "anomaly"
    again = _is_among(table[schema.names], extra.loc[anomalous, schema.names])
    together = pd.concat([table, extra[[name for name in table.columns if name in extra.columns]]])
    marked = np.concatenate([labels | again, anomalous]).astype(np.int64)
    return together.reset_index(drop=True), marked


def _plain(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The columns of the schema in plain values, all others as they are."""
    used = schema.align(frame, ignored=frame.columns)
    others = frame.drop(columns=schema.names)
    return pd.concat([plain_table(used, schema), others], axis="columns")[list(frame.columns)]


def _is_among(frame: pd.DataFrame, wanted: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows of a plain table are equal to one of another; missing values are equal to each other."""
    out = np.zeros(len(frame), dtype=bool)
    if not len(wanted):
        return out
    width = frame.shape[1]  # columns are numbered, so that none can be called like the place of a row
    places = frame.set_axis(range(width), axis="columns").assign(place=np.arange(len(frame)))
    once = wanted.set_axis(range(width), axis="columns").drop_duplicates()
    out[once.merge(places, on=list(range(width)))["place"]] = True
    return out


class Suppression:
    """Rows known to be benign, and how near to one of them another row raises no alarm.

    Rows are compared by their Euclidean distance in features, each divided by its deviation among the rows
    learned from. Two of them are the same pattern if they are no further apart than a normal row is, as a
    rule, from the nearest one that was learned from.

    Parameters
    ----------
    unit : ndarray of shape (features,)
        Deviation of each feature; 1 where it never varied.
    radius : float
        Median distance of normal rows to the nearest of those learned from.
    rows : DataFrame
        The benign rows, a `plain_table`; its index counts from 0.
    reach : ndarray of shape (rows,)
        How many radii each of them reaches.
    features : ndarray of shape (rows, features)
        The same rows, encoded.
    """

    def __init__(
        self,
        unit: NDArray[np.float64],
        radius: float,
        rows: pd.DataFrame,
        reach: NDArray[np.float64],
        features: NDArray[np.float32],
    ) -> None:
        self.unit, self.radius = unit, radius
        self.rows, self.reach, self.features = rows, reach, features

    @classmethod
    def learn(
        cls, learned: NDArray[np.float32], others: NDArray[np.float32], schema: Schema, seed: int
    ) -> Suppression:
        """Measure how far apart normal rows are; nothing is suppressed yet.

        Parameters
        ----------
        learned : ndarray of shape (rows, features)
            The normal rows learned from.
        others : ndarray of shape (others, features)
            Other normal rows; if there are none, those learned from are compared with each other.
        schema : Schema
        seed : int
            Draws at most 10 000 and 512 of them.
        """
        random = np.random.default_rng(seed)
        deviation = learned.std(0, dtype=np.float64)
        unit = np.where(deviation > 0, deviation, 1.0)
        base, asked = (
            rows[np.sort(random.permutation(len(rows))[:most])] / unit
            for rows, most in ((learned, _COMPARED), (others, _ASKED))
        )
        nearest = NearestNeighbors(n_neighbors=1).fit(base)
        distances, _ = nearest.kneighbors(asked if len(asked) else None)
        radius = float(np.median(distances))
        return cls(unit, radius, _no_rows(schema), np.empty(0), learned[:0])

    def adding(
        self, rows: pd.DataFrame, reach: float | NDArray[np.float64], encoder: TableEncoder
    ) -> Suppression:
        """The same with more benign rows.

        Raises
        ------
        SchemaError
            The rows lack a column, or one holds values of another kind.
        ParameterError
            `reach` is not a finite number of at least 0.
        """
        if not (np.isfinite(reach).all() and np.greater_equal(reach, 0).all()):
            raise ParameterError(f"reach is {reach} but must be a number of at least 0: how many radii.")
        schema = encoder.schema_
        more = plain_table(schema.align(rows, ignored=rows.columns), schema)
        together = pd.concat([self.rows, more]) if len(self.rows) else more
        return Suppression(
            self.unit,
            self.radius,
            together.reset_index(drop=True),
            np.append(self.reach, np.broadcast_to(reach, len(more))).astype(np.float64),
            np.concatenate([self.features, encoder.transform(more)]),
        )

    def holds(self, features: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which rows are the same pattern as a benign one, shape (rows,)."""
        out = np.zeros(len(features), dtype=bool)
        patterns = self.features / self.unit
        limits = np.square(self.reach * self.radius)
        for start in range(0, len(features), _CHUNK):
            chunk = features[start : start + _CHUNK] / self.unit
            for pattern, limit in zip(patterns, limits, strict=True):
                out[start : start + _CHUNK] |= np.square(chunk - pattern).sum(1) <= limit
        return out

    def state(self, usual: Mapping[str, Usual]) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
        """Return all that `from_state` needs, in JSON and in arrays."""
        learnt, rows = Reference(self.rows, usual).state()
        arrays = {"unit": self.unit, "reach": self.reach, "rows": rows}
        return {"radius": self.radius, "texts": learnt["texts"]}, arrays

    @classmethod
    def from_state(
        cls,
        learnt: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        reference: Reference,
        encoder: TableEncoder,
    ) -> Self:
        """Return the suppression whose `state` this was.

        Raises
        ------
        TableError
            The state is not one that `state` makes, or not of this encoder.
        """
        unit, reach, width = arrays["unit"], arrays["reach"], len(encoder.feature_names_)
        entry = {"usual": [asdict(each) for each in reference.usual.values()], "texts": learnt["texts"]}
        rows = Reference.from_state(entry, arrays["rows"], encoder.schema_).rows
        sound = (
            unit.shape == (width,)
            and reach.shape == (len(rows),)
            and np.isfinite(unit).all()
            and (unit > 0).all()
            and np.isfinite(reach).all()
            and (reach >= 0).all()
            and 0 <= learnt["radius"] < np.inf
        )
        if not sound or arrays.keys() != {"unit", "reach", "rows"}:
            raise TableError("the stored benign rows are damaged: fit again")
        none = np.empty((0, width), dtype=np.float32)
        features = encoder.transform(rows) if len(rows) else none
        return cls(unit, learnt["radius"], rows, reach, features)


def _no_rows(schema: Schema) -> pd.DataFrame:
    dtypes: dict[str, Any] = {
        "number": "float64",
        "date": "datetime64[s]",
        "category": object,
        "boolean": object,
    }
    return pd.DataFrame({name: pd.Series(dtype=dtypes[kind]) for name, kind in schema.kinds.items()})
