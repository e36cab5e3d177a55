"""``da3d explain``: which columns make rows strange."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from da3d.cli import options, views
from da3d.cli.models import load_pipeline, read_rows
from da3d.cli.terminal import Terminal
from da3d.errors import ParameterError

if TYPE_CHECKING:
    from da3d.pipeline import Explanation

__all__ = ["explain"]

_STRANGEST = 3
_KINDS = 3  # of evidence, to be named


def explain(
    terminal: Terminal,
    model: options.Model,
    table: options.Table,
    rows: Annotated[
        str | None,
        typer.Option(metavar="I,J,...", help="The rows to explain, counted from 0.", show_default=False),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            metavar="K", help="Explain the strangest K rows; 3 if --rows is not given.", show_default=False
        ),
    ] = None,
    columns: Annotated[
        int, typer.Option(metavar="N", help="Columns to show for each row; --json has all of them.", min=1)
    ] = 5,
) -> None:
    """Say why rows of a table are strange.

    Each row is compared with the normal row of the model file that is most like it, and the difference of
    their scores is divided among the columns. The whole table is read into memory.
    """
    wanted = None if rows is None else _positions(rows)
    if wanted is not None and top is not None:
        raise ParameterError("--rows and --top are both given; give one of the two.")
    if wanted is None and top is None:
        top = _STRANGEST
    pipeline = load_pipeline(terminal, model)
    with terminal.working(f"Explaining rows of {table}"):
        found = pipeline.explain(read_rows(pipeline, table), top=top, rows=wanted)
    terminal.result([each.to_dict() for each in found], lambda: _view(found, columns))


def _positions(text: str) -> list[int]:
    """``0,5,7`` as numbers."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ParameterError(f"--rows is '{text}' but must be row numbers, such as --rows 0,5,7.") from None


def _view(found: "list[Explanation]", columns: int) -> Group:
    parts: list[Any] = []
    for each in found:
        parts += [_heading(each), Text(each.sentence), *_evidence(each), _table(each, columns)]
    return Group(*parts)


def _heading(explanation: "Explanation") -> Text:
    verdict = ("alarm", "bold red") if explanation.is_anomaly else ("no alarm", "green")
    return Text.assemble(
        (f"Row {explanation.row}  ", "bold"),
        verdict,
        f"  score {explanation.anomaly_score:.4g}, p-value {explanation.p_value:.2g}, "
        f"severity {explanation.severity:.0f}",
    )


def _evidence(explanation: "Explanation") -> list[Text]:
    """The kinds of evidence that raise the score most, in a line; nothing if the score has no parts."""
    raising = [each for each in explanation.evidence if each.contribution > 0][:_KINDS]
    said = "; ".join(f"{each.meaning} {each.contribution:+.3g}" for each in raising)
    return [Text(f"By evidence: {said}.", style="dim")] if said else []


def _table(explanation: "Explanation", columns: int) -> Table:
    """The columns that raise the score most, beside the same columns of similar rows."""
    nearest, generated = explanation.nearest[0], explanation.counterexample
    others = {"nearest\nnormal row": nearest} | (
        {} if generated is None else {"nearest\ngenerated": generated}
    )
    table = views.grid(["column", "raises\nscore by", "value", *others, "usual"], ["raises\nscore by"])
    shown = [each for each in explanation.contributions if each.contribution] or explanation.contributions
    for each in shown[:columns]:
        cells = [each.value, *(other.values[each.column] for other in others.values())]
        value, *beside = (_cell(cell) for cell in cells)
        table.add_row(each.column, f"{each.contribution:+.3g}", value, *beside, each.usual)
    return table


def _cell(value: float | bool | str | None) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
