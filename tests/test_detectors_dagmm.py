import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score

from da3d.detectors import DAGMM
from da3d.detectors.dagmm import AutoencodingMixture, default, kdd, thyroid
from da3d.errors import ParameterError
from da3d.losses import energy
from da3d.networks.mixture import Mixture, cholesky, soft_mixture
from da3d.seeding import seeded
from da3d.training import Batch


@pytest.fixture(autouse=True)
def _seeded():
    with seeded(0, torch.device("cpu")):
        yield


def batch_of(x):
    return Batch(x, x[:0])


def mixture(components=3, width=4):
    """Shares, means and covariances, random, in float64."""
    weights = torch.rand(components, dtype=torch.float64)
    roots = torch.randn(components, width, width, dtype=torch.float64)
    return (
        weights / weights.sum(),
        torch.randn(components, width).double(),
        roots @ roots.mT + torch.eye(width),
    )


def energies_by_scipy(z, weights, means, covariances):
    """-log sum_k phi_k N(z; mu_k, Sigma_k)."""
    parts = zip(weights.numpy(), means.numpy(), covariances.numpy(), strict=True)
    logs = [np.log(phi) + multivariate_normal(mu, sigma).logpdf(z.numpy()) for phi, mu, sigma in parts]
    return -logsumexp(logs, axis=0)


class TestEnergy:
    def test_it_is_that_of_scipy(self):
        weights, means, covariances = mixture()
        z = 3 * torch.randn(50, 4, dtype=torch.float64)
        found = energy.sample_energy(z, weights, means, torch.linalg.cholesky(covariances))
        np.testing.assert_allclose(found, energies_by_scipy(z, weights, means, covariances), rtol=1e-12)

    def test_far_rows_keep_a_finite_energy(self):
        weights, means, covariances = mixture()
        z = torch.full((1, 4), 1e5, dtype=torch.float64)
        found = energy.sample_energy(z, weights, means, torch.linalg.cholesky(covariances))
        np.testing.assert_allclose(found, energies_by_scipy(z, weights, means, covariances), rtol=1e-12)
        assert np.exp(-found.item()) == 0  # the paper's form would take the logarithm of this

    def test_an_empty_component_changes_nothing(self):
        weights, means, covariances = mixture()
        weights = torch.tensor([0.3, 0.7, 0.0], dtype=torch.float64)
        z = torch.randn(5, 4, dtype=torch.float64)
        factors = torch.linalg.cholesky(covariances)
        without = energy.sample_energy(z, weights[:2], means[:2], factors[:2])
        torch.testing.assert_close(energy.sample_energy(z, weights, means, factors), without)

    def test_penalty_is_the_sum_of_inverse_variances(self):
        _, _, covariances = mixture()
        expected = (1 / torch.diagonal(covariances, dim1=1, dim2=2)).sum()
        torch.testing.assert_close(energy.covariance_penalty(torch.linalg.cholesky(covariances)), expected)


class TestMixture:
    def test_moments_are_those_of_numpy(self):
        z = torch.randn(200, 3, dtype=torch.float64) * torch.tensor([1.0, 5.0, 0.1])
        membership = torch.rand(200, 2, dtype=torch.float64)
        membership = membership / membership.sum(1, keepdim=True)
        weights, means, factors = soft_mixture(z, membership)
        for k in range(2):
            share = membership[:, k].numpy()
            np.testing.assert_allclose(weights[k], share.mean())
            np.testing.assert_allclose(means[k], np.average(z, axis=0, weights=share))
            covariance = np.cov(z.T, aweights=share, ddof=0) + 1e-6 * np.eye(3)
            np.testing.assert_allclose(factors[k] @ factors[k].T, covariance, rtol=1e-9)

    @pytest.mark.parametrize(
        "covariance",
        [
            torch.zeros(3, 3),
            torch.ones(3, 3) * 1e-9,
            torch.outer(torch.arange(1.0, 4), torch.arange(1.0, 4)) * 1e12,
            torch.diag(torch.tensor([1.0, 0.0, -1e-3])),  # what rounding may leave
        ],
    )
    def test_a_singular_covariance_has_a_factor(self, covariance):
        factors = cholesky(torch.stack([covariance, torch.eye(3)]).double())
        assert torch.isfinite(factors).all()
        assert (factors.diagonal(dim1=1, dim2=2) > 0).all()
        np.testing.assert_allclose(factors[1] @ factors[1].T, (1 + 1e-6) * np.eye(3))  # only where needed
        near = covariance.double()
        assert (factors[0] @ factors[0].T - near).abs().max() <= 0.1 * near.abs().max() + 2e-2

    def test_numbers_that_are_not_finite_stay_so(self):
        assert not torch.isfinite(cholesky(torch.full((1, 2, 2), torch.nan))).all()

    @pytest.mark.parametrize("rows", [1, 2])
    def test_a_few_rows_and_an_empty_component(self, rows):
        z = torch.randn(rows, 4, dtype=torch.float64, requires_grad=True)
        membership = torch.tensor([[1.0, 0.0]], dtype=torch.float64).repeat(rows, 1)
        weights, means, factors = soft_mixture(z, membership)
        loss = energy.sample_energy(z, weights, means, factors).sum() + energy.covariance_penalty(factors)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(z.grad).all()

    def test_it_is_kept_as_buffers(self):
        z, membership = torch.randn(30, 3), torch.rand(30, 2).softmax(1)
        kept = Mixture(2, 3)
        kept.fit(z.double(), membership.double())
        assert set(kept.state_dict()) == {"weights", "means", "factors"}
        for buffer, found in zip(kept.parts(), soft_mixture(z.double(), membership.double()), strict=True):
            torch.testing.assert_close(buffer, found.float())


class TestModel:
    """The equations at the head of the file, written out by hand in NumPy and SciPy."""

    def network(self, features=6):
        return AutoencodingMixture(features, default(features)).eval(), torch.randn(300, features)

    def test_latent_rows(self):
        network, x = self.network()
        z, copy = network.read(x)
        code = network.compression.encoder(x)
        torch.testing.assert_close(copy, network.compression(x))
        assert z.shape == (300, code.shape[1] + 2)
        a, b = x.double().numpy(), copy.detach().double().numpy()
        norm = np.linalg.norm
        relative = norm(a - b, axis=1) / (norm(a, axis=1) + 1e-3)
        cosine = (a * b).sum(1) / (norm(a, axis=1) * norm(b, axis=1) + 1e-3)
        torch.testing.assert_close(z[:, :-2], code)
        np.testing.assert_allclose(z[:, -2].detach(), relative, rtol=1e-5)
        np.testing.assert_allclose(z[:, -1].detach(), (1 - cosine) / 2, rtol=1e-5, atol=1e-6)

    def test_objective(self):
        network, x = self.network()
        with torch.no_grad():
            z, copy = network.read(x)
            share = network.membership(z)
            loss = network.objective(batch_of(x)).item()
        z = z.double()
        covariances = np.stack([np.cov(z.T, aweights=s, ddof=0) + 1e-6 * np.eye(z.shape[1]) for s in share.T])
        means = np.stack([np.average(z, axis=0, weights=s) for s in share.T])
        energies = energies_by_scipy(z, share.mean(0), torch.from_numpy(means), torch.from_numpy(covariances))
        copied = (x - copy).double().square().sum(1).mean().item()
        inverse = (1 / np.diagonal(covariances, axis1=1, axis2=2)).sum()
        assert loss == pytest.approx(copied + 0.1 * energies.mean() + 1e-4 * inverse, rel=1e-5)

    def test_every_weight_gets_a_gradient(self):
        network, x = self.network()
        network.train()
        network.objective(batch_of(x)).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name

    @pytest.mark.parametrize("x", [torch.zeros(4, 6), torch.ones(1, 6), torch.full((3, 6), 1e9)])
    def test_degenerate_batches_have_finite_gradients(self, x):
        network, _ = self.network()
        network.objective(batch_of(x)).backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())

    def test_score_is_the_energy_in_the_mixture_of_all_rows(self):
        network, x = self.network()
        with torch.no_grad():
            network.fit_mixture(x)
            z, _ = network.read(x)
            parts = soft_mixture(z.double(), network.membership(z))
            expected = energy.sample_energy(z.double(), *parts).float()
            torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(network(x[:1]), expected[:1], rtol=1e-4, atol=1e-4)


class TestDetector:
    def test_the_mixture_is_fixed_after_training_without_dropout(self, rows):
        detector = DAGMM(dropout=0.5, steps=20, batch_size=32, random_state=0).fit(rows)
        network = detector.network_
        x = detector._tensor(rows, torch.device("cpu"))
        assert network.estimation.dropout.p == 0.5
        with torch.no_grad():
            z, _ = network.read(x)
            expected = soft_mixture(z.double(), network.eval().membership(z))
        for buffer, found in zip(network.mixture.parts(), expected, strict=True):
            torch.testing.assert_close(buffer, found.float())

    def test_it_learns(self, rows):
        detector = DAGMM(steps=400, batch_size=64, random_state=0).fit(rows)
        losses = detector.history_.column("joint", "objective")
        assert losses[-1] < 0.7 * losses[0]
        assert {"reconstruction", "energy", "covariance"} < set(detector.history_.last("joint"))

    def test_rows_that_break_a_relation_are_found(self):
        random = np.random.default_rng(0)
        latent = random.normal(size=(600, 2))
        table = np.c_[latent, latent.sum(1), latent[:, 0] - latent[:, 1]] + 0.05 * random.normal(
            size=(600, 4)
        )
        broken = random.permuted(table[500:], axis=0)  # every column alone is as usual
        detector = DAGMM(steps=1200, random_state=0).fit(table[:400])
        scores = detector.anomaly_score(np.r_[table[400:500], broken])
        assert roc_auc_score(np.repeat([0, 1], 100), scores) > 0.85

    def test_equal_rows(self):
        detector = DAGMM(steps=20, batch_size=8, random_state=0).fit(np.ones((20, 3)))
        assert np.isfinite(detector.anomaly_score(np.eye(3))).all()

    def test_presets(self):
        s = kdd(121)
        assert (s.widths, s.estimation_widths, s.components) == ((60, 30, 10, 1), (10,), 4)
        assert (s.dropout, s.epochs, s.batch_size, s.learning_rate) == (0.0, 200, 1024, 1e-4)
        assert (s.energy_weight, s.covariance_weight) == (0.1, 1e-4)
        assert (thyroid(6).widths, thyroid(6).components, thyroid(6).epochs) == ((12, 4, 1), 2, 20_000)
        assert default(3).widths == (16, 8, 2)
        assert default(500).widths == (60, 30, 8)

    def test_a_budget_in_epochs_takes_the_place_of_steps(self, rows):
        history = DAGMM(epochs=3, batch_size=25, random_state=0).fit(rows).history_
        assert [row["step"] for row in history] == [3, 6, 9]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"preset": "paper"}, "preset is 'paper' but must be one of default, kdd, thyroid"),
        ({"epochs": 1, "steps": 1}, "epochs and steps are both given"),
        ({"widths": ()}, "widths is"),
        ({"estimation_widths": (0,)}, "estimation_widths is"),
        ({"components": 0}, "components is 0 but must be positive"),
        ({"energy_weight": -1.0}, "energy_weight is -1.0 but must be at least 0"),
        ({"dropout": 1.0}, r"dropout is 1.0 but must lie in \[0, 1\)"),
    ],
)
def test_bad_arguments(rows, arguments, says):
    with pytest.raises(ParameterError, match=says):
        DAGMM(**arguments).fit(rows)
