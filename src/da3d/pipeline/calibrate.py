"""From a score to a p-value: how rare such a score is among normal rows that the detector never saw."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from da3d.errors import ParameterError

__all__ = ["Calibration", "ResolutionWarning", "hold_out"]

_SHARE, _MOST, _FEWEST = 0.15, 2000, 10
_FEWEST_OF_GROUP = 20

Groups = NDArray[np.object_]


class ResolutionWarning(UserWarning):
    """The held-out rows are too few for the asked rate."""


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
    the detector (Vovk, Gammerman and Shafer 2005; Bates et al. 2023 for the use in outlier detection). If the
    held-out rows are in groups, a row is compared with those of its own group only, and this holds within
    every group (Mondrian conformal prediction, Vovk et al. 2005, section 4.5).

    Parameters
    ----------
    scores : ndarray of shape (held_out,)
        Anomaly scores, higher is stranger; at least one.
    contamination : float
        Share of the held-out rows that are believed to be unmarked anomalies: the strangest ones are dropped,
        of every group the same share, 0 <= contamination < 0.5.
    groups : mapping of str to Calibration, optional
        The held-out rows by group; a row of any other group is compared with all of them.
    """

    def __init__(
        self,
        scores: NDArray[np.float64],
        contamination: float = 0.0,
        groups: Mapping[str, Calibration] | None = None,
    ) -> None:
        if not 0 <= contamination < 0.5:
            raise ParameterError(
                f"contamination is {contamination} but must lie in [0, 0.5): the share of training rows that "
                "are believed to be anomalies; leave it out if you do not know."
            )
        ordered = np.sort(np.asarray(scores, dtype=np.float64))
        self.scores = ordered[: max(1, len(ordered) - int(contamination * len(ordered)))]
        self.groups = dict(groups or {})

    @classmethod
    def by_group(cls, scores: NDArray[np.float64], groups: Groups, contamination: float = 0.0) -> Calibration:
        """The calibration with one of its own for every group of at least 20 held-out rows.

        Parameters
        ----------
        scores, contamination
            As above.
        groups : ndarray of shape (held_out,)
            Names; None is no group.

        Warns
        -----
        ResolutionWarning
            Some groups are too small: their rows are compared with the held-out rows of all groups.
        """
        names = sorted({name for name in groups if name is not None})
        sizes = {name: int((groups == name).sum()) for name in names}
        large = {
            name: cls(scores[groups == name], contamination)
            for name in names
            if sizes[name] >= _FEWEST_OF_GROUP
        }
        if small := [name for name in names if name not in large]:
            listed = ", ".join(f"'{name}' ({sizes[name]})" for name in small[:8])
            more = f" and {len(small) - 8} more" if len(small) > 8 else ""
            warnings.warn(
                f"The groups {listed}{more} have fewer than {_FEWEST_OF_GROUP} held-out rows; their rows are "
                "compared with the held-out rows of all groups. Fit on more of them, or merge groups.",
                ResolutionWarning,
                stacklevel=3,
            )
        return cls(scores, contamination, large)

    @property
    def resolution(self) -> float:
        """The smallest p-value that these rows can give, all groups taken together."""
        return 1.0 / (len(self.scores) + 1)

    def p_values(self, scores: NDArray[np.float64], groups: Groups | None = None) -> NDArray[np.float64]:
        """Conformal p-value of each score, in (0, 1]: small is strange.

        One plus the number of held-out scores that are at least as high, over one plus their number.

        Parameters
        ----------
        scores : ndarray of shape (rows,)
        groups : ndarray of shape (rows,), optional
            The rows' groups; without it all rows are compared with all held-out ones.
        """
        as_high = len(self.scores) - np.searchsorted(self.scores, scores, side="left")
        out = np.asarray((1.0 + as_high) * self.resolution, dtype=np.float64)
        for mine, own in self._present(groups):
            out[mine] = own.p_values(scores[mine])
        return out

    def severity(self, p_values: NDArray[np.float64]) -> NDArray[np.float64]:
        """How strange each p-value is on a scale from 0 to 100: ``100 log(p) / log(resolution)``.

        0 is a row that no held-out one is less strange than, 100 one that is stranger than all of them; each
        factor of ten in the p-value adds the same. A row of a small group cannot reach 100.
        """
        shares = np.abs(np.log(p_values) / np.log(self.resolution))
        return np.asarray(np.minimum(100.0, 100.0 * shares), dtype=np.float64)

    def cut(self, p_value: float) -> float:
        """The least score whose p-value is at most `p_value`, but above every held-out one at the least."""
        exceed = int(np.floor(p_value / self.resolution + 1e-9)) - 1
        index = len(self.scores) - 1 - max(0, exceed)
        return float(np.nextafter(self.scores[max(0, index)], np.inf)) if index >= 0 else -np.inf

    def cuts(self, p_value: float, rows: int, groups: Groups | None = None) -> NDArray[np.float64]:
        """`cut` of each row's group, shape (rows,)."""
        out = np.full(rows, self.cut(p_value))
        for mine, own in self._present(groups):
            out[mine] = own.cut(p_value)
        return out

    def coarsest(self, groups: Groups | None = None) -> Calibration:
        """Of the calibrations that these rows meet the one with the fewest held-out rows."""
        own = [own for _, own in self._present(groups)]
        return min(own, key=lambda each: len(each.scores), default=self)

    def _present(self, groups: Groups | None) -> list[tuple[NDArray[np.bool_], Calibration]]:
        """Which rows belong to each group that has a calibration of its own, for those that occur."""
        if groups is None or not self.groups:
            return []
        places = {name: place for place, name in enumerate(self.groups)}
        codes = np.array([places.get(name, -1) for name in groups], dtype=np.int64)
        own = list(self.groups.values())
        return [(codes == code, own[code]) for code in np.unique(codes[codes >= 0])]
