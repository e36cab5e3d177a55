import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from da3d.losses import variational
from da3d.networks import VariationalAutoencoder
from da3d.seeding import seeded


@pytest.fixture(autouse=True)
def _seeded():
    with seeded(0, torch.device("cpu")):
        yield


def linear_sizes(part):
    return [(m.in_features, m.out_features) for m in part.modules() if isinstance(m, nn.Linear)]


def test_layers_of_a3():
    network = VariationalAutoencoder(784, (800, 400, 100), 25, unit=True)
    assert linear_sizes(network.encoder) == [(784, 800), (800, 400), (400, 100)]
    assert linear_sizes(network.mean) == linear_sizes(network.log_variance) == [(100, 25)]
    assert linear_sizes(network.decoder) == [(25, 100), (100, 400), (400, 800), (800, 784)]
    assert [type(layer).__name__ for layer in network.decoder][-2:] == ["Dropout", "SteadyLinear"]


def test_a_code_is_drawn_in_training_and_is_the_mean_otherwise():
    network = VariationalAutoencoder(6, (8, 5), 2, unit=True, dropout=0.0)
    x = torch.rand(4000, 6)
    mean, log_variance = network.moments(x)
    assert mean.shape == log_variance.shape == (4000, 2)
    drawn = (network.sample(mean, log_variance) - mean) / (0.5 * log_variance).exp()
    assert abs(drawn.mean().item()) < 0.05
    assert drawn.std().item() == pytest.approx(1, abs=0.05)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network.sample(mean, log_variance), mean)
    assert torch.equal(network(x), network.decoder(network.moments(x)[0]))


def test_both_moments_learn():
    network = VariationalAutoencoder(6, (8,), 2, unit=False)
    network(torch.rand(9, 6)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.mean.parameters())
    assert all(p.grad is not None and p.grad.any() for p in network.log_variance.parameters())


def test_decoded_codes_are_rows():
    code = torch.randn(5, 2) * 9
    unit = VariationalAutoencoder(6, (8,), 2, unit=True).eval()
    assert ((unit.decode(code) > 0) & (unit.decode(code) < 1)).all()
    assert torch.equal(unit.decode(code), unit.decoder(code).sigmoid())
    free = VariationalAutoencoder(6, (8,), 2, unit=False).eval()
    assert torch.equal(free.decode(code), free.decoder(code))


def test_kl_is_the_divergence_from_the_prior():
    mean, log_variance = torch.randn(7, 3), torch.randn(7, 3)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(variational.kl(mean, log_variance), expected)
    assert variational.kl(torch.zeros(1, 4), torch.zeros(1, 4)).item() == 0
