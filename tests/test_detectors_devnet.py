import jaxtyping
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from da3d.detectors import DevNet
from da3d.detectors.da3d_presets import preprint
from da3d.detectors.devnet import DeviationNetwork
from da3d.errors import ParameterError
from da3d.losses.deviation import deviation
from da3d.networks import Views
from da3d.seeding import seeded
from da3d.training import Batch


@pytest.fixture(autouse=True)
def _seeded():
    with seeded(0, torch.device("cpu")):
        yield


def model(rows=100, **parameters):
    given = {"depth": 2, "margin": 5.0, "reference": "once", "simple": 0, "sigma": 1.5, **parameters}
    network = DeviationNetwork(6, None, **given).eval()
    x = torch.randn(rows, 6)
    network.view.fit(x)
    return network, x


def hidden_among_normal_rows(seed=0):
    """Rows N(0, 1) and anomalies in a small region in their midst; then the same again to test on."""
    random = np.random.default_rng(seed)
    center = np.array([0.7, 0.7, -0.7, 0.0])

    def table(normal, strange):
        rows = np.r_[random.normal(size=(normal, 4)), center + 0.15 * random.normal(size=(strange, 4))]
        return rows, np.repeat([0, 1], [normal, strange])

    return *table(500, 20), *table(300, 100)


class TestLoss:
    def test_by_hand(self):
        scores = torch.tensor([0.5, -2.0, 1.0, 9.0], dtype=torch.float64)
        target = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
        # (|0.25| + |-1| + (5 - 0.5) + (5 - 4.5)) / 4
        assert deviation(scores, target, 0.0, 2.0).item() == (0.25 + 1 + 4.5 + 0.5) / 4
        shifted = deviation(scores + 3, target, torch.tensor(3.0).double(), torch.tensor(2.0).double())
        assert shifted.item() == (0.25 + 1 + 4.5 + 0.5) / 4
        assert deviation(scores, target, 0.0, 2.0, margin=2.0).item() == (0.25 + 1 + 1.5 + 0) / 4

    def test_a_target_between_weighs_both_terms(self):
        scores = torch.tensor([2.0], dtype=torch.float64)
        target = torch.tensor([0.25], dtype=torch.float64)
        assert deviation(scores, target).item() == 0.75 * 2 + 0.25 * 3

    def test_each_row_has_its_own_label(self):
        scores = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
        target = torch.tensor([0.0, 0.0, 1.0, 0.0])
        (slope,) = torch.autograd.grad(deviation(scores, target), scores)
        torch.testing.assert_close(slope, torch.tensor([0.25, 0.25, -0.25, 0.25]))

    @pytest.mark.parametrize("shapes", [((8, 1), (8,)), ((8,), (8, 1)), ((8,), (1,))])
    def test_shapes_that_would_be_broadcast_are_refused(self, shapes):
        with pytest.raises(jaxtyping.TypeCheckError):
            deviation(torch.zeros(shapes[0]), torch.zeros(shapes[1]))


class TestModel:
    def test_loss_of_a_batch_by_hand(self):
        network, x = model()
        known = torch.randn(40, 6) + 3
        with torch.no_grad():
            loss = network.deviate(Batch(x[:40], known)).item()
            scores = network(torch.cat([x[:40], known])).double().numpy()
        rows = ((torch.cat([x[:40], known]) - network.view.low) / network.view.span).double().numpy()
        first, last = network.scorer.hidden[0].weight, network.scorer.output.weight  # the biases are zero
        first, last = first.detach().double().numpy(), last.detach().double().numpy()
        np.testing.assert_allclose(
            scores, (np.maximum(rows @ first.T, 0) @ last.T)[:, 0], rtol=1e-4, atol=1e-5
        )
        d = (scores - network.reference_mean.item()) / network.reference_std.item()
        expected = np.r_[np.abs(d[:40]), np.maximum(5 - d[40:], 0)].mean()
        shrinkage = 0.01 * np.square(first).sum()
        assert loss == pytest.approx(expected + shrinkage, rel=1e-5)

    def test_every_weight_gets_a_gradient(self):
        network, x = model(depth=4, margin=0.01)  # a larger one balances the output's bias exactly
        network.deviate(Batch(x, x + 3)).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name

    @pytest.mark.parametrize(("depth", "hidden"), [(1, []), (2, [20]), (4, [1000, 250, 20])])
    def test_depths(self, depth, hidden):
        network, x = model(depth=depth)
        assert [layer.out_features for layer in network.scorer.hidden] == hidden
        assert torch.isfinite(network.deviate(Batch(x, x)))

    def test_reference_once_or_per_batch(self):
        network, x = model()
        assert abs(network.reference_mean) < 0.1
        assert network.reference_std == pytest.approx(1.0, abs=0.05)
        batch = Batch(x, x + 3)
        assert network.deviate(batch) == network.deviate(batch)
        fresh, _ = model(reference="batch")
        assert fresh.deviate(batch) != fresh.deviate(batch)

    def test_the_anomalous_half(self):
        network, x = model()
        none, some, all_known = x[:0], x[:30] + 9, x[:100] + 9
        assert torch.equal(network.anomalous(Batch(x, all_known)), network.view(all_known))
        made = network.anomalous(Batch(x, none))
        assert made.shape == (100, 6)
        assert made.mean().item() == pytest.approx(0.5, abs=0.15)  # noise N(1/2, 1) around [0, 1]
        network, x = model(simple=7)
        network.simple.copy_(torch.rand(7, 6))
        filled = network.anomalous(Batch(x, some))
        assert torch.equal(filled[:30], network.view(some))
        assert filled.shape == (100, 6)
        assert (filled[30:, None] == network.simple).all(2).any(1).all()


class TestSimple:
    def test_they_are_random_codes_decoded_by_the_autoencoder_of_da3d(self, rows):
        detector = DevNet(simple=100, target_epochs=3, steps=20, batch_size=32, random_state=0).fit(rows)
        network, s = detector.network_, preprint(3)
        assert [layer.out_features for layer in network.target.encoder.hidden] == list(s.widths[:-1])
        assert network.simple.shape == (100, 3)
        assert (network.simple > 0).all()
        assert (network.simple < 1).all()
        assert len(network.simple.unique(dim=0)) == 100
        assert {"reconstruction", "prior", "disguise"} < set(detector.history_.last("autoencoder"))
        torch.manual_seed(3)
        network.make_simple(torch.zeros(1, 3))
        torch.manual_seed(3)
        expected = network.target.decode(1.5 * torch.randn(100, s.widths[-1]))
        torch.testing.assert_close(network.simple, expected)

    def test_the_autoencoder_never_sees_known_anomalies(self):
        network, x = model(simple=5)
        for loss in (network.reconstruct, network.disguise):
            assert torch.equal(loss(Batch(x, x[:0])), loss(Batch(x, x + 9)))

    def test_known_anomalies_and_simple_ones_share_a_batch_by_their_number(self, rows, far_rows):
        detector = DevNet(simple=24, target_epochs=1, steps=5, batch_size=32, random_state=0)
        detector.fit(np.r_[rows, far_rows], np.repeat([0, 1], [60, 8]))
        shares = {p.name: p.known for p in detector._schedule(detector.network_, 60, 8)}
        assert shares == {"views": 0.0, "autoencoder": 0.0, "deviation": 8 / 32}

    def test_images(self):
        images = np.random.default_rng(0).integers(0, 255, size=(20, 1, 8, 8))
        detector = DevNet(simple=10, target_epochs=1, steps=5, batch_size=8, random_state=0).fit(images)
        assert not isinstance(detector.network_.view, Views)
        assert np.isfinite(detector.anomaly_score(images)).all()


class TestDetector:
    def test_schedule_is_that_of_the_authors_code(self, rows):
        detector = DevNet(random_state=0)
        detector._validated(rows, reset=True)
        network = detector._build(3)
        views, phase = detector._schedule(network, 60, 30)
        assert views.finish == network.view.fit
        (update,) = phase.updates
        assert (phase.steps, phase.batch_size, phase.known) == (1000, 256, 1.0)
        assert (update.clip, list(update.trains)) == (1.0, [network.scorer])
        optimizer = update.optimizer(network.scorer.parameters())
        assert isinstance(optimizer, torch.optim.RMSprop)
        assert (optimizer.defaults["lr"], optimizer.defaults["alpha"]) == (1e-3, 0.9)

    def test_known_anomalies_help(self):
        rows, labels, fresh, truth = hidden_among_normal_rows()
        with_labels = DevNet(steps=600, random_state=0).fit(rows, labels)
        without = DevNet(steps=600, random_state=0).fit(rows)
        helped = roc_auc_score(truth, with_labels.anomaly_score(fresh))
        assert helped > 0.9
        assert roc_auc_score(truth, without.anomaly_score(fresh)) < helped - 0.2

    def test_labels_point_the_right_way(self):
        rows, labels, fresh, truth = hidden_among_normal_rows()
        scores = DevNet(steps=600, random_state=0).fit(rows, labels).anomaly_score(fresh)
        assert np.median(scores[truth == 1]) - np.median(scores[truth == 0]) > 1
        flipped = DevNet(steps=600, random_state=0).fit(rows, 1 - labels).anomaly_score(fresh)
        assert roc_auc_score(truth, flipped) < 0.1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"depth": 3}, "depth is 3 but must be one of 1, 2, 4"),
        ({"reference": "never"}, "reference is 'never' but must be one of once, batch"),
        ({"margin": 0.0}, "margin is 0.0 but must be positive"),
        ({"sigma": -1.0}, "sigma is -1.0 but must be positive"),
        ({"simple": -1}, "simple is -1 but must be at least 0"),
    ],
)
def test_bad_arguments(rows, arguments, says):
    with pytest.raises(ParameterError, match=says):
        DevNet(**arguments).fit(rows)
