"""Explanations of wide tables: the memory they take is bounded, and what they say is as before."""

import tracemalloc

import numpy as np
import pytest

from da3d.pipeline import attribute
from da3d.pipeline.attribute import Columns


class Pairs:
    """Each column's square, and the product with its neighbour."""

    def __init__(self):
        self.most = 0

    def anomaly_score(self, X):
        X = np.asarray(X)
        self.most = max(self.most, X.size)
        return (X * X + X * np.roll(X, 1, axis=1)).sum(1)


def wide(columns):
    """A row of so many columns, of which the second has two features more, and the third lacks a value."""
    random = np.random.default_rng(3)
    owners = np.r_[np.arange(columns), 1, 1, -1]
    start, stop = random.normal(size=(2, len(owners)))
    stop[5:20] = start[5:20]
    gaps = np.zeros(columns)
    gaps[2] = 1
    start[-1], stop[-1] = 0, 1
    return Columns(start, stop, owners, gaps)


def test_memory_grows_with_the_columns_not_with_their_square():
    columns = wide(2000)
    tracemalloc.start()
    attribute.attribute(Pairs(), columns)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20  # all blends at once have 513 MiB


def test_few_blends_at_a_time_say_the_same(monkeypatch):
    columns, whole, parts = wide(60), Pairs(), Pairs()
    at_once = attribute.attribute(whole, columns)
    monkeypatch.setattr(attribute, "_BLENDED", 7 * len(columns.owners))
    in_parts = attribute.attribute(parts, columns)
    np.testing.assert_allclose(in_parts.contributions, at_once.contributions, atol=1e-12)
    assert parts.most == 7 * len(columns.owners) < whole.most
    assert in_parts.gap == pytest.approx(0, abs=1e-9)


def test_at_least_one_blend_at_a_time(monkeypatch):
    monkeypatch.setattr(attribute, "_BLENDED", 1)
    assert attribute.attribute(Pairs(), wide(30)).gap == pytest.approx(0, abs=1e-9)


def test_only_what_differs_changes():
    columns = wide(60)
    assert columns.changed.tolist() == [place for place in range(60) if not 5 <= place < 20]
    still = Columns(columns.start, columns.start, columns.owners, np.zeros(60))
    assert not len(still.changed)
    uncounted = Columns(columns.start[:60], columns.start[:60], columns.owners[:60], columns.gaps)
    assert not len(uncounted.changed)


def test_slopes_are_shared_out_by_column():
    columns = wide(60)
    slopes = np.random.default_rng(4).normal(size=len(columns.owners))
    steps = np.zeros((60, len(slopes)))
    for feature, owner in enumerate(columns.owners):
        steps[owner, feature] = columns.stop[feature] - columns.start[feature]
    steps[:, -1] = columns.gaps
    np.testing.assert_allclose(columns.shares(slopes), steps @ slopes, atol=1e-12)
