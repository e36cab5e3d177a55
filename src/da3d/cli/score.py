"""``da3d score``: a model and a table -> verdicts, chunk by chunk."""

import io
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from da3d.cli import options, views
from da3d.cli.models import check_writable, load_scorer
from da3d.cli.progress import counter
from da3d.cli.terminal import Terminal
from da3d.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd

    from da3d.persistence.onnx import OnnxModel
    from da3d.pipeline import AnomalyPipeline, Threshold
    from da3d.pipeline.judging import Judged

__all__ = ["score"]


def score(
    terminal: Terminal,
    model: options.Scorer,
    table: options.Table,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="File to write (.csv, .parquet, .jsonl), or - for stdout: CSV, JSON lines with --json. With "
            "--ray a folder.",
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
    ray: options.Ray = None,
) -> None:
    """Judge every row of a table.

    Adds the columns anomaly_score (higher is stranger), p_value (share of normal rows that are at least as
    strange), severity (the p-value on a scale from 0 to 100) and is_anomaly; suppressed, too, if the model
    suppresses benign rows. The table may be larger than memory. Under --fpr each row is judged as it arrives;
    the other rules rank all rows first and so read the table twice.

    On a Ray cluster a Parquet file or folder is judged in parts, each of which becomes a file of the folder
    OUT. The same command again works the parts that are missing.
    """
    threshold = options.chosen_threshold(fpr, budget, top, fdr)
    if ray is not None:
        how = {"threshold": threshold, "columns": columns, "only_anomalies": only_anomalies, "chunk": chunk}
        _score_on_ray(terminal, ray, model, table, output, **how)
        return
    if output != "-":
        check_writable(Path(output))
    from da3d.pipeline.judging import write_judged
    from da3d.preprocessing import TableWriter
    from da3d.preprocessing.ahead import Behind
    from da3d.preprocessing.frames import listed

    pipeline = load_scorer(terminal, model)
    job = _Job(pipeline, threshold or pipeline.rule, table, chunk)
    to_stdout: Literal["csv", "jsonl"] = "jsonl" if terminal.json else "csv"
    begin = time.perf_counter()
    with (
        TableWriter(output, form=to_stdout if output == "-" else None, growing=_is_text(table)) as file,
        Behind(file) if output != "-" else nullcontext(file) as writer,
        counter(terminal) as count,
        job.rewindable(),
        closing(job.judged(count)) as chunks,
    ):
        done = write_judged(chunks, writer, keep=columns, only_anomalies=only_anomalies)
    if file.left_out:
        terminal.warn(
            f"Columns that the first rows of the table do not have were left out: {listed(file.left_out)}. "
            "Write JSON lines (-o NAME.jsonl) to keep them."
        )
    _report(terminal, done, job.threshold, output, time.perf_counter() - begin)


def _is_text(table: str) -> bool:
    """Whether a column's type is not known before the table has ended."""
    return not (table.lower().endswith(".parquet") or Path(table).is_dir())


class _Job:
    """One table to be judged by one pipeline under one rule."""

    def __init__(
        self, pipeline: "AnomalyPipeline | OnnxModel", threshold: "Threshold", table: str, chunk: int
    ) -> None:
        self.pipeline, self.threshold, self.table, self.chunk = pipeline, threshold, table, chunk

    @property
    def _twice(self) -> bool:
        """Whether standard input has to be read twice."""
        return self.table == "-" and not self.threshold.by_row

    def rewindable(self) -> AbstractContextManager[object]:
        """Where the table is read twice from standard input, keep that on disk meanwhile.

        Raises
        ------
        ParameterError
            It would be read twice from a named pipe.
        """
        from da3d.preprocessing.source import is_pipe

        if is_pipe(self.table) and not self.threshold.by_row:
            raise ParameterError(
                f"'{self.table}' is a pipe, which can be read only once, but a threshold other than --fpr "
                f"({self.threshold}) ranks all rows first; give it as standard input: - < PIPE."
            )
        return _stdin_on_disk() if self._twice else nullcontext()

    def judged(
        self, count: Callable[[int], None]
    ) -> "Generator[tuple[pd.DataFrame, pd.DataFrame], None, None]":
        """Each chunk of the table with its verdicts; `count` is told of every chunk that was scored."""
        if self.threshold.by_row:
            from da3d.pipeline.judging import judged

            for rows, verdicts in judged(self.pipeline, self.threshold, self._rows()):
                yield rows, verdicts
                count(len(rows))
            return
        verdicts = self._verdicts_of_all(count)
        for rows in self._rows():
            yield rows, verdicts.loc[rows.index]

    def _verdicts_of_all(self, count: Callable[[int], None]) -> "pd.DataFrame":
        from da3d.pipeline.judging import joined, scores_of

        found = []
        for rows in self._rows():
            found.append(scores_of(self.pipeline, rows))
            count(len(rows))
        return joined(found).judged(self.pipeline, self.threshold)

    def _rows(self) -> "Iterator[pd.DataFrame]":
        from da3d.preprocessing import stream_table
        from da3d.preprocessing.ahead import ahead
        from da3d.preprocessing.source import is_pipe

        if self._twice:
            sys.stdin.buffer.seek(0)
        rows = stream_table(self.table, self.chunk, kinds=self.pipeline.kinds)
        # Whoever writes to a pipe wants every verdict at once, and could not interrupt a thread that waits.
        return rows if self.table == "-" or is_pipe(self.table) else ahead(rows)


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


def _score_on_ray(terminal: Terminal, address: str, model: Path, table: str, output: str, **how: Any) -> None:
    """Judge the parts of a table on a cluster."""
    if "-" in (table, output):
        raise ParameterError(
            "--ray needs a Parquet file or folder as TABLE and a folder as OUT (-o): standard input and "
            "output cannot be cut into parts."
        )
    from da3d.distributed import score_on_ray

    begin = time.perf_counter()
    with counter(terminal) as count:
        done = score_on_ray(model, table, output, address=address, report=count, **how)
    duration = time.perf_counter() - begin
    if done.found:
        terminal.say(f"{done.found} of {done.parts} parts had been finished before.")
    more = {"parts": done.parts, "parts_found": done.found}
    _report(terminal, done.judged, done.threshold, output, duration, more)


def _report(
    terminal: Terminal,
    done: "Judged",
    threshold: "Threshold",
    output: str,
    duration: float,
    more: Mapping[str, int] = MappingProxyType({}),
) -> None:
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
            **more,
        }
        terminal.result(summary, str)
