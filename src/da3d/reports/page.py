"""One HTML page about a model and, if there are any, the rows that it judged. It needs no other file.

Everything that comes from the table or the model is escaped; the page has no script and loads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined
from sklearn.utils.validation import check_is_fitted

from da3d import __version__
from da3d.errors import FileError, ParameterError
from da3d.pipeline import AnomalyPipeline
from da3d.preprocessing import atomic_path
from da3d.reports import sections
from da3d.reports.bands import rank
from da3d.reports.formats import FILTERS, percent, rule, whole
from da3d.reports.judged import Judged, judge
from da3d.reports.quality import column_facts, remarks

__all__ = ["report_page", "write_report"]

_MOST_COLUMNS = 200  # in the table of columns
_TITLES = {
    "short": "In short",
    "remarks": "Read this first",
    "scores": "Scores",
    "ranking": "Ranking",
    "operating": "Thresholds",
    "alerts": "Strangest rows",
    "columns": "Columns",
    "codes": "Codes",
    "training": "Training",
    "model": "Model",
    "glossary": "Words",
}


def report_page(
    pipeline: AnomalyPipeline,
    data: Any = None,
    labels: npt.ArrayLike | None = None,
    *,
    top: int = 20,
    name: str = "Anomaly report",
    source: str | None = None,
    file: Mapping[str, Any] | None = None,
) -> str:
    """Return the report as HTML.

    Parameters
    ----------
    pipeline : AnomalyPipeline
        Fitted.
    data : table of shape (rows, columns), optional
        Rows to judge; columns that were not there at fit are left out.
    labels : array-like of shape (rows,), optional
        1 = anomaly, 0 = normal; both must occur.
    top : int
        How many of the strangest rows are shown, >= 1.
    name : str
        The page's title.
    source : str, optional
        Where the rows come from.
    file : mapping, optional
        What `da3d.persistence.inspect` says about the model's file.

    Raises
    ------
    ParameterError
        `top` is out of its range, or there are labels without rows.
    TableError, LabelError
        The rows or labels cannot be used.
    """
    check_is_fitted(pipeline)
    if isinstance(top, bool) or int(top) != top or top < 1:
        raise ParameterError(f"top is {top} but must be a whole number >= 1: the strangest rows to show.")
    if data is None and labels is not None:
        raise ParameterError("labels are given without the rows that they belong to; give both.")
    judged = None if data is None else judge(pipeline, data, labels)
    parts = _parts(pipeline, judged, int(top))
    model = {"facts": sections.facts(pipeline, file or {}), "parameters": sections.parameters(pipeline)}
    calibration = pipeline.calibration_
    parts |= {
        "model": model,
        "glossary": {"held": len(calibration.scores), "resolution": calibration.resolution},
    }
    titles = {key: title for key, title in _TITLES.items() if key == "short" or parts[key]}
    template = _environment().get_template("page.html.j2")
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return template.render(**parts, titles=titles, name=name, source=source, made=made, version=__version__)


def write_report(path: str | Path, pipeline: AnomalyPipeline, data: Any = None, **options: Any) -> Path:
    """Write the report to a file, whole or not at all.

    Parameters
    ----------
    path : path
        A file there is replaced, but only by a complete one.
    pipeline, data, options
        As in `report_page`.

    Raises
    ------
    FileError
        The folder does not exist or cannot be written, or the disk is full. A file at `path` is as it was.
    InputError
        As in `report_page`.
    """
    page = report_page(pipeline, data, **options)
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(page, encoding="utf-8")
    except OSError as error:
        raise FileError(
            f"'{path}' was not written ({error.strerror or error}); choose another place or try again."
        ) from error
    return Path(path)


def _parts(pipeline: AnomalyPipeline, judged: Judged | None, top: int) -> dict[str, Any]:
    """What each section shows, by the names of `_TITLES`."""
    ranking = None
    if judged is not None and judged.labels is not None:
        ranking = rank(judged.labels, judged.scores)
    columns = column_facts(pipeline, judged)
    return {
        "judged": judged is not None,
        "marked": ranking is not None,
        "figures": sections.figures(pipeline, judged, ranking),
        "summary": _summary(pipeline, judged),
        "remarks": remarks(pipeline, judged, columns),
        "scores": sections.scores(pipeline, judged),
        "ranking": None if ranking is None else sections.ranking_charts(ranking),
        "operating": sections.operating(pipeline, judged),
        "alerts": None if judged is None else sections.alerts(pipeline, judged, top),
        "columns": sections.columns(pipeline, columns, _MOST_COLUMNS),
        "codes": sections.codes(pipeline, judged),
        "training": sections.training(pipeline.detector_),
    }


def _summary(pipeline: AnomalyPipeline, judged: Judged | None) -> str:
    """The outcome in a sentence or two."""
    in_force = rule(pipeline.rule)
    if judged is None:
        name = sections.detector_name(pipeline.detector_)
        return f"A {name} detector, with alarms by the rule “{in_force}”. No rows were given to judge."
    alarms, rows = int(judged.alarms.sum()), len(judged.scores)
    text = f"Of {whole(rows)} rows, {whole(alarms)} raise an alarm ({percent(alarms / rows)}; {in_force})."
    if judged.labels is None:
        return text
    found, anomalies = int(judged.alarms[judged.labels == 1].sum()), int(judged.labels.sum())
    right = f"By the labels, {whole(found)} of these alarms are right"
    return f"{text} {right}; there are {whole(anomalies)} anomalies."


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("da3d.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment
