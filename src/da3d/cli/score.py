"""``da3d score``: a model and a table -> verdicts, chunk by chunk."""

import io
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from da3d.cli import options, views
from da3d.cli.models import check_writable, joined, load_pipeline, scores_of
from da3d.cli.progress import counter
from da3d.cli.terminal import Terminal

if TYPE_CHECKING:
    import pandas as pd

    from da3d.pipeline import AnomalyPipeline, Threshold
    from da3d.preprocessing import TableWriter

__all__ = ["score"]


def score(
    terminal: Terminal,
    model: options.Model,
    table: options.Table,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="File to write (.csv, .parquet, .jsonl), or - for stdout: CSV, JSON lines with --json.",
        ),
    ] = "-",
    fpr: options.Fpr = None,
    budget: options.Budget = None,
    top: options.Top = None,
    fdr: options.Fdr = None,
    columns: Annotated[
        bool,
        typer.Option(
            metavar="", help="Keep the table's columns beside the verdicts, or number the rows from 0."
        ),
    ] = True,
    only_anomalies: Annotated[
        bool, typer.Option("--only-anomalies", metavar="", help="Write only the rows that raise an alarm.")
    ] = False,
    chunk: Annotated[int, typer.Option(metavar="ROWS", help="Rows in memory at a time.", min=1)] = 65_536,
) -> None:
    """Judge every row of a table.

    Adds the columns anomaly_score (higher is stranger), p_value (share of normal rows that are at least as
    strange), severity (the p-value on a scale from 0 to 100) and is_anomaly; suppressed, too, if the model
    suppresses benign rows. The table may be larger than memory. Under --fpr each row is judged as it arrives;
    the other rules rank all rows first and so read the table twice.
    """
    threshold = options.chosen_threshold(fpr, budget, top, fdr)
    if output != "-":
        check_writable(Path(output))
    from da3d.preprocessing import TableWriter

    pipeline = load_pipeline(terminal, model)
    job = _Job(pipeline, threshold or pipeline.rule, table, chunk)
    to_stdout: Literal["csv", "jsonl"] = "jsonl" if terminal.json else "csv"
    begin = time.perf_counter()
    with (
        TableWriter(output, form=to_stdout if output == "-" else None) as writer,
        counter(terminal) as count,
        job.rewindable(),
    ):
        done = _write(job.judged(count), writer, keep=columns, only_anomalies=only_anomalies)
    _report(terminal, done, job.threshold, output, time.perf_counter() - begin)


@dataclass(frozen=True)
class _Done:
    """How many rows were judged, and how many of them raised an alarm."""

    rows: int
    alarms: int


class _Job:
    """One table to be judged by one pipeline under one rule."""

    def __init__(self, pipeline: "AnomalyPipeline", threshold: "Threshold", table: str, chunk: int) -> None:
        self.pipeline, self.threshold, self.table, self.chunk = pipeline, threshold, table, chunk

    @property
    def _twice(self) -> bool:
        """Whether standard input has to be read twice."""
        return self.table == "-" and not self.threshold.by_row

    def rewindable(self) -> AbstractContextManager[object]:
        """Where the table is read twice from standard input, keep that on disk meanwhile."""
        return _stdin_on_disk() if self._twice else nullcontext()

    def judged(self, count: Callable[[int], None]) -> "Iterator[tuple[pd.DataFrame, pd.DataFrame]]":
        """Each chunk of the table with its verdicts; `count` is told of every chunk that was scored."""
        if self.threshold.by_row:
            for rows in self._rows():
                scored = scores_of(self.pipeline, rows)
                yield rows, scored.judged(self.pipeline, self.threshold, rows.index)
                count(len(rows))
            return
        verdicts = self._verdicts_of_all(count)
        for rows in self._rows():
            yield rows, verdicts.loc[rows.index]

    def _verdicts_of_all(self, count: Callable[[int], None]) -> "pd.DataFrame":
        found = []
        for rows in self._rows():
            found.append(scores_of(self.pipeline, rows))
            count(len(rows))
        return joined(found).judged(self.pipeline, self.threshold)

    def _rows(self) -> "Iterator[pd.DataFrame]":
        from da3d.preprocessing import stream_table

        if self._twice:
            sys.stdin.buffer.seek(0)
        return stream_table(self.table, self.chunk, kinds=self.pipeline.encoder_.schema_.kinds)


@contextmanager
def _stdin_on_disk() -> Iterator[None]:
    """Standard input from a temporary file, so that it can be read more than once."""
    with tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool)
        before, sys.stdin = sys.stdin, io.TextIOWrapper(spool)
        try:
            yield
        finally:
            sys.stdin = before


def _write(
    judged: "Iterator[tuple[pd.DataFrame, pd.DataFrame]]",
    writer: "TableWriter",
    *,
    keep: bool,
    only_anomalies: bool,
) -> _Done:
    """Write all chunks; where no row is wanted, a table without rows."""
    rows = alarms = written = 0
    out = None
    for frame, verdicts in judged:
        rows, alarms = rows + len(frame), alarms + int(verdicts["is_anomaly"].sum())
        out = _joined(frame, verdicts, keep)
        out = out[verdicts["is_anomaly"]] if only_anomalies else out
        if len(out):
            writer.write(out)
            written += len(out)
    if out is not None and not written:
        writer.write(out)
    return _Done(rows, alarms)


def _joined(frame: "pd.DataFrame", verdicts: "pd.DataFrame", keep: bool) -> "pd.DataFrame":
    """The verdicts beside the table's columns (those of an earlier scoring give way) or the row's number."""
    import pandas as pd

    beside = (
        frame.drop(columns=verdicts.columns, errors="ignore") if keep else frame.index.to_frame(name="row")
    )
    return pd.concat([beside, verdicts], axis="columns")


def _report(terminal: Terminal, done: _Done, threshold: "Threshold", output: str, duration: float) -> None:
    rate = done.rows / max(duration, 1e-9)
    share = 100 * done.alarms / done.rows
    where = "" if output == "-" else f" in {output}"
    terminal.say(
        f"{views.count(done.rows)} rows, {views.count(done.alarms)} alarms ({share:.2g} %){where}   "
        f"[{threshold}; {views.count(round(rate))} rows per second]"
    )
    if terminal.json and output != "-":
        summary: dict[str, Any] = {
            "output": output,
            "rows": done.rows,
            "alarms": done.alarms,
            "threshold": {"rule": threshold.rule, "value": threshold.value},
            "seconds": round(duration, 3),
        }
        terminal.result(summary, str)
