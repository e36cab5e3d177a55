"""``da3d evaluate``: how well a model tells the anomalies of a labelled table."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table

from da3d.cli import options, views
from da3d.cli.models import load_pipeline
from da3d.cli.terminal import Terminal

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from da3d.pipeline import AnomalyPipeline
    from da3d.pipeline.judging import Scored

__all__ = ["evaluate"]


def evaluate(
    terminal: Terminal,
    model: options.Model,
    table: options.Table,
    label: Annotated[
        str,
        typer.Option(metavar="COL", help="Column that says which rows are anomalies.", show_default=False),
    ],
    anomaly: options.Anomaly = None,
    normal: options.Normal = None,
    fpr: options.Fpr = None,
    budget: options.Budget = None,
    top: options.Top = None,
    fdr: options.Fdr = None,
    operating: Annotated[
        bool,
        typer.Option(
            "--operating-table", metavar="", help="Also compare thresholds, each with its alerts and recall."
        ),
    ] = False,
    per_day: Annotated[
        float | None,
        typer.Option(metavar="N", help="Rows judged on a day, for the alerts per day of that comparison."),
    ] = None,
) -> None:
    """Compare a model's scores and alarms with known labels.

    With --operating-table also under other thresholds than the one in force. Nothing is fitted again.
    """
    threshold = options.chosen_threshold(fpr, budget, top, fdr)
    from da3d.metrics import summarise

    pipeline = load_pipeline(terminal, model)
    with terminal.working(f"Judging {table}"):
        labels, scored = _scored(pipeline, table, label, anomaly, normal)
    rule = threshold or pipeline.rule
    data: dict[str, Any] = {
        "rows": len(labels),
        "anomalies": int(labels.sum()),
        **summarise(labels, scored.scores),
        "threshold": {"rule": rule.rule, "value": rule.value, "text": str(rule)},
        **_alarms(labels, scored.judged(pipeline, rule)["is_anomaly"].to_numpy()),
    }
    if operating or per_day is not None:
        from da3d.pipeline import operating_table

        compared = operating_table(
            pipeline.calibration_,
            scored.scores,
            labels,
            groups=scored.groups,
            benign=scored.benign,
            per_day=per_day,
        )
        data["operating_table"] = _records(compared)
    terminal.result(data, lambda: _view(data))


def _scored(
    pipeline: "AnomalyPipeline",
    table: str,
    label: str,
    anomaly: list[str] | None,
    normal: list[str] | None,
) -> "tuple[NDArray[np.int64], Scored]":
    """Label, score and group of every row."""
    import pandas as pd

    from da3d.pipeline.judging import joined, scores_of
    from da3d.preprocessing import stream_table
    from da3d.preprocessing.labels import marked, take_column

    columns, found = [], []
    for chunk in stream_table(table, kinds=pipeline.encoder_.schema_.kinds):
        rows, column = take_column(chunk, label)
        columns.append(column)
        found.append(scores_of(pipeline, rows))
    return marked(pd.concat(columns), anomaly, normal), joined(found)


def _alarms(labels: "NDArray[np.int64]", flags: "NDArray[np.bool_]") -> dict[str, Any]:
    """What the alarms are worth."""
    found = int((flags & (labels == 1)).sum())
    alarms, anomalies = int(flags.sum()), int(labels.sum())
    return {
        "alarms": alarms,
        "precision": found / alarms if alarms else None,
        "recall": found / anomalies,
        "false_positive_rate": (alarms - found) / (len(labels) - anomalies),
    }


def _records(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """The rows of an operating table, with None where there is no number."""
    return [
        {str(name): None if value != value else value for name, value in record.items()}
        for record in table.to_dict("records")
    ]


def _view(data: dict[str, Any]) -> Group:
    shares = {
        "area under the ROC curve": data["auc"],
        "average precision": data["average_precision"],
        "recall at 1 % false positives": data["recall_at_1pct_fpr"],
        "F1 at the true share of anomalies": data["f1_at_true_rate"],
    }
    verdicts = {
        "alarms": views.count(data["alarms"]),
        "precision": "no alarm" if data["precision"] is None else f"{data['precision']:.3f}",
        "recall": f"{data['recall']:.3f}",
        "false positives": f"{data['false_positive_rate']:.4f}",
    }
    rows, anomalies = views.count(data["rows"]), views.count(data["anomalies"])
    compared = data.get("operating_table")
    others: list[Any] = ["", views.heading("Other thresholds"), _operating(compared)] if compared else []
    return Group(
        views.heading(f"{rows} rows, {anomalies} of them anomalies"),
        "",
        views.heading("Ranking"),
        views.facts({name: f"{value:.3f}" for name, value in shares.items()}),
        "",
        views.heading(f"Alarms under {data['threshold']['text']}"),
        views.facts(verdicts),
        *others,
    )


def _operating(records: list[dict[str, Any]]) -> Table:
    """One line per threshold, by the name of its option; precision and recall with their intervals."""
    alerts = "alerts_per_day" if "alerts_per_day" in records[0] else "alerts_per_thousand"
    numbers = ["score\nfrom", alerts.replace("_per_", "\nper "), "precision", "recall", "FPR"]
    table = views.grid(["alarm", *numbers], numbers)
    for each in records:
        table.add_row(
            f"{each['rule']} {each['value']:g}",
            "none" if each["score"] is None else f"{each['score']:.4g}",
            f"{each[alerts]:,.0f}",
            *(_interval(each, name) for name in ("precision", "recall")),
            f"{each['false_positive_rate']:.4f}",
        )
    return table


def _interval(record: dict[str, Any], name: str) -> str:
    if record[name] is None:
        return "none"
    low, high = record[f"{name}_low"], record[f"{name}_high"]
    return f"{record[name]:.2f} ({low:.2f}-{high:.2f})"
