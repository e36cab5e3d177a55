r"""One training by several processes, each with rows of its own: what `train` has to know about the others.

Of *n* processes, *ranks* 0 to n - 1, each draws its share of every batch from every n-th row. With
:math:`b_r` the rows of rank r in a batch and :math:`g_r` the gradient that it found there, all take the step
of

.. math:: g = \sum_r b_r g_r \Big/ \sum_r b_r,

the gradient of the whole batch if the loss is a mean over rows. All begin with the weights of rank 0 and so
always have the same ones. Without an initialised ``torch.distributed`` there is one rank, and nothing here
does anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn

from da3d.errors import ParameterError
from da3d.seeding import seeded

__all__ = [
    "agreed",
    "average_gradients",
    "mean_over_ranks",
    "own_randomness",
    "rank",
    "rows_of_rank",
    "same_state",
    "share",
    "size",
]


def size() -> int:
    """How many processes train together; 1 as a rule."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, counted from 0."""
    return distributed.get_rank() if size() > 1 else 0


def share(batch_size: int) -> int:
    """Rows of a batch that this rank draws.

    Raises
    ------
    ParameterError
        There are fewer rows than ranks.
    """
    if batch_size < size():
        raise ParameterError(
            f"a batch has {batch_size} rows but there are {size()} processes; use fewer processes or a "
            "larger batch_size."
        )
    return batch_size // size() + (rank() < batch_size % size())


def average_gradients(parameters: Iterable[nn.Parameter], rows: int) -> None:
    """Replace the gradients by their mean over ranks, weighted by the rows that each has seen."""
    if size() == 1:
        return
    moved = list(parameters)
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in moved]
    # A parameter that got no gradient anywhere must not get one here: Adam would step with a zero.
    used = torch.tensor([float(p.grad is not None) for p in moved])
    seen = parts[0].new_tensor([rows])
    flat = torch.cat([*(part.flatten() * rows for part in parts), used.to(parts[0]), seen])
    distributed.all_reduce(flat)
    *means, used, _ = torch.split(flat / flat[-1], [*(part.numel() for part in parts), len(moved), 1])
    for parameter, mean, was_used in zip(moved, means, used, strict=True):
        parameter.grad = mean.view_as(parameter).clone() if was_used else None


def mean_over_ranks(values: Mapping[str, float]) -> dict[str, float]:
    """Named numbers as the mean over ranks, the same on each: not finite if one of them is not."""
    if size() == 1:
        return dict(values)
    means = torch.tensor(list(values.values()), dtype=torch.float64)
    distributed.all_reduce(means)
    return dict(zip(values, (means / size()).tolist(), strict=True))


def agreed(number: int) -> int:
    """The number of rank 0."""
    if size() == 1:
        return number
    of_first = torch.tensor(number)
    distributed.broadcast(of_first, src=0)
    return int(of_first)


def same_state(model: nn.Module) -> None:
    """Give every rank the parameters and buffers of rank 0."""
    if size() == 1:
        return
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            distributed.broadcast(tensor, src=0)


@contextmanager
def own_randomness(device: torch.device) -> Iterator[None]:
    """Let each rank draw numbers of its own, decided by the generator of rank 0; alone, change nothing."""
    if size() == 1:
        yield
        return
    drawn = int(torch.randint(2**62, ()))
    with seeded(agreed(drawn) + rank(), device):
        yield


def rows_of_rank(rows: Tensor) -> Tensor:
    """Every n-th row, from the rank's number on; all of them for one rank.

    Raises
    ------
    ParameterError
        There are fewer rows than ranks.
    """
    if len(rows) < size():
        raise ParameterError(f"there are {len(rows)} rows but {size()} processes; use fewer processes.")
    return rows[rank() :: size()]
