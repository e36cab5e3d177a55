"""Where a command's words go: results to standard output, everything else to standard error."""

import json as json_format
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TextIO

from rich.console import Console, RenderableType
from rich.text import Text

__all__ = ["Terminal"]


class Terminal:
    """The two streams of a command and how much is said on them.

    Parameters
    ----------
    json : bool
        Results are printed as one line of JSON.
    quiet : bool
        No progress, messages and warnings; results and errors remain.
    debug : bool
        Tracebacks, and the warnings of other libraries.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, debug: bool = False) -> None:
        self.json, self.quiet, self.debug = json, quiet, debug
        self.out, self.err = Console(), Console(stderr=True)
        self._warned: set[str] = set()

    @property
    def shows_progress(self) -> bool:
        """Whether someone is looking who may be shown a moving display."""
        return self.err.is_terminal and not self.quiet

    def say(self, message: RenderableType) -> None:
        """Tell something that is not a result."""
        if not self.quiet:
            self.err.print(message, markup=False, highlight=False, soft_wrap=True)

    def warn(self, sentence: str) -> None:
        """Warn in one line, once of the same thing."""
        if sentence not in self._warned:
            self._warned.add(sentence)
            self.say(_labelled("Warning: ", "yellow", sentence))

    def error(self, sentence: str, label: str = "Error: ") -> None:
        """Say in one line why a command ends."""
        self.err.print(_labelled(label, "bold red", sentence), highlight=False, soft_wrap=True)

    def result(self, data: object, view: Callable[[], RenderableType]) -> None:
        """Print a result: `data` as JSON where that is asked for, else what `view` makes of it."""
        if self.json:
            self.out.file.write(json_format.dumps(data, ensure_ascii=False, default=str) + "\n")
        else:
            self.out.print(view(), highlight=False)

    def working(self, what: str) -> AbstractContextManager[object]:
        """Show that something is going on, as long as the block lasts."""
        return self.err.status(what) if self.shows_progress else nullcontext()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Show the library's warnings and log messages as sentences."""
        log, handler = logging.getLogger("da3d"), _Relay(self)
        level = log.level
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.showwarning = self._show_warning
                yield
        finally:
            log.removeHandler(handler)
            log.setLevel(level)

    def _show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if category.__module__.partition(".")[0] == "da3d":
            self.warn(str(message))
        elif self.debug:
            self.warn(f"{filename}:{lineno}: {category.__name__}: {message}")


class _Relay(logging.Handler):
    """Log records as messages."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self._terminal.warn(record.getMessage())
        else:
            self._terminal.say(record.getMessage())


def _labelled(label: str, style: str, sentence: str) -> Text:
    """One line: a coloured label and a sentence."""
    return Text.assemble((label, style), " ".join(sentence.split()))
