"""Shuffled batches from one tensor that already lies on the device."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from da3d.training.schedule import Batch

__all__ = ["Batches"]


class Batches:
    """Endless batches: each pass over the normal rows is a fresh permutation.

    Parameters
    ----------
    normal : Float[Tensor, "row feature"]
        Rows that are believed normal.
    known : Float[Tensor, "anomaly feature"]
        Known anomalies, drawn with replacement.
    size : int
        Normal rows per batch.
    full : bool
        Whether every batch has that size, reaching into the next permutation if need be; otherwise the last
        batch of a pass holds what is left.
    known_share : float
        Known anomalies per normal row.
    """

    def __init__(
        self,
        normal: Float[Tensor, "row feature"],
        known: Float[Tensor, "anomaly feature"],
        size: int,
        known_share: float,
        *,
        full: bool,
    ) -> None:
        self._normal, self._known = normal, known
        self._size, self._full = size, full
        self._known_share = known_share if len(known) else 0.0
        self._order = torch.empty(0, dtype=torch.int64)
        self._position = 0

    def draw(self) -> Batch:
        """The next batch."""
        rows = self._next(self._size)
        while self._full and len(rows) < self._size:
            rows = torch.cat([rows, self._next(self._size - len(rows))])
        return Batch(self._normal[rows.to(self._normal.device)], self._draw_known(len(rows)))

    def _next(self, most: int) -> Tensor:
        if self._position >= len(self._order):
            # Drawn on the CPU, so that every device sees the same order for the same seed.
            self._order = torch.randperm(len(self._normal))
            self._position = 0
        rows = self._order[self._position : self._position + most]
        self._position += len(rows)
        return rows

    def _draw_known(self, rows: int) -> Tensor:
        count = round(rows * self._known_share)
        if not count:
            return self._known[:0]
        chosen = torch.randint(len(self._known), (count,))
        return self._known[chosen.to(self._known.device)]

    def state(self) -> dict[str, Tensor]:
        """Where in which permutation the stream stands."""
        return {"order": self._order, "position": torch.tensor(self._position)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue where `state` was taken."""
        self._order, self._position = state["order"], int(state["position"])
