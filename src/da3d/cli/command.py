"""What all commands share: their common options, and errors that become one sentence and an exit code."""

import errno
import functools
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from da3d.cli.terminal import Terminal
from da3d.errors import DivergenceError, InputError

__all__ = ["command"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PANEL = "Common options"
_COMMON = {
    "json": Annotated[
        bool,
        typer.Option("--json", help="Print results as JSON.", metavar="", rich_help_panel=_PANEL),
    ],
    "quiet": Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="No progress, no messages, no warnings.", metavar="", rich_help_panel=_PANEL
        ),
    ],
    "debug": Annotated[
        bool,
        typer.Option("--debug", help="Show the traceback of an error.", metavar="", rich_help_panel=_PANEL),
    ],
}


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function whose first parameter is a `Terminal`.

    The command has the function's other parameters and the common options ``--json``, ``--quiet`` and
    ``--debug``, which set up the terminal; the function's docstring is its help. Whatever the function raises
    ends as one sentence on standard error and an exit code: 1 an unexpected failure, 2 the caller's mistake,
    3 training diverged, 130 interrupted.
    """

    @functools.wraps(function)
    def run(*, json: bool, quiet: bool, debug: bool, **arguments: object) -> None:
        terminal = Terminal(json=json, quiet=quiet, debug=debug)
        try:
            with terminal.listening():
                function(terminal, **arguments)
            sys.stdout.flush()
        except BaseException as error:
            if isinstance(error, typer.Exit):
                raise
            raise typer.Exit(_end(terminal, error)) from None

    own = list(inspect.signature(function).parameters.values())[1:]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in _COMMON.items()
    ]
    run.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *common]}
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    run.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    return run


def _end(terminal: Terminal, error: BaseException) -> int:
    """Say what happened; return the exit code."""
    _settle_stdout()
    if isinstance(error, BrokenPipeError):
        return 0  # whoever reads our output has had enough
    if terminal.debug:
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        terminal.error(f"Interrupted: {error}" if str(error) else "Interrupted.", label="")
        return 130
    code, sentence = _explained(error)
    terminal.error(sentence)
    return code


def _explained(error: BaseException) -> tuple[int, str]:
    """Exit code and sentence for an error."""
    if isinstance(error, InputError):
        return 2, str(error)
    if isinstance(error, DivergenceError):
        return 3, str(error)
    if isinstance(error, OSError) and error.errno in _FULL:
        return 2, "the disk is full; free some space or write elsewhere."
    if _out_of_memory(error):
        return 1, "there is not enough memory for this; use fewer rows or columns, or another machine."
    said = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
    return 1, f"something unexpected happened ({what}); run with --debug for the traceback."


def _out_of_memory(error: BaseException) -> bool:
    """Whether Python, a CUDA device or torch's CPU allocator could not get the memory it asked for."""
    is_torch = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or is_torch


def _settle_stdout() -> None:
    """Write out what waits for standard output, or forget it, so that nothing fails when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
