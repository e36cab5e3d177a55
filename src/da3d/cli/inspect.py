"""``da3d inspect``: what a model file holds."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group

from da3d.cli import options, views
from da3d.cli.terminal import Terminal

__all__ = ["inspect"]


def inspect(terminal: Terminal, model: options.Scorer) -> None:
    """Show what a model file or an ONNX file holds, without running anything in it."""
    from da3d.persistence import inspect as look_into
    from da3d.persistence import onnx

    with terminal.working(f"Reading {model}"):
        facts = onnx.inspect(model) if onnx.is_onnx(model) else look_into(model)
    terminal.result(facts, lambda: _exported(facts) if facts["kind"] == "onnx" else _view(facts))


def _exported(facts: Mapping[str, Any]) -> Group:
    """Two blocks: the file, and what goes in and comes out."""
    given = {name: value for name, value in facts["parameters"].items() if value is not None}
    file = {
        "holds": "a whole pipeline as ONNX",
        "size": views.file_size(facts["bytes"]),
        "written": str(facts["created"]).replace("T", " ").replace("Z", " UTC"),
        "format": facts["format"],
        "versions": f"da3d {facts['version']}",
        "source": facts["source"],
        "detector": facts["detector"],
        "parameters": "\n".join(f"{name} = {value}" for name, value in given.items()),
    }
    table = {
        "columns": ", ".join(f"{each['column']} ({each['kind']})" for each in facts["inputs"]),
        "left out": "\n".join(f"{name}: {why}" for name, why in facts["ignored"].items()) or "none",
        "outputs": ", ".join(facts["outputs"]),
        "calibration": f"{views.count(facts['calibration_rows'])} rows",
        "alarm": views.rule(facts["threshold"]["rule"], facts["threshold"]["value"]),
    }
    return Group(
        views.heading(facts["path"]), views.facts(file), "", views.heading("Table"), views.facts(table)
    )


def _view(facts: Mapping[str, Any]) -> Group:
    """Three blocks: the file, the table that it was fitted on, the detector."""
    parts: list[Any] = [views.heading(facts["path"]), views.facts(_file(facts))]
    if "schema" in facts:
        parts += ["", views.heading("Table"), views.facts(_table(facts))]
    parts += ["", views.heading("Detector"), views.facts(_detector(facts))]
    return Group(*parts)


def _file(facts: Mapping[str, Any]) -> dict[str, object]:
    return {
        "holds": "a whole pipeline" if facts["kind"] == "pipeline" else f"a {facts['kind']}",
        "size": views.file_size(facts["bytes"]),
        "written": str(facts["created"]).replace("T", " ").replace("Z", " UTC"),
        "format": facts["format"],
        "versions": "  ".join(f"{name} {version}" for name, version in facts["versions"].items()),
    }


def _table(facts: Mapping[str, Any]) -> dict[str, object]:
    kinds = {column["name"]: column["kind"] for column in facts["schema"] or ()}
    entries: dict[str, object] = {"columns": views.columns_by_kind(kinds)}
    for kind in dict.fromkeys(kinds.values()):
        entries[f"  {views.plural(kind)}"] = ", ".join(name for name, each in kinds.items() if each == kind)
    if facts["ignored"]:
        entries["left out"] = "\n".join(f"{name}: {why}" for name, why in facts["ignored"].items())
    by = f", by {facts['calibrate_by']}" if facts["calibrate_by"] else ""
    entries["calibration"] = f"{views.count(facts['calibration_rows'])} rows{by}"
    entries["remembered"] = f"{views.count(facts['reference_rows'])} normal rows, for explanations"
    if facts["suppressed_patterns"]:
        entries["suppressed"] = f"{views.count(facts['suppressed_patterns'])} benign rows and those like them"
    entries["alarm"] = views.rule(facts["threshold"]["rule"], facts["threshold"]["value"])
    if facts["contamination"]:
        entries["contamination"] = f"{facts['contamination']:g}"
    return entries


def _detector(facts: Mapping[str, Any]) -> dict[str, object]:
    given = {name: value for name, value in facts["parameters"].items() if value is not None}
    entries: dict[str, object] = {
        "name": facts["detector"],
        "features": facts["features"],
        "numbers kept": views.count(facts["weights"]),
        "seed": facts["seed"],
        "parameters": "\n".join(f"{name} = {value}" for name, value in given.items()),
    }
    if facts["history"]:
        entries["history"] = f"{facts['history']} records"
    for phase, losses in (facts.get("last_losses") or {}).items():
        entries[f"  {phase}"] = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
    return entries
