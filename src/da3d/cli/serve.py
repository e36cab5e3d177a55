"""``da3d serve``: models behind HTTP."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from da3d.cli.terminal import Terminal

if TYPE_CHECKING:
    from da3d.serve.server import Job

__all__ = ["serve"]


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
) -> None:
    """Serve models: rows in, verdicts out.

    Answers POST /score, the open inference protocol below /v2, /health and /metrics, until SIGTERM or Ctrl-C
    ends it; requests under way are answered first. When a model file is replaced, the new model takes over.
    """
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
    run(job, lambda address: _announce(terminal, job, address))


def _announce(terminal: Terminal, job: "Job", address: str) -> None:
    listed = ", ".join(job.models)
    terminal.say(
        f"Serving {listed} on {address} with {job.workers} {'worker' if job.workers == 1 else 'workers'}"
    )
