"""The service: addresses, and what is answered there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from da3d import __version__
from da3d.errors import InputError, ParameterError
from da3d.pipeline import Threshold
from da3d.serve import protocol
from da3d.serve.limits import Gate, Settings, answer
from da3d.serve.metrics import Metrics
from da3d.serve.models import Loaded, ModelStore
from da3d.serve.rows import RowError, Rows, from_rows
from da3d.serve.scorer import Scorer, Verdicts

__all__ = ["create_app", "json_body"]

_QUICK = 65_536  # bytes: a larger body is read, and its answer written, away from the loop
_COLUMNS = 3

Result = TypeVar("Result")


def create_app(
    store: ModelStore, settings: Settings | None = None, routers: Sequence[APIRouter] = ()
) -> FastAPI:
    """Make a service of models.

    Parameters
    ----------
    store : ModelStore
        What is served. While the service runs, files that change are read again.
    settings : Settings, optional
    routers : sequence of APIRouter
        More addresses, behind the same key and the same limits. Their handlers find `store`, `settings`,
        `metrics` and `scorer` in ``request.app.state``.

    Returns
    -------
    FastAPI
        For any ASGI server.
    """
    settings = settings or Settings()
    metrics = Metrics()
    scorer = Scorer(settings, metrics)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        watcher = asyncio.create_task(_watch(store, settings.reload_every, metrics))
        try:
            yield
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
            await asyncio.to_thread(scorer.close)
            metrics.close()

    app = FastAPI(
        title="da3d",
        version=__version__,
        description="Rows in, verdicts out.",
        lifespan=life,
        docs_url=None,  # these pages load scripts of other sites
        redoc_url=None,
    )
    app.state.store, app.state.settings = store, settings
    app.state.metrics, app.state.scorer = metrics, scorer
    app.add_middleware(Gate, settings=settings, metrics=metrics)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(InputError, _refused)
    app.add_exception_handler(Exception, _failed)
    for router in (_Plain().router, _OpenInference().router, *routers):
        app.include_router(router)
    return app


async def _watch(store: ModelStore, every: float, metrics: Metrics) -> None:
    """Look at the model files now and then."""
    while True:
        for name in store.names:
            metrics.loaded(name, _loaded(store, name).loaded.timestamp())
        await asyncio.sleep(every)
        for name, outcome in (await asyncio.to_thread(store.refresh)).items():
            metrics.reloaded(name, outcome)


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return answer({"error": error.detail}, error.status_code, dict(error.headers or {}))
    status = 413 if isinstance(error, protocol.TooManyRowsError) else 400
    return answer({"error": str(error)}, status)


async def _failed(request: Request, error: Exception) -> Response:
    return answer({"error": "something unexpected happened; the service's log has the details"}, 500)


def _loaded(store: ModelStore, name: str) -> Loaded:
    found = store.get(name)
    if found is None:
        raise HTTPException(404, f"there is no model '{name[:64]}'; those are {', '.join(store.names)}")
    return found


async def json_body(request: Request) -> bytes:
    """The body of a request, which must say that it is JSON: a page of another site cannot say so unasked."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        given = f"is '{kind[:40]}'" if kind else "is not given"
        raise HTTPException(415, f"the Content-Type {given} but must be application/json")
    return await request.body()


async def _worked(request: Request, size: int, work: Callable[[], Result]) -> Result:
    """Do work that is quick for few bytes, and away from the loop if they are many."""
    scorer: Scorer = request.app.state.scorer
    return work() if size <= _QUICK else await scorer.aside(work)


async def _judged(
    request: Request, loaded: Loaded, rows: Rows, threshold: Threshold, explained: int = 0
) -> Verdicts | None:
    """The verdicts on the good rows of a request, None if there is none."""
    metrics: Metrics = request.app.state.metrics
    scorer: Scorer = request.app.state.scorer
    if rows.errors:
        metrics.refused(loaded.name, len(rows.errors))
    if not rows.places:
        return None
    verdicts = await scorer.judge(loaded, rows.frame, threshold, explained)
    metrics.judged(loaded.name, verdicts.columns["severity"], sum(verdicts.columns["is_anomaly"]))
    return verdicts


def _summary(errors: list[RowError], rows: int) -> str:
    first = errors[0]
    column = "" if first.column is None else f", column '{first.column}'"
    return f"{len(errors)} of {rows} rows cannot be judged; row {first.row}{column}: {first.message}"


class _Plain:
    """Rows as objects, and what operators want to know."""

    def __init__(self) -> None:
        self.router = router = APIRouter()
        described = {"content": {"application/json": {"schema": protocol.ScoreRequest.model_json_schema()}}}
        router.add_api_route("/score", self.score, methods=["POST"], openapi_extra={"requestBody": described})
        router.add_api_route("/health", self.health, methods=["GET"])
        router.add_api_route("/metrics", self.metrics, methods=["GET"])

    async def score(self, request: Request) -> Response:
        """Judge rows. One bad row makes the status 422; the verdicts on the others are in the same answer."""
        body = await json_body(request)
        asked, loaded, rows = await _worked(request, len(body), lambda: self._read(request, body))
        settings: Settings = request.app.state.settings
        explained = _COLUMNS if asked.explain is True else int(asked.explain)
        if explained and len(rows.places) > settings.max_explained:
            most = settings.max_explained
            raise protocol.TooManyRowsError(f"{len(rows.places)} rows are to be explained but {most} may be")
        threshold = asked.threshold() or loaded.model.rule
        verdicts = await _judged(request, loaded, rows, threshold, explained)
        return await _worked(
            request, len(body), lambda: self._answer(asked, loaded, rows, threshold, verdicts)
        )

    def _read(self, request: Request, body: bytes) -> tuple[protocol.ScoreRequest, Loaded, Rows]:
        asked = protocol.parsed(body, protocol.ScoreRequest)
        store: ModelStore = request.app.state.store
        most = request.app.state.settings.max_rows
        if asked.model is None and len(store.names) > 1:
            raise ParameterError(f"model is not given; it must be one of {', '.join(store.names)}")
        loaded = _loaded(store, store.names[0] if asked.model is None else asked.model)
        if ("row" in asked.model_fields_set) == (asked.rows is not None):
            raise ParameterError('give either "rows", a list of objects, or "row", one object')
        if asked.rows is not None and not asked.rows:
            raise ParameterError("rows is empty; at least one row is needed")
        if asked.explain < 0:
            raise ParameterError("explain must be true, false or the number of columns to name")
        if asked.explain and not loaded.model.explains:
            raise ParameterError(f"the model '{loaded.name}' has no normal rows to explain others with")
        values = [asked.row] if asked.rows is None else asked.rows
        if len(values) > most:
            raise protocol.TooManyRowsError(
                f"the request has {len(values)} rows but may have {most}; send fewer at a time"
            )
        return asked, loaded, from_rows(values, loaded.model.kinds, loaded.model.ignored)

    def _answer(
        self,
        asked: protocol.ScoreRequest,
        loaded: Loaded,
        rows: Rows,
        threshold: Threshold,
        verdicts: Verdicts | None,
    ) -> Response:
        results: dict[int, dict[str, Any]] = {each.row: {"error": each.to_json()} for each in rows.errors}
        if verdicts is not None:
            values = zip(*verdicts.columns.values(), strict=True)
            for place, judged in zip(rows.places, values, strict=True):
                results[place] = {"row": place, **dict(zip(verdicts.columns, judged, strict=True))}
            for place, explanation in zip(rows.places, verdicts.explanations, strict=False):
                results[place]["explanation"] = explanation
        ordered = [results[place] for place in range(len(results))]
        content: dict[str, Any] = {
            "model": loaded.name,
            "digest": loaded.digest,
            "threshold": {"rule": threshold.rule, "value": threshold.value},
            **({"result": ordered[0]} if asked.rows is None else {"results": ordered}),
            "warnings": [] if verdicts is None else verdicts.warnings,
        }
        if rows.errors:
            return answer({"error": _summary(rows.errors, len(ordered)), **content}, 422)
        return answer(content)

    async def health(self, request: Request) -> Response:
        """Whether all is well; to those who have a key also what is served."""
        store: ModelStore = request.app.state.store
        errors = dict(store.errors)
        content: dict[str, Any] = {"status": "degraded" if errors else "ok"}
        if request.state.trusted:
            found = [_loaded(store, name) for name in store.names]
            content |= {
                "version": __version__,
                "models": {
                    each.name: {
                        "file": each.path.name,
                        "digest": each.digest,
                        "loaded": each.loaded.isoformat(timespec="seconds"),
                        "error": errors.get(each.name),
                    }
                    for each in found
                },
            }
        return answer(content)

    async def metrics(self, request: Request) -> Response:
        """What was counted, for Prometheus."""
        metrics: Metrics = request.app.state.metrics
        return Response(metrics.text(), media_type=metrics.content_type)


class _OpenInference:
    """The open inference protocol, version 2."""

    def __init__(self) -> None:
        self.router = router = APIRouter(prefix="/v2")
        router.add_api_route("", self.server, methods=["GET"])
        router.add_api_route("/health/live", self.live, methods=["GET"])
        router.add_api_route("/health/ready", self.ready, methods=["GET"])
        router.add_api_route("/models/{name}", self.model, methods=["GET"])
        router.add_api_route("/models/{name}/ready", self.model_ready, methods=["GET"])
        router.add_api_route("/models/{name}/infer", self.infer, methods=["POST"])

    async def server(self, request: Request) -> Response:
        """What answers here."""
        return answer({"name": "da3d", "version": __version__, "extensions": []})

    async def live(self, request: Request) -> Response:
        """Whether the process answers."""
        return answer({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether models can be asked: they are read before anything is answered."""
        return answer({"ready": True})

    async def model(self, request: Request, name: str) -> Response:
        """A model's inputs and outputs."""
        loaded = _loaded(request.app.state.store, name)
        return answer(protocol.metadata(name, loaded.digest[:12], loaded.model.kinds))

    async def model_ready(self, request: Request, name: str) -> Response:
        """Whether a model can be asked."""
        return answer({"name": _loaded(request.app.state.store, name).name, "ready": True})

    async def infer(self, request: Request, name: str) -> Response:
        """Judge the rows of tensors."""
        loaded = _loaded(request.app.state.store, name)
        body = await json_body(request)
        asked, rows = await _worked(request, len(body), lambda: self._read(request, body, loaded))
        threshold = asked.parameters.threshold() or loaded.model.rule
        verdicts = await _judged(request, loaded, rows, threshold)
        return await _worked(request, len(body), lambda: self._answer(asked, loaded, rows, verdicts))

    def _read(self, request: Request, body: bytes, loaded: Loaded) -> tuple[protocol.InferRequest, Rows]:
        asked = protocol.parsed(body, protocol.InferRequest)
        return asked, protocol.rows_of(asked.inputs, loaded.model.kinds, request.app.state.settings.max_rows)

    def _answer(
        self, asked: protocol.InferRequest, loaded: Loaded, rows: Rows, verdicts: Verdicts | None
    ) -> Response:
        columns = {} if verdicts is None else verdicts.columns
        content: dict[str, Any] = {"model_name": loaded.name, "model_version": loaded.digest[:12]}
        if asked.id is not None:
            content["id"] = asked.id
        outputs = protocol.outputs_of(columns, asked.outputs) if columns else []
        if not rows.errors:
            return answer({**content, "outputs": outputs})
        outputs.append(protocol.tensor("row", rows.places))
        content |= {"outputs": outputs, "errors": [each.to_json() for each in rows.errors]}
        count = len(rows.places) + len(rows.errors)
        return answer({"error": _summary(rows.errors, count), **content}, 422)
