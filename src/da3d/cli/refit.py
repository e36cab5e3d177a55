"""``da3d refit``: the same pipeline, learned again with feedback."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group

from da3d.cli import options, views
from da3d.cli.models import check_writable, load_pipeline
from da3d.cli.progress import learning
from da3d.cli.terminal import Terminal
from da3d.errors import ParameterError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from da3d.pipeline import AnomalyPipeline

__all__ = ["refit"]


def refit(
    terminal: Terminal,
    model: options.Model,
    table: options.Table,
    output: options.Output,
    feedback: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Judged rows with a column feedback: anomaly, normal, benign or nothing.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="COL", help="Column of TABLE that says which rows are known anomalies."),
    ] = None,
    anomaly: options.Anomaly = None,
    normal: options.Normal = None,
) -> None:
    """Learn again from a table, with the parameters of a model and with what people said about its alarms.

    Anomalies of the feedback are known anomalies; normal and benign rows are normal rows more. Rows like the
    benign ones raise no alarm; neither do those that the model suppressed before.
    """
    check_writable(output)
    if (anomaly or normal) and label is None:
        option = "--anomaly" if anomaly else "--normal"
        raise ParameterError(f"{option} is given without --label; name the column that holds the labels.")
    from da3d.persistence import save
    from da3d.preprocessing import read_table

    pipeline = load_pipeline(terminal, model)
    with terminal.working(f"Reading {table}"):
        rows, labels = _rows(pipeline, table, label, anomaly, normal)
        kinds = pipeline.encoder_.schema_.kinds
        marked = None if feedback is None else read_table(feedback, kinds=kinds)
    begin = time.perf_counter()
    with learning(terminal, "Learning", pipeline.detector):
        fresh = pipeline.refit(rows, marked, labels)
    data = {
        "model": str(save(fresh, output)),
        "rows": len(rows),
        "feedback": {} if marked is None else _marks(marked),
        "suppressed_patterns": len(fresh.suppression_.rows),
        "calibration_rows": len(fresh.calibration_.scores),
        "seconds": round(time.perf_counter() - begin, 2),
    }
    if terminal.json or not terminal.quiet:
        terminal.result(data, lambda: _view(data))


def _rows(
    pipeline: "AnomalyPipeline",
    table: str,
    label: str | None,
    anomaly: list[str] | None,
    normal: list[str] | None,
) -> "tuple[pd.DataFrame, NDArray[np.int64] | None]":
    """The rows to learn from and, where there is a label column, 1 for each known anomaly."""
    from da3d.pipeline.judging import fitted_columns
    from da3d.preprocessing import read_table
    from da3d.preprocessing.labels import marked, take_column

    rows, labels = read_table(table, kinds=pipeline.encoder_.schema_.kinds), None
    if label is not None:
        rows, column = take_column(rows, label)
        labels = marked(column, anomaly, normal)
    return fitted_columns(pipeline, rows), labels


def _marks(table: "pd.DataFrame") -> dict[str, int]:
    """How many rows of a feedback have each mark."""
    from da3d.pipeline import Feedback

    marks = Feedback.of(table).marks.tolist()
    return {mark: marks.count(mark) for mark in ("anomaly", "normal", "benign")}


def _view(data: dict[str, Any]) -> Group:
    said = ", ".join(f"{views.count(count)} {mark}" for mark, count in data["feedback"].items())
    entries = {
        "rows": views.count(data["rows"]),
        "feedback": said or "none",
        "suppressed": f"{views.count(data['suppressed_patterns'])} benign rows",
        "learned in": views.seconds(data["seconds"]),
        "model": data["model"],
    }
    return Group(views.heading("Learned again"), views.facts(entries))
