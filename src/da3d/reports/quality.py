"""What is worth knowing about a table before its verdicts are believed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from da3d.pipeline import AnomalyPipeline
from da3d.pipeline.reference import Usual, plain_table
from da3d.pipeline.words import shown, usual_range
from da3d.preprocessing import TableEncoder
from da3d.preprocessing.values import WEEKDAYS
from da3d.reports.formats import number, percent, whole
from da3d.reports.judged import Judged

__all__ = ["ColumnFacts", "column_facts", "learned_rows", "remarks"]

Flags = npt.NDArray[np.bool_]

_LISTED = 8  # columns or values named in a sentence
_MORE_MISSING = 0.01  # a smaller increase of a share of missing values is not worth a word
_REPEATED = 0.01  # the same for the share of rows that repeat another
_SHIFTED = (0.25, 0.75)  # of rows like the held-out ones, the median p-value lies near 0.5
_FEW = 40  # of fewer normal rows none is held out
_MANY = 5  # times as many alarms as the threshold lets pass among normal rows


@dataclass(frozen=True)
class ColumnFacts:
    """One column at fit, and in the judged table if there is one.

    Attributes
    ----------
    name, kind : str
    usual : str
        What is usual among the fitted normal rows, in words.
    constant : bool
        Whether it never varied among them.
    missing : float
        Share of them without a value.
    missing_now : float or None
        Share of the judged rows without a value.
    new : float or None
        Share of the judged rows whose value lies beyond everything fitted: a number outside the extremes, a
        category or truth value never seen, a date at an hour or on a weekday that no fitted date had.
    far : float or None
        Share of them whose number lies beyond the extremes by more than the distance between these.
    examples : tuple of str
        The most frequent new categories, or the farthest new number.
    """

    name: str
    kind: str
    usual: str
    constant: bool
    missing: float
    missing_now: float | None = None
    new: float | None = None
    far: float | None = None
    examples: tuple[str, ...] = ()


def learned_rows(encoder: TableEncoder) -> int | None:
    """How many normal rows the encoder, and with it the detector, learned from; None if it did not count."""
    scaler = encoder.transformer_.named_transformers_.get("numbers")
    seen = getattr(scaler, "n_samples_seen_", None)
    return None if seen is None else int(np.max(seen))


def column_facts(pipeline: AnomalyPipeline, judged: Judged | None) -> list[ColumnFacts]:
    """Facts about every column in use, in the table's order."""
    plain = None if judged is None else plain_table(judged.frame, pipeline.encoder_.schema_)
    return [
        _facts(usual, None if plain is None else plain[name])
        for name, usual in pipeline.reference_.usual.items()
    ]


def _facts(usual: Usual, values: pd.Series[Any] | None) -> ColumnFacts:
    constant = usual.least == usual.most if usual.kind == "number" else max(usual.shares.values()) == 1.0
    fitted = ColumnFacts(
        usual.name, usual.kind, usual_range(usual), constant and usual.kind != "date", usual.missing
    )
    if values is None:
        return fitted
    known = values.dropna()
    new = _NEW[usual.kind](usual, known)
    return replace(
        fitted,
        missing_now=1 - len(known) / len(values),
        new=float(new.sum() / len(values)),
        far=float(_far(usual, known).sum() / len(values)) if usual.kind == "number" else None,
        examples=_examples(usual, known[new]),
    )


def _new_number(usual: Usual, known: pd.Series[Any]) -> Flags:
    return np.asarray((known < usual.least) | (known > usual.most))


def _new_text(usual: Usual, known: pd.Series[Any]) -> Flags:
    texts = known.map({True: "true", False: "false"}) if usual.kind == "boolean" else known
    return np.asarray(~texts.isin(list(usual.shares)), dtype=bool)


def _new_date(usual: Usual, known: pd.Series[Any]) -> Flags:
    stamps = pd.DatetimeIndex(known)
    days = np.array([usual.shares[WEEKDAYS[day]] == 0 for day in stamps.day_of_week], dtype=bool)
    if "0" not in usual.shares:
        return days
    hours = np.array([usual.shares[str(hour)] == 0 for hour in stamps.hour], dtype=bool)
    return np.asarray(days | hours, dtype=bool)


_NEW: dict[str, Callable[[Usual, pd.Series[Any]], Flags]] = {
    "number": _new_number,
    "category": _new_text,
    "boolean": _new_text,
    "date": _new_date,
}


def _far(usual: Usual, known: pd.Series[Any]) -> Flags:
    least, most = usual.least or 0.0, usual.most or 0.0
    width = most - least
    return np.asarray((known < least - width) | (known > most + width))


def _examples(usual: Usual, new: pd.Series[Any]) -> tuple[str, ...]:
    if not len(new) or usual.kind == "date":
        return ()
    if usual.kind != "number":
        return tuple(shown(value) for value in new.value_counts().index[:3])
    middle = ((usual.least or 0.0) + (usual.most or 0.0)) / 2
    return (shown(float(new.iloc[int(np.argmax(np.abs(new - middle)))])),)


def remarks(pipeline: AnomalyPipeline, judged: Judged | None, columns: list[ColumnFacts]) -> list[str]:
    """Sentences about calibration, columns and rows; names of columns stand in backticks."""
    about_table = [] if judged is None else [*_of_rows(pipeline, judged), *_of_columns(columns)]
    return [*_of_calibration(pipeline), *about_table, *_of_constants(columns)]


def _of_calibration(pipeline: AnomalyPipeline) -> Iterator[str]:
    calibration, rule = pipeline.calibration_, pipeline.rule
    learned, held = learned_rows(pipeline.encoder_), len(calibration.scores)
    if learned is not None and held >= learned / 2 and learned < _FEW:
        yield (
            f"There were too few rows ({whole(learned)}) to hold any out: the rows that it learned from "
            "calibrate, so p-values are too small. Trust the order of the rows, not the p-values."
        )
    if rule.by_row and rule.value < calibration.resolution:
        yield (
            f"A false-positive rate of {number(rule.value)} is finer than {whole(held)} held-out rows can "
            f"tell (the smallest p-value is {number(calibration.resolution, 2)}); rows stranger than all of "
            "them raise an alarm."
        )


def _of_rows(pipeline: AnomalyPipeline, judged: Judged) -> Iterator[str]:
    alarms, rule = float(judged.alarms.mean()), pipeline.rule
    if rule.by_row and alarms > _MANY * max(rule.value, pipeline.calibration_.resolution):
        yield (
            f"{percent(alarms)} of the rows raise an alarm; of normal rows it would be {percent(rule.value)}."
            " Either there are many anomalies, or the table is unlike the one that was fitted."
        )
    middle = float(np.median(judged.verdicts["p_value"]))
    if not _SHIFTED[0] <= middle <= _SHIFTED[1]:
        what = "stranger" if middle < _SHIFTED[0] else "more ordinary"
        yield (
            f"The median p-value is {number(middle, 2)}, where 0.5 is expected of normal rows: the table as "
            f"a whole is {what} than the held-out rows."
        )
    repeated = float(plain_table(judged.frame, pipeline.encoder_.schema_).duplicated().mean())
    if repeated >= _REPEATED:
        yield f"{percent(repeated)} of the rows are equal to an earlier row in every column in use."
    if suppressed := int(judged.suppressed.sum()):
        yield f"{whole(suppressed)} rows raise no alarm only because they are like rows that were suppressed."
    if judged.extra:
        yield f"Columns that were not there at fit are left out: {_listed(judged.extra)}."


def _of_columns(columns: list[ColumnFacts]) -> Iterator[str]:
    gaps = [each for each in columns if _more_missing(each)]
    yield from _together(
        "Missing more often than at fit",
        [f"`{c.name}` (in {percent(c.missing_now)} of the rows; at fit {percent(c.missing)})" for c in gaps],
    )
    texts = [each for each in columns if each.new and each.kind in ("category", "boolean")]
    yield from _together(
        "Never seen at fit",
        [f"`{c.name}` {', '.join(c.examples)} (in {percent(c.new)} of the rows)" for c in texts],
    )
    dates = [each for each in columns if each.new and each.kind == "date"]
    yield from _together(
        "At an hour or on a weekday that no fitted row had",
        [f"`{c.name}` (in {percent(c.new)} of the rows)" for c in dates],
    )
    numbers = sorted((each for each in columns if each.far), key=lambda each: -(each.far or 0.0))
    yield from _together(
        "Far outside the fitted range",
        [f"`{c.name}` {c.examples[0]} (in {percent(c.far)} of the rows; usual {c.usual})" for c in numbers],
    )


def _more_missing(facts: ColumnFacts) -> bool:
    now = facts.missing_now or 0.0
    if not facts.missing:
        return now > 0
    return now > 2 * facts.missing and now - facts.missing >= _MORE_MISSING


def _together(what: str, items: list[str]) -> Iterator[str]:
    """One sentence for all columns of which the same is to be said."""
    if items:
        more = len(items) - _LISTED
        yield f"{what}: {'; '.join(items[:_LISTED])}{f'; and {more} more columns' if more > 0 else ''}."


def _of_constants(columns: list[ColumnFacts]) -> Iterator[str]:
    if names := [each.name for each in columns if each.constant]:
        yield f"Never varied at fit, so that any other value looks strange: {_listed(names)}."


def _listed(names: Iterable[str]) -> str:
    shown = [f"`{name}`" for name in names]
    more = len(shown) - _LISTED
    return ", ".join(shown[:_LISTED]) + (f" and {more} more" if more > 0 else "")
