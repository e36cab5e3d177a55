"""Numbers and names as a page shows them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from markupsafe import Markup, escape

from da3d.pipeline import Threshold
from da3d.reports.bands import Interval

__all__ = ["FILTERS", "coded", "interval", "number", "percent", "rule", "size", "whole"]

_THIN = "\u202f"
_MINUS = "\u2212"
_CODE = re.compile(r"`([^`]+)`")


def whole(count: float) -> str:
    """A whole number with its thousands apart."""
    return f"{count:,.0f}".replace(",", _THIN).replace("-", _MINUS)


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many digits that matter; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if 10**digits <= abs(value) < 1e15 or (float(value).is_integer() and abs(value) < 10**digits):
        return whole(value)
    return f"{value:.{digits}g}".replace("-", _MINUS)


def percent(share: float | None) -> str:
    """A share in [0, 1] in percent, two digits below ten."""
    if share is None or math.isnan(share):
        return "–"
    hundredth = 100 * share
    shown = f"{hundredth:.0f}" if hundredth >= 9.95 or not hundredth else f"{hundredth:.2g}"
    return f"{shown}{_THIN}%"


def rule(threshold: Threshold) -> str:
    """Which rows raise an alarm, in words."""
    return {
        "fpr": f"false-positive rate {percent(threshold.value)}",
        "fdr": f"false-discovery rate {percent(threshold.value)}",
        "budget": f"the strangest {number(threshold.value)} per thousand rows",
        "top": f"the strangest {whole(threshold.value)} rows",
    }[threshold.rule]


def interval(value: Interval) -> str:
    """A value with the bounds of its 95 % interval."""
    return f"{value.value:.3f} ({value.low:.3f}–{value.high:.3f})"


def size(length: int) -> str:
    """A number of bytes with its unit."""
    return f"{length / 1e6:.1f}{_THIN}MB" if length >= 1e6 else f"{length / 1e3:.1f}{_THIN}kB"


def coded(sentence: str) -> Markup:
    """A sentence with what stands in backticks set as code, and everything escaped."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(sentence))))


FILTERS: dict[str, Callable[..., Any]] = {
    "coded": coded,
    "interval": interval,
    "number": number,
    "percent": percent,
    "size": size,
    "whole": whole,
}
"""What templates may call."""
