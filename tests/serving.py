"""A service in the tests' own process: requests without a network."""

import asyncio
import json

import pytest

for _package in ("fastapi", "uvicorn", "httpx", "prometheus_client"):
    pytest.importorskip(_package)  # skips the module that imports this one

import httpx  # noqa: E402
from fastapi import APIRouter, Request  # noqa: E402

from da3d.serve import ModelStore, Settings, create_app  # noqa: E402
from da3d.serve.models import PipelineModel, read_model  # noqa: E402
from da3d.serve.server import Job, run  # noqa: E402

__all__ = [
    "APIRouter",
    "Client",
    "Job",
    "ModelStore",
    "PipelineModel",
    "Request",
    "Settings",
    "create_app",
    "httpx",
    "read_model",
    "rows_of",
    "run",
    "serving",
]


class Client:
    """Asks an app whose lifespan lasts as long as the block."""

    def __init__(self, app):
        self.app, self.runner = app, asyncio.Runner()

    def __enter__(self):
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://service")
        self.life = self.app.router.lifespan_context(self.app)
        self.run(self.life.__aenter__())
        return self

    def __exit__(self, *error):
        self.run(self.http.aclose())
        self.run(self.life.__aexit__(None, None, None))
        self.runner.close()

    def run(self, work):
        return self.runner.run(work)

    def get(self, path, **options):
        return self.run(self.http.get(path, **options))

    def post(self, path, content, **options):
        return self.run(self.post_later(path, content, **options))

    def post_later(self, path, content, **options):
        """The same, to be awaited; what is no bytes is sent as JSON."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return self.http.post(path, content=body, headers=headers, **options)

    def sleep(self, seconds):
        """Let the app do what it does unasked."""
        self.run(asyncio.sleep(seconds))


def serving(path, **settings):
    """A service of one model called ``toy``."""
    return Client(create_app(ModelStore({"toy": path}), Settings(**settings)))


def rows_of(frame):
    """The rows of a table as JSON objects."""
    return json.loads(frame.to_json(orient="records", date_format="iso", double_precision=15))
