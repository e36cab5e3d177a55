"""Tails of columns: against ranks counted by hand, and where ranks say nothing."""

import numpy as np
import torch

from da3d.networks import Tails


def surprises(column, values):
    """-log 2p by counting, of values within the range of a column."""
    shares = [
        (min((column <= value).sum(), (column >= value).sum()) + 1) / (len(column) + 1) for value in values
    ]
    return -np.log(np.minimum(1, 2 * np.array(shares)))


def fitted(*columns):
    tails = Tails(len(columns))
    tails.fit(torch.tensor(np.stack(columns, 1), dtype=torch.float32))
    return tails


def added_up(tails, *columns):
    return tails.added_up(torch.tensor(np.stack(columns, 1), dtype=torch.float32)).numpy()


def test_surprise_is_a_rank_on_both_sides():
    column = np.arange(50.0)
    np.testing.assert_allclose(added_up(fitted(column), column), surprises(column, column), atol=1e-5)


def test_many_values_are_known_best_at_the_ends():
    column = np.sort(np.random.default_rng(0).normal(size=3000))
    apart = np.abs(added_up(fitted(column), column) - surprises(column, column))
    assert apart.max() < 0.3
    assert apart[[0, 1, -2, -1]].max() < 1e-3


def test_copies_share_a_rank():
    column = np.repeat([0.0, 1.0, 2.0], [10, 89, 1])
    found = added_up(fitted(column), np.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(found, -np.log([22 / 101, 1, 4 / 101]), atol=1e-5)


def test_outside_the_range_it_grows():
    inside = np.arange(50.0)
    found = added_up(fitted(inside), np.array([-0.02, 49.02, 52.0, 1e6]))
    assert found[0] > -np.log(2 / 51)
    assert (np.diff(found[1:]) > 0).all()
    assert np.isfinite(found).all()


def test_a_constant_column_is_surprised_by_any_other_value():
    found = added_up(fitted(np.full(40, 3.0)), np.array([3.0, 3.0 + 1e-6, 3.5]))
    assert found[0] == 0
    assert found[1] < 0.01
    assert found[2] > -np.log(2 / 41)


def test_columns_add_up():
    first, second = np.arange(60.0), np.sin(np.arange(60.0))
    together = added_up(fitted(first, second), first, second)
    apart = added_up(fitted(first), first) + added_up(fitted(second), second)
    np.testing.assert_allclose(together, apart, rtol=1e-5)
