"""Randomness that one integer decides and that leaves the caller's generators as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["get_state", "seeded", "set_state"]


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Run a block with torch's generators seeded, then give the caller's state back.

    Parameters
    ----------
    seed : int
        0 <= seed < 2**63.
    device : torch.device
        The CPU generator is always seeded; that of an accelerator only if it is this device.
    """
    before = get_state(device)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
    try:
        yield
    finally:
        set_state(before, device)


def get_state(device: torch.device) -> list[Tensor]:
    """State of the CPU generator and, if `device` is an accelerator, of its generator."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    elif device.type == "mps":
        states.append(torch.mps.get_rng_state())
    return states


def set_state(states: list[Tensor], device: torch.device) -> None:
    """Put back what `get_state` returned."""
    torch.set_rng_state(states[0])
    if len(states) > 1 and device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
    elif len(states) > 1 and device.type == "mps":
        torch.mps.set_rng_state(states[1])
