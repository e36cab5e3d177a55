"""How results look in a terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from da3d.pipeline.thresholds import Rule

__all__ = [
    "columns_by_kind",
    "commands",
    "count",
    "facts",
    "file_size",
    "grid",
    "heading",
    "plural",
    "rule",
    "seconds",
]

_PLURALS = {"number": "numbers", "category": "categories", "boolean": "booleans", "date": "dates"}


def facts(entries: Mapping[str, object]) -> Padding:
    """Names and values in two columns; a value of several lines stays in its column."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in entries.items():
        table.add_row(name, value if isinstance(value, Text) else Text(str(value)))
    return Padding(table, (0, 0, 0, 2), expand=False)


def grid(names: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    """An empty table; the columns in `numbers` are aligned to the right, they and the first are never cut."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in names:
        right = name in numbers
        table.add_column(
            name,
            justify="right" if right else "left",
            no_wrap=right or name == names[0],
            overflow="fold",  # an ellipsis is a sign that not every output can write
            header_style="dim",
        )
    return table


def heading(text: str) -> Text:
    """A line that says what follows."""
    return Text(text, style="bold")


def commands(entries: Mapping[str, str]) -> Padding:
    """What to do and the command that does it, one below the other."""
    lines = [Text.assemble((f"{what}\n", "dim"), (f"  {line}", "cyan")) for what, line in entries.items()]
    return Padding(Group(*lines), (0, 0, 0, 2), expand=False)


def columns_by_kind(kinds: Mapping[str, str]) -> str:
    """``41: 38 numbers, 3 categories`` for each column's kind by its name."""
    counts = Counter(kinds.values())
    parts = [f"{many} {plural(kind) if many > 1 else kind}" for kind, many in counts.most_common()]
    return parts[0] if len(parts) == 1 else f"{len(kinds)}: {', '.join(parts)}"


def plural(kind: str) -> str:
    """The plural of a column's kind."""
    return _PLURALS.get(kind, kind)


def count(number: int) -> str:
    """A whole number with its thousands apart, as in ``125,973``."""
    return f"{number:,}"


def file_size(length: int) -> str:
    """A number of bytes with its unit."""
    size = float(length)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def seconds(duration: float) -> str:
    """A duration as a person would say it."""
    if duration < 60:
        return f"{duration:.1f} s" if duration < 10 else f"{duration:.0f} s"
    return f"{int(duration // 60)} min {int(duration % 60)} s"


def rule(name: "Rule", value: float) -> str:
    """The rule of a threshold in words."""
    from da3d.pipeline import Threshold

    return str(Threshold(name, value))
