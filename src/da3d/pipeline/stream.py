r"""Whether rows keep coming from where the calibration rows came from: a bet against it.

Each score is ranked among the held-out scores and all earlier ones of the table. As long as all of them are
exchangeable, these ranks p_1, p_2, ... (ties broken by chance) are independent and even on (0, 1), so that

.. math::
    M_t = \frac{1}{2K} \sum_{k=1}^{K} \left( \prod_{i \le t} \varepsilon_k p_i^{\varepsilon_k - 1}
        + \prod_{i \le t} \varepsilon_k (1 - p_i)^{\varepsilon_k - 1} \right), \qquad
    \varepsilon_k = 1 - 2^{-k},

is the capital of someone who starts with 1 and bets fairly, on strange rows with one half and on
unusually ordinary ones with the other. By Ville's inequality (1939)

.. math:: P(\sup_t M_t \ge 1 / \alpha) \le \alpha,

whatever the detector and however many rows there are. The p-values of `Calibration` will not do instead: all
of them are ranks among the same held-out rows and so depend on each other, and a long table would raise an
alarm over nothing but the chance in those rows.

References
----------
V. Vovk, I. Nouretdinov, A. Gammerman: Testing Exchangeability On-Line. ICML 2003 (power martingales, and
their mixture; here over a grid and over both directions).
V. Fedorova, A. Gammerman, I. Nouretdinov, V. Vovk: Plug-in Martingales for Testing Exchangeability on-line.
ICML 2012.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Stream", "log_capital", "online_p_values", "watch"]

Floats = NDArray[np.float64]

_STAKES = 1 - 0.5 ** np.arange(1, 9)
_LEAST = 1e-12  # a smaller p-value pays no more; the capital can only be understated by that


@dataclass(frozen=True)
class Stream:
    """How a bet against exchangeability went.

    Attributes
    ----------
    capital : float
        Decimal logarithm of the most that there was at any time; 0 is the stake that it began with.
    limit : float
        Decimal logarithm of the capital that raises the alarm.
    alarm : bool
        Whether it got there.
    row : int or None
        The position, counted from 0, of the row at which it first did.
    sentence : str
    """

    capital: float
    limit: float
    alarm: bool
    row: int | None
    sentence: str


def watch(held_out: Floats, scores: Floats, level: float) -> Stream:
    """Bet that scores, in the order in which they came, are not exchangeable with held-out ones.

    Parameters
    ----------
    held_out : ndarray of shape (held_out,)
    scores : ndarray of shape (rows,)
    level : float
        Probability of an alarm on exchangeable scores, at most, in (0, 1).
    """
    course = log_capital(online_p_values(held_out, scores)) / math.log(10)
    limit = -math.log10(level)
    hits = np.flatnonzero(course >= limit)
    row = int(hits[0]) if len(hits) else None
    most = float(course.max())
    said = (
        f"Scores no longer look like those of held-out normal rows from row {row} on: a fair bet against it "
        f"turned 1 into 10^{most:.1f}, an alarm from 10^{limit:.1f} on"
        if row is not None
        else f"In the order of the rows, scores keep looking like those of held-out normal rows (a fair bet "
        f"against it never had more than 10^{most:.1f}; an alarm from 10^{limit:.1f} on)"
    )
    return Stream(most, limit, row is not None, row, said)


def online_p_values(held_out: Floats, scores: Floats) -> Floats:
    """Share of the held-out and the earlier scores that are higher than each score, in (0, 1).

    Chance decides among equal scores and within a rank, the same for the same scores: independent and even
    if all scores are exchangeable.
    """
    random = np.random.default_rng(0)
    values = np.r_[held_out, scores]
    order = np.lexsort((random.random(len(values)), values))
    seen = np.arange(len(values))
    higher = (seen - _smaller_before(order))[len(held_out) :]
    shares = (higher + random.random(len(scores))) / (seen[len(held_out) :] + 1)
    return np.asarray(shares, dtype=np.float64)


def _smaller_before(order: NDArray[np.intp]) -> NDArray[np.int64]:
    """For each position the number of earlier positions that come first in an order.

    Blocks of positions are joined in pairs, again and again: within each pair, the positions of the left
    block that come before one of the right block are counted.
    """
    counts = np.zeros(len(order), dtype=np.int64)
    width = 1
    while width < len(order):
        paired = order[np.argsort(order // (2 * width), kind="stable")]
        on_left = paired // width % 2 == 0
        # All pairs before this one are whole, and so have `width` positions on the left.
        in_pair = np.cumsum(on_left) - paired // (2 * width) * width
        counts[paired[~on_left]] += in_pair[~on_left]
        width *= 2
    return counts


def log_capital(p_values: Floats) -> Floats:
    """Natural logarithm of M after each row, shape (rows,)."""
    counted = np.arange(1, len(p_values) + 1)
    total = np.full(len(p_values), -np.inf)
    for side in (p_values, 1 - p_values):
        logs = np.cumsum(np.log(np.maximum(side, _LEAST)))
        for stake in _STAKES:
            np.logaddexp(total, counted * math.log(stake) + (stake - 1) * logs, out=total)
    return np.asarray(total - math.log(2 * len(_STAKES)))
