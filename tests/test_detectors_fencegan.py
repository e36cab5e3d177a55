import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F

from da3d.detectors import FenceGAN
from da3d.detectors.fencegan import Fence
from da3d.detectors.fencegan_presets import cifar10, default, kdd99, mnist, plane
from da3d.errors import ParameterError
from da3d.losses import fence
from da3d.networks import Discriminator, ImageDiscriminator, ImageGenerator
from da3d.networks.generative import _Double, _Halve
from da3d.persistence import load, save
from da3d.seeding import seeded
from da3d.training import Adam, Batch

CPU = torch.device("cpu")
NONE = torch.zeros(0, 4)
MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


@pytest.fixture(autouse=True)
def _seeded():
    with seeded(0, CPU):
        yield


class TestLosses:
    """Every loss against the paper's formula, written out by hand."""

    d = torch.tensor([0.1, 0.3, 0.8])

    def test_encirclement(self):
        expected = np.mean(np.log(np.abs(0.5 - np.array([0.1, 0.3, 0.8]))))
        assert fence.log_distance(self.d.logit(), 0.5).item() == pytest.approx(expected, rel=1e-5)

    def test_encirclement_at_alpha_is_finite_with_a_finite_gradient(self):
        logits = torch.tensor([0.3, 0.3001, 2.0], requires_grad=True)
        loss = fence.log_distance(logits, torch.tensor(0.3).sigmoid().item())
        loss.backward()
        assert loss.item() == pytest.approx((2 * math.log(1e-3) + math.log(0.30635)) / 3, rel=1e-4)
        assert torch.isfinite(logits.grad).all()

    def test_with_alpha_one_it_is_the_original_gan(self):
        expected = torch.log(1 - self.d).mean()
        torch.testing.assert_close(fence.log_distance(self.d.logit(), 1.0), expected)

    def test_cross_entropy_is_least_at_alpha(self):
        d = self.d.numpy()
        expected = -np.mean(0.3 * np.log(d) + 0.7 * np.log(1 - d))
        assert fence.cross_entropy(self.d.logit(), 0.3).item() == pytest.approx(expected, rel=1e-5)
        grid = torch.linspace(0.01, 0.99, 99)
        losses = [fence.cross_entropy(p.logit()[None], 0.3).item() for p in grid]
        assert grid[int(np.argmin(losses))].item() == pytest.approx(0.3)

    def test_dispersion(self):
        square = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]) + 7.0
        torch.testing.assert_close(fence.dispersion(square), torch.tensor(1 / math.sqrt(2)))
        torch.testing.assert_close(fence.dispersion(3 * square), torch.tensor(1 / (3 * math.sqrt(2))))

    def test_dispersion_of_points_that_coincide_is_finite(self):
        points = torch.zeros(5, 2, requires_grad=True)
        loss = fence.dispersion(points)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(points.grad).all()

    def test_discriminator(self):
        torch.testing.assert_close(fence.real(self.d.logit()), -self.d.log().mean())
        torch.testing.assert_close(fence.generated(self.d.logit()), -(1 - self.d).log().mean())
        assert fence.generated(torch.tensor([200.0])) == 200  # no saturation


class TestModule:
    def network(self, **changes):
        detector = FenceGAN(**changes)
        detector.image_shape_ = None
        return detector._build(4).eval()

    def test_updates_are_the_equations(self):
        network = self.network(alpha=0.95, beta=3.0, gamma=0.2, encirclement="log_distance", batch_size=50)
        x = torch.randn(20, 4)
        batch = Batch(x, NONE)
        d = lambda rows: network.discriminator(rows).squeeze(1).sigmoid()  # noqa: E731

        def drawn(method):
            torch.manual_seed(3)
            value = method(batch)
            torch.manual_seed(3)
            z = 2.0 * torch.randn(50, 4)
            return value, network.generator(z) + z

        loss, g = drawn(network.discriminate)
        torch.testing.assert_close(loss, -d(x).log().mean() - 0.2 * (1 - d(g)).log().mean())
        loss, g = drawn(network.fake)
        torch.testing.assert_close(loss, -0.2 * (1 - d(g)).log().mean())
        torch.testing.assert_close(network.real(batch), -d(x).log().mean())
        loss, g = drawn(network.enclose)
        spread = (g - g.mean(0)).norm(dim=1).mean()
        torch.testing.assert_close(loss, (0.95 - d(g)).abs().log().mean() + 3.0 / spread)
        torch.testing.assert_close(network(x), (1 - d(x)).logit(), rtol=1e-4, atol=1e-5)

    def test_the_authors_generator_loss(self):
        network = self.network(alpha=0.4, beta=0.0, batch_size=50)
        torch.manual_seed(3)
        loss = network.enclose(Batch(torch.randn(20, 4), NONE))
        torch.manual_seed(3)
        torch.randn(20, 4)
        z = 2.0 * torch.randn(50, 4)
        d = network.discriminator(network.generator(z) + z).squeeze(1).sigmoid()
        torch.testing.assert_close(loss, F.binary_cross_entropy(d, torch.full_like(d, 0.4)))

    def test_without_skip_the_noise_is_replaced(self):
        network = self.network(skip=False, noise_width=7, noise_deviation=1.0)
        torch.manual_seed(3)
        rows = network.generate(10, CPU)
        torch.manual_seed(3)
        assert torch.equal(rows, network.generator(torch.randn(10, 7)))


class TestPresets:
    """The numbers of the authors' commands and code and of the paper's tables, one by one."""

    def test_2d(self):
        s = plane(2, None)
        assert (s.generator_widths, s.discriminator_widths, s.skip) == ((10, 10), (15, 15), True)
        assert (s.generator_slope, s.discriminator_slope) == (0.0, 0.0)
        assert (s.noise_width, s.noise_deviation, s.scaling) == (2, 8.0, "raw")
        assert (s.alpha, s.beta, s.gamma) == (0.5, 15.0, 0.1)
        assert (s.generator_rate, s.discriminator_rate, s.betas) == (1e-3, 1e-3, (0.9, 0.999))
        assert (s.batch_size, s.steps, s.epochs) == (100, (20, 30_001), None)
        assert (s.encirclement, s.turns) == ("cross_entropy", "separate")

    def test_mnist(self):
        s = mnist(784, MNIST)
        assert (s.generator_widths, s.generator_channels) == ((1024,), (128, 64))
        assert (s.discriminator_channels, s.discriminator_widths) == ((64, 64), (1024,))
        assert (s.kernel, s.start, s.generator_norm, s.discriminator_norm) == (4, "normal", "after", False)
        assert (s.generator_slope, s.discriminator_slope, s.discriminator_dropout) == (0.0, 0.1, 0.0)
        assert (s.noise_width, s.alpha, s.beta, s.gamma) == (200, 0.1, 30.0, 0.1)
        assert (s.generator_rate, s.discriminator_rate, s.betas) == (2e-5, 1e-5, (0.5, 0.999))
        assert (s.generator_decay, s.discriminator_decay) == (0.0, 0.0)
        assert (s.batch_size, s.epochs, s.steps) == (200, (15, 100), None)
        assert (s.encirclement, s.turns) == ("cross_entropy", "separate")

    def test_cifar10(self):
        s = cifar10(3072, CIFAR)
        assert (s.generator_widths, s.generator_channels) == ((), (256, 128, 64, 32))
        assert (s.discriminator_channels, s.discriminator_widths) == ((32, 64, 128, 256), ())
        assert (s.kernel, s.start) == (5, "glorot_normal")
        assert (s.generator_norm, s.discriminator_norm) == ("before", True)
        assert (s.generator_slope, s.discriminator_slope, s.discriminator_dropout) == (0.2, 0.2, 0.2)
        assert (s.noise_width, s.alpha, s.beta, s.gamma) == (256, 0.5, 10.0, 0.5)
        assert (s.generator_rate, s.discriminator_rate, s.betas) == (1e-3, 1e-4, (0.5, 0.999))
        assert (s.generator_decay, s.discriminator_decay) == (0.0, 1e-5)
        assert (s.batch_size, s.epochs, s.steps) == (128, (15, 150), None)
        assert (s.encirclement, s.turns) == ("cross_entropy", "separate")

    def test_kdd99(self):
        s = kdd99(121, None)
        assert (s.generator_widths, s.generator_dropout, s.generator_slope) == ((64, 128), 0.2, 0.0)
        assert (s.discriminator_widths, s.discriminator_dropout) == ((256, 128, 128), 0.0)
        assert (s.discriminator_slope, s.noise_width, s.skip) == (0.1, 32, False)
        assert (s.alpha, s.beta, s.gamma) == (0.5, 30.0, 0.5)
        assert (s.generator_rate, s.generator_decay) == (1e-4, 1e-3)
        assert (s.descent, s.discriminator_rate, s.discriminator_decay) == ("sgd", 8e-6, 1e-3)
        assert (s.batch_size, s.epochs, s.steps) == (256, (0, 50), None)
        assert (s.encirclement, s.turns) == ("log_distance", "joint")

    def test_default_grows_with_the_row(self):
        assert default(2, None).generator_widths == (32, 32)
        assert default(30, None).discriminator_widths == (120, 120)
        assert default(500, None).generator_widths == (256, 256)
        assert default(9, None).beta == pytest.approx(6.0)


def kinds(layers):
    return [type(layer).__name__.strip("_") for layer in layers]


class TestImages:
    def test_mnist_networks(self):
        network = Fence(784, MNIST, mnist(784, MNIST)).eval()
        dense = ["Linear", "LeakyReLU", "BatchNorm1d"]
        assert kinds(network.generator.layers) == [
            *dense,
            *dense,
            "Unflatten",
            *["Double", "LeakyReLU", "BatchNorm2d"],
            *["Double", "Tanh", "Flatten"],
        ]
        assert kinds(network.discriminator.layers) == [
            "Unflatten",
            *["Halve", "LeakyReLU"] * 2,
            *["Flatten", "Dropout", "Linear", "LeakyReLU", "Linear"],
        ]
        # Counted by hand: dense, batch normalisation (two per unit or channel), transposed convolutions.
        dense_weights = 201 * 1024 + 2 * 1024 + 1025 * 6272 + 2 * 6272
        convolutions = 128 * 64 * 16 + 64 + 2 * 64 + 64 * 16 + 1
        assert count(network.generator) == dense_weights + convolutions
        assert (
            count(network.discriminator) == 64 * 16 + 64 + 64 * 64 * 16 + 64 + (49 * 64 + 1) * 1024 + 1024 + 1
        )
        assert network.generate(3, CPU).shape == (3, 784)

    def test_cifar10_networks(self):
        network = Fence(3072, CIFAR, cifar10(3072, CIFAR)).eval()
        assert kinds(network.generator.layers) == [
            *["Linear", "Unflatten", "BatchNorm2d", "LeakyReLU"],
            *["Double", "BatchNorm2d", "LeakyReLU"] * 3,
            *["Double", "Tanh", "Flatten"],
        ]
        assert kinds(network.discriminator.layers) == [
            "Unflatten",
            *["Halve", "BatchNorm2d", "LeakyReLU"] * 3,
            *["Halve", "LeakyReLU", "Flatten", "Dropout", "Linear"],
        ]
        assert network.generator.layers[1].unflattened_size == (256, 2, 2)
        assert network.discriminator.layers[-1].in_features == 256 * 2 * 2
        assert network.discriminator.layers[-2].p == 0.2
        assert network.generate(3, CPU).shape == (3, 3072)

    def test_constants_of_the_papers_framework(self):
        network = Fence(3072, CIFAR, cifar10(3072, CIFAR))
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.01)}
        slopes = {m.negative_slope for m in network.modules() if isinstance(m, nn.LeakyReLU)}
        assert slopes == {0.2}

    def test_first_weights(self):
        shape = dict(kernel=4, slope=0.1, norm="none")  # noqa: C408
        normal = ImageGenerator(200, MNIST, (1024,), (128, 64), start="normal", **shape)
        assert normal.layers[0].weight.std().item() == pytest.approx(0.02, rel=0.05)
        glorot = ImageGenerator(200, MNIST, (1024,), (128, 64), start="glorot_normal", **shape)
        expected = math.sqrt(2 / (200 + 1024))
        assert glorot.layers[0].weight.std().item() == pytest.approx(expected, rel=0.05)
        uniform = ImageGenerator(200, MNIST, (1024,), (128, 64), start="glorot_uniform", **shape)
        bound = math.sqrt(6 / (200 + 1024))
        assert uniform.layers[0].weight.abs().max().item() == pytest.approx(bound, rel=0.01)
        assert not any(p.any() for p in uniform.parameters() if p.ndim == 1)

    @pytest.mark.parametrize(
        ("size", "kernel", "before", "after"), [(28, 4, 1, 1), (32, 5, 1, 2), (7, 4, 1, 2)]
    )
    def test_padding_is_that_of_the_papers_framework(self, size, kernel, before, after):
        """With one weight at a corner of the kernel, a shift shows how much was padded."""
        halve = _Halve(1, 1, kernel)
        x = torch.randn(1, 1, size, size)
        padded = F.pad(x, (before, after, before, after))
        for row, column in ((0, 0), (kernel - 1, kernel - 1)):
            nn.init.zeros_(halve.convolution.weight)
            nn.init.zeros_(halve.convolution.bias)
            halve.convolution.weight.data[0, 0, row, column] = 1.0
            half = -(-size // 2)
            expected = padded[:, :, row::2, column::2][:, :, :half, :half]
            assert torch.equal(halve(x), expected)

    @pytest.mark.parametrize("kernel", [4, 5])
    @pytest.mark.parametrize("size", [(28, 28), (7, 9), (1, 5)])
    def test_doubling_is_the_adjoint_of_halving(self, size, kernel):
        halve, double = _Halve(2, 3, kernel), _Double(3, 2, kernel, size)
        nn.init.zeros_(halve.convolution.bias)
        nn.init.zeros_(double.convolution.bias)
        double.convolution.weight.data.copy_(halve.convolution.weight)
        x, y = torch.randn(1, 2, *size), torch.randn(1, 3, -(-size[0] // 2), -(-size[1] // 2))
        torch.testing.assert_close((halve(x) * y).sum(), (x * double(y)).sum(), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("image", [(1, 8, 8), (3, 5, 13), (1, 1, 3)])
    def test_any_size(self, image):
        features = math.prod(image)
        network = Fence(features, image, default(features, image))
        rows = network.generate(4, CPU)
        assert isinstance(network.discriminator, ImageDiscriminator)
        assert rows.shape == (4, features)
        assert network(rows).shape == (4,)

    def test_digits(self):
        digits = load_digits().images[:600, None] / 16.0
        noise = np.random.default_rng(0).random((100, 1, 8, 8))
        detector = FenceGAN(steps=(10, 60), random_state=0).fit(digits[:500])
        scores = detector.anomaly_score(np.concatenate([digits[500:], noise]))
        assert roc_auc_score(np.repeat([0, 1], 100), scores) > 0.95
        np.testing.assert_allclose(detector.anomaly_score(noise[3:4]), scores[103:104], rtol=1e-9)
        generated = detector.generate(50)
        assert generated.shape == (50, 64)
        assert generated.min() >= 0
        assert generated.max() <= 1
        assert generated.std() > 0.05

    def test_flat_presets_take_images_as_rows(self):
        images = np.random.default_rng(0).integers(0, 255, size=(30, 1, 4, 4))
        detector = FenceGAN("kdd99", epochs=(0, 1), batch_size=8, random_state=0).fit(images)
        assert isinstance(detector.network_.discriminator, Discriminator)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


class TestSchedule:
    def phases(self, image=None, **changes):
        detector = FenceGAN(**changes)
        detector.image_shape_ = image
        network = detector._build(math.prod(image) if image else 4)
        return network, detector._schedule(network, 1000, 0)

    def test_the_authors_order(self):
        network, (pretrain, game) = self.phases(turns="separate")
        assert [u.name for u in pretrain.updates] == ["real", "fake"]
        assert [u.name for u in game.updates] == ["real", "fake", "generator"]
        assert game.updates[1].optimizer == "real"
        assert [u.trains for u in game.updates[:2]] == [[network.discriminator]] * 2
        assert game.updates[2].trains == [network.generator]
        assert (pretrain.steps, game.steps) == (50, 1000)

    def test_the_papers_order(self):
        _, (pretrain, game) = self.phases(turns="joint")
        assert [u.name for u in pretrain.updates] == ["discriminator"]
        assert [u.name for u in game.updates] == ["generator", "discriminator"]

    def test_optimisers_and_decays(self):
        network, (_, game) = self.phases(preset="kdd99")
        generator, discriminator = game.updates
        assert (generator.decay, discriminator.decay) == (1e-3, 1e-3)
        adam = generator.optimizer(network.generator.parameters())
        sgd = discriminator.optimizer(network.discriminator.parameters())
        assert isinstance(adam, Adam)
        assert (adam.param_groups[0]["lr"], adam.param_groups[0]["eps"]) == (1e-4, 1e-7)
        assert isinstance(sgd, torch.optim.SGD)
        assert (sgd.defaults["lr"], sgd.defaults["momentum"]) == (8e-6, 0)
        network, (_, game) = self.phases(CIFAR, preset="cifar10")
        assert [u.decay for u in game.updates] == [1e-5, 1e-5, 0.0]
        adam = game.updates[0].optimizer(network.discriminator.parameters())
        assert (adam.param_groups[0]["lr"], adam.param_groups[0]["betas"]) == (1e-4, (0.5, 0.999))

    def test_who_is_in_training_mode(self):
        """The generator learns with batch statistics; what the discriminator rejects has running ones."""
        seen = set()

        class Watched(FenceGAN):
            def _schedule(self, network, rows, known):
                network.generator.register_forward_hook(
                    lambda module, *_: seen.add((module.training, network.discriminator.training))
                )
                return super()._schedule(network, rows, known)

        images = np.random.default_rng(0).random((40, 1, 8, 8))
        detector = Watched(steps=(3, 3), batch_size=8, random_state=0).fit(images)
        # rejected by the discriminator; taught by it; watched by neither
        assert seen == {(False, True), (True, False), (False, False)}
        norms = [m for m in detector.network_.generator.modules() if isinstance(m, nn.BatchNorm2d)]
        assert all(m.num_batches_tracked == 3 for m in norms)  # none of them in the pre-training

    def test_gamma_acts_in_both_orders(self, rows):
        for turns in ("separate", "joint"):
            small, large = (
                FenceGAN(turns=turns, gamma=gamma, steps=(0, 40), random_state=0).fit(rows)
                for gamma in (0.05, 1.0)
            )
            # Real rows come first where gamma is small.
            assert small.anomaly_score(rows).mean() < large.anomaly_score(rows).mean() - 0.1

    def test_history(self, rows):
        history = FenceGAN(steps=(5, 10), random_state=0).fit(rows).history_
        assert set(history.last("pretrain")) > {"real", "fake"}
        watched = {"D on real", "D on generated", "spread of generated"}
        assert set(history.last("adversarial")) == {"step", "real", "fake", "generator", *watched}

    def test_a_last_batch_of_one_row(self):
        images = np.random.default_rng(0).random((17, 1, 8, 8))
        detector = FenceGAN(epochs=(1, 1), batch_size=8, random_state=0).fit(images)
        assert detector.history_.finite()


def test_a_fence_in_the_plane():
    x = np.random.default_rng(0).normal(20, 3, size=(2000, 2))
    detector = FenceGAN(noise_deviation=4.0, steps=(20, 600), random_state=0).fit(x)
    points = [x, detector.generate(500, 1), np.random.default_rng(0).normal(20, 12, size=(500, 2))]
    radius, apart, start = (np.linalg.norm(each - 20, axis=1) for each in points)
    # Generated points have come from afar and have stopped around the data, on all sides.
    assert np.quantile(radius, 0.75) < np.quantile(apart, 0.1)
    assert np.quantile(radius, 0.9) < np.median(apart) < 0.7 * np.median(start)
    angle = np.arctan2(*(points[1] - 20).T)
    assert np.histogram(angle, 6, (-math.pi, math.pi))[0].min() > 10
    everywhere = np.random.default_rng(1).uniform(0, 40, size=(500, 2))
    far = everywhere[np.linalg.norm(everywhere - 20, axis=1) > 10]
    labels = np.repeat([0, 1], [len(x), len(far)])
    assert roc_auc_score(labels, detector.anomaly_score(np.concatenate([x, far]))) > 0.95


class TestGenerate:
    @pytest.mark.parametrize("scaling", ["standard", "symmetric", "raw"])
    def test_rows_are_in_the_units_of_the_table(self, scaling):
        x = np.random.default_rng(0).normal(size=(200, 2)) * [1000.0, 0.1] + [5e4, -3.0]
        detector = FenceGAN(scaling=scaling, steps=(0, 1), random_state=0).fit(x)
        generated = detector.generate(400, seed=2)
        assert generated.shape == (400, 2)
        if scaling == "raw":
            assert np.abs(generated).max() < 100  # noise of its own, before any training
        else:
            assert np.abs(generated.mean(0) - [5e4, -3.0]).max() < 2000
            assert 1e3 < generated[:, 0].std() / generated[:, 1].std() < 1e5

    def test_scaling_of_tables_and_images(self, rows):
        def scaled(X, **changes):
            detector = FenceGAN(steps=(0, 1), random_state=0, **changes).fit(X)
            return (np.asarray(X).reshape(len(X), -1) - detector.center_) / detector.unit_

        np.testing.assert_allclose(scaled(rows, scaling="standard").std(0), 1)
        symmetric = scaled(np.c_[rows, np.full(60, 3.0)], scaling="symmetric")
        np.testing.assert_allclose(symmetric.min(0), [-1, -1, -1, 0])
        np.testing.assert_allclose(symmetric.max(0), [1, 1, 1, 0])
        np.testing.assert_array_equal(scaled(rows, scaling="raw"), rows)
        pixels = np.array([0, 51, 255]).reshape(3, 1, 1, 1)
        np.testing.assert_allclose(scaled(pixels).ravel(), [-1, -0.6, 1])

    def test_seeds_and_files(self, rows, tmp_path):
        detector = FenceGAN(steps=(2, 5), random_state=0).fit(rows)
        first = detector.generate(5, seed=1)
        np.testing.assert_array_equal(first, detector.generate(5, seed=1))
        assert not np.array_equal(first, detector.generate(5, seed=2))
        save(detector, tmp_path / "model")
        np.testing.assert_array_equal(first, load(tmp_path / "model").generate(5, seed=1))

    def test_needs_a_fit(self):
        with pytest.raises(NotFittedError):
            FenceGAN().generate(3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"preset": "paper"}, "preset is 'paper' but must be one of default, 2d, mnist, cifar10, kdd99"),
        ({"preset": "mnist"}, "'mnist', whose networks are convolutional, but X is a table"),
        ({"epochs": (1, 1), "steps": (1, 1)}, "epochs and steps are both given"),
        ({"steps": (1, 1, 1)}, "must be two numbers >= 0"),
        ({"encirclement": "hinge"}, "encirclement is 'hinge' but must be one of log_distance, cross_entropy"),
        ({"turns": "both"}, "turns is 'both'"),
        ({"scaling": "minmax"}, "scaling is 'minmax'"),
        ({"alpha": 0.0}, r"alpha is 0.0 but must lie in \(0, 1\]"),
        ({"gamma": 1.5}, "gamma is 1.5"),
        ({"beta": -1.0}, "beta is -1.0"),
        ({"batch_size": 1}, "batch_size is 1"),
        ({"noise_width": 2}, "rows of 3 features, but noise_width is 2"),
        ({"noise_deviation": 0.0}, "noise_deviation is 0.0"),
        ({"generator_widths": (0,)}, "generator_widths is"),
        ({"discriminator_rate": 0.0}, "discriminator_rate is 0.0"),
    ],
)
def test_bad_arguments(rows, arguments, says):
    with pytest.raises(ParameterError, match=says):
        FenceGAN(**arguments).fit(rows)


def test_skip_needs_a_dense_generator():
    images = np.random.default_rng(0).random((20, 1, 8, 8))
    with pytest.raises(ParameterError, match="skip adds the noise of a dense generator"):
        FenceGAN(skip=True, noise_width=64).fit(images)
