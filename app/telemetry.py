"""What the gateway tells of itself: Prometheus metrics, an id for every request, and log lines of requests.

Requests that are refused unread have one line together for each turn of the event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import problems
from app.figures import JobCollector, JobFigures
from app.serving_metrics import Pending, ServingMetrics
from app.tally import Tally

GIVEN_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
LATENCY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

log = structlog.get_logger()


@dataclass(slots=True)
class _Answered:
    """Requests of one route, method and status: counted when somebody looks, as in ``tally.py``."""

    counter: Counter
    tally: Tally
    uncounted: int = 0


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
        self._bound: dict[tuple[str, str, int], _Answered] = {}
        self.serving = ServingMetrics(self.registry)

    def request(self, route: str, method: str, status: int, seconds: float, count: int = 1) -> None:
        """Count requests that were answered after ``seconds`` each."""
        key = (route, method, status)
        bound = self._bound.get(key)
        if bound is None:
            counter, histogram = self._requests.labels(route, method, str(status)), self._latency.labels(route, method)
            bound = self._bound[key] = _Answered(counter, self.serving.tally(histogram))
        bound.uncounted += count
        bound.tally.observe(seconds, count)

    async def exposition(self, jobs: JobFigures | None, pending: Iterable[Pending]) -> bytes:
        """Return all metrics as Prometheus reads them.

        Args:
            jobs: None when Redis does not answer.
            pending: of each version in memory.

        Raises:
            Draining: the processes' metrics no longer come together, as the gateway is being stopped.
        """
        self.refresh(pending)
        counted = await self._merging.merged() if self._merging else self.registry
        return generate_latest(counted) + await asyncio.to_thread(_of_jobs, jobs)

    def refresh(self, pending: Iterable[Pending]) -> None:
        """Set what is known only when somebody looks: before every exposition, and every snapshot for others."""
        for bound in self._bound.values():
            bound.counter.inc(bound.uncounted)
            bound.uncounted = 0
        self.serving.now(pending)


class RequestTelemetry:
    """Outermost ASGI layer: gives each request its id, counts it, and answers for what nobody caught."""

    def __init__(self, app: ASGIApp, metrics: Metrics, draining: asyncio.Event, *, debug: bool = False) -> None:
        """Wrap ``app``; once ``draining`` is set requests may be cut off; with ``debug`` every one is logged."""
        self._app = app
        self._metrics = metrics
        self._draining = draining
        self._debug = debug
        self._prefix = uuid4().hex[:24]
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        request_id = scope.get("request_id") or self.identified(given)
        scope["request_id"] = request_id
        header = (b"x-request-id", request_id.encode())
        status = problems.CLIENT_LEFT
        answering = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, answering
            if message["type"] == "http.response.start":
                status, answering = message["status"], True
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        started = time.perf_counter()
        # Every request is a task of its own, and so is its context: nothing has to be put back.
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            if not self._draining.is_set():
                raise
            if not answering:
                await problems.cut_off(scope)(scope, receive, send_with_id)
        except Exception:
            log.exception("request_failed", method=scope["method"], path=scope["path"])
            if not answering:
                await problems.unexpected(scope)(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            self.answered(_route(scope), scope["method"], status, seconds)

    def identified(self, given: bytes | None) -> str:
        """Return the id of a request: the one that it was given, if that can be one, or a new one."""
        if given is not None:
            text = given.decode("latin-1")
            if GIVEN_ID.fullmatch(text):
                return text
        return f"{self._prefix}{next(self._numbers):08x}"

    def answered(self, route: str, method: str, status: int, seconds: float, count: int = 1) -> None:
        """Count requests whose answers were sent after ``seconds`` each."""
        self._metrics.request(route, method if method in METHODS else "other", status, seconds, count)
        if self._debug:  # asking structlog whether it would be shown takes longer than counting
            told = {} if count == 1 else {"count": count}
            log.debug("request_served", route=route, method=method, status=status, seconds=round(seconds, 6), **told)


def _of_jobs(figures: JobFigures | None) -> bytes:
    """Return the metrics of jobs. Takes some milliseconds for each project, in which predictions are not to wait."""
    # In a registry of its own, as Redis tells every process the same and no sum of them means anything.
    registry = CollectorRegistry()
    registry.register(JobCollector(figures))
    return generate_latest(registry)


def _route(scope: Scope) -> str:
    """Return the template of the path, so that labels stay few."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "unmatched"
