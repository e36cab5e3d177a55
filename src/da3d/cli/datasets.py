"""``da3d datasets``: which public tables there are, and fetching them."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from da3d.cli import views
from da3d.cli.command import command
from da3d.cli.terminal import Terminal

if TYPE_CHECKING:
    from da3d.datasets import Dataset, LabelledTable

__all__ = ["datasets"]

datasets = typer.Typer(help="List public data sets, or fetch one.")

_SHADES = {"bundled": "green", "cached": "green", "downloadable": "yellow", "not available here": "dim"}


def _list(terminal: Terminal, context: typer.Context) -> None:
    """List public data sets; fetch one with: da3d datasets get NAME."""
    if context.invoked_subcommand is not None:
        return
    from da3d.datasets import list_datasets, state

    found = [_described(each, state(each)) for each in list_datasets()]
    terminal.result(found, lambda: _view(found))


def _get(
    terminal: Terminal,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the data set.", show_default=False)],
) -> None:
    """Fetch a data set, unless it is here, and say what is in it."""
    from da3d.datasets import get_dataset, load_dataset

    with terminal.working(f"Fetching {name}"):
        dataset, table = get_dataset(name), load_dataset(name)
    data = {"name": dataset.name, "train": _shape(table), "test": table.test and _shape(table.test)}
    terminal.result(data, lambda: _view_one(dataset, data))


datasets.callback(invoke_without_command=True)(command(_list))
datasets.command("get")(command(_get))


def _described(dataset: "Dataset", state: str) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "title": dataset.title,
        "rows": dataset.rows,
        "features": dataset.features,
        "anomalies": dataset.anomalies,
        "licence": dataset.licence,
        "state": state,
        "source": dataset.source,
        "options": dict(dataset.options),
    }


def _shape(table: "LabelledTable") -> dict[str, int]:
    rows, columns = table.frame.shape
    return {"rows": rows, "columns": columns, "anomalies": table.anomalies}


def _view(found: list[dict[str, Any]]) -> Table:
    sizes = ("rows", "columns", "anomalies")
    table = views.grid(("name", *sizes, "licence", "state"), sizes)
    table.columns[-1].min_width = len("downloadable")  # else a narrow terminal cuts the word
    for each in found:
        numbers = (views.count(each[key]) for key in ("rows", "features", "anomalies"))
        shade = _SHADES.get(each["state"], "")
        licence = each["licence"].partition(";")[0].removesuffix(" with citation")
        table.add_row(f"[bold]{each['name']}[/]", *numbers, licence, f"[{shade}]{each['state']}[/]")
    return table


def _view_one(dataset: "Dataset", data: dict[str, Any]) -> Group:
    entries: dict[str, object] = {"rule": dataset.normal_rule}
    for part in ("train", "test"):
        if data[part]:
            shape = {key: views.count(value) for key, value in data[part].items()}
            entries[part] = "{rows} rows, {columns} columns, {anomalies} anomalies".format(**shape)
    if not data["test"]:
        entries["all"] = entries.pop("train")
    entries |= {"licence": dataset.licence, "cite": dataset.citation, "source": dataset.source}
    parts: list[Text | Padding] = [views.heading(dataset.title), views.facts(entries)]
    if dataset.options:
        parts += [Text("\nOptions, all of them off:"), views.facts(dataset.options)]
    return Group(*parts)
