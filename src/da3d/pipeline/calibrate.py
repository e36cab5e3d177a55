"""From a score to a p-value: how rare such a score is among normal rows that the detector never saw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da3d.errors import ParameterError

__all__ = ["Calibration", "hold_out"]

_SHARE, _MOST, _FEWEST = 0.15, 2000, 10


def hold_out(rows: int, seed: int) -> NDArray[np.bool_]:
    """Which of so many normal rows calibrate instead of train, shape (rows,).

    15 % of the rows, at least 10 and at most 2 000; none of fewer than 40 rows, since the detector needs
    every one of them.
    """
    count = min(_MOST, max(int(_SHARE * rows), min(_FEWEST, rows // 4)))
    chosen = np.zeros(rows, dtype=bool)
    if count >= _FEWEST:
        chosen[np.random.default_rng(seed).permutation(rows)[:count]] = True
    return chosen


class Calibration:
    """Scores of held-out normal rows, to which a new score is compared.

    For a normal row that is exchangeable with the held-out ones, P(p-value <= a) <= a for every a, whatever
    the detector (Vovk, Gammerman and Shafer 2005; Bates et al. 2023 for the use in outlier detection).

    Parameters
    ----------
    scores : ndarray of shape (held_out,)
        Anomaly scores, higher is stranger; at least one.
    contamination : float
        Share of the held-out rows that are believed to be unmarked anomalies: the strangest ones are dropped,
        0 <= contamination < 0.5.
    """

    def __init__(self, scores: NDArray[np.float64], contamination: float = 0.0) -> None:
        if not 0 <= contamination < 0.5:
            raise ParameterError(
                f"contamination is {contamination} but must lie in [0, 0.5): the share of training rows that "
                "are believed to be anomalies; leave it out if you do not know."
            )
        ordered = np.sort(np.asarray(scores, dtype=np.float64))
        self.scores = ordered[: max(1, len(ordered) - int(contamination * len(ordered)))]

    @property
    def resolution(self) -> float:
        """The smallest p-value that these rows can give."""
        return 1.0 / (len(self.scores) + 1)

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Conformal p-value of each score, in (0, 1]: small is strange.

        One plus the number of held-out scores that are at least as high, over one plus their number.
        """
        as_high = len(self.scores) - np.searchsorted(self.scores, scores, side="left")
        return np.asarray((1.0 + as_high) * self.resolution, dtype=np.float64)

    def cut(self, p_value: float) -> float:
        """The least score whose p-value is at most `p_value`, but above every held-out one at the least."""
        exceed = int(np.floor(p_value / self.resolution + 1e-9)) - 1
        index = len(self.scores) - 1 - max(0, exceed)
        return float(np.nextafter(self.scores[max(0, index)], np.inf)) if index >= 0 else -np.inf
