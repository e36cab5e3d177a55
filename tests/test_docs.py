"""The documents: their code runs, and the links, paths, commands, options and tables in them are there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from da3d.cli.main import app
from da3d.datasets import base
from da3d.detectors import DA3D, DETECTORS
from da3d.experiments import Records, between_markers, make_table, read_experiment, to_markdown

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda path: path.relative_to(ROOT).as_posix()
)
# Every block of these runs, in order, in one folder.
TUTORIALS = [
    "README.md",
    "docs/all-of-da3d.md",
    "docs/datasets.md",
    "docs/drift.md",
    "docs/experiments.md",
    "docs/explain.md",
    "docs/feedback.md",
    "docs/interfaces.md",
]
# What the code of a document needs beyond the library itself.
EXTRAS = {"docs/interfaces.md": ("pyod", "mlflow")}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(r"(?<![\w/.-])(?:src|tests|docs|experiments)/[\w./-]*\w")
MARKER = re.compile(r"^<!-- table: (\S+) -->$(.*?)^<!-- /table -->$", re.MULTILINE | re.DOTALL)
PLACEHOLDERS = ("NAME",)

# What runs here has a smaller budget than what is written; nothing else is different.
STEPS = (20, 5, 10)
SMALL = f" --param 'steps={list(STEPS)}'".replace(", ", ",")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the document on which the text begins."""

    language: str
    text: str
    line: int


def named(path):
    return path.relative_to(ROOT).as_posix()


def blocks(text):
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start(2)) + 1) for found in FENCE.finditer(text)
    ]


def prose(text):
    """A document without its fenced blocks."""
    return FENCE.sub("", text)


def command_lines(text):
    """Lines of shell blocks and spans of code."""
    shell = [line for block in blocks(text) if block.language == "sh" for line in block.text.splitlines()]
    return [*shell, *SPAN.findall(prose(text))]


@pytest.fixture
def registries():
    """What a document enters among the detectors and data sets is taken out again."""
    kept = [(registry, dict(registry)) for registry in (DETECTORS, base._REGISTRY)]
    yield
    for registry, before in kept:
        registry.clear()
        registry.update(before)


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred")  # MLflow, when it is imported
@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("document", TUTORIALS)
def test_code_runs(document, tmp_path, monkeypatch):
    for extra in EXTRAS.get(document, ()):
        pytest.importorskip(extra)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("da3d.pipeline.pipeline.default_detector", lambda quality: DA3D(steps=STEPS))
    names = {"__name__": "document"}
    ran = 0
    for block in blocks((ROOT / document).read_text(encoding="utf-8")):
        assert block.language in ("python", "sh", "toml"), f"{document}:{block.line}"
        if block.language == "python":
            # Line numbers of a traceback are those of the document.
            code = compile("\n" * (block.line - 1) + block.text, document, "exec", dont_inherit=True)
            exec(code, names)
        elif block.language == "toml":
            file = tmp_path / block.text.splitlines()[0].removeprefix("# ")
            file.parent.mkdir(exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        else:
            run = run_in_shell if document == "README.md" else run_here
            run(f"{document}:{block.line}", block.text, tmp_path)
        ran += 1
    assert ran


def da3d_lines(text):
    """The lines of a shell block that call da3d; those that set up the project have run already."""
    lines = [line for line in text.splitlines() if line.startswith("da3d ")]
    return [
        line + SMALL if line.startswith("da3d fit ") and "--detector" not in line else line for line in lines
    ]


def run_in_shell(where, text, folder):
    """Run a shell block as a user would."""
    script = "\n".join(['da3d() { "$PYTHON" -m da3d "$@"; }', *da3d_lines(text)])
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    line = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{where}\n{done.stdout}\n{done.stderr}"
    assert "Warning" not in done.stderr, f"{where}\n{done.stderr}"


def run_here(where, text, folder):
    """Run a shell block in this process, which is quicker."""
    for line in da3d_lines(text):
        words = shlex.split(line)[1:]
        streams = {sign: words[words.index(sign) + 1] for sign in "<>" if sign in words}
        words = words[: min(words.index(sign) for sign in streams)] if streams else words
        given = (folder / streams["<"]).read_bytes() if "<" in streams else None
        done = CliRunner().invoke(app, words, input=given)
        assert done.exit_code == 0, f"{where}: {line}\n{done.output}"
        assert "Warning" not in done.stderr, f"{where}: {line}\n{done.stderr}"
        if ">" in streams:
            (folder / streams[">"]).write_text(done.stdout, encoding="utf-8")


def anchors(text):
    """The names that headings get where Markdown is shown."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for link in LINK.findall(prose(text)):
        if link.startswith(("http://", "https://")):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        assert target.exists(), f"{named(path)} links to {link}, which is not there"
        if anchor:
            there = anchors(target.read_text(encoding="utf-8"))
            assert anchor in there, f"{named(path)} links to {link}, but there is no such heading"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_paths_exist(path):
    text = path.read_text(encoding="utf-8")
    own = {
        block.text.splitlines()[0].removeprefix("# ") for block in blocks(text) if block.language == "toml"
    }
    for mentioned in [*command_lines(text), prose(text)]:
        for place in PATH.findall(mentioned):
            if place in own or any(word in place for word in PLACEHOLDERS):
                continue
            near = (path.parent / place).exists()  # a link is relative to its document
            assert near or (ROOT / place).exists(), f"{named(path)} names {place}, which is not there"


def help_of(*command):
    result = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    return result.output


def chain(words):
    """The commands that a line names, such as ("experiment", "run")."""
    group, found = typer.main.get_command(app), []
    while words and hasattr(group, "commands") and not words[0].startswith("-"):
        assert words[0] in group.commands, f"da3d {' '.join([*found, words[0]])} is no command"
        group = group.commands[words[0]]
        found.append(words[0])
        words = words[1:]
    return tuple(found)


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_commands_and_options_exist(path):
    known = {(): help_of()}
    every = all_help()
    for line in command_lines(path.read_text(encoding="utf-8")):
        options = re.findall(r"(?<![\w-])--?[a-z][a-z-]*", line)
        if line.startswith("da3d "):
            command = chain(line.split()[1:])
            text = known.setdefault(command, help_of(*command))
        elif line.startswith("--"):
            text = every
        else:
            continue
        for option in options:
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", text), f"{named(path)}: {option} in {line!r}"


def all_help():
    """The help of every command, one after the other."""
    root = typer.main.get_command(app)
    texts = [help_of()]
    for name, command in root.commands.items():
        texts.append(help_of(name))
        texts += [help_of(name, inner) for inner in getattr(command, "commands", ())]
    return "\n".join(texts)


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_make_targets_exist(path):
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for line in command_lines(path.read_text(encoding="utf-8")):
        if line.startswith("make "):
            assert line.split()[1] in targets, f"{named(path)} names {line!r}, which is no target"


def filled():
    """Document and name of every table in the documents that has been filled."""
    return [
        (path, name, between)
        for path in DOCUMENTS
        for name, between in MARKER.findall(FENCE.sub("", path.read_text(encoding="utf-8")))
    ]


@pytest.mark.parametrize(
    ("path", "name", "between"), filled(), ids=[f"{named(path)}-{name}" for path, name, _ in filled()]
)
def test_tables_are_those_of_the_records(path, name, between, tmp_path):
    experiment, _, metric = name.partition("/")
    plan = read_experiment(ROOT / "experiments" / f"{experiment}.toml")
    if not between.strip():
        pytest.skip(f"the table {name} in {named(path)} is not filled")
    records = Records(ROOT / "results" / experiment)
    tables = [make_table(plan, records, each) for each in ([metric] if metric else plan.plan.metric)]
    again = tmp_path / path.name
    shutil.copy(path, again)
    between_markers(again, name, "\n\n".join(to_markdown(table) for table in tables))
    assert again.read_text(encoding="utf-8") == path.read_text(encoding="utf-8"), (
        f"da3d experiment table experiments/{experiment}.toml --into {named(path)} makes it new"
    )
