"""``da3d serve``: models behind HTTP."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from da3d.cli.progress import counter
from da3d.cli.terminal import Terminal
from da3d.errors import ParameterError

if TYPE_CHECKING:
    from fastapi import APIRouter

    from da3d.serve import ModelStore
    from da3d.serve.server import Job

__all__ = ["serve"]

_PAGE = "The triage page"


def serve(
    terminal: Terminal,
    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL...", help="Model files made by da3d fit.", show_default=False),
    ],
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", help="Port to listen on; 0 takes a free one.", min=0, max=65535)
    ] = 8000,
    workers: Annotated[
        int, typer.Option(metavar="N", help="Processes, each with all models in memory.", min=1)
    ] = 1,
    name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Name of a model, in the models' order; by default the file's, without ending.",
            show_default=False,
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="API keys, one per line; without it the variable DA3D_API_KEY may hold one.",
            show_default=False,
        ),
    ] = None,
    without_key: Annotated[
        bool,
        typer.Option("--without-key", metavar="", help="Let other machines ask, too, without a key."),
    ] = False,
    max_rows: Annotated[int, typer.Option(metavar="N", help="Rows of a request.", min=1)] = 10_000,
    max_bytes: Annotated[int, typer.Option(metavar="N", help="Bytes of a request's body.", min=1)] = 10
    * 2**20,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time for a request, and for the last ones at the end.")
    ] = 30.0,
    ui: Annotated[
        bool,
        typer.Option(
            "--ui", metavar="", help="Serve the triage page of --data at /ui.", rich_help_panel=_PAGE
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE",
            help="The table to triage, as for da3d score.",
            rich_help_panel=_PAGE,
            show_default=False,
        ),
    ] = None,
    feedback: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where marks are kept (.csv, .jsonl, .parquet) and found at the next start; by default "
            "TABLE.feedback.csv in this folder.",
            rich_help_panel=_PAGE,
            show_default=False,
        ),
    ] = None,
    id_column: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="COL",
            help="Column of the table by which you know its rows.",
            rich_help_panel=_PAGE,
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        int,
        typer.Option(metavar="N", help="Rows on the page: the strangest N.", min=1, rich_help_panel=_PAGE),
    ] = 1000,
) -> None:
    """Serve models: rows in, verdicts out.

    Answers POST /score, the open inference protocol below /v2, /health and /metrics, until SIGTERM or Ctrl-C
    ends it; requests under way are answered first. When a model file is replaced, the new model takes over.

    With --ui people look at the strangest rows of one table at /ui, see why they are strange, and mark them;
    da3d suppress and da3d refit read the marks.
    """
    page = _page(ui, data, feedback, id_column, keep)
    with terminal.working("Starting"):
        from da3d.serve import ModelStore, Settings, need_extra

        need_extra()
        from da3d.serve.server import Job, run
    job = Job(
        models={each: str(path.absolute()) for each, path in ModelStore.named(models, name or ()).items()},
        host=host,
        port=port,
        workers=workers,
        key_file=None if api_key_file is None else str(api_key_file.absolute()),
        without_key=without_key,
        settings=Settings(max_rows=max_rows, max_bytes=max_bytes, timeout=timeout),
    )
    more = None if page is None else lambda store: [page.router(terminal, store, job.host)]
    run(job, lambda address: _announce(terminal, job, address, page), more)


@dataclass(frozen=True)
class _Page:
    """What the triage page is to show."""

    data: str
    feedback: Path
    id_column: str | None
    keep: int

    def router(self, terminal: Terminal, store: "ModelStore", host: str) -> "APIRouter":
        """The page's addresses, once its table is judged."""
        from da3d.serve.limits import is_loopback
        from da3d.serve.triage import open_triage

        what: dict[str, Any] = {"most": self.keep, "id_column": self.id_column, "local": is_loopback(host)}
        with counter(terminal) as count:
            return open_triage(store, self.data, self.feedback, count=count, **what).router


def _page(
    ui: bool, data: str | None, feedback: Path | None, id_column: str | None, keep: int
) -> _Page | None:
    """The page that is asked for, or None."""
    if not ui:
        given = {"--data": data, "--feedback": feedback, "--id": id_column}
        if stray := [option for option, value in given.items() if value is not None]:
            raise ParameterError(f"{stray[0]} is given without --ui; add --ui for the triage page.")
        return None
    if data is None:
        raise ParameterError("--ui is given without a table to triage; name one with --data.")
    name = "stdin" if data == "-" else Path(data).name.removesuffix(".gz").rpartition(".")[0]
    kept = feedback or Path(f"{name or Path(data).name}.feedback.csv")
    return _Page(data, kept.absolute(), id_column, keep)


def _announce(terminal: Terminal, job: "Job", address: str, page: _Page | None) -> None:
    listed = ", ".join(job.models)
    terminal.say(
        f"Serving {listed} on {address} with {job.workers} {'worker' if job.workers == 1 else 'workers'}"
    )
    if page is not None:
        terminal.say(f"Triage on {address}/ui; marks are kept in {page.feedback}")
