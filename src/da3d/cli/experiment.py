"""``da3d experiment``: run what a TOML file asks for, see how far it is, make its tables."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as Grid

from da3d.cli import options, views
from da3d.cli.command import command
from da3d.cli.models import make_folder
from da3d.cli.terminal import Terminal
from da3d.errors import ParameterError

if TYPE_CHECKING:
    from da3d.experiments import Cell, Experiment, Progress, Records, Summary

__all__ = ["experiment"]

experiment = typer.Typer(help="Run an experiment, or make its tables and figures.", no_args_is_help=True)

_STATES = ("finished", "failed", "absent", "stale", "missing")

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="The experiment: a TOML file.", show_default=False)
]
Results = Annotated[
    Path, typer.Option("--results", metavar="FOLDER", help="Where the records of all experiments lie.")
]
Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds", metavar="LIST", help="Only these seeds of the file, such as 0,1.", show_default=False
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="TEXT",
        help="Only cells whose name (data/contamination/detector/seed) holds this; may be repeated.",
        show_default=False,
    ),
]


def _run(
    terminal: Terminal,
    file: File,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            help="Cells in work at a time, one thread each; 1 if left out, with --ray all its CPUs.",
            min=1,
            show_default=False,
        ),
    ] = None,
    seeds: Seeds = None,
    only: Only = None,
    results: Results = Path("results"),
    ray: options.Ray = None,
) -> None:
    """Work the cells of an experiment that have not finished yet.

    Every cell leaves a record; a run that was killed or interrupted continues when it is started again. A
    cell that fails is recorded with its error and tried again by the next run; the exit code is 1 then.
    """
    with terminal.working(f"Reading {file}"):
        plan, records = _open(file, results)
        cells = _chosen(plan.cells(), seeds, only)
        run, at_once = _runner(ray, jobs)
    try:
        with _watching(terminal, len(cells)) as report:
            done = run(
                cells,
                records,
                jobs=at_once,
                keep_scores=plan.plan.keep_scores,
                keep_for_figures=plan.plan.keep_for_figures,
                report=report,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"the records of cells that ended stay in '{records.folder}'; run the same command again to "
            "continue."
        ) from None
    summary = {"experiment": plan.name, "records": str(records.folder), **asdict(done)}
    if terminal.json or not terminal.quiet:
        terminal.result(summary, lambda: _said(done, records))
    if done.failed:
        raise typer.Exit(1)


def _runner(ray: str | None, jobs: int | None) -> "tuple[Callable[..., Summary], int | None]":
    """What works the cells, here or on a cluster, and how many at a time."""
    if ray is None:
        from da3d.experiments import run_cells

        return run_cells, jobs or 1
    from da3d.distributed import run_cells_on_ray

    return partial(run_cells_on_ray, address=ray), jobs


def _status(terminal: Terminal, file: File, results: Results = Path("results")) -> None:
    """Count the cells of each detector that finished, failed, are stale (of another plan) or missing.

    Cells whose data set is not here and cannot be fetched are counted as absent.
    """
    with terminal.working(f"Reading {file}"):
        plan, records = _open(file, results)
        data = _counted(plan, records)
    terminal.result(data, lambda: _view(data))


def _table(
    terminal: Terminal,
    file: File,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="M",
            help="auc, average_precision, recall_at_1pct_fpr, f1_at_true_rate, precision_at_20pct or "
            "recall_at_20pct; the file's if left out.",
            show_default=False,
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="DOCUMENT",
            help="Markdown file that takes the table between <!-- table: NAME --> and <!-- /table -->; NAME "
            "is the experiment's, or with --metric EXPERIMENT/M.",
            show_default=False,
        ),
    ] = None,
    results: Results = Path("results"),
) -> None:
    """Make a Markdown table of the records that are there."""
    with terminal.working(f"Reading {file}"):
        plan, records = _open(file, results)
        from da3d.experiments import between_markers, compare_detectors, make_table, to_markdown

        tables = [make_table(plan, records, name) for name in ([metric] if metric else plan.plan.metric)]
    text = "\n\n".join(to_markdown(table) for table in tables)
    if into is not None:
        name = f"{plan.name}/{metric}" if metric else plan.name
        between_markers(into, name, text)
        terminal.say(f"The table '{name}' is in {into}.")
    if terminal.json:
        data = [
            {**table.as_dict(), "tests": [asdict(each) for each in compare_detectors(table)]}
            for table in tables
        ]
        terminal.result(data, str)
    elif into is None:
        terminal.out.print(text, markup=False, highlight=False, soft_wrap=True)


def _figures(
    terminal: Terminal,
    file: File,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where the pictures go.")
    ] = Path("figures"),
    results: Results = Path("results"),
) -> None:
    """Draw the figures that the file asks for from the records that are there, as SVG and PNG.

    Nothing is run. A file that asks for no figure gets one that compares its detectors.
    """
    with terminal.working(f"Reading {file}"):
        plan, records = _open(file, results)
        from da3d.cli.experiment_figures import draw
        from da3d.experiments.entries import FigureEntry
        from da3d.reports.figures import save_figure
    make_folder(output)
    written = []
    for entry in plan.plan.figure or [FigureEntry(kind="comparison")]:
        figure = draw(plan, records, entry)
        if figure is None:
            terminal.warn(f"There are no records for the figure '{entry.file}' of {plan.name} yet.")
            continue
        files = [output / f"{plan.name}-{entry.file}.{ending}" for ending in ("svg", "png")]
        written += [str(save_figure(figure, file)) for file in files]
    data = {"experiment": plan.name, "figures": written}
    if terminal.json or not terminal.quiet:
        terminal.result(data, lambda: "\n".join(written) or "Nothing to draw yet.")


experiment.command("run")(command(_run))
experiment.command("status")(command(_status))
experiment.command("table")(command(_table))
experiment.command("figures")(command(_figures))


def _open(file: Path, results: Path) -> "tuple[Experiment, Records]":
    from da3d.experiments import Records, read_experiment

    plan = read_experiment(file)
    return plan, Records(results / plan.name)


def _chosen(cells: "list[Cell]", seeds: str | None, only: list[str] | None) -> "list[Cell]":
    from da3d.experiments import select

    try:
        numbers = None if seeds is None else [int(part) for part in seeds.split(",")]
    except ValueError:
        raise ParameterError(f"--seeds is '{seeds}' but must be whole numbers, such as 0,1.") from None
    return select(cells, numbers, only or ())


@contextmanager
def _watching(terminal: Terminal, cells: int) -> "Iterator[Callable[[Progress], None]]":
    """Tell of every cell that ends: a bar for those who look on, lines for others."""
    if not terminal.shows_progress:
        yield lambda progress: _line(terminal, progress)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Display

    columns = (SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Display(*columns, TextColumn("{task.description}"), console=terminal.err, transient=True) as display:
        task = display.add_task("", total=None)

        def show(progress: "Progress") -> None:
            if progress.record.error is not None:
                _line(terminal, progress)
            left = _left(progress.seconds_left)
            display.update(task, total=progress.total, completed=progress.ended, description=left)

        yield show


def _line(terminal: Terminal, progress: "Progress") -> None:
    """One line about a cell that has ended."""
    record = progress.record
    if record.error is not None:
        how = "skipped" if record.unavailable else f"failed: {record.error.type}"
        terminal.warn(f"{record.cell} {how}: {record.error.message}")
        return
    for sentence in record.warnings:
        terminal.warn(f"{record.cell}: {sentence}")
    auc = (record.metrics or {}).get("auc", float("nan"))
    duration = views.seconds(record.seconds_total)
    left = _left(progress.seconds_left)
    terminal.say(f"{progress.ended} of {progress.total}: {record.cell}: AUC {auc:.3f}, {duration}   [{left}]")


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"about {views.seconds(seconds)} left"


def _said(done: "Summary", records: "Records") -> str:
    parts = [f"{done.finished} cells finished"]
    parts += [f"{done.failed} failed"] if done.failed else []
    parts += [f"{done.unavailable} have data that are not available here"] if done.unavailable else []
    parts += [f"{done.skipped} had finished before"] if done.skipped else []
    return f"{', '.join(parts)}; their records are in {records.folder}."


def _counted(plan: "Experiment", records: "Records") -> dict[str, Any]:
    """States of the cells by detector, and what the failed ones said."""
    counts = {entry.label: Counter[str]() for entry in plan.plan.detector}
    failures = []
    for cell in plan.cells():
        found = records.find(cell)
        away = found.record is not None and found.record.unavailable
        counts[cell.detector.label]["absent" if away else found.state] += 1
        if (
            found.state == "failed"
            and not away
            and found.record is not None
            and found.record.error is not None
        ):
            failures.append({"cell": cell.id, **found.record.error.model_dump()})
    detectors = [
        {"detector": label, **{state: states[state] for state in _STATES}} for label, states in counts.items()
    ]
    return {"experiment": plan.name, "title": plan.plan.title, "detectors": detectors, "failures": failures}


def _view(data: dict[str, Any]) -> Any:
    from rich.console import Group

    grid: Grid = views.grid(("detector", *_STATES), _STATES)
    for each in data["detectors"]:
        grid.add_row(each["detector"], *(str(each[state] or "") for state in _STATES))
    parts: list[Any] = [views.heading(data["title"]), grid]
    if data["failures"]:
        parts += [views.heading("Failed"), views.facts(_together(data["failures"]))]
    return Group(*parts)


def _together(failures: list[dict[str, Any]]) -> dict[str, str]:
    """Each error once: the first cell that had it, and how many others."""
    cells: dict[str, list[str]] = {}
    for each in failures:
        cells.setdefault(f"{each['type']}: {each['message']}", []).append(each["cell"])
    return {
        f"{names[0]}, {len(names) - 1} more" if len(names) > 1 else names[0]: said
        for said, names in cells.items()
    }
