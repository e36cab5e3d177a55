"""``da3d evaluate``: how well a model tells the anomalies of a labelled table."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group

from da3d.cli import options, views
from da3d.cli.models import load_pipeline, scores_of
from da3d.cli.terminal import Terminal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from da3d.pipeline import AnomalyPipeline

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
) -> None:
    """Compare a model's scores and alarms with known labels."""
    threshold = options.chosen_threshold(fpr, budget, top, fdr)
    from da3d.metrics import summarise

    pipeline = load_pipeline(terminal, model)
    with terminal.working(f"Judging {table}"):
        labels, scores = _scored(pipeline, table, label, anomaly, normal)
    rule = threshold or pipeline.rule
    data: dict[str, Any] = {
        "rows": len(labels),
        "anomalies": int(labels.sum()),
        **summarise(labels, scores),
        "threshold": {"rule": rule.rule, "value": rule.value, "text": str(rule)},
        **_alarms(labels, pipeline.judge(scores, rule)["is_anomaly"].to_numpy()),
    }
    terminal.result(data, lambda: _view(data))


def _scored(
    pipeline: "AnomalyPipeline",
    table: str,
    label: str,
    anomaly: list[str] | None,
    normal: list[str] | None,
) -> "tuple[NDArray[np.int64], NDArray[np.float64]]":
    """Label and score of every row."""
    import numpy as np
    import pandas as pd

    from da3d.preprocessing import stream_table
    from da3d.preprocessing.labels import marked, take_column

    columns, scores = [], []
    for chunk in stream_table(table, kinds=pipeline.encoder_.schema_.kinds):
        rows, column = take_column(chunk, label)
        columns.append(column)
        scores.append(scores_of(pipeline, rows))
    return marked(pd.concat(columns), anomaly, normal), np.concatenate(scores)


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
    return Group(
        views.heading(f"{rows} rows, {anomalies} of them anomalies"),
        "",
        views.heading("Ranking"),
        views.facts({name: f"{value:.3f}" for name, value in shares.items()}),
        "",
        views.heading(f"Alarms under {data['threshold']['text']}"),
        views.facts(verdicts),
    )
