"""Interleaved timing, and records of what was measured, from which ``docs/performance.md`` gets its tables.

Run: ``python benchmarks/common.py`` writes those tables anew from the records.
"""

import json
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "results" / "benchmarks"
DOCUMENT = ROOT / "docs" / "performance.md"

Samples = dict[str, list[float]]


@dataclass(frozen=True)
class Record:
    """One table, and on what it was measured."""

    name: str
    caption: str
    head: list[str]
    lines: list[list[str]]
    samples: Samples
    machine: str
    date: str


def interleaved(actions: Mapping[str, Callable[[], object]], repeats: int) -> Samples:
    """CPU seconds of each action, in turns, so that all meet the same load; the first turn is not kept."""
    taken: Samples = {name: [] for name in actions}
    for turn in range(repeats + 1):
        for name, action in actions.items():
            before = time.process_time()
            action()
            if turn:
                taken[name].append(time.process_time() - before)
    return taken


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """The quotients of two actions, turn by turn."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(values: Sequence[float], digits: int = 1, scale: float = 1.0) -> list[str]:
    """Median, least and most, as text."""
    chosen = statistics.median(values), min(values), max(values)
    return [f"{value * scale:,.{digits}f}" for value in chosen]


def multiply(size: int = 1024) -> tuple[Callable[[], object], float]:
    """A product of two square float32 matrices, and how many floating-point operations it is."""
    import torch

    one, two = torch.randn(size, size), torch.randn(size, size)
    return lambda: one @ two, 2.0 * size**3


def keep(
    name: str, caption: str, head: list[str], lines: list[list[str]], samples: Mapping[str, Sequence[float]]
) -> None:
    """Print a table and write its record."""
    rounded = {key: [float(f"{value:.6g}") for value in values] for key, values in samples.items()}
    record = Record(name, caption, head, lines, rounded, machine(), datetime.now(UTC).date().isoformat())
    RECORDS.mkdir(parents=True, exist_ok=True)
    (RECORDS / f"{name}.json").write_text(json.dumps(asdict(record), indent=1) + "\n")
    print(text(record), flush=True)


def machine() -> str:
    """Processor, cores, load and versions, in one line."""
    import torch

    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = names[0] if names else platform.machine()
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{processor}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {versions}"


def text(record: Record) -> str:
    """A record as Markdown: caption, table, machine."""
    widths = [max(map(len, column)) for column in zip(record.head, *record.lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        [
            line[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
        ]
        for line in (record.head, rule, *record.lines)
    ]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{record.caption}\n\n{table}\n\nMeasured {record.date}: {record.machine}."


def read(name: str) -> Record:
    """A record that has been kept."""
    return Record(**json.loads((RECORDS / f"{name}.json").read_text()))


def filled(document: str) -> str:
    """A document with every table that has a record between its markers."""

    def table(found: re.Match[str]) -> str:
        opening, name, _ = found.groups()
        if not (RECORDS / f"{name}.json").exists():
            return found[0]
        return f"{opening}\n\n{text(read(name))}\n\n<!-- /benchmark -->"

    return re.sub(r"(<!-- benchmark: (\S+) -->)(.*?)<!-- /benchmark -->", table, document, flags=re.DOTALL)


if __name__ == "__main__":
    DOCUMENT.write_text(filled(DOCUMENT.read_text()))
