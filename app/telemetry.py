"""What the gateway tells of itself: Prometheus metrics, and an id and a log line for every request."""

from __future__ import annotations

import re
import time
from typing import Protocol
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems
from app.figures import JobCollector, JobFigures

REQUEST_ID = "X-Request-ID"
GIVEN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
LATENCY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

log = structlog.get_logger()


class Merging(Protocol):
    """Where the metrics of several gateway processes come together; ``app/processes/link.py`` has the one there is."""

    async def merged(self) -> CollectorRegistry:
        """Return what all processes counted, this one included."""
        ...


class Metrics:
    """The metrics of one gateway process, in a registry of its own; with ``merging``, those of all are told."""

    def __init__(self, merging: Merging | None = None) -> None:
        """Register every metric."""
        self._merging = merging
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._requests = Counter(
            "lectern_http_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._latency = Histogram(
            "lectern_http_request_seconds",
            "Time from request to the end of its answer.",
            ("route", "method"),
            buckets=LATENCY_SECONDS,
            registry=self.registry,
        )
        self._predictions = Counter(
            "lectern_predictions",
            "Inference requests by what became of them.",
            ("model", "version", "verb", "outcome"),
            registry=self.registry,
        )
        # In a registry of its own, as Redis tells every process the same and no sum of them means anything.
        self._jobs = JobCollector()
        self._shared = CollectorRegistry()
        self._shared.register(self._jobs)
        self._loaded = Gauge("lectern_models_loaded", "Versions in memory.", registry=self.registry)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(route, method, str(status)).inc()
        self._latency.labels(route, method).observe(seconds)

    def prediction(self, model: str, version: int, verb: str, outcome: str) -> None:
        """Count a request to a model that exists; ``outcome`` is ``ok`` or the code of its problem."""
        self._predictions.labels(model, str(version), verb, outcome).inc()

    def refresh(self, loaded: int) -> None:
        """Set what is known only when somebody looks: before every exposition, and every snapshot for others."""
        self._loaded.set(loaded)

    async def exposition(self, jobs: JobFigures | None, loaded: int) -> bytes:
        """Return all metrics as Prometheus reads them; ``jobs`` is None when Redis does not answer.

        Raises:
            Draining: the processes' metrics no longer come together, as the gateway is being stopped.
        """
        self.refresh(loaded)
        counted = await self._merging.merged() if self._merging else self.registry
        self._jobs.figures = jobs
        return generate_latest(counted) + generate_latest(self._shared)


class RequestTelemetry:
    """Outermost ASGI layer: gives each request its id, counts it, and answers for what nobody caught."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Wrap ``app``."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if GIVEN_ID.fullmatch(given) else uuid4().hex
        scope["request_id"] = request_id
        status = problems.CLIENT_LEFT
        answering = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, answering
            if message["type"] == "http.response.start":
                status, answering = message["status"], True
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception:
                log.exception("request_failed", method=scope["method"], path=scope["path"])
                if not answering:
                    await problems.unexpected(scope)(scope, receive, send_with_id)
            finally:
                seconds = time.perf_counter() - started
                route, method = _route(scope), scope["method"]
                self._metrics.request(route, method if method in METHODS else "other", status, seconds)
                log.debug("request_served", route=route, method=method, status=status, seconds=round(seconds, 6))


def _route(scope: Scope) -> str:
    """Return the template of the path, so that labels stay few."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "unmatched"
