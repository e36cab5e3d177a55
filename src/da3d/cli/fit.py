"""``da3d fit``: a table of mostly normal rows -> a model file."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group

from da3d.cli import names, options, views
from da3d.cli.models import check_writable
from da3d.cli.progress import learning
from da3d.cli.terminal import Terminal
from da3d.errors import LabelError, ParameterError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from da3d.detectors import Detector
    from da3d.pipeline import AnomalyPipeline

__all__ = ["detector_name", "fit"]

_LARGEST = 2**63


def fit(
    terminal: Terminal,
    table: options.Table,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="MODEL", help="Model file to write.", show_default=False),
    ],
    detector: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"One of {', '.join(names.DETECTORS)}; da3d if left out."),
    ] = None,
    quality: Annotated[
        str | None,
        typer.Option(
            metavar="Q",
            help="Of the default detector: fast (no networks, about a second) or balanced (some seconds).",
        ),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Parameter of the detector, such as preset=preprint or steps=[200,20,100]; may be repeated.",
            show_default=False,
        ),
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COL", help="Column that says which rows are known anomalies.")
    ] = None,
    anomaly: options.Anomaly = None,
    normal: options.Normal = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="COL", help="Column to leave out; may be repeated.", show_default=False),
    ] = None,
    contamination: Annotated[
        float, typer.Option(metavar="C", help="Share of unmarked anomalies that you expect, in [0, 0.5).")
    ] = 0.0,
    calibrate_by: Annotated[
        str | None,
        typer.Option(
            metavar="COL", help="Compare rows with held-out rows of the same value in this column only."
        ),
    ] = None,
    reference_rows: Annotated[
        int,
        typer.Option(metavar="N", help="Held-out rows to keep in the model file, for da3d explain.", min=0),
    ] = 256,
    device: Annotated[
        str | None, typer.Option(metavar="D", help="auto, cpu, cuda or mps; auto if left out.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keeps an unfinished fit; the same command continues from it."),
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Memory that the fit may take, such as 2GiB; of a table that needs more a random sample is "
            "learned from. A quarter of the machine's if left out.",
            show_default=False,
        ),
    ] = None,
    max_rows: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Rows to learn from at most, drawn at random from a longer table.",
            min=2,
            show_default=False,
        ),
    ] = None,
    seed: options.Seed = 0,
    ray: options.Ray = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="With --ray: processes that train together.", min=1, show_default=False
        ),
    ] = None,
    fpr: options.Fpr = None,
    budget: options.Budget = None,
    top: options.Top = None,
    fdr: options.Fdr = None,
) -> None:
    """Learn what is normal in a table and write a model file.

    No labels are needed. If some anomalies are known, name their column with --label: they are never taken
    for normal.

    The table may be larger than memory: the fit then learns from as many rows, drawn at random, as
    --max-memory or --max-rows allow, and says so. Known anomalies are kept.

    A detector that is trained by gradient can be trained by several processes together: with --ray and
    --workers, or under torchrun.
    """
    from da3d.distributed.fit import launched_rank, process_group

    is_first = launched_rank() == 0
    terminal.quiet |= not is_first
    _check_together(ray, workers, checkpoint)
    threshold = options.chosen_threshold(fpr, budget, top, fdr)
    for path in (output, checkpoint) if checkpoint else (output,):
        check_writable(path)
    learner = _detector(detector, quality, param or [], device=device, checkpoint=checkpoint)
    with terminal.working(f"Reading {table}"):
        limits = {"memory": max_memory, "rows": max_rows, "seed": seed}
        rows, labels, total = _read(table, label, (anomaly, normal), drop or [], limits)
    if total > len(rows):
        terminal.say(_sampled(len(rows), total, max_rows, max_memory))
    from da3d.persistence import save
    from da3d.pipeline import AnomalyPipeline

    pipeline = AnomalyPipeline(
        learner,
        threshold=threshold,
        contamination=contamination,
        calibrate_by=calibrate_by,
        reference_rows=reference_rows,
        random_state=seed,
    )
    begin = time.perf_counter()
    with process_group(learner):
        pipeline = _learn(terminal, pipeline, rows, labels, checkpoint, ray, workers)
    if not is_first:
        return  # the first process has the same model
    duration = time.perf_counter() - begin
    save(pipeline, output)
    summary = {"rows": len(rows), "table_rows": total, **_summary(pipeline, output, labels, duration)}
    if terminal.json or not terminal.quiet:
        terminal.result(summary, lambda: _view(summary))


def _check_together(ray: str | None, workers: int | None, checkpoint: Path | None) -> None:
    """Refuse what several processes cannot do."""
    if (ray is None) != (workers is None):
        given, other = ("--workers", "--ray") if ray is None else ("--ray", "--workers")
        raise ParameterError(f"{given} is given without {other}; a fit on a cluster needs both.")
    if ray is not None and checkpoint is not None:
        raise ParameterError("--checkpoint keeps the fit of one process; leave it out, or leave --ray out.")


def _detector(
    name: str | None, quality: str | None, assignments: list[str], **options_given: object
) -> "Detector":
    """The detector that the options describe."""
    from da3d.detectors import default_detector, is_foreign, make_detector

    if name is not None and quality is not None:
        raise ParameterError(
            f"--quality {quality} chooses the default detector, but --detector {name} is given as well; give "
            "one of the two."
        )

    if name is not None and is_foreign(name):
        raise ParameterError(
            f"--detector is '{name}', but a detector of another library cannot be kept in a model file; use "
            "it in Python or in an experiment."
        )
    parameters = dict(map(_assignment, assignments))
    parameters |= {key: value for key, value in options_given.items() if value is not None}
    if name is not None:
        return make_detector(name, **parameters)
    default = default_detector(quality or "balanced")
    return make_detector(detector_name(default), **({"preset": default.preset} | parameters))


def detector_name(detector: "Detector") -> str:
    """The name under which a detector is known on the command line."""
    from da3d.detectors import DETECTORS

    found = [name for name, kind in DETECTORS.items() if kind is type(detector)]
    return found[0] if found else type(detector).__name__


def _assignment(text: str) -> tuple[str, Any]:
    """``key=value`` with the value as JSON, or as text if it is none."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ParameterError(f"--param is '{text}' but must be KEY=VALUE, such as --param neighbors=10.")
    try:
        found = json.loads(value)
    except ValueError:
        return key, value
    if not all(abs(number) < _LARGEST for number in _numbers_in(found)):
        raise ParameterError(f"--param is '{text}' but its numbers must be finite and below 2^63.")
    return key, found


def _numbers_in(value: Any) -> Iterator[float]:
    """The numbers of a value, and of the lists and objects that it is made of."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, list | dict):
        for each in value if isinstance(value, list) else value.values():
            yield from _numbers_in(each)


def _read(
    table: str,
    label: str | None,
    values: tuple[list[str] | None, list[str] | None],
    drop: list[str],
    limits: dict[str, Any],
) -> "tuple[pd.DataFrame, NDArray[np.int64] | None, int]":
    """The rows to learn from, 1 for each known anomaly if there are labels, and the table's length."""
    from da3d.preprocessing import sample_table
    from da3d.preprocessing.labels import marked, take_column

    if any(values) and label is None:
        option = "--anomaly" if values[0] else "--normal"
        raise ParameterError(f"{option} is given without --label; name the column that holds the labels.")
    sample = sample_table(table, label=label, anomaly=values[0], normal=values[1], drop=drop, **limits)
    rows, labels = sample.frame, None
    if label is not None:
        rows, column = take_column(rows, label)
        labels = marked(column, *values)
    if labels is not None and labels.all():
        raise LabelError(
            f"all {len(labels)} rows are anomalies by column '{label}'; rows believed normal are needed to "
            "learn what is normal."
        )
    return rows, labels, sample.rows


def _sampled(rows: int, total: int, max_rows: int | None, max_memory: str | None) -> str:
    """What is said about a fit that does not learn from all rows."""
    from da3d.preprocessing.memory import default_ceiling, spelled

    given = [f"--max-rows {max_rows}"] * (max_rows is not None)
    given += [f"--max-memory {max_memory}"] * (max_memory is not None)
    limit = " and ".join(given) or f"--max-memory, here {spelled(default_ceiling())}"
    learned = f"{views.count(rows)} of {views.count(total)} rows"
    return f"Learning from {learned}, a random sample: {limit} allows no more."


def _learn(
    terminal: Terminal,
    pipeline: "AnomalyPipeline",
    rows: "pd.DataFrame",
    labels: "NDArray[np.int64] | None",
    checkpoint: Path | None,
    ray: str | None,
    workers: int | None,
) -> "AnomalyPipeline":
    """The fitted pipeline; an interruption says what was kept."""
    if ray is not None:
        from da3d.distributed import fit_on_ray

        with terminal.working("Learning"):
            return fit_on_ray(pipeline, rows, labels, workers=workers or 1, address=ray)
    try:
        with learning(terminal, "Learning", pipeline.detector):
            return pipeline.fit(rows, labels)
    except KeyboardInterrupt:
        if checkpoint is not None and checkpoint.exists():
            kept = f"run the same command again to continue from '{checkpoint}'."
        else:
            kept = "nothing was kept; with --checkpoint FILE a fit can be continued."
        raise KeyboardInterrupt(f"no model was written; {kept}") from None


def _summary(
    pipeline: "AnomalyPipeline", output: Path, labels: "NDArray[np.int64] | None", duration: float
) -> dict[str, Any]:
    """What a caller wants to know about a fit."""
    rule, calibration = pipeline.rule, pipeline.calibration_
    return {
        "model": str(output),
        "bytes": output.stat().st_size,
        "known_anomalies": 0 if labels is None else int(labels.sum()),
        "columns": dict(pipeline.encoder_.schema_.kinds),
        "ignored": dict(pipeline.encoder_.ignored_columns_),
        "features": len(pipeline.encoder_.feature_names_),
        "detector": detector_name(pipeline.detector_),
        "seconds": round(duration, 2),
        "calibration_rows": len(calibration.scores),
        "threshold": {
            "rule": rule.rule,
            "value": rule.value,
            "score": rule.cut(calibration) if rule.by_row else None,
            "text": str(rule),
        },
    }


def _rows_of(summary: dict[str, Any]) -> str:
    rows, total = views.count(summary["rows"]), views.count(summary["table_rows"])
    return rows if rows == total else f"{rows} of {total} (a random sample)"


def _view(summary: dict[str, Any]) -> Group:
    threshold, known = summary["threshold"], summary["known_anomalies"]
    cut = "" if threshold["score"] is None else f" (scores from {threshold['score']:.4g})"
    entries: dict[str, object] = {
        "rows": _rows_of(summary) + (f", {views.count(known)} known anomalies" if known else ""),
        "columns": views.columns_by_kind(summary["columns"]),
    }
    if summary["ignored"]:
        entries["left out"] = "\n".join(f"{name}: {why}" for name, why in summary["ignored"].items())
    entries |= {
        "detector": f"{summary['detector']}, learned in {views.seconds(summary['seconds'])}",
        "alarm": threshold["text"] + cut,
        "model": f"{summary['model']}, {views.file_size(summary['bytes'])}",
    }
    return Group(views.heading("Learned what is normal"), views.facts(entries))
