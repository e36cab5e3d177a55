import numpy as np
import pytest
import torch
from scipy.stats import norm, rankdata
from sklearn.neighbors import NearestNeighbors

from da3d.networks import MLP, Autoencoder, Calibrated, Memory, Standardise, Views, clear_outliers, squash
from da3d.networks.evidence import Ellipsoid, nearest
from da3d.networks.mlp import SpectralLinear
from da3d.seeding import seeded

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _seeded():
    with seeded(0, CPU):
        yield


def test_mlp_trace_is_what_forward_uses():
    network = MLP(3, [5, 4], 2, activation="selu", dropout=0.5).eval()
    x = torch.randn(7, 3)
    output, activations = network.trace(x)
    assert torch.equal(output, network(x))
    assert [a.shape for a in activations] == [(7, 5), (7, 4)]
    assert torch.equal(activations[0], torch.selu(network.hidden[0](x)))


def test_mlp_activations_are_taken_before_dropout():
    network = MLP(3, [1000], 1, dropout=0.9).train()
    _, (activations,) = network.trace(torch.randn(1, 3))
    assert (activations == 0).sum() < 100


def test_mlp_starts_glorot_uniform():
    layer = MLP(300, [], 100).output
    bound = (6 / 400) ** 0.5
    assert layer.weight.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not layer.bias.any()


def test_spectral_layers_have_norm_one_and_are_lipschitz():
    network = MLP(6, [40, 30], 1, lipschitz=True).train()
    x = torch.randn(500, 6)
    for _ in range(30):  # power iterations
        network(x)
    network.eval()
    for layer in [*network.hidden, network.output]:
        assert isinstance(layer, SpectralLinear)
        unit = layer(torch.eye(layer.in_features)) - layer.bias
        assert torch.linalg.matrix_norm(unit.T, 2).item() == pytest.approx(1.0, rel=0.02)
    y = x + torch.randn_like(x)
    assert ((network(x) - network(y)).abs()[:, 0] <= 1.05 * (x - y).norm(dim=1)).all()


def test_spectral_layers_are_bounded_before_any_training():
    network = MLP(5, [40, 20, 10], 1, lipschitz=True).eval()
    assert network(torch.randn(200, 5) * 100).abs().max() < 500


def test_few_outputs_do_not_depend_on_the_row_s_place():
    layer = MLP(9, [], 7).output
    x, order = torch.randn(512, 9), torch.randperm(512)
    with torch.inference_mode():
        assert torch.equal(layer(x)[order], layer(x[order]))
        torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias)


def test_autoencoder_activations():
    target = Autoencoder(8, [6, 4, 2], unit=True).eval()
    x = torch.rand(5, 8)
    code = target.encoder(x)
    encoder, decoder, both = (target.activations(x, where) for where in ("encoder", "decoder", "all"))
    assert encoder.shape == decoder.shape == (5, 10)
    assert torch.equal(both, torch.cat([encoder, decoder], 1))
    # A code goes to the decoder as it is; only the encoder's share needs the row that it stands for.
    assert torch.equal(target.activations_of_code(code, "decoder"), decoder)
    again = target.activations(target.decode(code), "encoder")
    assert torch.allclose(target.activations_of_code(code, "all"), torch.cat([again, decoder], 1))
    assert [target.activation_width(w) for w in ("encoder", "decoder", "all")] == [10, 10, 20]
    assert ((target.decode(code) > 0) & (target.decode(code) < 1)).all()


def columns():
    random = np.random.default_rng(0)
    return torch.tensor(
        np.c_[
            random.normal(5, 2, 400),  # light tails
            np.exp(random.normal(0, 1.5, 400)),  # heavy tails
            np.arange(400) % 50 == 0,  # a rare flag
            np.full(400, 3.0),  # never varied
        ],
        dtype=torch.float32,
    )


def test_views_of_training_rows():
    x = columns()
    views = Views(4, ["minmax", "standard", "robust", "quantile"])
    views.fit(x)
    assert views(x).shape == (400, 16)
    minmax = views.minmax(x)
    assert minmax[:, :3].amin().item() == 0
    assert minmax[:, :3].amax().item() == 1
    z = views.standard(x)
    torch.testing.assert_close(z[:, :2].mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(z[:, :2].std(0, correction=0), torch.ones(2))
    assert z[:, 2].amax().item() == pytest.approx(1.96, abs=0.01)  # not 1 / sqrt(p (1 - p)) = 7
    assert not z[:, 3].any()
    assert views.heavy.tolist() == [False, True, False, False]
    expected = norm.ppf((rankdata(x[:, 1]) - 0.5) / 400)
    scores = views.quantile(x)[:, 1].numpy()
    np.testing.assert_allclose(scores, expected, atol=0.15)  # 256 knots for 400 values
    assert np.abs(scores - expected).mean() < 0.01
    assert not views.quantile(x)[:, [0, 2, 3]].any()
    assert not views.robust(x)[:, 2:].any()
    torch.testing.assert_close(views.where_heavy(x)[:, 0], z[:, 0])


def test_views_go_on_growing_beyond_what_was_fitted():
    x = columns()
    views = Views(4, ["standard", "robust", "quantile"])
    views.fit(x)
    far = x[:1].repeat(3, 1)
    far[:, 1] = torch.tensor([1e2, 1e4, 1e6])
    for view in (views.standard(far), views.robust(far), views.quantile(far)):
        assert view[:, 1].isfinite().all()
        assert (view[:, 1].diff() > 0.5).all()


def test_views_are_monotone():
    x = columns()
    views = Views(4, ["robust"])
    views.fit(x)
    line = torch.zeros(500, 4)
    line[:, 1] = torch.linspace(-5, 60, 500)
    assert (views.quantile(line)[:, 1].diff() >= 0).all()
    assert (views.robust(line)[:, 1].diff() > 0).all()


def test_squash_is_the_identity_near_zero_and_odd():
    x = torch.linspace(-50, 50, 101)
    torch.testing.assert_close(squash(x), -squash(-x))
    torch.testing.assert_close(squash(x / 1e4), x / 1e4, rtol=1e-3, atol=1e-6)
    assert squash(torch.tensor(1e9)) < 70


def test_standardise_leaves_constant_columns_alone():
    layer = Standardise(2)
    layer.fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    assert layer(torch.tensor([[1.0, 5.0], [3.0, 6.0]])).tolist() == [[-1.0, 0.0], [1.0, 1.0]]


def test_nearest_agrees_with_scikit_learn_also_among_near_duplicates():
    random = np.random.default_rng(0)
    memory = np.repeat(random.normal(100, 1, (40, 6)), 3, axis=0) + random.normal(0, 1e-3, (120, 6))
    rows = memory[::7] + 1e-3
    found = nearest(torch.tensor(rows, dtype=torch.float64), torch.tensor(memory), 2)
    expected = NearestNeighbors(n_neighbors=2, algorithm="kd_tree").fit(memory).kneighbors(rows)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def crowds(random, copies=80, columns=40):
    """Near copies of a few rows far from the origin, which a product in float32 cannot tell apart."""
    centers = np.repeat(random.normal(30, 1, (10, columns)), copies, axis=0)
    return (centers + random.normal(0, 1e-3, centers.shape)).astype(np.float32)


def test_nearest_is_exact_in_crowds_of_near_copies_far_from_the_origin():
    random = np.random.default_rng(0)
    memory = crowds(random)
    rows = np.concatenate([memory[::9] + np.float32(1e-3), random.normal(0, 30, (50, 40)).astype(np.float32)])
    found = nearest(torch.tensor(rows), torch.tensor(memory), 5)
    near = NearestNeighbors(n_neighbors=5, algorithm="kd_tree").fit(memory.astype(float))
    np.testing.assert_allclose(found, near.kneighbors(rows.astype(float))[0], rtol=1e-5)

    itself = nearest(torch.tensor(memory), torch.tensor(memory), 5, leave_self_out=True)
    np.testing.assert_allclose(itself, near.kneighbors()[0], rtol=1e-5)


def test_memory_leaves_a_row_out_of_its_own_distance():
    x = torch.randn(300, 4)
    memory = Memory(300, neighbors=5)
    memory.fit(x)
    scores = memory(torch.randn(300, 4))
    assert abs(scores.median().item()) < 0.3  # new rows look like remembered ones, thanks to leaving out
    assert memory(torch.full((1, 4), 30.0)).item() > scores.max().item()
    assert memory.distance(x).min().item() < 1


def test_copies_of_an_anomaly_do_not_make_it_normal():
    x, copies = torch.randn(300, 4), torch.full((20, 4), 6.0)
    memory, clean = Memory(300, neighbors=5), Memory(300, neighbors=5)
    memory.fit(torch.cat([x, copies]))
    clean.fit(x)
    assert (memory.rows == 6).all(1).sum() == 1
    assert memory(copies[:1]) > memory(torch.randn(300, 4)).max()
    assert sorted(clean.rows.tolist()) == sorted(x.tolist())


def test_memory_survives_a_state_dict_and_few_rows():
    memory = Memory(50, neighbors=5)
    memory.fit(torch.randn(3, 2))
    other = Memory(50, neighbors=5)
    other.load_state_dict(memory.state_dict())
    x = torch.randn(4, 2)
    assert torch.equal(memory(x), other(x))
    alone = Memory(50, neighbors=5)
    alone.fit(torch.zeros(1, 2))
    assert alone(x).isfinite().all()


def test_calibrated_has_unit_spread_about_the_median():
    values = torch.randn(1000) * 7 + 3
    evidence = Calibrated()
    evidence.fit(values)
    assert evidence(values).median().item() == pytest.approx(0, abs=1e-5)
    assert evidence(values).square().mean().item() == pytest.approx(1, rel=1e-3)


def test_ellipsoid_is_the_mahalanobis_length():
    vectors = torch.randn(2000, 3) * torch.tensor([1.0, 5.0, 0.2])
    evidence = Ellipsoid(3)
    evidence.fit(vectors, vectors)
    precision = np.linalg.inv(
        np.cov(vectors.numpy(), rowvar=False) + 0.01 * float(vectors.square().mean()) * np.eye(3)
    )
    exact = vectors.double().numpy()
    expected = np.log(np.einsum("ij,jk,ik->i", exact, precision, exact) + 1e-3)
    scores = evidence(vectors).numpy()
    assert np.corrcoef(scores, expected)[0, 1] > 0.9999
    assert abs(np.median(scores)) < 0.01


def test_clear_outliers_are_found_and_nothing_else():
    x = torch.randn(1000, 3)
    assert clear_outliers(x, 0.03).sum() <= 2
    x[:8] += 30
    dropped = clear_outliers(x, 0.03)
    assert dropped[:8].all()
    assert dropped.sum() <= 30
    assert not clear_outliers(torch.zeros(50, 3), 0.03).any()
