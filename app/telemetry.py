"""What the gateway tells of itself: structured logs, Prometheus metrics, and an id for every request."""

from __future__ import annotations

import logging
import re
import sys
import time
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems
from app.figures import JobCollector, JobFigures
from app.settings import GatewaySettings

REQUEST_ID = "X-Request-ID"
GIVEN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
LATENCY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

log = structlog.get_logger()


def configure_logs(settings: GatewaySettings) -> None:
    """Send every log line, also those of libraries, to stderr as the settings say."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        # Plain: the rich form prints local variables, and those are what users send.
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    last = [structlog.processors.format_exc_info, renderer] if settings.log_format == "json" else [renderer]
    level = logging.getLevelNamesMapping()[settings.log_level]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler()
    formatter = structlog.stdlib.ProcessorFormatter
    handler.setFormatter(formatter(processors=[formatter.remove_processors_meta, *last], foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    # It warns of every body that is wrong; who sent it is told.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)


class Metrics:
    """The metrics of one gateway process, in a registry of its own."""

    def __init__(self) -> None:
        """Register every metric."""
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
        self._jobs = JobCollector()
        self.registry.register(self._jobs)
        self._loaded = Gauge("lectern_models_loaded", "Versions in memory.", registry=self.registry)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests.labels(route, method, str(status)).inc()
        self._latency.labels(route, method).observe(seconds)

    def prediction(self, model: str, version: int, verb: str, outcome: str) -> None:
        """Count a request to a model that exists; ``outcome`` is ``ok`` or the code of its problem."""
        self._predictions.labels(model, str(version), verb, outcome).inc()

    def exposition(self, jobs: JobFigures | None, loaded: int) -> bytes:
        """Return all metrics as Prometheus reads them; ``jobs`` is None when Redis does not answer."""
        self._jobs.figures = jobs
        self._loaded.set(loaded)
        return generate_latest(self.registry)


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
