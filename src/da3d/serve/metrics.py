"""What a service counts, in Prometheus' form."""

from __future__ import annotations

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

__all__ = ["FOLDER", "Metrics"]

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder where several workers add up what they count."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
_SEVERITIES = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)


class Metrics:
    """The counters of one service. Labels have few values: no row, key or address is ever one."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._folder = os.environ.get(FOLDER)
        if not self._folder:
            ProcessCollector(registry=registry)
        self._requests = Counter(
            "da3d_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "da3d_request_seconds",
            "Time from a request's head to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._rows = Counter("da3d_rows", "Rows by outcome.", ["model", "outcome"], registry=registry)
        self._alarms = Counter("da3d_alarms", "Rows that raised an alarm.", ["model"], registry=registry)
        self._severity = Histogram(
            "da3d_severity",
            "Severity of the judged rows, 0 to 100.",
            ["model"],
            buckets=_SEVERITIES,
            registry=registry,
        )
        self._pass_rows = Histogram(
            "da3d_pass_rows", "Rows that were scored together.", ["model"], buckets=_ROWS, registry=registry
        )
        self._pass_seconds = Histogram(
            "da3d_pass_seconds",
            "Time of scoring them, without waiting.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._reloads = Counter(
            "da3d_model_reloads", "Changed model files.", ["model", "outcome"], registry=registry
        )
        self._loaded = Gauge(
            "da3d_model_loaded_timestamp_seconds",
            "When the model in use was read; with several workers that of the one that is furthest behind.",
            ["model"],
            registry=registry,
            multiprocess_mode="livemin",
        )

    def asked(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def judged(self, model: str, severities: list[float], alarms: int) -> None:
        """Rows got their verdicts."""
        self._rows.labels(model, "judged").inc(len(severities))
        self._alarms.labels(model).inc(alarms)
        histogram = self._severity.labels(model)
        for severity in severities:
            histogram.observe(severity)

    def refused(self, model: str, rows: int) -> None:
        """Rows could not be judged."""
        self._rows.labels(model, "refused").inc(rows)

    def passed(self, model: str, rows: int, seconds: float) -> None:
        """Rows were scored together."""
        self._pass_rows.labels(model).observe(rows)
        self._pass_seconds.labels(model).observe(seconds)

    def reloaded(self, model: str, outcome: str) -> None:
        """A model file had changed."""
        self._reloads.labels(model, outcome).inc()

    def loaded(self, model: str, when: float) -> None:
        """A model is in use since `when`, in seconds since 1970."""
        self._loaded.labels(model).set(when)

    def text(self) -> bytes:
        """All that was counted, by all workers."""
        if not self._folder:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def close(self) -> None:
        """Forget what is true only while this worker lives."""
        if self._folder:
            mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]
