"""``da3d report``: one HTML page about a model and the rows that it judges."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from da3d.cli import options, views
from da3d.cli.models import check_writable, load_pipeline
from da3d.cli.terminal import Terminal
from da3d.errors import ParameterError

if TYPE_CHECKING:
    from da3d.pipeline import AnomalyPipeline

__all__ = ["report"]


def report(
    terminal: Terminal,
    model: options.Model,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="TABLE",
            help="Rows to judge: a file as da3d score reads it.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="COL", help="Column that says which rows are anomalies.", show_default=False),
    ] = None,
    anomaly: options.Anomaly = None,
    normal: options.Normal = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")] = Path(
        "report.html"
    ),
    top: Annotated[
        int, typer.Option(metavar="K", help="How many of the strangest rows to explain.", min=1)
    ] = 20,
) -> None:
    """Write one HTML page about a model and the rows that it judges.

    The page needs no other file and loads nothing. It shows rows of the table, so treat it like the data. The
    whole table is read into memory.
    """
    if label is not None and data is None:
        raise ParameterError("--label is given without a table; give --data, too.")
    if (anomaly or normal) and label is None:
        raise ParameterError("--anomaly and --normal name values of a label column; give --label, too.")
    check_writable(output)
    from da3d.persistence import inspect
    from da3d.reports.page import write_report

    pipeline = load_pipeline(terminal, model)
    with terminal.working(f"Writing {output}"):
        given = {} if data is None else _rows(pipeline, data, label, anomaly, normal)
        write_report(output, pipeline, top=top, name=model.name, source=data, file=inspect(model), **given)
    length = output.stat().st_size
    facts = {"report": str(output), "bytes": length, "rows": len(given.get("data", ()))}
    terminal.result(facts, lambda: views.facts({"report": output, "size": views.file_size(length)}))


def _rows(
    pipeline: "AnomalyPipeline",
    table: str,
    label: str | None,
    anomaly: list[str] | None,
    normal: list[str] | None,
) -> dict[str, Any]:
    """The table, and its labels if it has any."""
    from da3d.preprocessing import read_table
    from da3d.preprocessing.labels import marked, take_column

    frame = read_table(table, kinds=pipeline.encoder_.schema_.kinds)
    if label is None:
        return {"data": frame}
    rows, column = take_column(frame, label)
    return {"data": rows, "labels": marked(column, anomaly, normal)}
