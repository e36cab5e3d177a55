import math
from functools import partial

import pytest
import torch
from torch import nn

from da3d.errors import DivergenceError, FileError
from da3d.seeding import seeded
from da3d.training import Batch, Checkpoint, Phase, StopEarly, Update, train
from da3d.training.batches import Batches

CPU = torch.device("cpu")
ADAM = partial(torch.optim.Adam, lr=1e-2)


class Two(nn.Module):
    """Two networks; the second has dropout and batch statistics, so that its mode matters."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.second = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
        self.modes = []

    def loss_of_first(self, batch: Batch):
        self.modes.append((self.first.training, self.second.training))
        return self.second(self.first(batch.normal)).square().mean()

    def loss_of_second(self, batch: Batch):
        return (self.second(batch.normal) - 1).square().mean()


def schedule(model, steps=12, **keywords):
    return [
        Phase(
            name="one",
            updates=[
                Update(name="first", trains=[model.first], loss=model.loss_of_first, optimizer=ADAM),
                Update(name="second", trains=[model.second], loss=model.loss_of_second, optimizer=ADAM),
            ],
            steps=steps,
            batch_size=8,
            **keywords,
        )
    ]


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(30, 2, generator=generator), torch.zeros(0, 2)


def fit(phases_of=schedule, seed=0, **keywords):
    with seeded(seed, CPU):
        model = Two()
        history = train(model, phases_of(model), *data(), **keywords)
    return model, history


def test_only_what_is_trained_is_in_training_mode():
    model, _ = fit()
    assert set(model.modes) == {(True, False)}
    assert not model.training
    assert not model.second.training
    assert all(p.requires_grad for p in model.parameters())


def test_history_has_a_column_per_update():
    _, history = fit()
    assert len(history) == 12
    assert set(history.rows[0]) == {"phase", "step", "first", "second"}
    assert history.column("one", "second")[-1] < history.column("one", "second")[0]
    assert history.last("one")["step"] == 12
    assert history.finite()


def test_epochs_record_once_each():
    _, history = fit(lambda m: [_epochs(schedule(m)[0], 3)])
    assert [row["step"] for row in history] == [4, 8, 12]


def _epochs(phase, epochs):
    return Phase(name=phase.name, updates=phase.updates, epochs=epochs, batch_size=phase.batch_size)


def test_same_seed_same_weights_and_the_callers_generator_is_untouched():
    state = torch.get_rng_state()
    one, two = fit(seed=3)[0].state_dict(), fit(seed=3)[0].state_dict()
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert torch.equal(state, torch.get_rng_state())
    other = fit(seed=4)[0].state_dict()
    assert not torch.equal(one["first.weight"], other["first.weight"])


def test_finish_sees_all_rows_once_without_gradient():
    seen = []

    def finish(rows):
        seen.append((len(rows), torch.is_grad_enabled()))

    fit(lambda m: [Phase(name="look", finish=finish), *schedule(m, finish=finish)])
    assert seen == [(30, False), (30, False)]


def test_annealing_ends_near_zero():
    rates = []

    def make(parameters):
        optimizer = ADAM(parameters)
        step = optimizer.step
        optimizer.step = lambda: (rates.append(optimizer.param_groups[0]["lr"]), step())
        return optimizer

    def phases(model):
        update = Update(name="first", trains=[model.first], loss=model.loss_of_first, optimizer=make)
        return [Phase(name="one", updates=[update], steps=10, anneal=True)]

    fit(phases)
    expected = [1e-2 * 0.5 * (1 + math.cos(math.pi * i / 10)) for i in range(10)]
    assert rates == pytest.approx(expected)


def _noting(rates):
    """An optimiser that notes its learning rate at each step."""

    def make(parameters):
        optimizer = ADAM(parameters)
        step = optimizer.step
        optimizer.step = lambda: (rates.append(optimizer.param_groups[0]["lr"]), step())
        return optimizer

    return make


@pytest.mark.parametrize("anneal", [False, True])
def test_decay_divides_the_learning_rate(anneal):
    rates = []

    def phases(model):
        first = Update(
            name="first",
            trains=[model.first],
            loss=model.loss_of_first,
            optimizer=_noting(rates),
            decay=0.5,
        )
        return [Phase(name=name, updates=[first], steps=4, anneal=anneal) for name in ("one", "two")]

    fit(phases)
    annealed = [0.5 * (1 + math.cos(math.pi * t / 4)) if anneal else 1.0 for t in range(4)]
    assert rates == pytest.approx([1e-2 * annealed[t] / (1 + 0.5 * t) for t in range(4)] * 2)


def _pulling(model, strong, weak):
    """A strong pull on a bias in one direction and a weak one in the other."""
    update = partial(Update, trains=[model.first], decay=0.5)
    updates = [
        update(name="strong", loss=lambda _: model.first.bias.sum(), optimizer=strong),
        update(name="weak", loss=lambda _: -0.001 * model.first.bias.sum(), optimizer=weak),
    ]
    return [Phase(name="one", updates=updates, steps=20, batch_size=8)]


def test_updates_can_share_an_optimiser():
    rates = []
    _, history = fit(lambda model: _pulling(model, _noting(rates), "strong"))
    assert rates == pytest.approx([1e-2 / (1 + 0.5 * t) for t in range(40)])
    assert set(history.rows[0]) == {"phase", "step", "strong", "weak"}


def test_only_next_to_a_large_loss_does_adam_see_that_another_is_small():
    with seeded(0, CPU):
        before = Two().first.bias.sum().item()
    shared, _ = fit(lambda model: _pulling(model, ADAM, "strong"))
    apart, _ = fit(lambda model: _pulling(model, ADAM, ADAM))
    assert apart.first.bias.sum().item() == pytest.approx(before, abs=1e-4)
    assert shared.first.bias.sum().item() < before - 0.01


def test_a_killed_fit_with_a_shared_optimiser_continues_to_the_same_model(tmp_path):
    def phases(model):
        return _pulling(model, ADAM, "strong")

    whole, _ = fit(phases)
    path = tmp_path / "fit.ckpt"
    with pytest.raises(KeyboardInterrupt):
        fit(phases, callbacks=[Interrupt("one", 7)], checkpoint=Checkpoint(path, "me", every=0.0))
    resumed, _ = fit(phases, seed=99, checkpoint=Checkpoint(path, "me"))
    assert torch.equal(whole.first.bias, resumed.first.bias)


def test_clip_bounds_the_gradient():
    norms = []

    def make(parameters):
        parameters = list(parameters)
        optimizer = ADAM(parameters)
        step = optimizer.step
        optimizer.step = lambda: (norms.append(nn.utils.get_total_norm([p.grad for p in parameters])), step())
        return optimizer

    def phases(model):
        update = Update(
            name="first",
            trains=[model.first],
            loss=lambda b: 1e3 * model.loss_of_first(b),
            optimizer=make,
            clip=0.01,
        )
        return [Phase(name="one", updates=[update], steps=3)]

    fit(phases)
    assert max(norms) <= 0.01 + 1e-6


def test_known_anomalies_come_with_the_asked_share_and_only_then():
    counts = []
    rows, _ = data()
    known = torch.full((2, 2), 9.0)

    def phases(model, share):
        def loss(batch):
            counts.append((len(batch.normal), len(batch.known)))
            assert not (batch.normal == 9).any()
            return model.loss_of_first(batch)

        update = Update(name="first", trains=[model.first], loss=loss, optimizer=ADAM)
        return [Phase(name="one", updates=[update], epochs=1, batch_size=8, known=share)]

    for share, expected in ((0.0, 0), (0.5, 4)):
        counts.clear()
        with seeded(0, CPU):
            model = Two()
            train(model, phases(model, share), rows, known)
        assert counts == [(8, expected)] * 3 + [(6, round(6 * share))]


class Interrupt:
    """Stops the run as a user's Ctrl-C would, at one record."""

    def __init__(self, phase, step):
        self.at = phase, step

    def start(self, plan): ...

    def record(self, event):
        if (event.phase, event.step) == self.at:
            raise KeyboardInterrupt
        return False

    def end(self): ...


@pytest.mark.parametrize("at", [("one", 5), ("one", 1), ("two", 1), ("two", 7)])
def test_a_killed_fit_continues_to_the_same_model(tmp_path, at):
    def two_phases(model):
        one = schedule(model, anneal=True)[0]
        return [one, Phase(name="two", updates=one.updates, steps=9, batch_size=7, anneal=True)]

    whole, history = fit(two_phases)
    checkpoint = Checkpoint(tmp_path / "fit.ckpt", "me", every=0.0)
    with pytest.raises(KeyboardInterrupt):
        fit(two_phases, callbacks=[Interrupt(*at)], checkpoint=checkpoint)
    resumed, again = fit(two_phases, seed=99, checkpoint=Checkpoint(tmp_path / "fit.ckpt", "me"))
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert history.rows == again.rows


def test_a_checkpoint_of_the_finished_fit_gives_its_model(tmp_path):
    whole, history = fit(schedule)
    fit(schedule, checkpoint=Checkpoint(tmp_path / "fit.ckpt", "me", every=0.0))
    again, same = fit(schedule, seed=99, checkpoint=Checkpoint(tmp_path / "fit.ckpt", "me"))
    for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert history.rows == same.rows


def test_batches_are_full_if_the_budget_counts_steps():
    rows = torch.arange(10.0)[:, None]
    with seeded(0, CPU):
        ragged = Batches(rows, rows[:0], 4, 0.0, full=False)
        assert [len(ragged.draw().normal) for _ in range(6)] == [4, 4, 2, 4, 4, 2]
        full = Batches(rows, rows[:0], 4, 0.0, full=True)
        drawn = torch.cat([full.draw().normal for _ in range(5)])
        assert sorted(drawn.flatten().tolist()) == sorted([*range(10), *range(10)])
        assert len(Batches(rows, rows[:0], 35, 0.0, full=True).draw().normal) == 35


def test_early_stop_ends_the_phase_and_survives_a_resume(tmp_path):
    stop = StopEarly("one", "second", patience=2, tolerance=10.0)  # nothing improves by so much
    _, history = fit(callbacks=[stop])
    assert len(history) == 3
    path = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        fit(
            lambda m: [*schedule(m), _named(schedule(m)[0], "two")],
            callbacks=[stop, Interrupt("two", 2)],
            checkpoint=Checkpoint(path, "me", every=0.0),
        )
    _, again = fit(
        lambda m: [*schedule(m), _named(schedule(m)[0], "two")],
        callbacks=[stop],
        checkpoint=Checkpoint(path, "me"),
    )
    assert len(again.column("one", "second")) == 3
    assert len(again.column("two", "second")) == 12


def _named(phase, name):
    return Phase(name=name, updates=phase.updates, steps=phase.steps, batch_size=phase.batch_size)


def test_a_checkpoint_of_another_fit_or_a_broken_one_is_refused(tmp_path):
    path = tmp_path / "fit.ckpt"
    checkpoint = Checkpoint(path, "me", every=0.0)
    fit(checkpoint=checkpoint)
    with pytest.raises(FileError, match="other data, parameters or seed"):
        Checkpoint(path, "you").read()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FileError, match="cannot be read"):
        Checkpoint(path, "me").read()


def test_one_bad_loss_is_survived_and_a_lasting_one_is_reported():
    calls = []

    def phases(model, bad):
        def loss(batch):
            calls.append(1)
            return model.loss_of_first(batch) * (float("nan") if bad(len(calls)) else 1.0)

        update = Update(name="first", trains=[model.first], loss=loss, optimizer=ADAM)
        return [Phase(name="one", updates=[update], steps=10, batch_size=8)]

    model, history = fit(lambda m: phases(m, lambda call: call == 4))
    assert history.finite()
    assert history.last("one")["step"] == 10
    assert all(torch.isfinite(p).all() for p in model.parameters())
    with pytest.raises(DivergenceError, match=r"phase 'one'.*first.*learning_rate"):
        fit(lambda m: phases(m, lambda call: call > 4))
