from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from da3d.counterexamples import latent, noise
from da3d.detectors import DA3D
from da3d.detectors.da3d import DoubleAdversarial
from da3d.detectors.da3d_presets import default, preprint, released
from da3d.errors import ParameterError
from da3d.losses import adversarial, alarm, reconstruction
from da3d.networks import ConvolutionalAutoencoder, unsquash
from da3d.persistence import load, save
from da3d.seeding import seeded
from da3d.training import Batch

CPU = torch.device("cpu")
NONE = torch.zeros(0, 6)


@pytest.fixture(autouse=True)
def _seeded():
    with seeded(0, CPU):
        yield


def model(settings, rows=200, features=6):
    network = DoubleAdversarial(features, settings).eval()
    x = torch.randn(rows, features)
    network.fit_views(x)
    network.fit_scale(x)
    return network, x


class TestPresets:
    """The numbers of the paper and of the authors' later code, one by one."""

    def test_preprint(self):
        s = preprint(126)
        assert s.widths == (200, 150, 100, 75, 50, 25)
        assert (s.alarm_widths, s.generator_widths) == ((1000, 500, 200, 75), (40, 35, 30))
        assert (s.activation, s.dropout, s.sigma, s.discriminator_widths) == (
            "selu",
            0.2,
            1.5,
            (50, 40, 30, 20, 10),
        )
        assert s.critic_weights == (1.0, 1.0, 2.0)
        assert s.epochs == (500, 50, 500)
        assert not s.bounded
        assert preprint(6).widths == (12, 10, 8, 6, 3, 2)
        assert preprint(500).generator_widths == (80, 70, 60)

    def test_released(self):
        s = released(126)
        assert s.widths == (150, 100, 70, 40, 25, 10)
        assert (s.generator_widths, s.discriminator_widths) == ((50, 40, 30, 20), (40, 20, 10, 5))
        assert (s.activation, s.dropout, s.sigma, s.activations) == ("leaky_relu", 0.1, 2.0, "decoder")
        assert s.critic_weights == (2.0, 2.0, 1.0)
        assert s.epochs == (500, 0, 500)
        assert s.bounded
        assert (released(6).alarm_widths, released(6).batch_size) == ((100, 50, 25, 10), 128)

    def test_widths_of_the_alarms_input_as_derived_from_the_authors_code(self):
        for features, width in {126: 385, 6: 39, 510: 1155, 30: 150, 69: 300}.items():
            network = DoubleAdversarial(features, released(features))
            assert network.alarm.hidden[0].in_features == width

    def test_paper_presets_score_with_the_alarm_alone(self):
        network, x = model(released(6))
        v = network.views.minmax(x)
        activations = network.target.activations(v, "decoder")
        assert torch.equal(network(x), network.alarm(activations).squeeze(1))


class TestEquations:
    """Every loss against the formula at the head of the file, written out by hand."""

    def test_autoencoder(self):
        network, x = model(released(6))
        batch = Batch(x, NONE)
        v = network.views.minmax(x)
        copy = network.target(v).sigmoid()
        torch.testing.assert_close(network.reconstruction(batch), F.binary_cross_entropy(copy, v))
        disguise = -network.discriminator(network.target.encoder(v)).sigmoid().mean()
        torch.testing.assert_close(network.disguise(batch), disguise)
        torch.manual_seed(5)
        loss = network.prior(batch)
        torch.manual_seed(5)
        prior = torch.randn(200, 2)
        d = lambda h: network.discriminator(h).sigmoid().mean()  # noqa: E731
        torch.testing.assert_close(loss, d(network.target.encoder(v)) - d(prior))

    def test_alarm(self):
        network, x = model(released(6))
        torch.manual_seed(5)
        loss = network.alarm_on_all(Batch(x, NONE))
        torch.manual_seed(5)
        t = torch.randn(200, 6) + 0.5
        h = network.generator(torch.randn(200, 8))
        a = lambda logits, y: F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, y))  # noqa: E731
        of_trivial = network.alarm(network.target.activations(t, "decoder")).squeeze(1)
        of_code = network.alarm(torch.cat(network.target.decoder.trace(h)[1], 1)).squeeze(1)
        torch.testing.assert_close(loss, a(network(x), 0.0) + a(of_code, 1.0) + a(of_trivial, 1.0))

    def test_generator_and_critic(self):
        network, x = model(preprint(6))
        batch = Batch(x, NONE)
        torch.manual_seed(5)
        loss = network.deceive(batch)
        torch.manual_seed(5)
        first, second = (network.generator(torch.randn(200, 8)) for _ in range(2))
        torch.testing.assert_close(loss, network.alarm_of_code(first).mean() - network.critic(second).mean())
        torch.manual_seed(5)
        loss = network.criticise(batch)
        torch.manual_seed(5)
        generated = network.generator(torch.randn(200, 8))
        gaussian = 1.5 * torch.randn(200, 2)
        c = lambda h: network.critic(h).mean()  # noqa: E731
        torch.testing.assert_close(loss, c(generated) + c(network.encode(x)) - 2 * c(gaussian))

    def test_a_soft_target_is_the_distance_to_normal_rows(self):
        network, x = model(default(6))
        v = network.view(torch.full((4, 6), 3.0))
        distance = network.neighbourhood.distance(v)
        expected = F.binary_cross_entropy_with_logits(network.alarm_of(v), distance / (1 + distance))
        torch.testing.assert_close(network._against(v), expected)
        assert network.neighbourhood.distance(network.view(x[:50])).median() < distance.min()

    def test_a_generated_row_is_one_row_in_every_view(self):
        network, _ = model(default(6))
        born = network.born(torch.randn(50, network.target.code_width))
        z = unsquash(born[:, :6])
        again = network.view(network.views.from_standard(z))
        torch.testing.assert_close(born, again, rtol=1e-3, atol=1e-3)

    def test_generated_codes_stay_within_reach_of_normal_codes(self):
        network, x = model(default(6))
        limit = 1.2 * network.encode(x).square().sum(1).mean().sqrt()
        torch.testing.assert_close(1.2 * network.code_norm, limit)
        for parameter in network.generator.parameters():
            parameter.data.mul_(50)
        norms = network.generate(Batch(x, NONE)).norm(dim=1)
        assert norms.max() <= limit * 1.001
        free, _ = model(preprint(6))
        for parameter in free.generator.parameters():
            parameter.data.mul_(50)
        assert free.generate(Batch(x, NONE)).norm(dim=1).max() > 10 * limit  # the paper has no such bound

    def test_known_anomalies_train_the_alarm_only(self):
        network, x = model(default(6))
        known = torch.full((3, 6), 9.0)
        with_known, without = Batch(x, known), Batch(x, NONE)
        for loss in (network.reconstruction, network.disguise, network.deceive, network.criticise):
            torch.manual_seed(0)
            expected = loss(without)
            torch.manual_seed(0)
            assert torch.equal(loss(with_known), expected)
        torch.manual_seed(0)
        more = network.alarm_on_all(with_known)
        torch.manual_seed(0)
        added = alarm.cross_entropy(network.alarm_of(network.view(known)), 1.0)
        torch.testing.assert_close(more, network.alarm_on_all(without) + added)


class TestSchedule:
    def test_history_shows_what_the_losses_hide(self, rows):
        history = DA3D(steps=(10, 4, 10), random_state=0).fit(rows).history_
        assert history.column("autoencoder", "prior")
        assert history.column("warm-up", "alarm")
        watched = {f"critic on {name}" for name in ("normal", "generated", "gaussian")}
        watched |= {f"norm of {name} codes" for name in ("normal", "generated")}
        watched |= {f"generator gradient from {name}" for name in ("alarm", "critic")}
        assert watched < set(history.last("adversarial"))

    @pytest.mark.parametrize(
        "only",
        [{"near_weight": 1.0}, {"trivial_weight": 1.0}, {"simple_weight": 1.0}, {"generated_weight": 1.0}],
    )
    def test_ablations_are_arguments(self, rows, only):
        weights = dict.fromkeys(["near_weight", "trivial_weight", "simple_weight", "generated_weight"], 0.0)
        detector = DA3D(steps=(10, 4, 10), random_state=0, **{**weights, **only}).fit(rows)
        trains_generator = "generator" in detector.history_.last("adversarial")
        assert trains_generator == ("generated_weight" in only)
        assert np.isfinite(detector.anomaly_score(rows)).all()

    @pytest.mark.parametrize("where", ["decoder", "encoder", "all"])
    @pytest.mark.parametrize("preset", ["default", "preprint", "released"])
    def test_activations_anywhere(self, rows, preset, where):
        budget = {"steps": (4, 2, 4)}
        detector = DA3D(preset, activations=where, random_state=0, **budget).fit(rows)
        assert np.isfinite(detector.anomaly_score(rows)).all()

    def test_a_budget_in_epochs_counts_passes(self, rows):
        history = DA3D("released", epochs=(3, 0, 2), batch_size=25, random_state=0).fit(rows).history_
        assert [row["step"] for row in history if row["phase"] == "autoencoder"] == [3, 6, 9]
        assert [row["step"] for row in history if row["phase"] == "adversarial"] == [3, 6]

    def test_clear_outliers_are_not_learned(self, rows):
        copies = np.tile(rows, (4, 1)) + 0.01 * np.random.default_rng(0).normal(size=(240, 3))
        table = np.concatenate([copies, [[60.0] * 3, [61.0] * 3, [62.0] * 3]])
        clean = DA3D(steps=(20, 4, 10), random_state=0).fit(table[:-3])
        trimmed = DA3D(steps=(20, 4, 10), random_state=0).fit(table)
        trusting = DA3D(steps=(20, 4, 10), trim=0.0, random_state=0).fit(table)
        assert len(trimmed.network_.by_row.rows) == len(clean.network_.by_row.rows) == 240
        assert len(trusting.network_.by_row.rows) == len(table)

    def test_checkpoint_continues_to_the_same_scores(self, rows, tmp_path):
        class Interrupt:
            def start(self, plan): ...

            def record(self, event):
                if (event.phase, event.step) == ("adversarial", 5):
                    raise KeyboardInterrupt
                return False

            def end(self): ...

        arguments = {"steps": (10, 4, 10), "random_state": 0}
        whole = DA3D(**arguments).fit(rows)
        path = tmp_path / "fit.ckpt"
        with pytest.raises(KeyboardInterrupt):
            DA3D(**arguments, checkpoint=path, callbacks=[Interrupt()]).fit(rows)
        assert path.exists()
        resumed = DA3D(**arguments, checkpoint=path).fit(rows)
        np.testing.assert_array_equal(whole.anomaly_score(rows), resumed.anomaly_score(rows))
        assert not path.exists()

    def test_a_checkpoint_needs_a_seed(self, rows, tmp_path):
        with pytest.raises(ParameterError, match="random_state is None"):
            DA3D(checkpoint=tmp_path / "c").fit(rows)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"preset": "paper"}, "preset is 'paper' but must be one of default, fast, preprint, released"),
        ({"epochs": (1, 1, 1), "steps": (1, 1, 1)}, "epochs and steps are both given"),
        ({"steps": (1, 1)}, "must be three numbers"),
        ({"sigma": -1.0}, "sigma is -1.0 but must be positive"),
        ({"widths": ()}, "widths is"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"generated_weight": -1.0}, "counterexamples at least 0"),
        (
            {"near_weight": 0.0, "simple_weight": 0.0, "generated_weight": 0.0},
            "counterexamples at least 0 with one above 0",
        ),
        ({"device": "tpu"}, "device is 'tpu', which is not available"),
    ],
)
def test_bad_arguments(rows, arguments, says):
    with pytest.raises(ParameterError, match=says):
        DA3D(**arguments).fit(rows)


def test_pure_losses():
    x, logits = torch.rand(4, 3), torch.randn(4, 3)
    torch.testing.assert_close(
        reconstruction.bernoulli(x, logits).mean(), F.binary_cross_entropy(logits.sigmoid(), x)
    )
    torch.testing.assert_close(reconstruction.squared(x, logits).mean(), F.mse_loss(logits, x))
    assert alarm.cross_entropy(torch.tensor([100.0]), 1.0) < 1e-30
    assert alarm.cross_entropy(torch.tensor([100.0]), 0.0) == 100
    together, apart = torch.zeros(5, 2), torch.randn(5, 2) * 9
    assert adversarial.repulsion(together) == 100
    assert adversarial.repulsion(apart) < 1


def test_noise():
    x = torch.randn(4000, 5)
    trivial = noise.trivial(x)
    assert trivial.mean().item() == pytest.approx(0.5, abs=0.02)
    assert trivial.std().item() == pytest.approx(1.0, abs=0.02)
    moved = noise.near(x, torch.ones(5)) - x
    assert (moved != 0).any(1).all()
    assert (moved == 0).any(1).float().mean() > 0.3  # only some features are disturbed
    codes = latent.simple(4000, 3, 2.0, CPU)
    assert codes.std().item() == pytest.approx(2.0, abs=0.05)


def test_codes_have_the_codes_width(rows):
    detector = DA3D(steps=(4, 2, 4), random_state=0).fit(rows)
    assert detector.codes(rows).shape == (60, detector.settings_.widths[-1])
    assert detector.generated_codes(25, seed=1).shape == (25, detector.settings_.widths[-1])


@pytest.mark.parametrize("preset", ["default", "preprint"])
@pytest.mark.parametrize("inner", ["devnet", "deep-sad"])
class TestInnerDetectors:
    """The game around other semi-supervised detectors."""

    def budget(self, preset):
        budget = {"steps": (60, 30, 30)} if preset == "default" else {"epochs": (5, 3, 3)}
        return {"preset": preset, **budget, "random_state": 0}

    def test_the_game_trains_them(self, rows, far_rows, preset, inner):
        detector = DA3D(alarm=inner, **self.budget(preset)).fit(rows)
        assert {"alarm", "generator", "critic"} <= {name for row in detector.history_ for name in row}
        alarm_alone = detector.network_.alarm_of(detector.network_.view(tensors(detector, far_rows)))
        normal = detector.network_.alarm_of(detector.network_.view(tensors(detector, rows)))
        assert alarm_alone.median() > normal.median()

    def test_it_is_kept_in_a_model_file(self, rows, preset, inner, tmp_path):
        detector = DA3D(alarm=inner, **self.budget(preset)).fit(rows)
        save(detector, tmp_path / "model")
        np.testing.assert_array_equal(
            load(tmp_path / "model").anomaly_score(rows), detector.anomaly_score(rows)
        )


def tensors(detector, rows):
    return detector._tensor(rows, CPU)


def test_inner_losses_are_those_of_their_papers():
    deviating, _ = model(replace(default(6), alarm="devnet"))
    scores = torch.tensor([0.5, -2.0, 7.0])
    assert deviating._taught(scores, 0.0) == pytest.approx((0.5 + 2 + 7) / 3)
    assert deviating._taught(scores, 1.0) == pytest.approx((4.5 + 7 + 0) / 3)
    sphere, x = model(replace(default(6), alarm="deep-sad"))
    distance = sphere.alarm_of(sphere.view(x))
    assert (distance >= 0).all()
    torch.testing.assert_close(sphere._taught(distance, 0.0), distance.mean())
    torch.testing.assert_close(sphere._taught(distance, 1.0), (1 / (distance + 1e-6)).mean())


class TestImages:
    """Rows of pixels share one scale; the faithful presets use the authors' convolutions."""

    images = np.random.default_rng(0).integers(0, 256, size=(40, 1, 8, 8))

    @pytest.mark.parametrize("preset", ["preprint", "released"])
    def test_faithful_presets_convolve(self, preset):
        detector = DA3D(preset, epochs=(1, 1, 1), random_state=0).fit(self.images)
        assert isinstance(detector.network_.target, ConvolutionalAutoencoder)
        assert detector.settings_.alarm_widths == (1000, 500, 200, 75)
        seen = detector.network_.view(tensors(detector, self.images.reshape(40, -1)))
        assert (seen.min(), seen.max()) == (0, 1)
        assert detector.generated_codes(5).shape == (5, detector.network_.target.code_width)

    def test_authors_sizes(self):
        detector = DA3D("released", epochs=(0, 0, 0), random_state=0).fit(
            np.random.default_rng(0).uniform(size=(20, 1, 28, 28))
        )
        assert detector.network_.target.code_width == 16
        assert detector.network_.target.activation_width("decoder") == 6880

    def test_default_is_dense_with_one_scale(self):
        detector = DA3D(steps=(3, 1, 2), random_state=0).fit(self.images)
        assert not isinstance(detector.network_.target, ConvolutionalAutoencoder)
        assert detector.settings_.views == ("standard",)
        assert len(detector.network_.views.unit.unique()) == 1


class TestEvidence:
    def test_weights_are_the_score(self, rows):
        budget = {"steps": (20, 5, 10), "random_state": 0}
        names = ("alarm", "activation", "row", "straight", "tails", "residual", "dependence")
        alone = {
            name: DA3D(evidence={other: float(other == name) for other in names}, **budget).fit(rows)
            for name in ("row", "alarm")
        }
        both = DA3D(evidence={name: {"row": 2.0, "alarm": 0.5}.get(name, 0.0) for name in names}, **budget)
        expected = 2 * alone["row"].anomaly_score(rows) + 0.5 * alone["alarm"].anomaly_score(rows)
        np.testing.assert_allclose(both.fit(rows).anomaly_score(rows), expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize(
        ("preset", "evidence", "words"),
        [
            ("default", {"smell": 1.0}, "evidence names smell but must be among alarm, "),
            ("default", {"row": -1.0}, "weights of at least 0"),
            ("fast", {"row": 0.0, "straight": 0.0, "tails": 0.0, "dependence": 0.0}, "no part of the score"),
            ("preprint", {"row": 1.0}, "alarm's logit alone"),
        ],
    )
    def test_mistakes(self, rows, preset, evidence, words):
        with pytest.raises(ParameterError, match=words):
            DA3D(preset, evidence=evidence).fit(rows)

    @pytest.mark.parametrize("preset", ["default", "fast", "released"])
    def test_parts_add_up_to_the_score(self, rows, preset):
        budget = {"epochs": (1, 1, 1)} if preset == "released" else {"steps": (5, 2, 3)}
        detector = DA3D(preset, random_state=0, **budget).fit(rows, np.arange(len(rows)) < 3)
        parts = detector.score_parts(rows)
        networks = {"alarm", "activation", "residual"} if preset == "default" else set()
        trees = {"row", "straight", "tails", "dependence", "known"} | networks
        assert set(parts) == (trees if preset != "released" else {"alarm"})
        np.testing.assert_allclose(
            np.sum(list(parts.values()), axis=0), detector.anomaly_score(rows), rtol=1e-4, atol=1e-4
        )

    def test_a_row_far_out_in_one_column_stands_out_by_its_tails(self, rows):
        detector = DA3D("fast", random_state=0).fit(rows)
        odd = rows[:5].copy()
        odd[:, 2] = rows[:, 2].max() + 1
        gained = detector.score_parts(odd)["tails"] - detector.score_parts(rows[:5])["tails"]
        assert gained.min() > 0

    def test_rows_like_known_anomalies_rise_and_no_row_falls(self, rows, tmp_path):
        random = np.random.default_rng(1)
        named = rows[:6] + 0.1 * random.normal(size=rows[:6].shape) + [0, 0, 2, *[0] * (rows.shape[1] - 3)]
        table, y = np.r_[rows[6:], named], np.r_[np.zeros(len(rows) - 6), np.ones(6)]
        without = DA3D("fast", random_state=0).fit(rows[6:])
        taught = DA3D("fast", random_state=0).fit(table, y)
        gained = taught.anomaly_score(table) - without.anomaly_score(table)
        assert gained.min() >= -1e-4
        assert gained[-6:].min() > 1
        assert (gained[:-6] > 1).mean() < 0.2
        again = load(save(taught, tmp_path / "model.da3d"))
        np.testing.assert_array_equal(again.anomaly_score(table), taught.anomaly_score(table))

    def test_rows_do_not_stay_with_the_model(self, rows):
        y = np.r_[np.zeros(len(rows) - 3), np.ones(3)]
        network = DA3D("fast", random_state=0).fit(rows, y).network_
        assert not len(network.known)
        assert not len(network.held_out)

    def test_a_forest_of_known_anomalies_has_no_slope(self):
        images = np.random.default_rng(0).random((30, 1, 8, 8))
        y = np.r_[np.zeros(26), np.ones(4)]
        assert DA3D(steps=(2, 1, 1), random_state=0).fit(images).smooth
        assert not DA3D(steps=(2, 1, 1), random_state=0).fit(images, y).smooth

    def test_known_anomalies_teach_the_alarm_and_a_forest(self):
        assert DA3D(evidence={"alarm": 0.0}).uses_known_anomalies
        assert DA3D(evidence={"known": 0.0}).uses_known_anomalies
        assert not DA3D(evidence={"alarm": 0.0, "known": 0.0}).uses_known_anomalies
        assert not DA3D("fast", evidence={"known": 0.0}).uses_known_anomalies
