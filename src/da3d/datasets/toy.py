"""Generated tables for tests, examples and first tries; the seed fixes every value."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from da3d.datasets.base import LabelledTable
from da3d.errors import ParameterError

__all__ = ["blobs", "mixed", "plane", "ring"]

Floats = npt.NDArray[np.float64]


def blobs(rows: int = 1000, features: int = 4, anomalies: int = 50, seed: int = 0) -> LabelledTable:
    """Three Gaussian clusters, and anomalies scattered evenly over a box around them.

    Parameters
    ----------
    rows : int
        All rows, anomalies included.
    features : int
        Columns ``x0``, ``x1``, ...; without unit.
    anomalies : int
        How many of the rows are anomalies; each lies outside the reach of every cluster.
    seed : int
        Fixes every value.

    Raises
    ------
    ParameterError
        A size is not positive, or there are not fewer anomalies than rows.
    """
    _check_sizes(rows, anomalies, features)
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-4.0, 4.0, size=(3, features))
    normal = centres[rng.integers(3, size=rows - anomalies)] + rng.normal(
        0.0, 0.5, size=(rows - anomalies, features)
    )
    strange = _outside(centres, anomalies, rng)
    return _shuffled(_numbered(np.vstack([normal, strange])), _labels(rows, anomalies), rng)


def ring(rows: int = 1000, anomalies: int = 50, seed: int = 0) -> LabelledTable:
    """A ring in the plane; half of the anomalies lie in its hole, the others outside.

    No single column shows them, and the mean of the normal rows is the strangest place of all.

    Parameters
    ----------
    rows : int
        All rows, anomalies included; columns ``x0`` and ``x1``. Normal rows have a distance of 3 ± 0.2 from
        the origin.
    anomalies : int
        How many of the rows are anomalies, at a distance below 1.5 or from 4.5 to 6; groups say ``hole`` or
        ``outside``.
    seed : int
        Fixes every value.

    Raises
    ------
    ParameterError
        As in `blobs`.
    """
    _check_sizes(rows, anomalies)
    rng = np.random.default_rng(seed)
    inside = anomalies // 2
    radius = np.concatenate(
        [
            np.clip(rng.normal(3.0, 0.2, rows - anomalies), 2.2, 3.8),
            rng.uniform(0.0, 1.5, inside),
            rng.uniform(4.5, 6.0, anomalies - inside),
        ]
    )
    angle = rng.uniform(0.0, 2.0 * np.pi, rows)
    points = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    groups = np.repeat(
        np.array(["normal", "hole", "outside"], object), [rows - anomalies, inside, anomalies - inside]
    )
    return _shuffled(_numbered(points), _labels(rows, anomalies), rng, groups)


def plane(rows: int = 5500, anomalies: int = 500, seed: int = 0) -> LabelledTable:
    """Fence GAN's points in the plane, N((20, 20), 3), and anomalies spread over the square around them.

    Parameters
    ----------
    rows : int
        All rows, anomalies included; columns ``x0`` and ``x1``.
    anomalies : int
        How many of the rows are anomalies: evenly spread over [0, 40] x [0, 40], but further than 12 (four
        standard deviations) from the centre.
    seed : int
        Fixes every value.

    Raises
    ------
    ParameterError
        As in `blobs`.
    """
    _check_sizes(rows, anomalies)
    rng = np.random.default_rng(seed)
    square = rng.uniform(0.0, 40.0, size=(4 * anomalies + 100, 2))
    strange = square[np.hypot(*(square - 20.0).T) > 12.0][:anomalies]
    points = np.vstack([rng.normal(20.0, 3.0, size=(rows - anomalies, 2)), strange])
    return _shuffled(_numbered(points), _labels(rows, anomalies), rng)


def mixed(rows: int = 1000, seed: int = 0, anomalies: int | None = None) -> LabelledTable:
    """Card payments: numbers, categories, a boolean, a date, and missing values.

    Columns: ``amount`` (euro, long tail, 3 % missing), ``items`` (count), ``country`` and ``channel`` (text,
    3 % of `country` missing), ``member`` (boolean), ``paid_at`` (date and time, 2 % missing). Members pay
    less, shops sell more items than the web, and payments fall between 8 and 22 o'clock.

    Parameters
    ----------
    rows : int
        All rows, anomalies included.
    seed : int
        Fixes every value.
    anomalies : int or None
        How many of the rows are anomalies; None gives 5 %, at least 3. In turn: an ``amount`` of 5000 euro
        and more, a ``place`` (a country that normal rows never have, with 30 items and more), and a payment
        at ``night`` by a member with a large amount. Groups tell which.

    Raises
    ------
    ParameterError
        As in `blobs`.
    """
    planted = max(3, rows // 20) if anomalies is None else anomalies
    _check_sizes(rows, planted)
    rng = np.random.default_rng(seed)
    frame = _payments(rows, rng)
    kinds = np.array(["amount", "place", "night"], dtype=object)[np.arange(planted) % 3]
    groups = np.concatenate([np.full(rows - planted, "normal", dtype=object), kinds])
    _plant(frame, groups, rng)
    for column, share in (("amount", 0.03), ("country", 0.03), ("paid_at", 0.02)):
        frame.loc[(groups == "normal") & (rng.random(rows) < share), column] = None
    return _shuffled(frame, _labels(rows, planted), rng, groups)


def _payments(rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Ordinary payments, complete."""
    member = rng.random(rows) < 0.4
    channel = rng.choice(["shop", "web", "phone"], size=rows, p=[0.6, 0.35, 0.05])
    seconds = rng.integers(0, 90, rows) * 86_400 + rng.integers(8 * 3600, 22 * 3600, rows)
    return pd.DataFrame(
        {
            "amount": np.round(np.exp(rng.normal(np.where(member, 3.0, 3.6), 0.7)), 2),
            "items": 1 + rng.poisson(np.where(channel == "shop", 4.0, 1.5)),
            "country": rng.choice(["DE", "FR", "NL", "PL"], size=rows, p=[0.7, 0.12, 0.1, 0.08]),
            "channel": channel,
            "member": member,
            "paid_at": pd.Timestamp("2024-01-01") + pd.to_timedelta(seconds, unit="s"),
        }
    )


def _plant(frame: pd.DataFrame, groups: npt.NDArray[Any], rng: np.random.Generator) -> None:
    """Turn the rows of the anomalous groups into what their names say."""
    large, place, night = (np.flatnonzero(groups == kind) for kind in ("amount", "place", "night"))
    frame.loc[large, "amount"] = np.round(rng.uniform(5_000.0, 20_000.0, len(large)), 2)
    frame.loc[place, "country"] = "XK"
    frame.loc[place, "items"] = rng.integers(30, 60, len(place))
    frame.loc[night, "member"] = True
    frame.loc[night, "amount"] = np.round(rng.uniform(500.0, 900.0, len(night)), 2)
    frame.loc[night, "paid_at"] = frame.loc[night, "paid_at"].dt.normalize() + pd.Timedelta(hours=3)


def _outside(centres: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Points even in the box [-8, 8], none of them within reach of a cluster (standard deviation 0.5)."""
    features = centres.shape[1]
    reach = 0.5 * (np.sqrt(features) + 3.0)
    kept = np.empty((0, features))
    while len(kept) < count:
        points = rng.uniform(-8.0, 8.0, size=(count, features))
        distance = np.linalg.norm(points[:, None, :] - centres, axis=2).min(axis=1)
        kept = np.vstack([kept, points[distance >= reach]])
    return kept[:count]


def _check_sizes(rows: int, anomalies: int, features: int = 1) -> None:
    """Refuse a table that has no normal row, no column, or fewer than no anomalies."""
    if features < 1 or not 0 <= anomalies < rows:
        raise ParameterError(
            f"rows={rows}, anomalies={anomalies}, features={features}: a table needs a column and more "
            "rows than anomalies."
        )


def _labels(rows: int, anomalies: int) -> npt.NDArray[np.int64]:
    """Zeros, then as many ones as there are anomalies."""
    return (np.arange(rows) >= rows - anomalies).astype(np.int64)


def _numbered(values: Floats) -> pd.DataFrame:
    return pd.DataFrame(values, columns=[f"x{i}" for i in range(values.shape[1])])


def _shuffled(
    frame: pd.DataFrame,
    labels: npt.NDArray[np.int64],
    rng: np.random.Generator,
    groups: npt.NDArray[Any] | None = None,
) -> LabelledTable:
    """The same rows in random order."""
    order = rng.permutation(len(frame))
    return LabelledTable(
        frame.iloc[order].reset_index(drop=True),
        labels[order],
        groups=None if groups is None else groups[order],
    )
