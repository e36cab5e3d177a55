"""A service as processes: one, or several workers on one port."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import uvicorn
from fastapi import APIRouter, FastAPI
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from da3d.errors import ParameterError
from da3d.serve.app import create_app
from da3d.serve.limits import Settings, is_loopback, read_keys
from da3d.serve.metrics import FOLDER
from da3d.serve.models import ModelStore

__all__ = ["KEY", "Job", "run", "worker"]

KEY = "DA3D_API_KEY"
"""The variable that may hold the API key."""

_JOB = "DA3D_SERVE_JOB"
_CONNECTIONS = 1000


@dataclass(frozen=True)
class Job:
    """What is to be served where.

    Parameters
    ----------
    models : dict of str to str
        Name to file.
    host, port
        Where to listen; port 0 takes any that is free.
    workers : int
        Processes, each with all models in its memory.
    key_file : str, optional
        File of API keys; without it the variable ``DA3D_API_KEY`` may hold one.
    without_key : bool
        Whether a service that other machines can reach may do without a key.
    settings : Settings
        Without keys: those do not travel between processes but are read by each.
    """

    models: dict[str, str]
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    key_file: str | None = None
    without_key: bool = False
    settings: Settings = field(default_factory=Settings)

    def to_json(self) -> str:
        """Return the job as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Return the job that `to_json` wrote."""
        content = json.loads(text)
        settings = content.pop("settings")
        return cls(settings=Settings(**{**settings, "keys": ()}), **content)

    def allowed(self) -> Settings:
        """The settings with the keys that are valid now.

        Raises
        ------
        ParameterError
            A key is too short, or there is none although other machines can reach the service.
        FileError
            The file of keys cannot be read.
        """
        if self.key_file is not None:
            keys = read_keys(Path(self.key_file))
        else:
            keys = tuple(key for key in [os.environ.get(KEY, "").strip()] if key)
        if not keys and not self.without_key and not is_loopback(self.host):
            raise ParameterError(
                f"other machines could reach {self.host} and there is no API key; give one (--api-key-file, "
                f"or the variable {KEY}), or say that none is needed (--without-key)."
            )
        return replace(self.settings, keys=keys)


def run(
    job: Job,
    announce: Callable[[str], None],
    more: Callable[[ModelStore], Sequence[APIRouter]] | None = None,
) -> None:
    """Serve until a signal ends it (SIGTERM, SIGINT); requests under way are answered first.

    Parameters
    ----------
    job : Job
    announce : callable
        Is told the address when all models could be read and the port is taken.
    more : callable, optional
        Makes more addresses once the models were read, for `create_app`; there must be one worker only.

    Raises
    ------
    ParameterError
        The address cannot be used, or a model cannot be served.
    FileError
        A file cannot be used.
    """
    if more is not None and job.workers > 1:
        raise ParameterError(f"there are {job.workers} workers, but the page needs one that has all marks.")
    settings = job.allowed()
    _one_thread()
    store = ModelStore(job.models)
    routers = [] if more is None else more(store)
    listener = _listener(job.host, job.port)
    port = listener.getsockname()[1]
    announce(f"http://{f'[{job.host}]' if ':' in job.host else job.host}:{port}")
    options: dict[str, Any] = {
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "lifespan": "on",
        "limit_concurrency": _CONNECTIONS,
        "timeout_graceful_shutdown": math.ceil(job.settings.timeout),
    }
    if job.workers == 1:
        with _log():
            _Server(uvicorn.Config(create_app(store, settings, routers), **options)).run([listener])
        return
    listener.close()  # the workers' supervisor takes it again
    del store
    with tempfile.TemporaryDirectory(prefix="da3d-metrics-") as folder, _variables(job, folder):
        place = f"{worker.__module__}:{worker.__name__}"
        uvicorn.run(place, factory=True, host=job.host, port=port, workers=job.workers, **options)


def worker() -> FastAPI:
    """The app of one of several workers, which finds its job in its environment."""
    job = Job.from_json(os.environ[_JOB])
    _one_thread()
    lasting = ExitStack()
    lasting.enter_context(_log())
    app = create_app(ModelStore(job.models), job.allowed())
    app.state.lasting = lasting  # the log is open for as long as the app is there
    return app


class _Server(uvicorn.Server):
    """Ends without an error when it is told to end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals end the service, and not the process once more afterwards."""
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _one_thread() -> None:
    """One thread per worker: workers share the cores."""
    torch.set_num_threads(1)
    threadpool_limits(1)


@contextmanager
def _log() -> Iterator[None]:
    """What happens, with time and process, on standard error."""
    log, handler = logging.getLogger("da3d.serve"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]


def _listener(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with ExitStack() as undo:
            listener = undo.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            undo.pop_all()
    except OSError as error:
        raise ParameterError(
            f"{host}, port {port}, cannot be listened on ({error.strerror or error}); choose another --host "
            "or --port."
        ) from error
    return listener


@contextmanager
def _variables(job: Job, folder: str) -> Iterator[None]:
    """Tell the workers their job, and where they add up their counters."""
    told: Mapping[str, str] = {_JOB: job.to_json(), FOLDER: folder}
    os.environ.update(told)
    try:
        yield
    finally:
        for name in told:
            os.environ.pop(name, None)
