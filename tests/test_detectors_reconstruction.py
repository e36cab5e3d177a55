"""Autoencoders as detectors: losses and scores by hand, the papers' numbers, images, what is refused."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from da3d.detectors import AAE, AE, VAE
from da3d.detectors.reconstruction import AdversarialReplicator, Replicator, VariationalReplicator
from da3d.detectors.reconstruction_presets import PRESETS
from da3d.errors import ParameterError
from da3d.losses.variational import kl
from da3d.networks import (
    MLP,
    Autoencoder,
    ConvolutionalAutoencoder,
    HiddenCodeAutoencoder,
    PooledAutoencoder,
    VariationalAutoencoder,
    Views,
    squash,
)
from da3d.training import Batch

KINDS = [AE, AAE, VAE]
NONE = torch.zeros(0, 4)


@pytest.fixture
def x():
    return torch.randn(50, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def minmax(x):
    views = Views(4, ("minmax",))
    views.fit(x)
    return views


class TestEquations:
    def test_autoencoder(self, x):
        network = Replicator(Autoencoder(4, (8, 2), unit=False), squash).eval()
        v = squash(x)
        copy = network.target.decoder(network.target.encoder(v))
        torch.testing.assert_close(network(x), ((v - copy) ** 2).mean(1))
        torch.testing.assert_close(network.reconstruction(Batch(x, NONE)), F.mse_loss(copy, v))

    def test_autoencoder_of_rows_in_the_unit_interval(self, x):
        network = Replicator(Autoencoder(4, (8, 2), unit=True), minmax(x)).eval()
        v = (x - x.amin(0)) / (x.amax(0) - x.amin(0))
        copy = network.target.decoder(network.target.encoder(v)).sigmoid()
        torch.testing.assert_close(network(x), ((v - copy) ** 2).mean(1))
        torch.testing.assert_close(network.reconstruction(Batch(x, NONE)), F.binary_cross_entropy(copy, v))

    @pytest.mark.parametrize("bounded", [False, True])
    def test_adversarial(self, x, bounded):
        network = AdversarialReplicator(
            Autoencoder(4, (8, 2), unit=False), squash, MLP(2, (5,), 1), bounded=bounded
        ).eval()
        codes = network.target.encoder(squash(x))
        d = lambda h: (network.discriminator(h).sigmoid() if bounded else network.discriminator(h)).mean()  # noqa: E731
        batch = Batch(x, NONE)
        torch.testing.assert_close(network.disguise(batch), -d(codes))
        torch.manual_seed(5)
        loss = network.prior(batch)
        torch.manual_seed(5)
        torch.testing.assert_close(loss, d(codes) - d(torch.randn(50, 2)))

    @pytest.mark.parametrize("unit", [False, True])
    def test_variational(self, x, unit):
        target = VariationalAutoencoder(4, (8,), 2, unit=unit, dropout=0.0)
        network = VariationalReplicator(target, minmax(x) if unit else squash, 0.3)
        v = network.view(x)
        mean, log_variance = target.moments(v)
        divergence = 0.3 * kl(mean, log_variance)
        expected = ((v - target.decode(mean)) ** 2).sum(1) / 2 + divergence
        torch.testing.assert_close(network.eval()(x), expected)
        network.train()
        torch.manual_seed(5)
        loss = network.bound(Batch(x, NONE))
        torch.manual_seed(5)
        copy = target.decode(mean + (log_variance / 2).exp() * torch.randn(50, 2))
        if unit:
            error = F.binary_cross_entropy(copy, v, reduction="none").sum(1)
        else:
            error = ((v - copy) ** 2).sum(1) / 2
        torch.testing.assert_close(loss, (error + divergence).mean())

    def test_the_variance_of_a_far_code_neither_overflows_nor_ties_rows(self, x):
        network = VariationalReplicator(
            VariationalAutoencoder(4, (8,), 2, unit=False), lambda x: x, 1.0
        ).eval()
        near, far = network(1e3 * x), network(1e6 * x)
        assert far.isfinite().all()
        assert (far > near).all()


class TestPresets:
    def test_numbers_of_the_papers(self):
        a3 = PRESETS["AE"]["paper"]
        assert [a3(width).widths for width in (29, 80, 126)] == [
            (50, 25, 10, 5),
            (150, 80, 40, 20),
            (200, 100, 50, 25),
        ]
        assert (a3(29).learning_rate, a3(29).epochs, a3(29).batch_size) == (1e-3, 30, 256)
        da3d = PRESETS["AAE"]["paper"](126)
        assert (da3d.widths, da3d.discriminator_widths) == ((150, 100, 70, 40, 25, 10), (40, 20, 10, 5))
        assert (da3d.learning_rate, da3d.epochs, da3d.clip, da3d.bounded) == (1e-4, 500, 0.01, True)
        vae = PRESETS["VAE"]["paper"](784)
        assert (vae.widths, vae.learning_rate, vae.epochs) == ((800, 400, 100, 25), 1e-3, 30)

    @pytest.mark.parametrize("kind", KINDS)
    def test_paper_networks_see_the_unit_interval(self, kind, rows):
        detector = kind("paper", epochs=2, random_state=0).fit(rows)
        assert detector.network_.target.unit
        seen = detector.network_.view(detector._tensor(rows, torch.device("cpu")))
        assert (seen.min(), seen.max()) == (0, 1)

    def test_the_paper_autoencoders_are_those_of_their_papers(self, rows):
        assert isinstance(AE("paper", epochs=1).fit(rows).network_.target, HiddenCodeAutoencoder)
        assert isinstance(AAE("paper", epochs=1).fit(rows).network_.target, Autoencoder)

    @pytest.mark.parametrize("kind", KINDS)
    def test_arguments_override_the_preset(self, kind, rows):
        detector = kind("paper", widths=(6, 2), dropout=0.0, steps=3, batch_size=8, learning_rate=0.01)
        s = detector.fit(rows).settings_
        assert (s.widths, s.dropout, s.steps, s.epochs) == ((6, 2), 0.0, 3, None)
        assert (s.batch_size, s.learning_rate) == (8, 0.01)
        assert detector.history_.rows[-1]["step"] == 3

    def test_updates_and_their_order(self, rows):
        expected = {
            AE: ["reconstruction"],
            AAE: ["reconstruction", "prior", "disguise"],
            VAE: ["bound"],
        }
        for kind, names in expected.items():
            row = kind(steps=2).fit(rows).history_.last("autoencoder")
            assert [name for name in row if name not in ("phase", "step")] == names


class TestLearning:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_row_off_the_plane_is_stranger_than_a_farther_one_on_it(self, kind):
        random = np.random.default_rng(0)
        plane = random.normal(size=(2, 6))
        rows = random.normal(size=(400, 2)) @ plane
        on = 1.5 * random.normal(size=(50, 2)) @ plane
        normal = np.linalg.svd(plane)[2][-1]
        off = random.normal(size=(50, 2)) @ plane + normal * np.sign(random.normal(size=(50, 1)))
        detector = kind(steps=400, widths=(64, 2), batch_size=64, random_state=0).fit(rows)
        assert np.median(detector.anomaly_score(off)) > 2 * np.quantile(detector.anomaly_score(on), 0.9)

    def test_the_adversarial_codes_follow_the_prior(self, rows):
        table = np.tile(rows, (5, 1))
        codes = {}
        for kind in (AE, AAE):
            network = kind(steps=600, widths=(32, 2), batch_size=64, random_state=0).fit(table).network_
            with torch.no_grad():
                codes[kind] = network.target.encoder(squash(torch.from_numpy(table).float()))
        gap = {kind: abs(code.square().mean() - 1) for kind, code in codes.items()}
        assert gap[AAE] < 0.5 * gap[AE]

    def test_more_weight_on_the_divergence_draws_codes_to_the_prior(self, rows):
        norms = []
        for weight in (0.01, 10.0):
            network = VAE(steps=200, kl_weight=weight, random_state=0).fit(rows).network_
            with torch.no_grad():
                norms.append(network.target.moments(squash(torch.from_numpy(rows).float()))[0].norm())
        assert norms[1] < 0.2 * norms[0]


class TestImages:
    IMAGES = np.random.default_rng(0).integers(0, 255, size=(30, 1, 8, 8))

    @pytest.mark.parametrize(
        ("detector", "target"),
        [
            (AE(steps=2), ConvolutionalAutoencoder),
            (AE("paper", steps=2), PooledAutoencoder),
            (AAE(steps=2), ConvolutionalAutoencoder),
            (AAE("paper", steps=2), ConvolutionalAutoencoder),
            (AE(steps=2, widths=(16, 4)), Autoencoder),
            (AE("paper", steps=2, widths=(16, 4)), HiddenCodeAutoencoder),
            (VAE(steps=2), VariationalAutoencoder),
        ],
    )
    def test_networks(self, detector, target):
        detector.fit(self.IMAGES)
        assert type(detector.network_.target) is target
        assert detector.network_.target.unit
        assert isinstance(detector.network_.view, torch.nn.Identity)
        assert np.isfinite(detector.anomaly_score(self.IMAGES)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"preset": "a3"}, "preset is 'a3' but must be one of default, paper"),
        ({"epochs": 1, "steps": 1}, "epochs and steps are both given"),
        ({"steps": 0}, "steps is 0 but must be positive"),
        ({"epochs": -1}, "epochs is -1"),
        ({"widths": ()}, "widths is"),
        ({"widths": (3, 0)}, "positive layer widths"),
        ({"dropout": 1.0}, r"dropout is 1\.0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0"),
    ],
)
def test_bad_arguments(kind, rows, arguments, says):
    with pytest.raises(ParameterError, match=says):
        kind(**arguments).fit(rows)


def test_bad_arguments_of_the_variational_one(rows):
    with pytest.raises(ParameterError, match="kl_weight is 0"):
        VAE(kl_weight=0).fit(rows)
    with pytest.raises(ParameterError, match="a hidden layer and the code"):
        VAE(widths=(4,)).fit(rows)
