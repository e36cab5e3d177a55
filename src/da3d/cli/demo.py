"""``da3d demo``: the whole way on a public data set, beside simple detectors, in under a minute."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from da3d.cli import options, views
from da3d.cli.fit import detector_name
from da3d.cli.models import make_folder
from da3d.cli.progress import learning
from da3d.cli.terminal import Terminal

if TYPE_CHECKING:
    from da3d.datasets.splits import Split
    from da3d.pipeline import AnomalyPipeline

__all__ = ["demo"]

_RIVALS = ("knn", "bagged-nn", "mahalanobis", "isolation-forest")
_LEVEL = 0.0005  # differences that the table's three digits do not show


def demo(
    terminal: Terminal,
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="One of those that da3d datasets lists.")
    ] = "breast_cancer",
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where model, scores and picture go.")
    ] = Path("da3d-demo"),
    seed: options.Seed = 0,
) -> None:
    """Train on a public data set, compare with simple detectors, and leave the results in a folder.

    Trains on normal rows only: on half of them, or on those of the official training set where there is one.
    """
    with terminal.working(f"Reading {dataset}"):
        split = _split(dataset, seed)
        make_folder(output)
    models: dict[str, AnomalyPipeline] = {}
    scores: dict[str, Any] = {}
    results = []
    for name, pipeline in _contestants(seed).items():
        with learning(terminal, f"Learning with {name}", pipeline.detector):
            results.append(_compete(name, pipeline, split, scores))
        models[name] = pipeline
    with terminal.working("Writing the results"):
        files = _leave(output, models, split, scores)
    data = {
        "dataset": dataset,
        "seed": seed,
        "train_rows": len(split.train),
        "test_rows": len(split.test),
        "test_anomalies": int(split.test_labels.sum()),
        "results": results,
        "files": files,
    }
    terminal.result(data, lambda: _view(data))


def _split(dataset: str, seed: int) -> "Split":
    from da3d.datasets import load_dataset
    from da3d.datasets.splits import official, one_class

    table = load_dataset(dataset)
    return one_class(table, seed) if table.test is None else official(table, seed)


def _contestants(seed: int) -> "dict[str, AnomalyPipeline]":
    """The default pipeline first, then its rivals in the same form."""
    from da3d.detectors import default_detector, make_detector
    from da3d.pipeline import AnomalyPipeline

    own = default_detector()
    detectors = {detector_name(own): own} | {name: make_detector(name) for name in _RIVALS}
    return {name: AnomalyPipeline(detector, random_state=seed) for name, detector in detectors.items()}


def _compete(
    name: str, pipeline: "AnomalyPipeline", split: "Split", scores: dict[str, Any]
) -> dict[str, Any]:
    """Fit and score one detector; its scores go into `scores`."""
    from da3d.metrics import summarise

    begin = time.perf_counter()
    pipeline.fit(split.train)
    seconds = time.perf_counter() - begin
    scores[name] = pipeline.anomaly_score(split.test)
    return {"detector": name, **summarise(split.test_labels, scores[name]), "fit_seconds": round(seconds, 2)}


def _leave(
    folder: Path, models: "dict[str, AnomalyPipeline]", split: "Split", scores: dict[str, Any]
) -> dict[str, str]:
    """Write the first model, the test rows with its verdicts, and the picture."""
    from da3d.persistence import save
    from da3d.preprocessing import TableWriter
    from da3d.reports.figures import save_figure, summary_figure

    name, pipeline = next(iter(models.items()))
    files = {"model": folder / "model.da3d", "scores": folder / "scored.csv", "picture": folder / "demo.png"}
    save(pipeline, files["model"])
    verdicts = pipeline.judge(scores[name], index=split.test.index)
    with TableWriter(files["scores"]) as writer:
        writer.write(split.test.assign(label=split.test_labels).join(verdicts))
    figure = summary_figure(split.test_labels, scores, -pipeline.offset_, _codes(pipeline, split))
    save_figure(figure, files["picture"])
    return {what: str(path) for what, path in files.items()}


def _codes(pipeline: "AnomalyPipeline", split: "Split") -> dict[str, Any] | None:
    """Codes by kind, if the detector has such a thing."""
    detector = pipeline.detector_
    if not hasattr(detector, "codes"):
        return None
    codes = detector.codes(pipeline.encoder_.transform(split.test))
    kinds = {"normal": codes[split.test_labels == 0], "anomaly": codes[split.test_labels == 1]}
    if hasattr(detector, "generated_codes"):
        kinds["generated"] = detector.generated_codes(len(kinds["normal"]))
    return kinds


def _view(data: dict[str, Any]) -> Group:
    files = data["files"]
    train, test, anomalies = (
        views.count(data[f"{part}"]) for part in ("train_rows", "test_rows", "test_anomalies")
    )
    return Group(
        views.heading(data["dataset"]),
        Text(f"{train} normal rows to learn from, {test} to judge, {anomalies} of them anomalies"),
        _table(data["results"]),
        Text(_verdict(data["results"])),
        "",
        views.facts({"model": files["model"], "judged rows": files["scores"], "picture": files["picture"]}),
        "",
        views.commands(
            {
                "What the model holds": f"da3d inspect {files['model']}",
                "The ten strangest rows": f"da3d score {files['model']} {files['scores']} --top 10 "
                "--only-anomalies",
                "Your own table": "da3d fit TABLE.csv -o model.da3d",
            }
        ),
    )


def _table(results: list[dict[str, Any]]) -> Table:
    """One row per detector; the best of each column is bold."""
    names = {
        "auc": "AUC",
        "average_precision": "average\nprecision",
        "recall_at_1pct_fpr": "recall at\n1 % FPR",
        "fit_seconds": "fit,\nseconds",
    }
    table = views.grid(["detector", *names.values()], list(names.values()))
    best = {key: f"{max(result[key] for result in results):.3f}" for key in names}
    for result in results:
        shown = {key: f"{result[key]:.3f}" for key in names if key != "fit_seconds"}
        cells = [Text(value, "bold green" if value == best[key] else "") for key, value in shown.items()]
        table.add_row(result["detector"], *cells, f"{result['fit_seconds']:.1f}")
    return table


def _verdict(results: list[dict[str, Any]]) -> str:
    """Who won, and by how much, in one sentence."""
    own, *rivals = results
    best = max(rivals, key=lambda result: result["auc"])
    lead = own["auc"] - best["auc"]
    if abs(lead) < _LEVEL:
        outcome = f"{own['detector']} and {best['detector']} share the best AUC"
    elif lead > 0:
        outcome = f"{own['detector']} has the best AUC, {lead:.3f} above {best['detector']}"
    else:
        outcome = f"{best['detector']} has the best AUC, {-lead:.3f} above {own['detector']}"
    return f"{outcome}; this is one split with one seed, so do not read much into small differences."
