"""The command ``da3d``."""

from typing import Annotated

import typer

from da3d import __version__
from da3d.cli.command import command
from da3d.cli.datasets import datasets
from da3d.cli.demo import demo
from da3d.cli.drift import drift
from da3d.cli.evaluate import evaluate
from da3d.cli.experiment import experiment
from da3d.cli.explain import explain
from da3d.cli.export import export
from da3d.cli.fit import fit
from da3d.cli.inspect import inspect
from da3d.cli.recalibrate import recalibrate
from da3d.cli.refit import refit
from da3d.cli.report import report
from da3d.cli.score import score
from da3d.cli.serve import serve
from da3d.cli.suppress import suppress

__all__ = ["app", "run"]

_EPILOG = (
    "Exit codes: 0 success, 1 unexpected failure (or drift, under drift --fail), "
    "2 a mistake in arguments, tables or files, 3 training diverged, 130 interrupted.\n\n"
    "Results go to standard output, messages and progress to standard error. NO_COLOR switches colours off."
)

app = typer.Typer(
    name="da3d",
    help="Find anomalies in mixed tables: learn from normal rows, then judge new ones.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"da3d {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, metavar="", help="Show the version and stop."
        ),
    ] = False,
) -> None:
    pass


for _function in (
    demo,
    fit,
    score,
    evaluate,
    explain,
    report,
    drift,
    recalibrate,
    suppress,
    refit,
    export,
    serve,
    inspect,
):
    app.command()(command(_function))
app.add_typer(datasets, name="datasets")
app.add_typer(experiment, name="experiment")


def run() -> None:
    """Run the command line and exit."""
    try:
        app(prog_name="da3d")
    except KeyboardInterrupt:  # while arguments are read: a running command ends in `command`
        raise SystemExit(130) from None
