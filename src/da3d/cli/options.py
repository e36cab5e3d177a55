"""Options that more than one command has."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from da3d.pipeline import Threshold

__all__ = [
    "Anomaly",
    "Budget",
    "Fdr",
    "Feedback",
    "Fpr",
    "Model",
    "Output",
    "Ray",
    "Scorer",
    "Seed",
    "Table",
    "Top",
    "chosen_threshold",
]

_ALARM = "Which rows raise an alarm (at most one)"

Table = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help="CSV, TSV, JSON lines (also .gz), Parquet, a folder of Parquet files, or - for standard input.",
        show_default=False,
    ),
]
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model file made by da3d fit.", show_default=False)
]
Scorer = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="A model file made by da3d fit, or an ONNX file made by da3d export.",
        show_default=False,
    ),
]
Feedback = Annotated[
    str,
    typer.Argument(
        metavar="FEEDBACK",
        help="Judged rows, in any kind of file, with a column feedback: anomaly, normal, benign or nothing.",
        show_default=False,
    ),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="MODEL", help="Model file to write.", show_default=False)
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Work on a Ray cluster: host:port, auto for one that runs here, local for a new one here.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Decides every random choice.", min=0)]
Anomaly = Annotated[
    list[str] | None,
    typer.Option(
        "--anomaly",
        metavar="VALUE",
        help="Value of the label column that means anomaly; may be repeated. Without it: 1, true or anomaly.",
        show_default=False,
    ),
]
Normal = Annotated[
    list[str] | None,
    typer.Option(
        "--normal",
        metavar="VALUE",
        help="Value of the label column that means normal, if all others are anomalies; may be repeated.",
        show_default=False,
    ),
]
Fpr = Annotated[
    float | None,
    typer.Option(
        "--fpr",
        metavar="F",
        help="At most this share of normal rows; by default that of the model.",
        rich_help_panel=_ALARM,
        show_default=False,
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(
        "--budget",
        metavar="N",
        help="The strangest N rows per thousand.",
        rich_help_panel=_ALARM,
        show_default=False,
    ),
]
Top = Annotated[
    int | None,
    typer.Option(
        "--top", metavar="K", help="The strangest K rows.", rich_help_panel=_ALARM, show_default=False
    ),
]
Fdr = Annotated[
    float | None,
    typer.Option(
        "--fdr",
        metavar="Q",
        help="At most this share of the alarms is false, on average.",
        rich_help_panel=_ALARM,
        show_default=False,
    ),
]


def chosen_threshold(
    fpr: float | None, budget: float | None, top: int | None, fdr: float | None
) -> "Threshold | None":
    """The rule that the options ask for, or None where they ask for none."""
    from da3d.pipeline import Threshold

    return Threshold.of(fpr=fpr, budget=budget, top=top, fdr=fdr)
