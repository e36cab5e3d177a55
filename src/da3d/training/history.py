"""What happened in training: one row per record, one column per update."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

__all__ = ["History"]


class History:
    """A table of mean losses and monitored values.

    Each row is a dict with "phase", "step" (batches done in the phase) and one entry per update and per
    monitored value, named as in the schedule.
    """

    def __init__(self, rows: list[dict[str, str | int | float]] | None = None) -> None:
        self.rows: list[dict[str, str | int | float]] = list(rows or [])

    def add(self, phase: str, step: int, values: Mapping[str, float]) -> None:
        """Append a record."""
        self.rows.append({"phase": phase, "step": step, **values})

    def column(self, phase: str, name: str) -> list[float]:
        """All values of one column of one phase, in order."""
        return [float(row[name]) for row in self.rows if row["phase"] == phase and name in row]

    def last(self, phase: str) -> dict[str, float]:
        """The last record of a phase."""
        rows = [row for row in self.rows if row["phase"] == phase]
        return {k: float(v) for k, v in rows[-1].items() if k != "phase"} if rows else {}

    def finite(self) -> bool:
        """Whether every value is a finite number."""
        return all(math.isfinite(v) for row in self.rows for v in row.values() if not isinstance(v, str))

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, str | int | float]]:
        return iter(self.rows)
