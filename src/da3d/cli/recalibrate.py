"""``da3d recalibrate``: p-values by fresh normal rows."""

from typing import Any

from rich.console import Group

from da3d.cli import options, views
from da3d.cli.models import check_writable, load_pipeline, read_rows
from da3d.cli.terminal import Terminal

__all__ = ["recalibrate"]


def recalibrate(
    terminal: Terminal, model: options.Model, table: options.Table, output: options.Output
) -> None:
    """Let fresh normal rows decide how rare a score is. Nothing is fitted, no score changes.

    The table holds normal rows that the model did not learn from. From then on a false-positive rate is kept
    on rows like these.
    """
    check_writable(output)
    pipeline = load_pipeline(terminal, model)
    with terminal.working(f"Scoring {table}"):
        fresh = pipeline.recalibrate(read_rows(pipeline, table))
    from da3d.persistence import save

    save(fresh, output)
    cuts = [each.rule.cut(each.calibration_) if each.rule.by_row else None for each in (pipeline, fresh)]
    data = {
        "model": str(output),
        "calibration_rows": len(fresh.calibration_.scores),
        "threshold": {"rule": fresh.rule.rule, "value": fresh.rule.value, "text": str(fresh.rule)},
        "score_before": cuts[0],
        "score_now": cuts[1],
    }
    if terminal.json or not terminal.quiet:
        terminal.result(data, lambda: _view(data))


def _view(data: dict[str, Any]) -> Group:
    before, now = data["score_before"], data["score_now"]
    moved = "" if before is None or now is None else f" (scores from {now:.4g}, before from {before:.4g})"
    entries = {
        "calibration": f"{views.count(data['calibration_rows'])} rows",
        "alarm": data["threshold"]["text"] + moved,
        "model": data["model"],
    }
    return Group(views.heading("Recalibrated"), views.facts(entries))
