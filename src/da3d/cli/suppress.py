"""``da3d suppress``: no more alarms for what is known to be benign."""

from typing import Annotated

import typer

from da3d.cli import options, views
from da3d.cli.models import check_writable, load_pipeline
from da3d.cli.terminal import Terminal
from da3d.errors import LabelError

__all__ = ["suppress"]


def suppress(
    terminal: Terminal,
    model: options.Model,
    feedback: options.Feedback,
    output: options.Output,
    reach: Annotated[
        float,
        typer.Option(
            metavar="R",
            help="How near a row must be to a benign one, in distances between normal rows; 0: equal to it.",
        ),
    ] = 1.0,
) -> None:
    """Raise no alarm any more for rows like those marked benign. Nothing is fitted.

    Scores and p-values stay what they are; da3d score adds a column that says which alarms were suppressed.
    """
    check_writable(output)
    from da3d.persistence import save
    from da3d.pipeline import Feedback
    from da3d.pipeline.judging import fitted_columns
    from da3d.preprocessing import read_table

    pipeline = load_pipeline(terminal, model)
    benign = Feedback.of(read_table(feedback, kinds=pipeline.encoder_.schema_.kinds)).found("benign")
    if not len(benign):
        raise LabelError(f"no row of '{feedback}' is marked benign, so there is nothing to suppress.")
    fresh = pipeline.suppress(fitted_columns(pipeline, benign), reach=reach)
    save(fresh, output)
    known = len(fresh.suppression_.rows)
    data = {"model": str(output), "added": len(benign), "suppressed_patterns": known}
    if terminal.json or not terminal.quiet:
        entries = {"benign rows": f"{views.count(known)}, {views.count(len(benign))} of them new"}
        terminal.result(data, lambda: views.facts(entries | {"model": str(output)}))
