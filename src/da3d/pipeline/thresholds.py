"""Which rows to raise an alarm for: four ways to say it, changeable at any time after `fit`."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from da3d.errors import ParameterError
from da3d.pipeline.calibrate import Calibration, Groups, ResolutionWarning

__all__ = ["ResolutionWarning", "Threshold"]

Rule = Literal["fpr", "budget", "top", "fdr"]

_MOST = 1e15  # rows


@dataclass(frozen=True, slots=True)
class Threshold:
    """A rule that turns scores into alarms.

    Attributes
    ----------
    rule : {"fpr", "budget", "top", "fdr"}
        - ``"fpr"``: at most this share of normal rows raises an alarm; each row is judged on its own.
        - ``"budget"``: the strangest rows of the table, this many per thousand.
        - ``"top"``: the strangest rows of the table, this many.
        - ``"fdr"``: at most this share of the alarms is false on average (Benjamini and Hochberg 1995).
    value : float
        In (0, 1) for "fpr" and "fdr", in (0, 1000] for "budget", a whole number >= 1 for "top".
    """

    rule: Rule
    value: float

    def __post_init__(self) -> None:
        limits = {"fpr": 1.0, "fdr": 1.0, "budget": 1000.0, "top": _MOST}
        if self.rule not in limits:
            raise ParameterError(f"rule is {self.rule!r} but must be one of {', '.join(limits)}.")
        inside = 0 < self.value <= limits[self.rule] and not self.value == 1.0 == limits[self.rule]
        if not inside or (self.rule == "top" and self.value != int(self.value)):
            wanted = {"budget": "rows per thousand, in (0, 1000]", "top": f"a whole number, 1 to {_MOST:g}"}
            raise ParameterError(
                f"{self.rule} is {str(self.value)[:40]} but must be {wanted.get(self.rule, 'in (0, 1)')}."
            )

    @classmethod
    def of(
        cls,
        *,
        fpr: float | None = None,
        budget: float | None = None,
        top: int | None = None,
        fdr: float | None = None,
    ) -> Threshold | None:
        """The threshold that exactly one argument describes, or None if there is none.

        Raises
        ------
        ParameterError
            More than one is given, or a value is out of its range.
        """
        rules: dict[Rule, float | None] = {"fpr": fpr, "budget": budget, "top": top, "fdr": fdr}
        given = [(rule, value) for rule, value in rules.items() if value is not None]
        if len(given) > 1:
            raise ParameterError(
                f"{' and '.join(r for r, _ in given)} are given; give one of fpr, budget, top, fdr."
            )
        return cls(*given[0]) if given else None

    @property
    def by_row(self) -> bool:
        """Whether a row's verdict is independent of the other rows of the table."""
        return self.rule == "fpr"

    def flags(
        self, scores: NDArray[np.float64], calibration: Calibration, groups: Groups | None = None
    ) -> NDArray[np.bool_]:
        """Which rows raise an alarm, shape (rows,).

        Where the calibration has groups, "fpr" holds within each of them, and the strangest rows are those
        with the smallest p-values (of equal ones those with the highest scores).
        """
        if self.rule == "fpr":
            self._check_resolution(calibration.coarsest(groups))
            return scores >= calibration.cuts(self.value, len(scores), groups)
        p_values = calibration.p_values(scores, groups)
        if self.rule == "fdr":
            from scipy.stats import false_discovery_control  # most of a second to import

            return np.asarray(false_discovery_control(p_values) <= self.value)
        count = self.value if self.rule == "top" else len(scores) * self.value / 1000
        flags = np.zeros(len(scores), dtype=bool)
        flags[np.lexsort((-scores, p_values))[: math.floor(count)]] = True
        return flags

    def cut(self, calibration: Calibration) -> float:
        """The score from which on a row raises an alarm, for the rule "fpr" and rows of no group."""
        self._check_resolution(calibration)
        return calibration.cut(self.value)

    def _check_resolution(self, calibration: Calibration) -> None:
        if self.value < calibration.resolution:
            warnings.warn(
                f"A false-positive rate of {self.value:g} cannot be resolved with {len(calibration.scores)} "
                f"held-out rows (the smallest p-value is {calibration.resolution:.2g}); rows stranger than "
                "every held-out row raise an alarm. Fit on more rows or ask for a higher rate.",
                ResolutionWarning,
                stacklevel=4,
            )

    def __str__(self) -> str:
        units = {
            "fpr": "false-positive rate",
            "fdr": "false-discovery rate",
            "budget": "alerts per thousand rows",
        }
        return f"{units.get(self.rule, 'strangest rows')} {self.value:.3g}"
