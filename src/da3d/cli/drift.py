"""``da3d drift``: whether a table still looks like what a model learned from."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from da3d.cli import options, views
from da3d.cli.models import load_pipeline, read_rows
from da3d.cli.terminal import Terminal

if TYPE_CHECKING:
    from da3d.pipeline import ColumnDrift, DriftReport

__all__ = ["drift"]

_STYLES = {"moved": "bold red", "changed": "yellow", "changed a little": "", "as before": "green"}


def drift(
    terminal: Terminal,
    model: options.Model,
    table: options.Table,
    level: Annotated[
        float, typer.Option(metavar="A", help="Probability of a false alarm of the whole report, at most.")
    ] = 0.01,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="COL", help="Column not to compare; may be repeated.", show_default=False),
    ] = None,
    columns: Annotated[
        int, typer.Option(metavar="N", help="Columns to show; --json has all of them.", min=1)
    ] = 20,
    fail: Annotated[
        bool, typer.Option("--fail", metavar="", help="Exit with 1 if anything drifted, for scheduled jobs.")
    ] = False,
) -> None:
    """Say whether a table still looks like the normal rows that a model learned from.

    Every column is compared with what the model file remembers of it, the scores with those of held-out
    normal rows, and the rows are watched in their order for a change. The whole table is read into memory.
    """
    pipeline = load_pipeline(terminal, model)
    with terminal.working(f"Comparing {table}"):
        report = pipeline.drift(read_rows(pipeline, table), level=level, ignore=ignore or ())
    terminal.result(report.to_dict(), lambda: _view(report, columns))
    if fail and report.drifted:
        raise typer.Exit(1)


def _view(report: "DriftReport", columns: int) -> Group:
    rest = len(report.columns) - columns
    more = [Text(f"  and {rest} columns more, none of them worse", style="dim")] if rest > 0 else []
    return Group(
        views.heading(f"{views.count(report.rows)} rows. {report.sentence}"),
        _table(report.columns[:columns]),
        *more,
        views.facts({"scores": report.scores.sentence, "order": report.stream.sentence}),
    )


def _table(columns: "tuple[ColumnDrift, ...]") -> Table:
    table = views.grid(["column", "verdict", "PSI", "p-value", "what changed"], ["PSI", "p-value"])
    for each in columns:
        verdict = Text(each.verdict, style=_STYLES[each.verdict])
        numbers = (f"{each.psi:.2f}", f"{each.adjusted:.2g}")
        table.add_row(Text(each.column), verdict, *numbers, Text(each.change))
    return table
