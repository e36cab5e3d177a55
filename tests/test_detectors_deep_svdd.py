import jaxtyping
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from da3d.detectors import DeepSAD, DeepSVDD
from da3d.detectors.deep_svdd import OneClass
from da3d.errors import ParameterError
from da3d.losses.hypersphere import hypersphere
from da3d.networks import MLP
from da3d.networks.hypersphere import Hypersphere, without_biases
from da3d.networks.lenet import lenet, mirrored_lenet
from da3d.seeding import seeded
from da3d.training import Batch


@pytest.fixture(autouse=True)
def _seeded():
    with seeded(0, torch.device("cpu")):
        yield


def model(rows=100, eta=1.0):
    network = OneClass(6, None, (16, 8, 4), eta).eval()
    x = torch.randn(rows, 6)
    network.view.fit(x)
    with torch.no_grad():
        network.fit_center(x)
    return network, x


class TestLoss:
    def test_by_hand(self):
        distance = torch.tensor([4.0, 0.0, 0.5, 8.0], dtype=torch.float64)
        target = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
        assert hypersphere(distance, target).item() == pytest.approx((4 + 0 + 2 + 0.125) / 4, rel=1e-5)
        assert hypersphere(distance, target, 3.0).item() == pytest.approx((4 + 6 + 0.375) / 4, rel=1e-5)

    def test_without_anomalies_it_is_the_mean_distance(self):
        distance = torch.rand(9, dtype=torch.float64)
        assert hypersphere(distance, torch.zeros(9, dtype=torch.float64)) == distance.mean()

    def test_a_target_between_weighs_both_terms(self):
        distance = torch.tensor([2.0], dtype=torch.float64)
        loss = hypersphere(distance, torch.tensor([0.25], dtype=torch.float64))
        assert loss.item() == pytest.approx(0.75 * 2 + 0.25 / 2, rel=1e-5)

    def test_an_anomaly_at_the_centre_has_a_finite_loss_and_gradient(self):
        distance = torch.zeros(1, requires_grad=True)
        loss = hypersphere(distance, torch.ones(1))
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(distance.grad).all()
        assert distance.grad < 0

    @pytest.mark.parametrize("shapes", [((8, 1), (8,)), ((8,), (8, 1)), ((8,), (1,))])
    def test_shapes_that_would_be_broadcast_are_refused(self, shapes):
        with pytest.raises(jaxtyping.TypeCheckError):
            hypersphere(torch.zeros(shapes[0]), torch.zeros(shapes[1]))


class TestHypersphere:
    def test_centre_is_the_mean_code_and_not_near_zero(self):
        sphere = Hypersphere(MLP(5, [8], 64), 64)
        x = torch.rand(9000, 5)  # more than a chunk
        with torch.no_grad():
            sphere.fit(x)
            mean = sphere.body(x).mean(0)
            code = sphere.body(x)
        near = mean.abs() < 0.1
        assert near.any()
        assert not near.all()
        torch.testing.assert_close(sphere.center[~near], mean[~near])
        torch.testing.assert_close(sphere.center[near], 0.1 * mean[near].sign())
        torch.testing.assert_close(sphere(x), (code - sphere.center).square().sum(1))

    def test_no_bias_is_left(self):
        layers = (
            nn.Unflatten(1, (1, 2, 3)),
            nn.Conv2d(1, 2, 1),
            nn.BatchNorm2d(2),
            nn.Flatten(),
            nn.Linear(12, 4),
        )
        for body in (MLP(6, [8], 4), nn.Sequential(*layers)):
            Hypersphere(body, 4)
            assert not any("bias" in name for name, _ in body.named_parameters())
            assert torch.isfinite(body(torch.randn(3, 6))).all()

    def test_a_constant_answer_is_out_of_reach(self):
        """A bias alone meets the objective, whatever the rows; without one the zero row stays where it is."""
        biased = MLP(6, [8], 4)
        center = torch.tensor([1.0, -2.0, 0.5, 0.1])
        for parameter in biased.parameters():
            nn.init.zeros_(parameter)
        biased.output.bias.data.copy_(center)
        assert torch.equal(biased(torch.randn(5, 6)), center.expand(5, 4))
        for _ in range(3):
            body = without_biases(MLP(6, [8], 4))
            x = torch.randn(5, 6)
            assert torch.equal(body(torch.zeros(1, 6)), torch.zeros(1, 4))
            torch.testing.assert_close(body(100 * x), 100 * body(x))  # unbounded, and nothing is added

    def test_centre_is_kept_as_a_buffer(self):
        network, _ = model()
        assert "sphere.center" in network.state_dict()
        assert "sphere.center" not in dict(network.named_parameters())


class TestLeNet:
    def test_shapes_are_those_of_the_authors_code(self):
        body, back = lenet((1, 28, 28), (8, 4), 32), mirrored_lenet((1, 28, 28), (8, 4), 32)
        x = torch.rand(3, 784)
        code = body(x)
        assert code.shape == (3, 32)
        assert back(code).shape == (3, 784)
        assert body[-1].in_features == 4 * 7 * 7
        kernels = [tuple(p.shape) for p in body.parameters()]
        assert kernels == [(8, 1, 5, 5), (4, 8, 5, 5), (32, 196)]
        assert not any("bias" in name for net in (body, back) for name, _ in net.named_parameters())

    @pytest.mark.parametrize("shape", [(3, 32, 32), (1, 9, 14), (2, 4, 4)])
    def test_other_sizes(self, shape):
        pixels = shape[0] * shape[1] * shape[2]
        body, back = lenet(shape, (6, 5), 7), mirrored_lenet(shape, (6, 5), 7)
        assert back(body(torch.rand(2, pixels))).shape == (2, pixels)

    def test_a_row_of_pixels_is_an_image(self):
        image = torch.zeros(1, 1, 8, 8)
        image[0, 0, 2, 5] = 1.0
        body = lenet((1, 8, 8), (1,), 4)
        found = body[1](body[0](image.flatten(1)))
        torch.testing.assert_close(found[0, 0, 0:5, 3:8], body[1].weight[0, 0].flip(0, 1))


class TestModel:
    def test_losses_by_hand(self):
        network, x = model(eta=2.0)
        known = torch.randn(30, 6) + 2
        v = (x - network.view.low) / network.view.span
        code = network.sphere.body(v)
        copy = network.decoder(code).sigmoid()
        torch.testing.assert_close(network.reconstruct(Batch(x, known)), (v - copy).square().mean())
        d = (code - network.sphere.center).square().sum(1)
        torch.testing.assert_close(network(x), d)
        torch.testing.assert_close(network.gather(Batch(x, x[:0])), d.mean())
        pushed = 2.0 / (network(known) + 1e-6)
        torch.testing.assert_close(network.gather(Batch(x, known)), torch.cat([d, pushed]).mean())

    def test_every_weight_gets_a_gradient(self):
        network, x = model()
        network.reconstruct(Batch(x, x[:0])).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name
        network.zero_grad()
        network.gather(Batch(x, x[:3])).backward()
        assert all(parameter.grad.abs().max() > 0 for parameter in network.sphere.parameters())

    def test_images_have_convolutions_unless_they_are_tiny(self):
        assert isinstance(OneClass(64, (1, 8, 8), (8, 4, 32), 1.0).sphere.body, nn.Sequential)
        assert isinstance(OneClass(9, (1, 3, 3), (8, 4, 32), 1.0).sphere.body, MLP)


def hidden_among_normal_rows(seed=0):
    """Rows N(0, 1) and anomalies in a small region in their midst; then the same again to test on."""
    random = np.random.default_rng(seed)
    center = np.array([0.7, 0.7, -0.7, 0.0])

    def table(normal, strange):
        rows = np.r_[random.normal(size=(normal, 4)), center + 0.15 * random.normal(size=(strange, 4))]
        return rows, np.repeat([0, 1], [normal, strange])

    return *table(500, 20), *table(300, 100)


class TestDetectors:
    def test_the_centre_stays_where_pre_training_put_it(self, rows):
        detector = DeepSVDD(steps=(30, 0), random_state=0).fit(rows)
        x = detector._tensor(rows, torch.device("cpu"))
        network = detector.network_
        with torch.no_grad():
            mean = network.sphere.body(network.view(x)).mean(0)
        far = mean.abs() >= 0.1
        torch.testing.assert_close(network.sphere.center[far], mean[far])
        longer = DeepSVDD(steps=(30, 40), random_state=0).fit(rows)
        assert torch.equal(longer.network_.sphere.center, network.sphere.center)

    def test_normal_rows_gather_but_do_not_collapse(self, rows, far_rows):
        start = DeepSVDD(steps=(100, 0), random_state=0).fit(rows).anomaly_score(rows)
        detector = DeepSVDD(steps=(100, 1500), learning_rate=1e-2, random_state=0).fit(rows)
        after = detector.anomaly_score(rows)
        assert after.mean() < start.mean()
        assert after.std() > 1e-3 * after.mean() > 0
        assert detector.anomaly_score(far_rows).min() > 10 * after.mean()

    def test_known_anomalies_help(self):
        rows, labels, fresh, truth = hidden_among_normal_rows()
        with_labels = DeepSAD(steps=(300, 1000), random_state=0).fit(rows, labels)
        without = DeepSVDD(steps=(300, 1000), random_state=0).fit(rows, labels)
        helped = roc_auc_score(truth, with_labels.anomaly_score(fresh))
        assert helped > 0.8
        assert roc_auc_score(truth, without.anomaly_score(fresh)) < helped - 0.2

    def test_deep_sad_without_labels_is_deep_svdd(self, rows):
        scores = [
            d(steps=(20, 20), random_state=0).fit(rows).anomaly_score(rows) for d in (DeepSAD, DeepSVDD)
        ]
        np.testing.assert_array_equal(*scores)

    def test_sizes_of_the_papers(self, rows):
        images = np.random.default_rng(0).integers(0, 255, size=(20, 3, 8, 8))
        sizes = {"steps": (1, 1), "batch_size": 10, "random_state": 0}
        colour = DeepSVDD(**sizes).fit(images).network_
        assert len(colour.sphere.center) == 128
        grey = DeepSVDD(**sizes).fit(images[:, :1]).network_
        assert len(grey.sphere.center) == 32
        narrow = DeepSVDD(**sizes).fit(rows).network_
        assert [layer.out_features for layer in narrow.sphere.body.hidden] == [32, 16]
        wide = DeepSVDD(**sizes).fit(np.random.default_rng(0).normal(size=(20, 120))).network_
        assert [layer.out_features for layer in wide.sphere.body.hidden] == [128, 64]
        assert len(wide.sphere.center) == 32

    def test_a_budget_in_epochs_takes_the_place_of_steps(self, rows):
        history = DeepSVDD(epochs=(2, 3), batch_size=25, random_state=0).fit(rows).history_
        assert [(row["phase"], row["step"]) for row in history] == [
            ("autoencoder", 3),
            ("autoencoder", 6),
            ("one-class", 3),
            ("one-class", 6),
            ("one-class", 9),
        ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"widths": ()}, "widths is"),
        ({"steps": (1,)}, "steps is .* but must be two numbers"),
        ({"epochs": (1, -1)}, "epochs is .* but must be two numbers"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0 but must be positive"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0 but must be at least 0"),
        ({"eta": 0.0}, "eta is 0.0 but must be positive"),
        ({"known_share": 0.0}, "known_share is 0.0 but must be positive"),
    ],
)
def test_bad_arguments(rows, arguments, says):
    with pytest.raises(ParameterError, match=says):
        DeepSAD(**arguments).fit(rows)
