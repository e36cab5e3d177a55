"""Tables as Markdown, and the places in documents that they fill."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from da3d.errors import FileError
from da3d.experiments.compare import Comparison, compare_detectors
from da3d.experiments.entries import METRICS
from da3d.experiments.tables import Entry, Row, Table
from da3d.preprocessing import atomic_path

__all__ = ["between_markers", "to_markdown"]

_NOTHING = "–"
_SEEN = 0.0005  # a contamination that misses its aim by less looks the same in a table
_BUDGETS = {"quick": "quick budget, not the paper's", "paper": "the paper's budget"}


def to_markdown(table: Table) -> str:
    """A table with its caption and, where there are data sets enough, its tests."""
    parts = [
        _caption(table),
        _grid(_head(table), [*_body(table), *_foot(table)]),
        _tests(compare_detectors(table)),
    ]
    return "\n\n".join(part for part in parts if part)


def between_markers(path: str | Path, name: str, text: str) -> None:
    """Replace what stands between ``<!-- table: NAME -->`` and ``<!-- /table -->`` in a Markdown file.

    Parameters
    ----------
    path : path
        The file, UTF-8.
    name : str
        Which of its tables.
    text : str
        What will stand there.

    Raises
    ------
    FileError
        The file cannot be read or written, or does not have these markers exactly once.
    """
    file = Path(path)
    try:
        before = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"'{path}' cannot be read ({error}); give a Markdown file.") from error
    opening, closing = f"<!-- table: {name} -->", "<!-- /table -->"
    inner = r"(?:(?!<!-- table:).)*?"  # a marker that is not closed does not swallow the next table
    pattern = re.compile(f"{re.escape(opening)}{inner}{re.escape(closing)}", re.DOTALL)
    if before.count(opening) != 1 or len(pattern.findall(before)) != 1:
        raise FileError(
            f"'{path}' needs the line {opening} once, and {closing} below it, to say where the table goes."
        )
    after = pattern.sub(lambda _: f"{opening}\n\n{text.strip()}\n\n{closing}", before)
    with atomic_path(file) as temporary:
        temporary.write_text(after, encoding="utf-8")


def _caption(table: Table) -> str:
    name, seeds = METRICS[table.metric], ", ".join(map(str, table.seeds))
    spread = "mean ± sample deviation over seeds" if len(table.seeds) > 1 else "seed"
    made_by = f" Made by {'; '.join(table.versions)}." if table.versions else ""
    return (
        f"**{table.title}** ({_BUDGETS[table.budget]})\n\n"
        f"{name[0].upper()}{name[1:]}, {spread} {seeds}; best of a row in bold; {_NOTHING} is not there."
        f"{made_by}"
    )


def _with_paper(table: Table) -> list[str]:
    """Detectors that have published numbers."""
    return [label for label in table.detectors if any(label in row.published for row in table.rows)]


def _head(table: Table) -> list[str]:
    names = {label: label for label in table.detectors}
    return [
        "data set",
        "contamination",
        *_line(table, names, {label: f"{label}, published" for label in names}),
    ]


def _line(table: Table, texts: Mapping[str, str], published: Mapping[str, str] | None = None) -> list[str]:
    """One text per detector, and one more after each that has published numbers."""
    line, with_paper = [], _with_paper(table)
    for label in table.detectors:
        line.append(texts[label])
        if label in with_paper:
            line.append("" if published is None else published.get(label, _NOTHING))
    return line


def _body(table: Table) -> list[list[str]]:
    lines = []
    for row in table.rows:
        best = max(
            (_digits(entry.mean) for entry in row.entries.values() if entry.mean is not None), default=""
        )
        texts = {label: _number(entry, best) for label, entry in row.entries.items()}
        printed = {label: _digits(number) for label, number in row.published.items()}
        lines.append([row.data, _contamination(row), *_line(table, texts, printed)])
    return lines


def _foot(table: Table) -> list[list[str]]:
    """Means and mean ranks over complete rows, and the time of fitting."""
    lines = []
    for level in table.levels:
        means, ranks = table.means(level), table.ranks(level)
        if len(means) < 2 or not means.size:
            continue
        for what, values, digits in (("mean", means, 3), ("mean rank", ranks, 2)):
            texts = dict.fromkeys(table.detectors, _NOTHING)
            texts |= {
                label: f"{value:.{digits}f}"
                for label, value in zip(table.ranked, values.mean(0), strict=True)
            }
            lines.append([f"*{what} of {len(means)} rows*", f"{100 * level:g} %", *_line(table, texts)])
    seconds = {label: table.fit_seconds(label) for label in table.detectors}
    texts = {
        label: _NOTHING if value is None else f"{value:.{2 if value < 10 else 0}f}"
        for label, value in seconds.items()
    }
    return [*lines, ["*fit, seconds*", "", *_line(table, texts)]]


def _number(entry: Entry, best: str) -> str:
    """Mean and deviation; how many seeds, if some are missing or failed."""
    if entry.mean is None and entry.unavailable:
        return "not available here"
    if entry.mean is None:
        return "failed" if entry.failed else _NOTHING
    text = _digits(entry.mean)
    text = f"**{text}**" if text == best else text
    if entry.deviation is not None:
        text += f" ± {_digits(entry.deviation)}"
    if len(entry.values) < entry.cells:
        text += f" ({len(entry.values)} of {entry.cells} seeds)"
    return text


def _digits(number: float) -> str:
    return f"{number:.3f}"


def _contamination(row: Row) -> str:
    """What was asked for, and what was reached if that is another number."""
    asked = f"{100 * row.contamination:g} %"
    if row.reached is None or abs(row.reached - row.contamination) < _SEEN:
        return asked
    return f"{asked} ({100 * row.reached:.2g} % reached)"


def _tests(comparisons: Sequence[Comparison]) -> str:
    if not comparisons:
        return ""
    head = ["against", "contamination", "won – tied – lost", "median difference", "p", "p, Holm"]
    lines = [
        [
            each.other,
            f"{100 * each.contamination:g} %",
            f"{each.wins} – {each.ties} – {each.losses}",
            f"{each.difference:+.3f}",
            f"{each.p_value:.3g}",
            f"{each.p_holm:.3g}",
        ]
        for each in comparisons
    ]
    return f"{comparisons[0].first}, Wilcoxon's signed-rank test over data sets:\n\n{_grid(head, lines)}"


def _grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    safe = [[text.replace("|", "\\|") for text in line] for line in (head, *lines)]
    widths = [max(2, *map(len, column)) for column in zip(*safe, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    texts = [
        [
            line[0].ljust(widths[0]),
            *(text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True)),
        ]
        for line in (safe[0], rule, *safe[1:])
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in texts)
