"""The command itself: start-up, help, exit codes, what goes to which stream."""

import errno
import io
import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import da3d
from da3d.cli.command import command
from da3d.cli.main import app
from da3d.datasets import toy
from da3d.errors import DivergenceError, TableError
from da3d.preprocessing import TableWarning

HEAVY = ("torch", "sklearn", "pandas", "pyarrow", "scipy", "matplotlib", "numpy")


def run(*arguments, input=None):
    """The result of ``da3d ARGUMENTS`` in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=input)


def refused(result, *words):
    """Whether a run ended with code 2 and one sentence that holds these words."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if not line.startswith("Warning: ")]
    assert len(errors) == 1, result.stderr
    assert errors[0].startswith("Error: ")
    for word in words:
        assert word in errors[0]
    return errors[0]


def process(*arguments, **options):
    """A process that runs ``da3d ARGUMENTS``."""
    line = [sys.executable, "-m", "da3d", *(str(argument) for argument in arguments)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def write_toy(folder, rows=300, anomalies=30):
    """Paths of a table of normal rows and of one with a label column ``kind`` (normal, odd)."""
    table = toy.mixed(rows=rows, seed=0, anomalies=anomalies)
    train, test = folder / "train.csv", folder / "test.csv"
    table.frame[table.labels == 0].to_csv(train, index=False)
    kinds = ["odd" if label else "normal" for label in table.labels]
    table.frame.assign(kind=kinds).to_csv(test, index=False)
    return train, test


def small_command(error=None, *, work=None):
    """A command that does something, or raises."""

    def act(terminal):
        if work is not None:
            work(terminal)
        if error is not None:
            raise error

    small = typer.Typer()
    small.command()(command(act))
    return small


def end_of(error, *arguments):
    return CliRunner().invoke(small_command(error), arguments)


@pytest.mark.parametrize("line", [["--help"], ["fit", "--help"], ["datasets", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(line):
    code = (
        "import sys\nfrom da3d.cli.main import run\n"
        f"sys.argv = ['da3d', *{line!r}]\n"
        "try:\n    run()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_help_names_every_command_and_every_exit_code():
    text = " ".join(run("--help").stdout.split())
    for name in ("demo", "fit", "score", "evaluate", "explain", "inspect", "datasets"):
        assert name in text
    for code in ("0 success", "1 unexpected", "2 a mistake", "3 training diverged", "130 interrupted"):
        assert code in text


def test_version():
    assert run("--version").stdout == f"da3d {da3d.__version__}\n"


def test_unknown_option_is_the_callers_mistake():
    result = run("inspect", "--nonsense")
    assert result.exit_code == 2
    assert "--nonsense" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (TableError("the table is odd"), 2, "Error: the table is odd"),
        (DivergenceError("the loss is NaN"), 3, "Error: the loss is NaN"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "the disk is full"),
        (MemoryError(), 1, "not enough memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"),
            1,
            "not enough memory",
        ),
        (KeyError("x"), 1, "KeyError: 'x'); run with --debug"),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (KeyboardInterrupt("nothing was kept."), 130, "Interrupted: nothing was kept."),
    ],
)
def test_every_error_is_one_sentence_and_a_code(error, code, words):
    result = end_of(error)
    assert result.exit_code == code
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_a_sentence_of_several_lines_becomes_one():
    assert end_of(TableError("first\n  second")).stderr == "Error: first second\n"


def test_brackets_in_a_sentence_are_no_markup():
    assert "[0, 1) [bold]" in end_of(TableError("must lie in [0, 1) [bold]")).stderr


def test_broken_pipe_is_silent():
    result = end_of(BrokenPipeError())
    assert (result.exit_code, result.stderr) == (0, "")


def test_debug_shows_the_traceback():
    result = end_of(KeyError("x"), "--debug")
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr


def test_own_warnings_are_sentences_shown_once_and_others_are_not():
    def work(terminal):
        for _ in range(2):
            warnings.warn("columns are left out", TableWarning, stacklevel=1)
            warnings.warn("deprecated", FutureWarning, stacklevel=1)

    result = CliRunner().invoke(small_command(work=work), [])
    assert result.stderr == "Warning: columns are left out\n"
    assert CliRunner().invoke(small_command(work=work), ["-q"]).stderr == ""
    assert "FutureWarning: deprecated" in CliRunner().invoke(small_command(work=work), ["--debug"]).stderr


def test_log_records_are_messages():
    def work(terminal):
        logging.getLogger("da3d.somewhere").info("Downloading %s.", "x")
        logging.getLogger("da3d.somewhere").warning("back to step %d", 3)

    result = CliRunner().invoke(small_command(work=work), [])
    assert result.stderr == "Downloading x.\nWarning: back to step 3\n"
    assert logging.getLogger("da3d").handlers == []
    assert CliRunner().invoke(small_command(work=work), ["-q"]).stderr == ""


def test_a_full_disk_behind_standard_output_is_a_sentence():
    with Path("/dev/full").open("w") as full:
        line = [sys.executable, "-m", "da3d", "datasets", "--json"]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["Error: the disk is full; free some space or write elsewhere."]


def test_colour_only_where_someone_looks(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in end_of(TableError("no")).stderr
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in end_of(TableError("no")).stderr
    monkeypatch.delenv("FORCE_COLOR")
    assert "\x1b[" not in end_of(TableError("no")).stderr


def test_json_is_one_line_of_ascii_safe_unicode():
    def work(terminal):
        terminal.result({"name": "größe", "size": 1}, lambda: "a view")

    line = CliRunner().invoke(small_command(work=work), ["--json"]).stdout
    assert json.loads(line) == {"name": "größe", "size": 1}
    assert line.count("\n") == 1
    assert CliRunner().invoke(small_command(work=work), []).stdout == "a view\n"


def test_output_survives_a_narrow_encoding():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    line = [sys.executable, "-m", "da3d", "datasets"]
    done = subprocess.run(line, capture_output=True, env=environment)
    assert done.returncode == 0
    assert b"breast_cancer" in io.BytesIO(done.stdout).read()
