from copy import deepcopy

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional as F

from da3d.counterexamples import latent, noise
from da3d.detectors import A3
from da3d.detectors.a3_presets import default, paper
from da3d.errors import ParameterError
from da3d.losses import activity
from da3d.networks import Hooked
from da3d.persistence import load, save
from da3d.seeding import seeded
from da3d.training import Batch

CPU = torch.device("cpu")
NONE = torch.zeros(0, 6)
LITTLE = {"steps": (20, 20), "batch_size": 32, "random_state": 0}


@pytest.fixture(autouse=True)
def _seeded():
    with seeded(0, CPU):
        yield


@pytest.fixture(scope="module")
def digits():
    """Images of digits: 0 to 4 to learn from, and all that are left with 1 for the digits 5 to 9."""
    images, digit = load_digits(return_X_y=True)
    images = images.reshape(-1, 1, 8, 8) * (255 / 16)
    normal = np.flatnonzero(digit < 5)
    train, rest = normal[:500], np.setdiff1d(np.arange(len(digit)), normal[:500])
    return images[train], digit[train], images[rest], (digit[rest] > 4).astype(int)


class Classifier(nn.Module):
    """A small image classifier with dropout and batch normalisation, of pixels from 0 to 255."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2)
        )
        self.judge = nn.Sequential(
            nn.Flatten(), nn.Linear(128, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 5)
        )

    def forward(self, images):
        assert images.shape[1:] == (1, 8, 8)
        return self.judge(self.features(images / 255))


@pytest.fixture(scope="module")
def classifier(digits):
    images, digit, _, _ = digits
    x, y = torch.tensor(images, dtype=torch.float32), torch.tensor(digit)
    with seeded(0, CPU):
        network = Classifier()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        for _ in range(40):
            F.cross_entropy(network(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
    return network


def built(features, image=None, **arguments):
    """The untrained model of a detector."""
    detector = A3(**arguments)
    detector.image_shape_ = image
    return detector._build(features)


def model(rows=200, image=None, **arguments):
    """A small untrained model of six features (or an image) that has seen its rows' ranges."""
    sizes = {"alarm_widths": (20, 10), "variational_widths": (12, 3)}
    features = 6 if image is None else int(np.prod(image))
    network = built(features, image, **{"preset": "paper", **sizes, **arguments}).eval()
    x = torch.rand(rows, features) if image else torch.randn(rows, features)
    network.fit_views(x)
    network.fit_activations(x)
    return network, x


class TestPresets:
    def test_the_papers_architectures(self):
        kdd, ids, card = paper(126, False), paper(80, False), paper(29, False)
        assert (kdd.widths, kdd.batch_size) == ((200, 100, 50, 25), 256)
        assert (ids.widths, ids.batch_size) == ((150, 80, 40, 20), 2048)
        assert (card.widths, card.batch_size) == ((50, 25, 10, 5), 256)
        assert paper(4000, False).widths == kdd.widths
        assert paper(784, True).batch_size == 256
        assert kdd.alarm_widths == (1000, 500, 200, 75)
        assert kdd.variational_widths == (800, 400, 100, 25)
        assert (kdd.target_rate, kdd.alarm_rate, kdd.epochs, kdd.steps) == (1e-3, 1e-5, (30, 60), None)
        assert (kdd.dropout, kdd.activation, kdd.view) == (0.1, "relu", "minmax")
        assert (kdd.counterexamples, kdd.counterexample_weight, kdd.tail_sigma) == (("gaussian",), 1.0, 5.0)
        assert (kdd.l1, kdd.l2, kdd.known_share) == (0.0, 0.0, None)

    def test_width_of_what_the_alarm_reads(self):
        for features, width in {126: 725, 80: 560, 29: 175}.items():
            assert built(features, preset="paper").alarm[0].in_features == width

    def test_layers_of_the_alarm(self):
        alarm = built(784, (1, 28, 28), preset="paper").alarm
        assert [m.in_features for m in alarm if isinstance(m, nn.Linear)] == [7432, 1000, 500, 200, 75]
        assert [type(m).__name__ for m in alarm][-2:] == ["Dropout", "SteadyLinear"]
        assert sum(isinstance(m, nn.Dropout) for m in alarm) == 1

    def test_the_default_follows_the_tables_width(self):
        assert default(4, False).widths == (64, 32, 2)
        assert default(500, False).widths == (256, 128, 32)


class TestEquations:
    """Every loss against the formula at the head of the file, written out by hand."""

    def test_target(self):
        network, x = model()
        v = network.views.minmax(x)
        assert v.amin().item() == 0
        assert v.amax().item() == 1
        copy = network.target(v).sigmoid()
        torch.testing.assert_close(network.reconstruction(Batch(x, NONE)), F.binary_cross_entropy(copy, v))

    def test_target_of_the_default(self):
        network, x = model(preset="default")
        v = network.views.standard(x)
        torch.testing.assert_close(network.reconstruction(Batch(x, NONE)), F.mse_loss(network.target(v), v))

    def test_adversarial_target(self):
        network, x = model(target="adversarial")
        codes = network.target.encoder(network.views.minmax(x))
        of_codes = network.discriminator(codes).mean()
        torch.testing.assert_close(network.disguise(Batch(x, NONE)), -of_codes)
        torch.manual_seed(5)
        loss = network.prior(Batch(x, NONE))
        torch.manual_seed(5)
        torch.testing.assert_close(loss, of_codes - network.discriminator(torch.randn_like(codes)).mean())

    def test_variation(self):
        network, x = model(counterexamples="variational")
        network.anomaly_network.eval()  # the code is its mean
        v = network.views.minmax(x)
        mean, log_variance = network.anomaly_network.moments(v)
        copy = network.anomaly_network.decoder(mean).sigmoid()
        error = F.binary_cross_entropy(copy, v, reduction="none").sum(1)
        divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1)
        torch.testing.assert_close(network.variation(Batch(x, NONE)), (error + divergence).mean())

    def test_alarm(self):
        network, x = model(counterexample_weight=0.7)
        known = torch.randn(9, 6) + 3
        network.known_weight = 0.5
        torch.manual_seed(5)
        loss = network.alert(Batch(x, known))
        torch.manual_seed(5)
        made = network.views.from_minmax(torch.randn_like(x) + 0.5)
        p = lambda rows: network(rows).sigmoid()  # noqa: E731
        labels, weights = torch.zeros(209), torch.ones(209)
        labels[200:], weights[200:] = 1.0, 0.5
        each = F.binary_cross_entropy(p(torch.cat([x, known])), labels, reduction="none")
        expected = (weights * each).sum() / weights.sum()
        expected = expected + 0.7 * F.binary_cross_entropy(p(made), torch.ones(200))
        torch.testing.assert_close(loss, expected)

    def test_several_sources_share_one_weight_or_have_their_own(self):
        sources = ["gaussian", "uniform"]
        for weight, each in ((1.0, (0.5, 0.5)), ((0.2, 3.0), (0.2, 3.0))):
            network, x = model(counterexamples=sources, counterexample_weight=weight)
            torch.manual_seed(5)
            loss = network.alert(Batch(x, NONE))
            torch.manual_seed(5)
            expected = F.softplus(network(x)).mean()
            for source, factor in zip(sources, each, strict=True):
                made = network.counterexamples(source, x)
                expected = expected + factor * F.softplus(-network(made)).mean()
            torch.testing.assert_close(loss, expected)

    def test_regulariser(self):
        network, x = model(l1=0.1, l2=0.3)
        torch.manual_seed(5)
        loss = network.alert(Batch(x, NONE))
        torch.manual_seed(5)
        made = network.counterexamples("gaussian", x)
        p = network(torch.cat([x, made])).sigmoid()
        plain = F.softplus(network(x)).mean() + F.softplus(-network(made)).mean()
        penalty = 0.1 * (1 - p).abs().mean() + 0.3 * (1 - p).square().mean()
        torch.testing.assert_close(loss, plain + penalty)
        assert activity.towards_anomaly(torch.tensor([200.0]), 1.0, 1.0).item() == 0

    def test_the_score_is_the_alarms_logit(self):
        network, x = model()
        activations = network.target.activations(network.views.minmax(x), "all")
        assert torch.equal(network(x), network.alarm(activations).squeeze(1))
        network, x = model(preset="default")
        activations = network.target.activations(network.views.standard(x), "all")
        torch.testing.assert_close(
            network.standardise(activations).mean(0), torch.zeros(activations.shape[1]), atol=1e-4, rtol=0
        )
        assert torch.equal(network(x), network.alarm(network.standardise(activations)).squeeze(1))


class TestCounterexamples:
    def test_noise(self):
        network, x = model(rows=4000)
        gaussian = network.views.minmax(network.gaussian(x))
        assert gaussian.mean().item() == pytest.approx(0.5, abs=0.02)
        assert gaussian.std().item() == pytest.approx(1.0, abs=0.02)
        uniform = network.views.minmax(network.uniform(x))
        assert uniform.amin().item() == pytest.approx(0, abs=1e-3)
        assert uniform.amax().item() == pytest.approx(1, abs=1e-3)
        assert uniform.std().item() == pytest.approx(12**-0.5, abs=0.01)
        assert noise.uniform(x).shape == x.shape
        near = network.near(x)
        assert ((near != x).any(1) & (near == x).any(1)).float().mean() > 0.5

    def test_tails(self):
        network, x = model(counterexamples="variational", tail_sigma=7.0)
        torch.manual_seed(5)
        made = network.counterexamples("variational", x)
        torch.manual_seed(5)
        mean, _ = network.anomaly_network.moments(network.views.minmax(x))
        code = mean + 7 * torch.randn_like(mean)
        unit = network.anomaly_network.decoder(code).sigmoid()
        torch.testing.assert_close(network.views.minmax(made), unit)
        assert (latent.tails(torch.zeros(4000, 2), 5.0)).std().item() == pytest.approx(5, abs=0.1)

    @pytest.mark.parametrize("preset", ["paper", "default"])
    def test_codes(self, preset):
        network, x = model(preset=preset, target="adversarial", counterexamples="codes", code_sigma=3.0)
        torch.manual_seed(5)
        made = network.counterexamples("codes", x)
        torch.manual_seed(5)
        viewed = network.target.decode(3 * torch.randn(200, network.target.code_width))
        torch.testing.assert_close(network.views(made), viewed)

    def test_a_function_sees_and_gives_rows_in_the_callers_units(self, rows):
        table = rows * [1.0, 50.0, 0.1] + [0.0, 1000.0, 5.0]
        seen = []

        def sampler(x):
            seen.append(x)
            return x[:5] + torch.tensor([0.0, 500.0, 0.0])

        detector = A3(counterexamples=sampler, **LITTLE).fit(table)
        given = torch.cat(seen).numpy()
        np.testing.assert_allclose(given.min(0), table.min(0), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(given.max(0), table.max(0), rtol=1e-4, atol=1e-4)
        made = detector.network_.as_given(detector.network_.counterexamples(sampler, torch.zeros(9, 3)))
        expected = np.tile(table.mean(0) + np.array([0, 500, 0]), (5, 1))
        np.testing.assert_allclose(made, expected, rtol=1e-4)

    def test_a_function_teaches_what_it_shows(self, rows):
        shift = np.array([0.0, 0.0, 2.5])
        detector = A3(counterexamples=lambda x: x + torch.tensor(shift), steps=(60, 150), random_state=0)
        scores = detector.fit(rows).anomaly_score(np.concatenate([rows, rows + shift]))
        assert roc_auc_score(np.repeat([0, 1], 60), scores) > 0.95

    @pytest.mark.parametrize("wrong", [lambda x: x[:, :2], lambda x: x.numpy(), lambda x: x[:0]])
    def test_a_function_that_returns_something_else(self, rows, wrong):
        with pytest.raises(ParameterError, match=r"holds a function that returned .* rows of the same width"):
            A3(counterexamples=wrong, **LITTLE).fit(rows)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"counterexamples": "gaussian"},
            {"counterexamples": ["uniform", "near"], "counterexample_weight": [0.5, 2.0]},
            {"counterexamples": "variational"},
            {"counterexamples": ["codes", "gaussian"], "target": "adversarial"},
            {"counterexamples": "variational", "target": "adversarial", "preset": "paper"},
        ],
    )
    def test_every_source_fits_and_is_kept(self, rows, arguments, tmp_path):
        detector = A3(**{**LITTLE, **arguments}).fit(rows)
        assert detector.history_.finite()
        phases = {row["phase"] for row in detector.history_}
        assert ("anomaly network" in phases) == ("variational" in arguments["counterexamples"])
        scores = detector.anomaly_score(rows)
        np.testing.assert_array_equal(load(save(detector, tmp_path / "a3")).anomaly_score(rows), scores)

    def test_every_part_of_a_model_learns(self, rows):
        detector = A3(target="adversarial", counterexamples=["variational", "codes"], **LITTLE)
        with seeded(0, CPU):
            detector.image_shape_ = None
            before = deepcopy(detector._build(3).state_dict())
        after = detector.fit(rows).network_.state_dict()
        still = [name for name, value in before.items() if torch.equal(value, after[name])]
        parts = ("target.", "discriminator.", "anomaly_network.", "alarm.")
        assert not [name for name in still if name.startswith(parts) and name.endswith("weight")]


class TestKnownAnomalies:
    def test_they_train_the_alarm_and_nothing_else(self, rows, far_rows):
        arguments = {"target": "adversarial", "counterexamples": ["variational", "codes"], **LITTLE}
        table, labels = np.concatenate([rows, far_rows]), np.repeat([0, 1], [60, 8])
        without = A3(**arguments).fit(rows).network_.state_dict()
        detector = A3(**arguments).fit(table, labels)
        for name, value in detector.network_.state_dict().items():
            assert torch.equal(value, without[name]) == (not name.startswith("alarm.")), name

    def test_they_help(self, digits):
        images, _, rest, labels = digits
        shown = np.flatnonzero(labels)[:60]
        table, known = np.concatenate([images, rest[shown]]), np.repeat([0, 1], [len(images), 60])
        others = np.setdiff1d(np.arange(len(rest)), shown)
        detector = A3(counterexamples="uniform", steps=(60, 60), random_state=0)
        auc = [
            roc_auc_score(labels[others], detector.fit(table, y).anomaly_score(rest[others]))
            for y in (known, None)
        ]
        assert auc[0] > 0.85
        assert auc[0] > auc[1] + 0.1

    def test_the_paper_counts_them_as_often_as_they_are(self):
        detector = A3("paper")
        network = built(126, preset="paper", widths=(4, 2), alarm_widths=(3,))
        phase = detector._schedule(network, 63_930, 100)[-1]
        assert phase.known == 1 / 256  # one in each batch, which ...
        assert network.known_weight == pytest.approx(256 * 100 / 63_930)  # ... weighs like 0.4 of them
        phase = detector._schedule(network, 1000, 100)[-1]
        assert phase.known == 26 / 256
        assert network.known_weight == pytest.approx(25.6 / 26)

    def test_they_can_replace_counterexamples(self, rows, far_rows):
        table, labels = np.concatenate([rows, far_rows]), np.repeat([0, 1], [60, 8])
        detector = A3(counterexample_weight=0.0, steps=(30, 80), random_state=0).fit(table, labels)
        assert roc_auc_score(labels, detector.anomaly_score(table)) > 0.95
        with pytest.raises(ParameterError, match="y marks no known anomaly"):
            A3(counterexample_weight=0.0).fit(rows)


class TestGivenNetworks:
    def test_a_classifier_is_used_and_left_as_it_was(self, digits, classifier):
        images, _, rest, labels = digits
        classifier.train()
        before = deepcopy(classifier.state_dict())
        detector = A3(target=classifier, counterexamples=["uniform", "near"], steps=(0, 150), random_state=0)
        scores = detector.fit(images).anomaly_score(rest)
        state = classifier.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in before.items())
        assert all(module.training and not module._forward_hooks for module in classifier.modules())
        assert all(p.requires_grad and p.grad is None for p in classifier.parameters())
        copied = detector.network_.target.network.state_dict()
        assert all(torch.equal(value, copied[name]) for name, value in before.items())
        assert roc_auc_score(labels, scores) > 0.7
        assert {row["phase"] for row in detector.history_} == {"alarm"}

    def test_it_gets_what_the_caller_gives(self, digits, classifier):
        images, *_ = digits
        classifier.eval()
        x = torch.tensor(images[:40], dtype=torch.float32)
        expected = Hooked(classifier, (1, 8, 8))(x.flatten(1))
        detector = A3(target=classifier, **LITTLE).fit(images[:40])
        scaled = detector._tensor(images[:40].reshape(40, 64), CPU)
        assert scaled.max() == pytest.approx(1)
        with torch.no_grad():
            torch.testing.assert_close(detector.network_.activations(scaled), expected)

    def test_layers_are_chosen_by_name(self, digits, classifier):
        images, *_ = digits
        detector = A3(target=classifier, layers=["judge.1", "judge.4"], **LITTLE).fit(images)
        assert detector.network_.alarm[0].in_features == 32 + 5
        with pytest.raises(ParameterError, match=r"'judge\.9', which the target does not have"):
            A3(target=classifier, layers=["judge.9"], **LITTLE).fit(images)

    def test_a_network_of_table_rows(self, rows):
        network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        table = rows * 100 + 7
        detector = A3(target=network, counterexamples="variational", **LITTLE).fit(table)
        x = detector._tensor(table, CPU)
        with torch.no_grad():
            expected = network[:2](torch.tensor(table, dtype=torch.float32))
            torch.testing.assert_close(detector.network_.activations(x), expected, rtol=1e-3, atol=1e-3)

    def test_clones_agree(self, digits, classifier):
        images, *_ = digits
        detector = A3(target=classifier, **LITTLE)
        copy = clone(detector)
        assert copy.target is not classifier
        np.testing.assert_array_equal(
            detector.fit(images).anomaly_score(images), copy.fit(images).anomaly_score(images)
        )

    def test_a_model_file_does_not_hold_code(self, rows, tmp_path):
        network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
        for arguments in ({"target": network}, {"counterexamples": lambda x: x + 1}):
            detector = A3(**arguments, **LITTLE).fit(rows)
            with pytest.raises(ParameterError, match="which a model file cannot hold"):
                save(detector, tmp_path / "a3")
        assert not list(tmp_path.iterdir())

    def test_the_wrong_rows(self, rows, classifier):
        with pytest.raises(ParameterError, match=r"does not take rows of shape \(3,\)"):
            A3(target=nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))).fit(rows)

    def test_no_checkpoint_of_what_a_file_cannot_recognise(self, rows, tmp_path):
        network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
        for arguments in ({"target": network}, {"counterexamples": ["near", lambda x: x + 1]}):
            with pytest.raises(ParameterError, match="leave checkpoint out"):
                A3(**arguments, checkpoint=tmp_path / "c", **LITTLE).fit(rows)


class TestImages:
    @pytest.mark.parametrize("target", ["autoencoder", "adversarial"])
    @pytest.mark.parametrize("preset", ["default", "paper"])
    def test_both_targets(self, digits, target, preset, tmp_path):
        images, _, rest, _ = digits
        budget = {"steps": (6, 6), "alarm_widths": (20,), "variational_widths": (20, 5)}
        detector = A3(preset, target=target, counterexamples="variational", random_state=0, **budget).fit(
            images
        )
        kind = type(detector.network_.target).__name__
        assert kind == ("PooledAutoencoder" if target == "autoencoder" else "ConvolutionalAutoencoder")
        scores = detector.anomaly_score(rest)
        rows = rest.reshape(len(rest), 64)
        np.testing.assert_array_equal(detector.anomaly_score(rows), scores)
        np.testing.assert_allclose(detector.anomaly_score(rows[7:9]), scores[7:9], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(load(save(detector, tmp_path / "a3")).anomaly_score(rest), scores)

    def test_pixels_are_scaled_as_a_whole(self, digits):
        images, *_ = digits
        detector = A3(**LITTLE).fit(images)
        x = detector._tensor(images.reshape(len(images), 64), CPU)
        assert torch.equal(detector.network_.views(x), x)
        assert x.max() == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"preset": "released"}, "preset is 'released' but must be one of default, paper"),
        ({"target": "classifier"}, "target is 'classifier' but must be 'autoencoder' or 'adversarial', or a"),
        ({"layers": ["0"]}, "give layers only together with a network of your own"),
        ({"target": nn.ReLU(), "widths": (3, 2)}, r"widths is \(3, 2\), but only"),
        ({"counterexamples": "codes"}, "set target='adversarial'"),
        (
            {"counterexamples": "noise"},
            "must hold one or more of gaussian, uniform, near, variational, codes",
        ),
        ({"counterexamples": []}, "must hold one or more"),
        ({"counterexample_weight": [1.0]}, "or one for each of the 2 sources"),
        ({"counterexample_weight": -1.0}, "must be one number >= 0"),
        ({"epochs": (1, 1), "steps": (1, 1)}, "epochs and steps are both given"),
        ({"steps": (1, 1, 1)}, "must be two numbers"),
        ({"widths": ()}, r"widths is \(\) but must hold at least 1 positive"),
        ({"variational_widths": (4,)}, "must hold at least 2 positive"),
        ({"alarm_widths": (4, 0)}, r"alarm_widths is \(4, 0\)"),
        ({"tail_sigma": 0.0}, "tail_sigma is 0.0 but must be positive"),
        ({"l1": -0.1}, "l1 is -0.1 but must be at least 0"),
    ],
)
def test_bad_arguments(rows, arguments, says):
    with pytest.raises(ParameterError, match=says):
        A3(**arguments).fit(rows)


def test_checkpoint_continues_to_the_same_scores(rows, tmp_path):
    class Interrupt:
        def start(self, plan): ...

        def record(self, event):
            if (event.phase, event.step) == ("alarm", 5):
                raise KeyboardInterrupt
            return False

        def end(self): ...

    arguments = {"counterexamples": ["variational", "near"], "steps": (10, 10), "random_state": 0}
    whole = A3(**arguments).fit(rows)
    path = tmp_path / "fit.ckpt"
    with pytest.raises(KeyboardInterrupt):
        A3(**arguments, checkpoint=path, callbacks=[Interrupt()]).fit(rows)
    resumed = A3(**arguments, checkpoint=path).fit(rows)
    np.testing.assert_array_equal(whole.anomaly_score(rows), resumed.anomaly_score(rows))
