"""Is the first detector better than the others? Wilcoxon's test over data sets, with Holm's correction."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.stats import wilcoxon

from da3d.experiments.tables import Table

__all__ = ["FEWEST", "Comparison", "Ranking", "compare_detectors", "holm", "rank_detectors"]

FEWEST = 6
"""Data sets below which the two-sided test cannot reach 5 %, whatever the numbers are."""


@dataclass(frozen=True)
class Comparison:
    """The first detector of a table against another, over the complete rows at one contamination.

    Parameters
    ----------
    first, other : str
        Labels of the detectors.
    contamination : float
    wins, ties, losses : int
        Data sets on which the first has the higher, an equal, the lower mean.
    difference : float
        Median of first minus other.
    p_value : float
        Two-sided Wilcoxon signed-rank test of the differences, those of zero divided between both sides.
    p_holm : float
        The same, corrected for all comparisons at this contamination (Holm 1979).
    """

    first: str
    other: str
    contamination: float
    wins: int
    ties: int
    losses: int
    difference: float
    p_value: float
    p_holm: float


@dataclass(frozen=True)
class Ranking:
    """All detectors of a table against each other, over the complete rows at one contamination.

    Parameters
    ----------
    contamination : float
    rows : int
        Complete rows.
    ranks : tuple of (str, float)
        Label and mean rank of each detector, 1 = best, best first.
    level : float
        Of the tests.
    alike : tuple of tuples of str
        Largest groups of neighbours in rank of which no two differ: Wilcoxon's test of every pair, Holm's
        correction over all pairs.
    """

    contamination: float
    rows: int
    ranks: tuple[tuple[str, float], ...]
    level: float
    alike: tuple[tuple[str, ...], ...]


def rank_detectors(table: Table, contamination: float, level: float = 0.05) -> Ranking | None:
    """Mean ranks and who differs from whom; None with fewer than `FEWEST` complete rows."""
    means = table.means(contamination)
    if len(means) < FEWEST or len(table.ranked) < 2:
        return None
    averages = table.ranks(contamination).mean(axis=0)
    order = np.argsort(averages, kind="stable")
    pairs = list(combinations(range(len(order)), 2))
    p_values = holm([_wilcoxon(means[:, order[one]] - means[:, order[other]]) for one, other in pairs])
    differ = {pair for pair, p_value in zip(pairs, p_values, strict=True) if p_value < level}
    labels = [table.ranked[place] for place in order]
    return Ranking(
        contamination,
        len(means),
        tuple((label, float(averages[place])) for label, place in zip(labels, order, strict=True)),
        level,
        tuple(tuple(labels[first : last + 1]) for first, last in _alike(len(order), differ)),
    )


def _alike(count: int, differ: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """First and last place of every largest run without a pair that differs; runs of one are left out."""
    runs: list[tuple[int, int]] = []
    for first in range(count):
        last = first
        while last + 1 < count and not any((one, last + 1) in differ for one in range(first, last + 1)):
            last += 1
        if last > first and not (runs and runs[-1][1] >= last):
            runs.append((first, last))
    return runs


def compare_detectors(table: Table) -> list[Comparison]:
    """The first detector against each other, at every contamination with at least `FEWEST` complete rows."""
    return [each for level in table.levels for each in _at(table, level)]


def holm(p_values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """P-values corrected so that the chance of any false finding stays below the level: Holm's step-down."""
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    stepped = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    corrected = np.empty_like(given)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def _at(table: Table, level: float) -> list[Comparison]:
    means = table.means(level)
    if len(means) < FEWEST or len(table.ranked) < 2 or table.ranked[0] != table.detectors[0]:
        return []
    gaps = means[:, :1] - means[:, 1:]
    p_values = [_wilcoxon(gap) for gap in gaps.T]
    return [
        Comparison(
            first=table.ranked[0],
            other=other,
            contamination=level,
            wins=int((gap > 0).sum()),
            ties=int((gap == 0).sum()),
            losses=int((gap < 0).sum()),
            difference=float(np.median(gap)),
            p_value=p_value,
            p_holm=float(corrected),
        )
        for other, gap, p_value, corrected in zip(
            table.ranked[1:], gaps.T, p_values, holm(p_values), strict=True
        )
    ]


def _wilcoxon(gaps: npt.NDArray[np.float64]) -> float:
    """Two-sided p-value; 1 where nothing differs."""
    return float(wilcoxon(gaps, zero_method="zsplit").pvalue) if gaps.any() else 1.0
