"""The sections of a report: each function makes what one part of the template shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from da3d.detectors import DETECTORS, Detector
from da3d.pipeline import AnomalyPipeline, Explanation, Threshold, operating_table
from da3d.pipeline.words import shown
from da3d.reports import charts
from da3d.reports.bands import Ranking
from da3d.reports.formats import interval, number, percent, rule, size, whole
from da3d.reports.inline import inline_svg
from da3d.reports.judged import Judged
from da3d.reports.quality import ColumnFacts, learned_rows

__all__ = [
    "alerts",
    "codes",
    "columns",
    "detector_name",
    "facts",
    "figures",
    "operating",
    "parameters",
    "ranking_charts",
    "scores",
    "training",
]

Entry = dict[str, Any]

_RULES = {
    "fpr": "At most this share of the normal rows",
    "fdr": "At most this share of the alarms false, on average",
    "budget": "The strangest so many rows per thousand",
    "top": "The strangest so many rows",
}
_KINDS = 3  # of evidence, to be named
_BARS, _SHORTEST = 3, 0.05  # the columns that get a bar, and the share of the longest that deserves one
_POINTS, _ALARMS = 400, 200  # in the code plane
_WHOLE_ROW = 40  # columns of a row shown beside its nearest normal row
_LONGEST = 60  # letters of a value


def detector_name(detector: Detector) -> str:
    """The name under which a detector is registered, or that of its class."""
    kind = type(detector)
    return next((name for name, each in DETECTORS.items() if each is kind), kind.__name__)


def figures(pipeline: AnomalyPipeline, judged: Judged | None, ranking: Ranking | None) -> list[Entry]:
    """The few numbers at the top."""
    held = len(pipeline.calibration_.scores)
    out = []
    if judged is not None:
        count = int(judged.alarms.sum())
        out.append(_figure("Rows judged", whole(len(judged.scores)), "each has a score"))
        out.append(_figure("Alarms", whole(count), f"{percent(count / len(judged.scores))} of the rows"))
    if judged is not None and judged.labels is not None and ranking is not None:
        out.append(
            _figure("Anomalies", whole(int(judged.labels.sum())), f"{percent(ranking.share)}, by the labels")
        )
        for name, area in (("ROC AUC", ranking.auc), ("Average precision", ranking.average_precision)):
            out.append(_figure(name, f"{area.value:.3f}", f"95 %: {area.low:.3f} to {area.high:.3f}"))
    if judged is None:
        out.append(_figure("Columns in use", whole(len(pipeline.reference_.usual)), _kinds(pipeline)))
    if judged is None and (learned := learned_rows(pipeline.encoder_)) is not None:
        out.append(_figure("Rows learned from", whole(learned), "believed normal"))
    out.append(_figure("Held-out rows", whole(held), "to which every score is compared"))
    return out


def _figure(label: str, value: str, note: str) -> Entry:
    return {"label": label, "value": value, "note": note}


def _kinds(pipeline: AnomalyPipeline) -> str:
    kinds = list(pipeline.encoder_.schema_.kinds.values())
    plural = {"number": "numbers", "category": "categories", "boolean": "booleans", "date": "dates"}
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    return ", ".join(f"{count} {kind if count == 1 else plural[kind]}" for kind, count in counts.items())


def scores(pipeline: AnomalyPipeline, judged: Judged | None) -> Entry:
    """The distribution of scores, and of p-values if rows were judged."""
    cut = None
    if pipeline.rule.by_row and not pipeline.calibration_.groups:
        cut = pipeline.calibration_.cut(pipeline.rule.value)
    kinds = {"held-out normal": pipeline.calibration_.scores}
    alarms = np.zeros(0)
    if judged is not None:
        kinds |= judged.by_kind(judged.scores)
        alarms = judged.scores[judged.strangest(int(judged.alarms.sum()))]
    figure, beyond = charts.score_chart(kinds, cut, alarms)
    counts = ", ".join(f"{whole(len(values))} rows {name}" for name, values in kinds.items())
    out: Entry = {
        "kinds": list(kinds),
        "threshold": cut,
        "beyond": beyond,
        "groups": pipeline.calibrate_by if pipeline.calibration_.groups else None,
        "alarms": len(alarms),
        "chart": inline_svg(figure, "scores-chart", "Distribution of the scores", f"Histograms of {counts}."),
        "p_values": None,
    }
    if judged is not None:
        p_values = judged.verdicts["p_value"].to_numpy()
        low = float((p_values <= 0.05).mean())
        out["p_values"] = inline_svg(
            charts.p_value_chart(judged.by_kind(p_values)),
            "p-values-chart",
            "Distribution of the p-values",
            f"{percent(low)} of the rows have a p-value of at most 0.05; of normal rows it would be 5 %.",
        )
    return out


def ranking_charts(ranking: Ranking) -> Entry:
    """ROC and precision-recall curve with their areas."""
    return {
        "ranking": ranking,
        "roc": inline_svg(
            charts.roc_chart(ranking),
            "roc-chart",
            "ROC curve",
            f"Recall against false-positive rate; area {interval(ranking.auc)}.",
        ),
        "precision_recall": inline_svg(
            charts.precision_recall_chart(ranking),
            "precision-recall-chart",
            "Precision-recall curve",
            f"Precision against recall; average precision {interval(ranking.average_precision)}.",
        ),
    }


def operating(pipeline: AnomalyPipeline, judged: Judged | None) -> list[Entry]:
    """What each threshold costs and finds, by kind of rule; the one in force is marked and among them."""
    given: Entry = {}
    if judged is not None:
        given = {
            "scores": judged.scores,
            "labels": judged.labels,
            "groups": judged.groups,
            "benign": judged.benign,
        }
    own = (pipeline.rule.rule, pipeline.rule.value)
    rows: list[Any] = operating_table(pipeline.calibration_, **given).to_dict("records")
    if not any((row["rule"], row["value"]) == own for row in rows):
        first = operating_table(pipeline.calibration_, **given, thresholds=[pipeline.rule])
        rows = first.to_dict("records") + rows
    out: dict[str, list[Entry]] = {}
    for row in sorted(rows, key=lambda row: row["value"]):
        shown_value = percent(row["value"]) if row["rule"] in ("fpr", "fdr") else number(row["value"])
        entry = {**row, "shown": shown_value, "in_force": (row["rule"], row["value"]) == own}
        out.setdefault(row["rule"], []).append(entry)
    return [{"name": name, "rows": out[kind]} for kind, name in _RULES.items() if kind in out]


def alerts(pipeline: AnomalyPipeline, judged: Judged, top: int) -> Entry:
    """The strangest rows, with reasons if the pipeline remembers normal rows to compare with."""
    positions = judged.strangest(top)
    verdicts = judged.verdicts.iloc[positions]
    out: list[Entry] = [
        {
            "row": str(row.Index),
            "score": row.anomaly_score,
            "p_value": row.p_value,
            "severity": row.severity,
            "alarm": row.is_anomaly,
            "suppressed": bool(judged.suppressed[position]),
            "label": None if judged.labels is None else int(judged.labels[position]),
            "reason": None,
        }
        for position, row in zip(positions, verdicts.itertuples(), strict=True)
    ]
    if len(pipeline.reference_.rows):
        for entry, found in zip(out, pipeline.explain(judged.frame, rows=positions.tolist()), strict=True):
            entry["reason"] = _reason(found, pipeline.encoder_.schema_.kinds)
    return {"rows": out, "missed": _missed(judged, positions)}


def _missed(judged: Judged, positions: npt.NDArray[np.int64]) -> int:
    """How many alarms are not among the rows shown."""
    return int(judged.alarms.sum() - judged.alarms[positions].sum())


def _reason(found: Explanation, kinds: Mapping[str, str]) -> Entry:
    most = max(abs(each.contribution) for each in found.contributions)
    lines: list[Entry] = [
        {
            "column": each.column,
            "value": _value(each.value, kinds[each.column]),
            "usual": each.usual,
            "nearest": _value(found.nearest[0].values[each.column], kinds[each.column]),
            "generated": None
            if found.counterexample is None
            else _value(found.counterexample.values[each.column], "text"),
            "contribution": each.contribution,
            "share": max(0.0, each.contribution) / most if most else 0.0,
        }
        for each in found.contributions
    ]
    return {
        "sentence": found.sentence,
        "evidence": [each for each in found.evidence if each.contribution > 0][:_KINDS],
        "bars": [line for line in lines[:_BARS] if line["share"] >= _SHORTEST],
        "lines": sorted(lines, key=lambda line: -abs(line["contribution"]))[:_WHOLE_ROW],
        "hidden": max(0, len(lines) - _WHOLE_ROW),
        "baseline": found.baseline_score,
        "distance": found.nearest[0].distance,
        "generated": found.counterexample is not None,
        "method": found.method,
    }


def _value(value: float | bool | str | None, kind: str) -> str:
    """A value of a plain table as a cell shows it."""
    if not isinstance(value, str):
        return shown(value)
    text = value.replace("T", " ") if kind == "date" else value
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def codes(pipeline: AnomalyPipeline, judged: Judged | None) -> Entry | None:
    """The code plane, if the detector has codes."""
    detector = cast(Any, pipeline.detector_)
    if not hasattr(detector, "codes"):
        return None
    kinds = {}
    if len(pipeline.reference_.rows):
        kinds["normal"] = detector.codes(pipeline.encoder_.transform(pipeline.reference_.rows))
    if hasattr(detector, "generated_codes") and detector.generated_rows(1) is not None:
        kinds["generated"] = detector.generated_codes(max(256, len(pipeline.reference_.rows)))
    if judged is not None:
        kinds |= _judged_codes(pipeline, judged)
    kinds = {kind: points for kind, points in kinds.items() if len(points)}
    if not kinds:
        return None
    counts = {kind: len(points) for kind, points in kinds.items()}
    described = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return {
        "counts": counts,
        "chart": inline_svg(
            charts.code_chart(kinds), "codes-chart", "Plane of the codes", f"Points: {described}."
        ),
    }


def _judged_codes(pipeline: AnomalyPipeline, judged: Judged) -> dict[str, Any]:
    """Codes of some judged rows: the strangest of those marked, an even sample of the others."""
    marked = judged.alarms if judged.labels is None else judged.labels == 1
    order = judged.strangest(len(marked))
    strange = order[marked[order]][:_ALARMS]
    others = np.random.default_rng(0).permutation(np.flatnonzero(~marked))[:_POINTS]
    detector, out = cast(Any, pipeline.detector_), {}
    for kind, positions in (("judged", others), ("alarm" if judged.labels is None else "anomaly", strange)):
        if len(positions):
            rows = judged.frame.iloc[positions]
            out[kind] = detector.codes(pipeline.encoder_.transform(rows))
    return out


def training(detector: Detector) -> list[Entry]:
    """Every column of the history by phase; nothing for a detector that is not trained in steps."""
    phases: dict[str, list[Mapping[str, Any]]] = {}
    for record in getattr(detector, "history_", None) or ():
        phases.setdefault(str(record["phase"]), []).append(record)
    return [
        _phase(f"training-{place}", name, records) for place, (name, records) in enumerate(phases.items())
    ]


def _phase(key: str, name: str, records: list[Mapping[str, Any]]) -> Entry:
    columns = dict.fromkeys(
        column for record in records for column in record if column not in ("phase", "step")
    )
    panels = []
    for place, column in enumerate(columns):
        there = [record for record in records if column in record]
        steps, values = [float(each["step"]) for each in there], [float(each[column]) for each in there]
        text = f"From {number(values[0], 3)} to {number(values[-1], 3)}."
        panels.append(
            {
                "name": column,
                "first": values[0],
                "last": values[-1],
                "chart": inline_svg(charts.panel(steps, values), f"{key}-{place}", f"{name}: {column}", text),
            }
        )
    return {"name": name, "steps": int(records[-1]["step"]), "panels": panels}


def facts(pipeline: AnomalyPipeline, file: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the model is and where it comes from; `file` is what `da3d.persistence.inspect` says, or empty."""
    detector, learned = pipeline.detector_, learned_rows(pipeline.encoder_)
    preset = detector.get_params(deep=False).get("preset")
    entries: dict[str, str | None] = {
        "Detector": f"{detector_name(detector)} ({type(detector).__name__})",
        "Preset": None if preset is None else str(preset),
        "Seed": str(detector.seed_),
        "Rows learned from": None if learned is None else f"{whole(learned)}, believed normal",
        "Rows held out": whole(len(pipeline.calibration_.scores)),
        "Rows remembered": f"{whole(len(pipeline.reference_.rows))}, for explanations",
        "Columns": f"{len(pipeline.reference_.usual)}: {_kinds(pipeline)}",
        "Features": f"{whole(detector.n_features_in_)}, what the detector sees of a row",
        "Alarm": rule(pipeline.rule),
    }
    if file:
        entries["Model file"] = f"{file['path']}, {size(file['bytes'])}"
        entries["Created"] = str(file["created"]).replace("T", " ").replace("Z", " UTC")
        entries["Versions"] = ", ".join(f"{name} {version}" for name, version in file["versions"].items())
    return [(name, value) for name, value in entries.items() if value is not None]


def parameters(pipeline: AnomalyPipeline) -> list[Entry]:
    """All parameters of pipeline, encoder and detector: as given, and as in force."""
    own = {
        name: value
        for name, value in pipeline.get_params(deep=False).items()
        if name not in ("detector", "encoder")
    }
    settings = getattr(pipeline.detector_, "settings_", None)
    resolved = asdict(settings) if is_dataclass(settings) and not isinstance(settings, type) else {}
    in_force = {"threshold": pipeline.rule}
    return [
        _table("Pipeline", own, in_force),
        _table("Encoder", pipeline.encoder_.get_params(deep=False), {}),
        _table(
            f"Detector {detector_name(pipeline.detector_)}",
            pipeline.detector_.get_params(deep=False),
            resolved,
        ),
    ]


def _table(name: str, given: Mapping[str, Any], in_force: Mapping[str, Any]) -> Entry:
    names = [*given, *(each for each in in_force if each not in given)]
    rows = [
        (each, _parameter(given.get(each)), _parameter(in_force.get(each, given.get(each)))) for each in names
    ]
    return {"name": name, "rows": rows}


def _parameter(value: Any) -> str:
    """A parameter's value without what only a programmer cares about."""
    if value is None:
        return "–"
    if isinstance(value, list | tuple):
        return ", ".join(_parameter(each) for each in value) or "none"
    if isinstance(value, Threshold):
        return rule(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str | int):
        return str(value)
    return type(value).__name__


def columns(pipeline: AnomalyPipeline, found: list[ColumnFacts], most: int) -> Entry:
    """Columns in use and left out; of very many those in which the judged rows are least like the others."""
    order = sorted(range(len(found)), key=lambda i: (-(found[i].new or 0), -(found[i].missing_now or 0), i))
    kept = sorted(order[:most])
    return {
        "rows": [found[i] for i in kept],
        "hidden": len(found) - len(kept),
        "ignored": pipeline.encoder_.ignored_columns_,
        "kinds": _kinds(pipeline),
    }
