"""The page and what it asks for."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from da3d.errors import FileError, ParameterError
from da3d.pipeline.feedback import Mark
from da3d.serve import protocol
from da3d.serve.app import json_body
from da3d.serve.limits import answer, is_loopback
from da3d.serve.models import Loaded, ModelStore, PipelineModel
from da3d.serve.scorer import Scorer
from da3d.serve.triage.marks import ConflictError, Entry, Marks, read_marks
from da3d.serve.triage.table import JudgedTable, judge_table

__all__ = ["HEADER", "Triage", "open_triage"]

HEADER = "X-Da3d-Triage"
"""The header without which nothing is changed: a page of another site cannot send it unasked. The page sends
`Triage.opened` of what it shows in it; any other program sends 1."""

_PART = 1000
_LONGEST_NOTE = 2000
_LARGEST = 10**15
_GUARDS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_KINDS = {"triage.css": "text/css", "triage.js": "text/javascript"}


class MarkRequest(BaseModel):
    """What is said about a row; without mark and note nothing any more."""

    model_config = ConfigDict(strict=True, extra="forbid")

    row: int
    mark: Mark | None
    note: str = Field("", max_length=_LONGEST_NOTE)
    version: int | None = None


def open_triage(
    store: ModelStore,
    data: str,
    feedback: Path,
    *,
    most: int = 1000,
    id_column: str | None = None,
    local: bool = True,
    count: Callable[[int], None] = lambda rows: None,
) -> Triage:
    """Judge a table by the only model of a store, and take up the marks that it has already.

    Parameters
    ----------
    store : ModelStore
    data : str
        The table, as for `stream_table`.
    feedback : Path
        Where marks are kept. If the file is there, it must be one of an earlier triage of the same table.
    most, id_column, count
        As for `judge_table`.
    local : bool
        Whether the service listens to its own machine only.

    Raises
    ------
    ParameterError
        There are several models, or the model is an exported one.
    InputError
        Table or feedback cannot be used.
    """
    if len(store.names) > 1:
        raise ParameterError(f"the page is for one model, but there are {', '.join(store.names)}; give one.")
    loaded = store.get(store.names[0])
    if loaded is None or not isinstance(loaded.model, PipelineModel):
        raise ParameterError(
            "the page needs a model file: an exported model knows no normal rows and takes no feedback; give "
            "the file that it was made of."
        )
    pipeline = loaded.model.pipeline
    stored = read_marks(feedback, pipeline)
    also = [] if stored.rows is None else stored.rows.index.tolist()
    table = judge_table(pipeline, data, most=most, also=also, id_column=id_column, count=count)
    return Triage(loaded, table, Marks(table, stored), local=local)


class Triage:
    """A judged table for people; `router` has its addresses.

    Parameters
    ----------
    loaded : Loaded
        The model by which the table was judged.
    table : JudgedTable
    marks : Marks
    local : bool
        Whether the service listens to its own machine only. Then it answers to that machine's names only, so
        that no name of another site can be made to lead here.

    Attributes
    ----------
    opened : str
        Another text at every start: rows have other numbers in another table.
    """

    def __init__(self, loaded: Loaded, table: JudgedTable, marks: Marks, *, local: bool = True) -> None:
        self._loaded, self._table, self._marks, self._local = loaded, table, marks, local
        self.opened = secrets.token_hex(8)
        self._alerts = table.alerts()
        self._rows = {each["row"] for each in self._alerts}
        self.router = router = APIRouter(prefix="/ui", dependencies=[Depends(self._guard)])
        router.add_api_route("", self.page, methods=["GET"])
        for name in _KINDS:
            router.add_api_route(f"/{name}", self.part_of_page, methods=["GET"])
        router.add_api_route("/api/table", self.table, methods=["GET"])
        router.add_api_route("/api/operating", self.operating, methods=["GET"])
        router.add_api_route("/api/alerts", self.alerts, methods=["GET"])
        router.add_api_route("/api/search", self.search, methods=["GET"])
        router.add_api_route("/api/rows/{row}", self.row, methods=["GET"])
        router.add_api_route("/api/marks", self.marks, methods=["GET"])
        router.add_api_route("/api/marks", self.mark, methods=["POST"])
        router.add_api_route("/api/marks/{row}", self.unmark, methods=["DELETE"])
        router.add_api_route("/api/export", self.export, methods=["GET"])

    async def _guard(self, request: Request) -> None:
        """Refuse what a page of another site may have sent."""
        if self._local and not _is_own(request.headers.get("host", "")):
            raise HTTPException(403, "this page answers to the names of its own machine only")
        if request.method not in ("GET", "HEAD"):
            site = request.headers.get("sec-fetch-site", "same-origin")
            if HEADER not in request.headers or site not in ("same-origin", "none"):
                raise HTTPException(403, f"marks are changed by this page, or with the header '{HEADER}: 1'")
            if request.headers[HEADER] not in ("1", self.opened):
                raise HTTPException(
                    409, "the service was started again since this page was opened; load the page again"
                )

    async def page(self, request: Request) -> Response:
        """The page itself, the same for every table."""
        return _resource("triage.html", "text/html")

    async def part_of_page(self, request: Request) -> Response:
        """Its style and its script."""
        name = request.url.path.rpartition("/")[2]
        return _resource(name, _KINDS[name])

    async def table(self, request: Request) -> Response:
        """What is triaged, by what, and where marks are kept."""
        store: ModelStore = request.app.state.store
        now = store.get(self._loaded.name)
        rule = self._table.pipeline.rule
        return _guarded(
            {
                "opened": self.opened,
                "model": self._loaded.name,
                "digest": self._loaded.digest,
                "outdated": now is None or now.digest != self._loaded.digest,
                "data": self._table.name,
                "rows": self._table.operating.rows,
                "kept": self._table.ranked,
                "columns": {str(name): kind for name, kind in self._table.pipeline.kinds.items()},
                "id": self._table.id_column,
                "explains": self._table.explains,
                "rule": {"rule": rule.rule, "value": rule.value},
                "resolution": self._table.pipeline.calibration_.resolution,
                "feedback": str(self._marks.path),
            }
        )

    async def operating(self, request: Request) -> Response:
        """How many rows of the whole table raise an alarm at which false-positive rate."""
        return _guarded(asdict(self._table.operating))

    async def alerts(self, request: Request) -> Response:
        """A part of the kept rows, the strangest first."""
        offset, limit = _asked(request, "offset", 0), _asked(request, "limit", _PART)
        part = self._alerts[offset : offset + min(limit, _PART)]
        return _guarded({"total": len(self._alerts), "offset": offset, "alerts": part})

    async def search(self, request: Request) -> Response:
        """The kept rows that hold a text."""
        text = request.query_params.get("text", "")
        return _guarded({"rows": await asyncio.to_thread(self._table.holding, text)})

    async def row(self, request: Request, row: str) -> Response:
        """A row's values, and why it has its score."""
        number = self._known(row)
        scorer: Scorer = request.app.state.scorer
        explanation = await scorer.aside(lambda: self._table.explanation(number))
        return _guarded({"row": number, "values": self._table.values(number), "explanation": explanation})

    async def marks(self, request: Request) -> Response:
        """All that was said."""
        return _guarded({"marks": {row: asdict(entry) for row, entry in self._marks.entries.items()}})

    async def mark(self, request: Request) -> Response:
        """Say something about a row."""
        asked = protocol.parsed(await json_body(request), MarkRequest)
        return await self._said(self._known(str(asked.row)), asked.mark, asked.note.strip(), asked.version)

    async def unmark(self, request: Request, row: str) -> Response:
        """Say nothing about a row any more."""
        given = request.query_params.get("version")
        version = None if given is None else _whole("version", given)
        return await self._said(self._known(row), None, "", version)

    async def _said(self, row: int, mark: Mark | None, note: str, version: int | None) -> Response:
        try:
            entry = await asyncio.to_thread(self._marks.set, row, mark, note, version)
        except ConflictError as error:
            now = self._marks.entries.get(row, Entry())
            return _guarded({"error": str(error), "row": row, "entry": asdict(now)}, 409)
        except FileError as error:
            return _guarded({"error": f"the mark was not kept: {error}"}, 507)
        return _guarded({"row": row, "entry": asdict(entry)})

    async def export(self, request: Request) -> Response:
        """The marked rows as a file that da3d suppress and da3d refit read."""
        asked = request.query_params.get("form", "csv")
        if asked not in ("csv", "jsonl"):
            raise ParameterError(f"form is '{asked[:40]}' but must be csv or jsonl")
        form: Literal["csv", "jsonl"] = "csv" if asked == "csv" else "jsonl"
        if not self._marks.entries:
            raise HTTPException(404, "nothing is marked yet, so there is nothing to export")
        content = await asyncio.to_thread(self._marks.exported, form)
        named = {"Content-Disposition": f'attachment; filename="feedback.{form}"'}
        kind = "text/csv" if form == "csv" else "application/jsonl"
        return Response(content, headers={**_GUARDS, **named}, media_type=kind)

    def _known(self, text: str) -> int:
        if text.isdecimal() and len(text) < 16 and int(text) in self._rows:
            return int(text)
        most = self._table.operating.rows - 1
        kept = "" if len(self._rows) > most else f", of which the strangest {self._table.ranked} are kept"
        raise HTTPException(404, f"there is no row '{text[:20]}' here; the table has rows 0 to {most}{kept}")


def _is_own(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return is_loopback(name)


def _asked(request: Request, name: str, default: int) -> int:
    return _whole(name, request.query_params.get(name, str(default)))


def _whole(name: str, text: str) -> int:
    if not (text.isdecimal() and len(text) < 17 and int(text) < _LARGEST * 10):
        raise ParameterError(f"{name} is '{text[:20]}' but must be a whole number of at least 0")
    return int(text)


def _guarded(content: Any, status: int = 200) -> Response:
    return answer(content, status, _GUARDS)


def _resource(name: str, kind: str) -> Response:
    content = resources.files(__package__).joinpath("page", name).read_bytes()
    return Response(content, headers=_GUARDS, media_type=kind)
