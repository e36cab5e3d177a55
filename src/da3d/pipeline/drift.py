r"""Whether a table still looks like the normal rows that a pipeline learned from.

Two things are asked of every column: how much it changed, and whether chance could have done that.

How much: the population stability index (PSI), with the shares q of the table and p of the normal rows in the
same cells,

.. math:: \sum_{cells} (q - p) \ln(q / p),

each share with half a row added to its cell. The cells are: of a number the deciles of the normal rows, and
what lies below and above all of them; of a category the 20 most frequent ones, all others together, and new
ones together; of a date the hours of the day, and the weekdays (the greater index counts); and missing.
Below 0.1 is called little, above 0.25 much: credit scoring's custom, not a law.

Whether by chance: for numbers the test of Kolmogorov and Smirnov, for all other kinds Pearson's chi-square
test of two tables of counts (cells in which fewer than 5 rows are expected are joined), and for missing
values Fisher's exact test. The p-value of a column is the smallest of these times their number. Those of all
columns and of the scores are then corrected together (Holm 1979). A column has drifted if chance is ruled out
*and* the index is at least 0.1: of a million rows each, any two tables differ.

References
----------
S. Holm: A Simple Sequentially Rejective Multiple Test Procedure. Scandinavian Journal of Statistics 6, 1979.
N. Siddiqi: Credit Risk Scorecards. Wiley 2006 (the index and its custom).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.stats import chi2, fisher_exact, kstwobign

from da3d.errors import ParameterError, SchemaError
from da3d.pipeline.profile import Sketch, known
from da3d.pipeline.reference import Usual
from da3d.pipeline.stream import Stream, watch
from da3d.pipeline.words import shown
from da3d.preprocessing import Kind
from da3d.preprocessing.values import DAY, WEEKDAYS, numbers, seconds, texts

if TYPE_CHECKING:
    from da3d.pipeline.pipeline import AnomalyPipeline

__all__ = ["ColumnDrift", "DriftReport", "ScoreDrift", "drift"]

Floats = NDArray[np.float64]
Verdict = Literal["as before", "changed a little", "changed", "moved"]

_LITTLE, _MUCH = 0.1, 0.25
_HOUR = 3600
_FREQUENT = 20  # categories with a cell of their own
_EXPECTED = 5.0
_NAMED = 5  # new categories, and drifted columns, that a report names
_WORTH_A_WORD = 0.01  # smaller shares of missing or outlying values are not mentioned


@dataclass(frozen=True)
class ColumnDrift:
    """What became of one column.

    Attributes
    ----------
    column : str
    kind : {"number", "boolean", "category", "date"}
    psi : float
        Population stability index, at least 0.
    p_value : float
        Probability of so great a difference by chance, before the correction for the number of columns.
    adjusted : float
        The same after it.
    drifted : bool
        Chance is ruled out and the index is at least 0.1.
    verdict : {"as before", "changed a little", "changed", "moved"}
        "as before" if chance is not ruled out; else by the index, from 0.1 "changed", from 0.25 "moved".
    missing_then, missing_now : float
        Shares of rows without a value.
    median_then, median_now : float or None
        Of a number.
    outside : float
        Share of the given values that no normal row had: beyond the extremes, or new categories.
    new : dict of str to float
        New categories and their shares of the given values, the most frequent five.
    change : str
        What changed, in words; may be empty.
    sentence : str
    """

    column: str
    kind: Kind
    psi: float
    p_value: float
    adjusted: float
    drifted: bool
    verdict: Verdict
    missing_then: float
    missing_now: float
    median_then: float | None
    median_now: float | None
    outside: float
    new: dict[str, float]
    change: str
    sentence: str


@dataclass(frozen=True)
class ScoreDrift:
    """What became of the scores, beside those of the held-out normal rows.

    Attributes
    ----------
    statistic : float
        Kolmogorov and Smirnov's: the greatest difference of the two cumulative distributions, in [0, 1].
    p_value, adjusted
        As in `ColumnDrift`.
    drifted : bool
        Chance is ruled out.
    median_then, median_now : float
    sentence : str
    """

    statistic: float
    p_value: float
    adjusted: float
    drifted: bool
    median_then: float
    median_now: float
    sentence: str


@dataclass(frozen=True)
class DriftReport:
    """How a table differs from what a pipeline learned from.

    Attributes
    ----------
    rows : int
        Of the table.
    level : float
        Probability, at most, that the report says drift where there is none: half of it for the columns and
        the scores together, half for the order of the rows.
    columns : tuple of ColumnDrift
        Drifted ones first, then by their index.
    scores : ScoreDrift
    stream : Stream
        The bet against exchangeability, over the rows in their order.
    """

    rows: int
    level: float
    columns: tuple[ColumnDrift, ...]
    scores: ScoreDrift
    stream: Stream

    @property
    def drifted(self) -> bool:
        """Whether anything did: a column, the scores, or their order."""
        return self.scores.drifted or self.stream.alarm or any(each.drifted for each in self.columns)

    @property
    def sentence(self) -> str:
        """The whole in one sentence."""
        moved = [f"`{each.column}`" for each in self.columns if each.drifted]
        more = f" and {len(moved) - _NAMED} more" if len(moved) > _NAMED else ""
        parts = [f"{len(moved)} of {len(self.columns)} columns drifted: {', '.join(moved[:_NAMED])}{more}"]
        parts = parts if moved else []
        parts += ["the scores are others"] * self.scores.drifted
        parts += [f"the rows change from row {self.stream.row} on at the latest"] * self.stream.alarm
        if not parts:
            return "Nothing drifted: the table looks like the normal rows that were learned from."
        return (said := "; ".join(parts))[0].upper() + said[1:] + "."

    def to_dict(self) -> dict[str, Any]:
        """Return the report ready for JSON."""
        return {"drifted": self.drifted, "sentence": self.sentence, **asdict(self)}


def drift(
    pipeline: AnomalyPipeline, frame: pd.DataFrame, *, level: float, ignore: Sequence[str]
) -> DriftReport:
    """Compare a table with what a pipeline learned; see `AnomalyPipeline.drift`."""
    if not 0 < level < 1:
        raise ParameterError(
            f"level is {level} but must lie in (0, 1): the probability of an alarm without drift."
        )
    schema = pipeline.encoder_.schema_
    if unknown := [name for name in ignore if name not in schema.names]:
        raise SchemaError(
            f"ignore names '{unknown[0]}', but that is none of the columns in use: {', '.join(schema.names)}."
        )
    aligned = schema.align(frame, ignored=pipeline.encoder_.ignored_columns_)
    profile = pipeline.profile_
    found = [
        _compared(usual, profile.sketches.get(name), profile.rows, aligned[name])
        for name, usual in pipeline.reference_.usual.items()
        if name not in ignore
    ]
    held_out, new = pipeline.calibration_.scores, pipeline.anomaly_score(frame)
    scores = _scores(held_out, np.sort(new))
    *adjusted, last = _holm([*(each.p_value for each in found), scores.p_value])
    columns = [_judged(each, p, level / 2) for each, p in zip(found, adjusted, strict=True)]
    return DriftReport(
        rows=len(frame),
        level=level,
        columns=tuple(sorted(columns, key=lambda each: (not each.drifted, -each.psi))),
        scores=_judged_scores(scores, last, level / 2),
        stream=watch(held_out, new, level / 2),
    )


def _holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: reject where the result is at most the level."""
    order = np.argsort(p_values)
    factors = np.arange(len(order), 0, -1)
    out = np.empty(len(order))
    out[order] = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return [float(value) for value in out]


@dataclass(frozen=True)
class _Look:
    """One way to look at a column: rows per cell, then and now, without those that have no value.

    `by_chance` is a p-value, `shift` says in words what changed most.
    """

    then: Floats
    now: Floats
    by_chance: float
    shift: str


@dataclass(frozen=True)
class _Seen:
    """What was seen in a column of a table."""

    given: int
    looks: Sequence[_Look]
    median: float | None = None
    outside: float = 0.0
    new: Mapping[str, float] = field(default_factory=dict)


def _compared(usual: Usual, sketch: Sketch | None, rows: int, series: pd.Series[Any]) -> ColumnDrift:
    """What became of a column of so many normal rows, without regard to the other columns."""
    given = round(rows * (1 - usual.missing))
    if sketch is not None:
        seen = _number(sketch, given, known(series))
    elif usual.kind == "date":
        seen = _date(usual, given, series)
    else:
        seen = _category(usual, given, _counts(usual.kind, series))
    gaps = (rows - given, len(series) - seen.given)
    indices = [_psi(np.r_[look.then, gaps[0]], np.r_[look.now, gaps[1]]) for look in seen.looks]
    chances = [*(look.by_chance for look in seen.looks), _fisher((given, gaps[0]), (seen.given, gaps[1]))]
    p_value = min(1.0, len(chances) * min(chances))
    return ColumnDrift(
        column=usual.name,
        kind=usual.kind,
        psi=max(indices),
        p_value=p_value,
        adjusted=p_value,
        drifted=False,
        verdict="as before",
        missing_then=gaps[0] / rows,
        missing_now=gaps[1] / len(series),
        median_then=None if sketch is None else sketch.median,
        median_now=seen.median,
        outside=seen.outside,
        new=dict(seen.new),
        change=seen.looks[int(np.argmax(indices))].shift,
        sentence="",
    )


def _number(sketch: Sketch, given: int, values: Floats) -> _Seen:
    """A number, from its values in ascending order."""
    if not len(values):
        then, _ = sketch.cells(sketch.values)
        return _Seen(0, [_Look(then * given, 0 * then, 1.0, "no value at all")])
    then, now = sketch.cells(values)
    median = float(values[(len(values) - 1) // 2])
    distance, point, upto_then, upto_now = sketch.distance(values)
    shift = f"median {shown(sketch.median)} -> {shown(median)}"
    if median == sketch.median:
        shift = f"values up to {shown(point)} {_percent(upto_then)} -> {_percent(upto_now)}"
    look = _Look(then * given, now * len(values), _kolmogorov(distance, given, len(values)), shift)
    return _Seen(len(values), [look], median, outside=float(now[0] + now[-1]))


def _category(usual: Usual, given: int, counts: Mapping[str, int]) -> _Seen:
    """A category or a boolean, from the number of rows of each value."""
    total = sum(counts.values())
    fresh = {text: count for text, count in counts.items() if text not in usual.shares}
    names = sorted(fresh, key=lambda text: (-fresh[text], text))[:_NAMED]
    frequent = list(usual.shares)[:_FREQUENT]
    then = [usual.shares[text] * given for text in frequent]
    now = [counts.get(text, 0) for text in frequent]
    others = total - sum(now) - sum(fresh.values())
    look = _look(
        np.array([*then, max(0.0, given - sum(then)), 0.0]),
        np.array([*now, others, sum(fresh.values())], dtype=np.float64),
        [*map(shown, frequent), "rarer ones", "new ones"],
    )
    return _Seen(
        total,
        [look],
        outside=sum(fresh.values()) / max(1, total),
        new={text: fresh[text] / total for text in names},
    )


def _date(usual: Usual, given: int, series: pd.Series[Any]) -> _Seen:
    """A date: its weekday and, if any normal row had one, its time of day."""
    instants, missing = seconds(series)
    instants = instants[~missing]
    hours = {str(hour): f"{hour:02d}:00 to {hour:02d}:59" for hour in range(24)}
    parts = [((instants // DAY + 3) % 7, {day: day for day in WEEKDAYS})]  # 1970 began on a Thursday
    if "0" in usual.shares:
        parts.append((instants % DAY // _HOUR, hours))
    looks = [
        _look(
            np.array([usual.shares[name] * given for name in names]),
            np.bincount(places, minlength=len(names)).astype(np.float64),
            list(names.values()),
        )
        for places, names in parts
    ]
    return _Seen(len(instants), looks)


def _counts(kind: Kind, series: pd.Series[Any]) -> dict[str, int]:
    """How many rows have each value of a category or a boolean."""
    if kind == "boolean":
        values = numbers(series)
        counts = {"true": int((values == 1).sum()), "false": int((values == 0).sum())}
        return {text: count for text, count in counts.items() if count}
    found = pc.value_counts(texts(series).drop_null())
    return dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))


def _look(then: Floats, now: Floats, names: Sequence[str]) -> _Look:
    """Counts of named cells, with the one whose share changed most in words."""
    shares = [counts / max(1.0, counts.sum()) for counts in (then, now)]
    place = int(np.abs(shares[1] - shares[0]).argmax())
    shift = f"{names[place]} {_percent(shares[0][place])} -> {_percent(shares[1][place])}"
    return _Look(then, now, _chi_square(then, now), shift if now.sum() else "no value at all")


def _psi(then: Floats, now: Floats) -> float:
    """Population stability index of rows per cell."""
    p, q = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (then, now))
    return float(((q - p) * np.log(q / p)).sum())


def _kolmogorov(distance: float, first: int, second: int) -> float:
    """P-value of Kolmogorov and Smirnov's two-sample test; too large for few rows and for ties."""
    return float(kstwobign.sf(distance * np.sqrt(first * second / (first + second))))


def _chi_square(then: Floats, now: Floats) -> float:
    """P-value of Pearson's test that two rows of counts have the same shares; 1 if that cannot be tested."""
    if not then.sum() or not now.sum():
        return 1.0
    table = np.stack([then, now])
    table = table[:, np.argsort(table.sum(0), kind="stable")]
    smaller = table.sum(1).min() / table.sum()
    expected = np.cumsum(table.sum(0)) * smaller  # in the shorter row, joined from the rarest cell on
    single = table.sum(0) * smaller
    first = max(int((single < _EXPECTED).sum()), int(np.searchsorted(expected, _EXPECTED)) + 1)
    table = np.column_stack([table[:, :first].sum(1), table[:, first:]])
    fitted = np.outer(table.sum(1), table.sum(0)) / table.sum()
    statistic = ((table - fitted) ** 2 / fitted).sum()
    return float(chi2.sf(statistic, table.shape[1] - 1)) if table.shape[1] > 1 else 1.0


def _fisher(then: tuple[int, int], now: tuple[int, int]) -> float:
    """P-value of the test that two pairs of counts have the same shares."""
    return float(fisher_exact(np.array([then, now])).pvalue) if then[1] or now[1] else 1.0


def _scores(held_out: Floats, new: Floats) -> ScoreDrift:
    """What became of the scores; both in ascending order."""
    both = np.r_[held_out, new]
    shares = [np.searchsorted(each, both, side="right") / len(each) for each in (held_out, new)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    p_value = _kolmogorov(distance, len(held_out), len(new))
    then, now = (float(each[(len(each) - 1) // 2]) for each in (held_out, new))
    return ScoreDrift(distance, p_value, p_value, False, then, now, "")


def _judged(found: ColumnDrift, adjusted: float, level: float) -> ColumnDrift:
    """The column with its verdict, now that the other columns are known."""
    by_size: Verdict = (
        "moved" if found.psi >= _MUCH else "changed" if found.psi >= _LITTLE else "changed a little"
    )
    verdict: Verdict = by_size if adjusted <= level else "as before"
    gaps = abs(found.missing_now - found.missing_then) >= _WORTH_A_WORD
    words = [found.change] * (verdict != "as before")
    words += [f"missing {_percent(found.missing_then)} -> {_percent(found.missing_now)}"] * gaps
    if found.new:
        words.append(
            "new: " + ", ".join(f"{shown(text)} {_percent(share)}" for text, share in found.new.items())
        )
    elif found.outside >= _WORTH_A_WORD:
        words.append(f"{_percent(found.outside)} beyond every normal row")
    return replace(
        found,
        adjusted=adjusted,
        drifted=verdict in ("changed", "moved"),
        verdict=verdict,
        change="; ".join(words),
        sentence="; ".join([f"`{found.column}`: PSI {found.psi:.2f}, {verdict}", *words]),
    )


def _judged_scores(found: ScoreDrift, adjusted: float, level: float) -> ScoreDrift:
    """The scores with their verdict, now that the columns are known."""
    drifted = adjusted <= level
    medians = f"median {found.median_then:.4g} -> {found.median_now:.4g}"
    said = (
        f"Scores are others than those of held-out normal rows ({medians})"
        if drifted
        else f"Scores look like those of held-out normal rows ({medians})"
    )
    return replace(found, adjusted=adjusted, drifted=drifted, sentence=said)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
