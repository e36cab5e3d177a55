"""`train`: phases, batches, updates, in order. Holds the only backward pass of the library."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from da3d import seeding
from da3d.errors import DivergenceError, ParameterError
from da3d.training import ranks
from da3d.training.batches import Batches
from da3d.training.callbacks import Callback, Event
from da3d.training.checkpoint import Checkpoint, Snapshot
from da3d.training.history import History
from da3d.training.schedule import Batch, Optimizer, Phase, Update

__all__ = ["train"]

_log = logging.getLogger(__name__)

_ATTEMPTS = 3
_BACK_OFF = 0.1


def train(
    model: nn.Module,
    schedule: Sequence[Phase],
    normal: Float[Tensor, "row feature"],
    known: Float[Tensor, "anomaly feature"],
    *,
    callbacks: Sequence[Callback] = (),
    checkpoint: Checkpoint | None = None,
) -> History:
    """Carry out a schedule on rows that lie on the model's device.

    Draws from torch's global generators: call it inside `seeding.seeded`. If a loss is not finite, the last
    good state is restored and the phase continues with a tenth of its learning rates. Where
    ``torch.distributed`` is initialised, all of its processes train one model together (`ranks`); each calls
    this with the same rows and ends with the same weights and history.

    Parameters
    ----------
    model : Module
        Owner of every module that an update trains.
    schedule : sequence of Phase
    normal, known : Float[Tensor, "row feature"]
        Rows believed normal (at least one) and known anomalies (may have no rows).
    callbacks : sequence of Callback
        Watch; may end a phase early.
    checkpoint : Checkpoint or None
        Where to keep the state; if it holds one, training continues from there and ends with the same
        weights as a run that was never interrupted.

    Returns
    -------
    History

    Raises
    ------
    DivergenceError
        A loss stayed non-finite after three attempts.
    ParameterError
        Several processes train together, and there is a checkpoint, or too few rows in a batch.
    """
    if checkpoint is not None and ranks.size() > 1:
        raise ParameterError(
            f"checkpoint is set but {ranks.size()} processes train together, which cannot be continued; "
            "leave it out, or train in one process."
        )
    ranks.same_state(model)
    with ranks.own_randomness(normal.device):
        return _trained(model, schedule, normal, known, callbacks, checkpoint)


def _trained(
    model: nn.Module,
    schedule: Sequence[Phase],
    normal: Tensor,
    known: Tensor,
    callbacks: Sequence[Callback],
    checkpoint: Checkpoint | None,
) -> History:
    run = _Run(model, normal, known)
    first = 0
    if checkpoint is not None and (snapshot := checkpoint.read()) is not None:
        first = int(snapshot.meta["phase"])
        run.pending = snapshot
        run.history = History(snapshot.meta["history"])
    for callback in callbacks:
        callback.start([(phase.name, phase.total_steps(len(normal))) for phase in schedule])
    try:
        for index in range(first, len(schedule)):
            run.begin(index, schedule[index])
            run.finish_phase(schedule[index], callbacks, checkpoint)
        if run.pending is not None:  # the checkpoint was written after the last phase
            model.load_state_dict(run.pending.part("model"))
    except BaseException:
        if checkpoint is not None and run.good is not None:
            checkpoint.write(run.good)
        raise
    finally:
        model.eval().requires_grad_(True)
        for callback in callbacks:
            callback.end()
    return run.history


class _Run:
    """The moving parts of one call of `train`."""

    def __init__(self, model: nn.Module, normal: Tensor, known: Tensor) -> None:
        self.model, self.normal, self.known = model, normal, known
        self.own = ranks.rows_of_rank(normal)
        self.history = History()
        self.good: Snapshot | None = None
        self.pending: Snapshot | None = None
        self._focused: frozenset[nn.Module] = frozenset()

    def begin(self, index: int, phase: Phase) -> None:
        """Fresh optimisers and batches for a phase, or those of the snapshot to continue from."""
        self.index, self.phase, self.step, self.rate = index, phase, 0, 1.0
        # Ranks whose passes end at different times would disagree about the size of a batch.
        full = phase.steps is not None or ranks.size() > 1
        self.batches = Batches(self.own, self.known, ranks.share(phase.batch_size), phase.known, full=full)
        self.optimizers: dict[str, Optimizer] = {}
        self.owner: dict[str, str] = {}  # whose optimiser takes an update's steps
        for update in phase.updates:
            if isinstance(update.optimizer, str):
                self.owner[update.name] = update.optimizer
            else:
                parameters = [p for module in update.trains for p in module.parameters()]
                self.optimizers[update.name] = update.optimizer(parameters)
                self.owner[update.name] = update.name
        self.base_rates = {
            name: [group["lr"] for group in optimizer.param_groups]
            for name, optimizer in self.optimizers.items()
        }
        self.focus = {
            update.name: frozenset(m for module in update.trains for m in module.modules())
            for update in phase.updates
        }
        self.model.eval().requires_grad_(False)
        self._focused = frozenset()
        self._parameters = {m: list(m.parameters(recurse=False)) for m in self.model.modules()}
        if self.pending is not None:
            self.restore(self.pending)
            self.pending = None
        self.good = self.snapshot()

    def finish_phase(
        self, phase: Phase, callbacks: Sequence[Callback], checkpoint: Checkpoint | None
    ) -> None:
        """Spend the rest of a phase's budget, then call its `finish`."""
        total, every = phase.total_steps(len(self.normal)), phase.record_every(len(self.normal))
        attempts = 1
        while self.step < total:
            values = self.advance(min(every - self.step % every, total - self.step), total)
            if not all(math.isfinite(value) for value in values.values()):
                attempts = self._back_off(values, attempts)
                continue
            self.history.add(phase.name, self.step, values)
            event = Event(phase.name, self.step, total, values, self.history)
            ends = max(
                (callback.record(event) for callback in callbacks), default=False
            )  # every one hears it
            if ranks.agreed(ends):
                self.step = total
            self.keep(checkpoint)
        if phase.finish is not None:
            self._focus(frozenset())
            with torch.no_grad():
                phase.finish(self.normal)
            ranks.same_state(self.model)
        self.index, self.step = self.index + 1, 0
        self.optimizers, self.batches = (
            {},
            Batches(self.normal, self.known, phase.batch_size, 0.0, full=False),
        )
        self.keep(checkpoint)

    def keep(self, checkpoint: Checkpoint | None) -> None:
        """Remember the present state as the last good one."""
        self.good = self.snapshot()
        if checkpoint is not None:
            checkpoint.offer(self.good)

    def advance(self, steps: int, total: int) -> dict[str, float]:
        """Do some steps; mean loss of every update, and what the phase monitors at the end of them."""
        sums: dict[str, Tensor] = {}
        for _ in range(steps):
            factor = self._factor(self.step / total)
            batch = self.batches.draw()
            for update in self.phase.updates:
                loss = self._perform(update, batch, factor)
                sums[update.name] = sums[update.name] + loss if update.name in sums else loss
            self.step += 1
        values = {name: value.item() / steps for name, value in sums.items()}
        if self.phase.monitor is not None:
            self._focus(frozenset())
            values |= {name: value.item() for name, value in self.phase.monitor(batch).items()}
        ranks.same_state(self.model)  # batch statistics have gone different ways
        return ranks.mean_over_ranks(values)

    def _perform(self, update: Update, batch: Batch, factor: float) -> Tensor:
        self._focus(self.focus[update.name])
        optimizer = self.optimizers[self.owner[update.name]]
        self._set_rate(update, factor)
        loss = update.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        moved = [p for group in optimizer.param_groups for p in group["params"]]
        ranks.average_gradients(moved, len(batch.normal))
        if update.clip is not None:
            nn.utils.clip_grad_norm_(moved, update.clip)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    def _focus(self, modules: frozenset[nn.Module]) -> None:
        """The one rule: exactly these modules are in training mode and can move."""
        for module in self._focused ^ modules:
            module.training = module in modules
            for parameter in self._parameters[module]:
                parameter.requires_grad = module.training
        self._focused = modules

    def _factor(self, progress: float) -> float:
        return self.rate * (0.5 * (1.0 + math.cos(math.pi * progress)) if self.phase.anneal else 1.0)

    def _set_rate(self, update: Update, factor: float) -> None:
        owner = self.owner[update.name]
        if update.decay:
            sharing = [name for name, other in self.owner.items() if other == owner]
            factor /= 1.0 + update.decay * (self.step * len(sharing) + sharing.index(update.name))
        for group, rate in zip(self.optimizers[owner].param_groups, self.base_rates[owner], strict=True):
            group["lr"] = rate * factor

    def _back_off(self, values: dict[str, float], attempts: int) -> int:
        broken = ", ".join(name for name, value in values.items() if not math.isfinite(value))
        if attempts == _ATTEMPTS or self.good is None:
            raise DivergenceError(
                f"Training diverged in phase {self.phase.name!r} at step {self.step}: {broken} is not a "
                f"finite number after {attempts} attempts with ever smaller learning rates. Use a smaller "
                "learning_rate, or look for columns with extreme values."
            )
        rate = self.rate * _BACK_OFF
        _log.warning("%s is not finite in phase %r; back to step %s with a tenth of the learning rate.",
                     broken, self.phase.name, self.good.meta["step"])  # fmt: skip
        self.restore(self.good)
        self.rate = rate
        return attempts + 1

    def snapshot(self) -> Snapshot:
        """Everything that decides how training goes on, copied."""
        device = self.normal.device
        tensors = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for i, state in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer/{name}/{i}/{k}": v for k, v in state.items()}
        tensors |= {f"batches/{k}": v for k, v in self.batches.state().items()}
        tensors |= {f"random/{i}": v for i, v in enumerate(seeding.get_state(device))}
        meta = {"phase": self.index, "step": self.step, "rate": self.rate, "history": list(self.history)}
        return Snapshot({k: v.detach().clone() for k, v in tensors.items()}, meta)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back (or on) to a snapshot that was taken in this phase."""
        self.step, self.rate = int(snapshot.meta["step"]), float(snapshot.meta["rate"])
        self.model.load_state_dict(snapshot.part("model"))
        for name, optimizer in self.optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in snapshot.part(f"optimizer/{name}").items():
                index, entry = key.split("/")
                state.setdefault(int(index), {})[entry] = value.clone()
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        self.batches.restore(snapshot.part("batches"))
        random = snapshot.part("random")
        seeding.set_state([random[str(i)].cpu() for i in range(len(random))], self.normal.device)
