"""The one thread of a worker in which models work; requests wait for it, and those that wait go together."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pandas as pd
from starlette.exceptions import HTTPException

from da3d.pipeline import Threshold
from da3d.pipeline.calibrate import ResolutionWarning
from da3d.pipeline.judging import Scored
from da3d.serve.limits import Settings
from da3d.serve.metrics import Metrics
from da3d.serve.models import Loaded

__all__ = ["Scorer", "Verdicts"]

Result = TypeVar("Result")


@dataclass(frozen=True)
class Verdicts:
    """What a model says about the rows of one request.

    Attributes
    ----------
    columns : dict of str to list
        As `AnomalyPipeline.verdicts` has them.
    warnings : list of str
        What is to be known about them.
    explanations : list of dict
        One per row, if they were asked for.
    """

    columns: dict[str, list[Any]]
    warnings: list[str]
    explanations: list[dict[str, Any]]


@dataclass(eq=False)
class _Job:
    """The rows of one request, and who waits for them."""

    loaded: Loaded
    frame: pd.DataFrame
    threshold: Threshold
    explained: int
    waiter: asyncio.Future[Verdicts] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def is_wanted(self) -> bool:
        """Whether somebody still waits for the answer."""
        return not self.waiter.done()


class Scorer:
    """Judges rows, one pass at a time.

    While a pass is under way requests queue up; the next pass takes all of them that want the same model. So
    nobody waits for company, and a pass of many rows, which costs little more than one of a single row,
    serves many requests. A row's score does not depend on the rows beside it, and verdicts by rank are given
    to each request on its own.

    Parameters
    ----------
    settings : Settings
    metrics : Metrics
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._thread = ThreadPoolExecutor(1, "da3d-scorer")
        self._jobs: deque[_Job] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def judge(
        self, loaded: Loaded, frame: pd.DataFrame, threshold: Threshold, explained: int = 0
    ) -> Verdicts:
        """The verdicts on rows, and if wanted why, by so many columns.

        Raises
        ------
        HTTPException
            Too many requests wait already.
        """
        if len(self._jobs) >= self._settings.waiting:
            raise HTTPException(503, "too many requests are waiting; try again later", {"Retry-After": "1"})
        job = _Job(loaded, frame, threshold, explained)
        self._jobs.append(job)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await job.waiter

    async def aside(self, work: Callable[[], Result]) -> Result:
        """Do something else in the thread, so that the loop stays free."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """End the thread once it has done what it is at."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _work(self) -> None:
        while jobs := self._next():
            try:
                results = await self.aside(lambda jobs=jobs: self._pass(jobs))  # type: ignore[misc]
            except Exception as error:  # the requests get it, each of them; the work goes on
                if len(jobs) > 1:  # one of them spoils it for all: let each try on its own
                    await self._one_by_one(jobs)
                else:
                    _settle(jobs[0], error)
                continue
            for job, result in zip(jobs, results, strict=True):
                _settle(job, result)

    async def _one_by_one(self, jobs: list[_Job]) -> None:
        for job in jobs:
            try:
                _settle(job, (await self.aside(lambda job=job: self._pass([job])))[0])  # type: ignore[misc]
            except Exception as error:
                _settle(job, error)

    def _next(self) -> list[_Job]:
        """The jobs of the next pass; none if nobody waits."""
        chosen: list[_Job] = []
        rows = 0
        while self._jobs:
            job = self._jobs[0]
            fits = not chosen or (
                job.loaded is chosen[0].loaded
                and not job.explained
                and not chosen[0].explained
                and rows + len(job.frame) <= self._settings.batch_rows
            )
            if not fits:
                break
            self._jobs.popleft()
            if job.is_wanted:
                chosen.append(job)
                rows += len(job.frame)
        return chosen

    def _pass(self, jobs: list[_Job]) -> list[Verdicts]:
        begin = time.perf_counter()
        loaded = jobs[0].loaded
        frames = [job.frame for job in jobs]
        frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
        scored = loaded.model.score(frame)
        found: list[Verdicts] = []
        start = 0
        shared: dict[Threshold, tuple[dict[str, list[Any]], list[str]]] = {}
        for job in jobs:
            rows = slice(start, start + len(job.frame))
            start = rows.stop
            if job.threshold.by_row and scored.groups is None:
                if job.threshold not in shared:
                    shared[job.threshold] = _judged(loaded, scored, job.threshold)
                columns, said = shared[job.threshold]
                columns = {name: values[rows] for name, values in columns.items()}
            else:
                columns, said = _judged(loaded, _part(scored, rows), job.threshold)
            found.append(Verdicts(columns, said, _explained(job)))
        self._metrics.passed(loaded.name, len(frame), time.perf_counter() - begin)
        return found


def _judged(loaded: Loaded, scored: Scored, threshold: Threshold) -> tuple[dict[str, list[Any]], list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        verdicts = loaded.model.judge(scored, threshold)
    said = [str(each.message) for each in caught if issubclass(each.category, ResolutionWarning)]
    return {str(name): verdicts[name].tolist() for name in verdicts.columns}, said


def _part(scored: Scored, rows: slice) -> Scored:
    groups = None if scored.groups is None else scored.groups[rows]
    return Scored(scored.scores[rows], groups, None if scored.benign is None else scored.benign[rows])


def _explained(job: _Job) -> list[dict[str, Any]]:
    """Why each row has its score; stops when nobody waits for it any longer."""
    found = []
    for place in range(len(job.frame)) if job.explained else ():
        if not job.is_wanted:
            break
        found.append(job.loaded.model.explain(job.frame.iloc[[place]], job.explained))
    return found


def _settle(job: _Job, result: Verdicts | Exception) -> None:
    if not job.is_wanted:
        return
    if isinstance(result, Exception):
        job.waiter.set_exception(result)
    else:
        job.waiter.set_result(result)
