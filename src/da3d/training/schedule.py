"""The vocabulary of learning: what a batch holds, what one update does, what a phase is made of.

A detector is a score and a schedule. The schedule is a list of phases; a phase is a budget and a list of
updates performed in order on each batch; an update names the modules that it trains and the loss that they
descend. One rule replaces all mode flags: *during an update exactly the modules in `trains` are in training
mode and move; everything else is in evaluation mode and stays.*
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Batch", "Optimizer", "Phase", "Update"]


class Optimizer(Protocol):
    """What the loop asks of an optimiser: `Adam`, or one of `torch.optim`."""

    param_groups: list[dict[str, Any]]

    def step(self) -> Any:
        """Move the parameters along their gradients."""

    def zero_grad(self) -> None:
        """Forget the gradients."""

    def state_dict(self) -> dict[str, Any]:
        """Under "state": named tensors by the parameter's place."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows and what is known of them.

    Attributes
    ----------
    normal : Float[Tensor, "row feature"]
        Rows that are believed normal.
    known : Float[Tensor, "anomaly feature"]
        Known anomalies; often none at all.
    """

    normal: Float[Tensor, "row feature"]
    known: Float[Tensor, "anomaly feature"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One step of one optimiser.

    Attributes
    ----------
    name : str
        Column of the history.
    trains : sequence of Module
        The modules that move; every other module of the model is frozen and in evaluation mode.
    loss : callable
        Batch -> scalar tensor.
    optimizer : callable or str
        Parameters -> optimiser; or the name of an earlier update of the phase that trains the same modules
        and whose optimiser, moments included, takes the steps of this update too.
    clip : float or None
        Bound on the global norm of the gradient.
    decay : float
        The learning rate is divided by 1 + decay * t once the optimiser has made t steps in the phase (the
        `decay` of the older Keras).
    """

    name: str
    trains: Sequence[nn.Module]
    loss: Callable[[Batch], Float[Tensor, ""]]
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] | str
    clip: float | None = None
    decay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A budget and the updates that are performed in order on each batch.

    Attributes
    ----------
    name : str
    updates : sequence of Update
        May be empty for a phase that consists of `finish` alone.
    epochs, steps : int or None
        The budget: passes over the normal rows, or batches. Exactly one is given if there are updates.
    batch_size : int
        Normal rows per batch. The last batch of an epoch is smaller if the budget counts epochs; if it counts
        steps, every batch is full.
    known : float
        Known anomalies per normal row of a batch, drawn with replacement; 0 hides them from the phase.
    anneal : bool
        Let the learning rates fall to zero along a half cosine over the budget.
    finish : callable or None
        Called once at the end with all normal rows, without gradient and in evaluation mode.
    monitor : callable or None
        Batch -> named scalars that the history shows beside the losses; read once per record, and not
        trained on.
    """

    name: str
    updates: Sequence[Update] = ()
    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 256
    known: float = 0.0
    anneal: bool = False
    finish: Callable[[Float[Tensor, "row feature"]], None] | None = None
    monitor: Callable[[Batch], dict[str, Tensor]] | None = None

    def total_steps(self, rows: int) -> int:
        """Number of batches that the budget comes to for so many normal rows."""
        if not self.updates:
            return 0
        return self.steps if self.steps is not None else (self.epochs or 0) * self.steps_per_epoch(rows)

    def steps_per_epoch(self, rows: int) -> int:
        """Number of batches in one pass over the normal rows."""
        return -(-rows // self.batch_size)

    def record_every(self, rows: int) -> int:
        """Steps between two rows of the history: an epoch, or a fiftieth of a budget in steps."""
        if self.steps is not None:
            return max(1, self.steps // 50)
        return self.steps_per_epoch(rows)
