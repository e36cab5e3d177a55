"""Parts of a table as tasks of a Ray cluster."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from da3d.distributed.cluster import RETRIES, as_they_end, connected
from da3d.distributed.parts import Job, Note, Part, complete, cut, prepare
from da3d.errors import Da3dError, ParameterError
from da3d.persistence import load
from da3d.pipeline import AnomalyPipeline, Threshold
from da3d.pipeline.judging import Judged

__all__ = ["Scoring", "score_on_ray"]


@dataclass(frozen=True)
class Scoring:
    """How a table was judged.

    Attributes
    ----------
    judged : Judged
        Rows and alarms of the whole table.
    threshold : Threshold
        The rule.
    parts, found : int
        All parts, and those of them that an earlier run had finished.
    """

    judged: Judged
    threshold: Threshold
    parts: int
    found: int


def score_on_ray(
    model: str | Path,
    table: str | Path,
    output: str | Path,
    *,
    address: str = "auto",
    threshold: Threshold | None = None,
    columns: bool = True,
    only_anomalies: bool = False,
    chunk: int = 65_536,
    report: Callable[[int], None] | None = None,
) -> Scoring:
    """Judge every row of a Parquet table on a Ray cluster.

    Every part of the table becomes one file of `output`, with the rows in their order and the same verdicts
    as without a cluster. A part whose worker dies is worked again. A run that is started again works only
    the parts that are not yet finished (`da3d.distributed.parts` says how that is known).

    Parameters
    ----------
    model : path
        A pipeline's model file; only this machine has to see it. Each worker process loads it once.
    table : path
        A Parquet file, or a folder of them, on storage that all machines of the cluster share.
    output : path
        A folder on such storage, made if need be.
    address : str
        The cluster, as in `da3d.distributed.cluster.connected`.
    threshold : Threshold, optional
        A rule that judges each row on its own; the model's if left out.
    columns : bool
        Keep the table's columns beside the verdicts, or number the rows from 0.
    only_anomalies : bool
        Write only the rows that raise an alarm.
    chunk : int
        Rows that a worker has in memory at a time, at least 1.
    report : callable, optional
        Told of the number of rows of each part that has ended.

    Raises
    ------
    ParameterError
        The rule ranks rows; `table` or `output` cannot be used for parts; no cluster answers.
    FileError, TableError, SchemaError
        As for a score without a cluster.
    Da3dError
        A part's workers died again and again.
    ExtraError
        Ray is not installed.
    """
    pipeline = _pipeline(Path(model))
    content = Path(model).read_bytes()
    rule = threshold or pipeline.rule
    if not rule.by_row:
        raise ParameterError(
            f"the rule '{rule}' ranks all rows, but the parts of a table are judged each on its own; give a "
            "false-positive rate (--fpr), or score without a cluster."
        )
    parts = cut(Path(table))
    job = Job(
        output=Path(output).absolute(),
        model=hashlib.sha256(content).hexdigest(),
        threshold=rule,
        keep=columns,
        only_anomalies=only_anomalies,
        chunk=chunk,
    )
    with connected(address) as ray:
        prepare(job, Path(table), parts)
        notes, found = _worked(ray, job, parts, content, report or (lambda rows: None))
    complete(job, parts)
    judged = Judged(rows=sum(note.rows for note in notes), alarms=sum(note.alarms for note in notes))
    return Scoring(judged, rule, len(parts), found)


def _worked(
    ray: Any, job: Job, parts: list[Part], content: bytes, report: Callable[[int], None]
) -> tuple[list[Note], int]:
    """The notes of all parts, and how many parts had been finished before."""
    notes, before = [], 0
    model = ray.put(content)
    work = ray.remote(num_cpus=1, max_retries=RETRIES)(_work)
    try:
        # In a list, the model stays where it is until a worker asks for it.
        for note, was_there in as_they_end(ray, [work.remote(job, part, [model]) for part in parts]):
            notes.append(note)
            before += was_there
            report(note.rows)
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        raise Da3dError(
            f"a part was given up after its worker had died {RETRIES + 1} times, perhaps for want of memory "
            f"({type(error).__name__}); start the same job again with fewer rows at a time (--chunk)."
        ) from error
    return notes, before


def _work(job: Job, part: Part, model: list[Any]) -> tuple[Note, bool]:
    """One part, in a worker process; whether it was finished already."""
    if (note := job.found(part)) is not None:
        return note, True
    if job.model not in _LOADED:
        _LOADED.clear()
        _LOADED[job.model] = _arrived(model[0])
    return job.work(part, _LOADED[job.model]), False


_LOADED: dict[str, AnomalyPipeline] = {}
"""The model of this process, by its digest: Ray uses a process again for tasks of the same kind."""


def _arrived(content: Any) -> AnomalyPipeline:
    """The pipeline in a model file that came through the cluster."""
    import ray

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.da3d"
        path.write_bytes(ray.get(content))
        return _pipeline(path)


def _pipeline(path: Path) -> AnomalyPipeline:
    model = load(path)
    if not isinstance(model, AnomalyPipeline):
        raise ParameterError(
            f"'{path}' holds a {type(model).__name__} alone, which knows neither the table's columns nor "
            "p-values; give one of a whole AnomalyPipeline, such as da3d fit writes."
        )
    return model
