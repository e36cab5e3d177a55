import pytest
import torch
from sklearn.tree import DecisionTreeRegressor

from da3d.networks import KnownForest, MaskedForest
from da3d.networks.forest import _column_tree, _label_tree, _take_turns
from da3d.networks.trees import draw_bags, outside_bags
from da3d.seeding import seeded


def tied(rows, seed=0):
    """Columns 0 and 1 agree, 2 is noise, 3 is constant."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=random)
    x[:, 1] = x[:, 0] + 0.1 * torch.randn(rows, generator=random)
    x[:, 3] = 2.0
    return x


def grown(trees, x):
    forest = MaskedForest(trees)
    with seeded(1, torch.device("cpu")):
        forest.fit(x)
    return forest


@pytest.fixture(scope="module")
def forest():
    return grown(40, tied(600))


class TestEvidence:
    def test_a_broken_dependence_stands_out(self, forest):
        normal, broken = tied(300, seed=2), tied(300, seed=3)
        broken[:, 1] = broken[:, 1].roll(1)
        far = (broken[:, 0] - broken[:, 1]).abs() > 1  # the others happen to agree
        assert forest(broken)[far].median() > torch.quantile(forest(normal), 0.98)

    def test_is_usual_on_new_normal_rows(self, forest):
        evidence = forest(tied(2000, seed=4))
        assert abs(evidence.median()) < 0.3
        assert 0.7 < evidence.std() < 1.4

    def test_does_not_depend_on_the_batch(self, forest):
        x = tied(100, seed=5)
        assert torch.equal(torch.cat([forest(x[:1]), forest(x[1:])]), forest(x))

    def test_constant_columns_do_not_count(self, forest):
        x = tied(50, seed=6)
        other = x.clone()
        other[:, 3] = 99.0
        assert torch.equal(forest(x), forest(other))

    def test_a_predictable_column_counts_more_than_noise(self, forest):
        x = tied(200, seed=7)
        tie, noise = x.clone(), x.clone()
        tie[:, 1] += 1.5
        noise[:, 2] += 1.5
        assert (forest(tie) - forest(x)).mean() > 2 * (forest(noise) - forest(x)).mean()

    @pytest.mark.parametrize("x", [tied(50)[:, :1], torch.ones(50, 3), tied(2)])
    def test_is_zero_where_nothing_can_be_predicted(self, x):
        forest = grown(10, x)
        assert torch.equal(forest(x), torch.zeros(len(x)))

    def test_zero_trees_are_no_evidence(self):
        forest = grown(0, tied(50))
        assert torch.equal(forest(tied(50)), torch.zeros(50))


def test_survives_its_state(forest):
    other = MaskedForest(40)
    other.load_state_dict(forest.state_dict())
    x = tied(100, seed=8)
    assert torch.equal(other(x), forest(x))


def named(rows, seed=9):
    x = tied(rows, seed)
    x[:, 2] += 5
    return x


@pytest.fixture(scope="module")
def taught():
    forest = KnownForest(40)
    with seeded(1, torch.device("cpu")):
        forest.fit(tied(600), named(8))
    return forest


class TestKnown:
    """Anomalies of one kind are known: column 2 is high."""

    def test_rows_of_their_kind_stand_out(self, taught):
        evidence = taught(named(200, seed=10))
        assert evidence.max() <= 1
        assert (evidence > 0.3).float().mean() > 0.9

    def test_most_normal_rows_gain_nothing(self, taught):
        assert 0.8 < (taught(tied(2000, seed=11)) == 0).float().mean() < 0.97

    def test_another_kind_gains_no_more_than_normal_rows(self, taught):
        other = tied(200, seed=12)
        other[:, 2] -= 5
        assert (taught(other) == 0).float().mean() > 0.8

    def test_does_not_depend_on_the_batch(self, taught):
        x = named(100)
        assert torch.equal(torch.cat([taught(x[:1]), taught(x[1:])]), taught(x))

    def test_nobody_is_known(self):
        forest = KnownForest(10)
        forest.fit(tied(100), tied(0))
        assert torch.equal(forest(tied(20)), torch.zeros(20))

    def test_survives_its_state(self, taught):
        other = KnownForest(40)
        other.load_state_dict(taught.state_dict())
        x = named(100)
        assert torch.equal(other(x), taught(x))

    def test_both_sides_weigh_the_same(self):
        with seeded(0, torch.device("cpu")):
            _, threshold, leaves = _label_tree(torch.zeros(100, 1), torch.zeros(3, 1))
        assert not torch.isfinite(threshold).any()
        assert torch.allclose(leaves, torch.tensor(0.5))


def test_arrays_predict_as_the_tree_does():
    x = tied(400)
    shown, out = torch.tensor([0, 2]), torch.tensor([1])
    with seeded(0, torch.device("cpu")):
        split, threshold, leaves = _column_tree(x, torch.tensor([0, 1, 2]), out)
    with seeded(0, torch.device("cpu")):
        seed = int(torch.randint(2**31, ()))
    tree = DecisionTreeRegressor(max_depth=8, min_samples_leaf=3, max_features=2, random_state=seed)
    tree.fit(x[:, shown].numpy(), x[:, out].numpy())
    forest = MaskedForest(1)
    forest.plant([(split, threshold, leaves)])
    expected = torch.from_numpy(tree.predict(x[:, shown].numpy())).float()
    assert torch.allclose(forest.reached(x)[:, 0, 0], expected, atol=1e-6)


def test_columns_take_turns():
    with seeded(0, torch.device("cpu")):
        turns = _take_turns(torch.arange(7), trees=30, hidden=2)
    counts = turns.flatten().bincount(minlength=7)
    assert counts.max() - counts.min() <= 1
    assert all(len(set(row.tolist())) == 2 for row in turns)


def test_rows_are_judged_by_trees_that_did_not_learn_from_them():
    bags = [torch.tensor([0, 3, 9000]), torch.tensor([1, 2, 6])]
    judged, outside = outside_bags(9001, bags)
    assert len(judged) <= 4096
    for row, trees in zip(judged.tolist(), outside.tolist(), strict=True):
        assert trees == [row not in bag for bag in map(torch.Tensor.tolist, bags)]


def test_a_bag_keeps_its_own_rows_only():
    with seeded(0, torch.device("cpu")):
        (bag,) = draw_bags(100_000, 1)
    assert bag.untyped_storage().nbytes() == bag.nbytes
