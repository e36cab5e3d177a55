"""``da3d export``: a model file -> one ONNX file."""

from pathlib import Path
from typing import Annotated

import typer

from da3d.cli import options, views
from da3d.cli.models import check_writable, load_pipeline
from da3d.cli.terminal import Terminal

__all__ = ["export"]


def export(
    terminal: Terminal,
    model: options.Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="ONNX file to write.", show_default=False)
    ],
) -> None:
    """Write a model as one ONNX file, from the table's columns to score, p-value and alarm.

    ONNX Runtime runs it in many languages, and da3d score takes it in place of the model: without torch, so
    that it starts in about a second. Its scores are compared with the model's before it is written. Needs the
    extra onnx.
    """
    check_writable(output)
    pipeline = load_pipeline(terminal, model)
    from da3d.persistence import onnx

    with terminal.working(f"Exporting {model}"):
        onnx.export(pipeline, output)
    facts = onnx.inspect(output)
    terminal.say(f"{output}: {views.file_size(facts['bytes'])}; gives {', '.join(facts['outputs'])}")
    if terminal.json:
        terminal.result(facts, str)
