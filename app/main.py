"""The gateway, put together. Read this first: what there is, in which order requests pass it, how it stops.

``create_app`` builds the application without touching the network; its lifespan watches for changed models and keys.
``run`` serves it in this process, ``processes/child.py`` in one of several; ``entry.py`` decides. Nothing happens at
import.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

import structlog
from anyio import to_thread
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from app import openapi, problems
from app.access.callers import Callers
from app.access.guard import AccessGuard
from app.access.keyring import Keyring
from app.access.keys import Keys
from app.access.rates import Rates
from app.dependencies import Services
from app.entry import refuse
from app.exchange import Direct
from app.limits import BodyLimit, BodyLimits
from app.listening import url_of
from app.peers import Peers
from app.projects import Projects, Shared, ended
from app.reading import Readings
from app.routes import datasets, documentation, families, health, inference, jobs, models, oip
from app.serving.runtimes.onnx import OnnxRuntime
from app.serving.runtimes.torchscript import TorchScriptRuntime
from app.settings import GatewaySettings
from app.shedding import Shedding, Turns
from app.telemetry import Metrics, RequestTelemetry
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from models.contract.errors import LecternError

CANNOT_START = (LecternError, ModuleNotFoundError, ValueError)
"""What ``create_app`` raises when a setting cannot be used."""

DESCRIPTION = """Train, export and serve deep-learning models on your own machine.

Errors are problem documents (RFC 9457) with a stable `code`; under `/v2` they are `{"error": "…"}`."""

log = structlog.get_logger()


class Gateway(FastAPI):
    """The framework with layers before it; what these answer, as predictions, never comes to it.

    Middleware of the framework would stand behind layers of its own, which take longer than a small prediction.
    """

    front: ASGIApp
    """The outermost layer."""

    direct: Direct
    """What connections answer without asking it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        scope["app"] = self
        await self.front(scope, receive, send)

    async def framework(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle what no layer before has answered."""
        await super().__call__(scope, receive, send)


def create_app(settings: GatewaySettings, peers: Peers | None = None) -> FastAPI:
    """Return the gateway as an ASGI application; with ``peers`` if it is one process of several.

    Raises:
        StoreUnavailable: the artifact store cannot be opened.
        ModuleNotFoundError: a package of families is not there.
        ValueError: the URL of Redis is none.
    """
    shared = _shared(settings, peers)
    projects = Projects(shared)
    keyring = Keyring(Keys(shared.store), settings.project)
    app = Gateway(
        title="Lectern",
        version=_version(),
        description=DESCRIPTION,
        lifespan=_lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.state.projects, app.state.services, app.state.keyring = projects, projects.own, keyring
    limits = BodyLimits.of(settings)
    limited = BodyLimit(app.framework, limits, datasets.UPLOADS)
    guarded = AccessGuard(
        inference.InferenceRoute(limited, limits.json),
        keyring,
        Callers(settings.trusted_hosts, any_host=settings.insecure and not settings.trusted_hosts),
        Rates(settings.rate_per_second, settings.rate_burst),
    )
    app.front = RequestTelemetry(guarded, shared.metrics, shared.draining, debug=settings.log_level == "DEBUG")
    # What is read in the middle of a turn waits for the rest of it, and perhaps for half of the next.
    turns = Turns(settings.max_queue_wait_microseconds / 2e6)
    app.direct = Direct(app.front, guarded, limits.json, projects, Shedding(turns, app.front))
    # Routes are tried in order, and that takes longer than a small prediction: the frequent ones come first.
    app.router.routes[:0] = inference.routes
    for module in (oip, jobs, models, datasets, families, health):
        app.include_router(module.router)
    app.router.routes += documentation.routes
    problems.install(app)
    openapi.install(app, shared.catalog)
    return app


def run(settings: GatewaySettings, listener: socket.socket) -> int:
    """Serve on ``listener`` in this process until it is told to stop; return the exit code."""
    try:
        app = create_app(settings)
    except CANNOT_START as error:
        return refuse(cannot_start(error))
    from app.server import Server  # noqa: PLC0415 - tests and tools that only build the application do without uvicorn

    services: Services = app.state.services

    async def ready() -> None:
        keyring: Keyring = app.state.keyring
        log.info("gateway_ready", url=url_of(listener), needs_key=keyring.asks)

    Server(app, settings.shutdown_grace_seconds, services.draining, ready).run(sockets=[listener])
    log.info("gateway_stopped")
    return 0


def cannot_start(error: Exception) -> str:
    """Return the sentence about one of the errors ``CANNOT_START``."""
    return f"Lectern cannot start: {error}"


def _shared(settings: GatewaySettings, peers: Peers | None) -> Shared:
    return Shared(
        settings=settings,
        catalog=Catalog(settings.families),
        store=ArtifactStore(settings.store_url),
        readings=Readings(settings),
        metrics=Metrics(peers),
        runtimes={"onnx": OnnxRuntime(), "torchscript": TorchScriptRuntime(settings.torchscript_limit_seconds)},
        executor=ThreadPoolExecutor(settings.threads(), thread_name_prefix="requests"),
        computing=ThreadPoolExecutor(settings.threads(), thread_name_prefix="inference"),
        waiting=ThreadPoolExecutor(settings.threads(), thread_name_prefix="waiting"),
        draining=asyncio.Event(),
        peers=peers,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    projects: Projects = app.state.projects
    keyring: Keyring = app.state.keyring
    await keyring.start()
    following = asyncio.create_task(keyring.follow())
    projects.start()
    services = projects.own
    try:
        yield
    finally:
        services.draining.set()
        await ended(following)
        await projects.stop()
        for threads in (services.executor, services.computing, services.waiting):
            threads.shutdown(wait=False, cancel_futures=True)
        for runtime in services.runtimes.values():
            await to_thread.run_sync(runtime.close)


def _version() -> str:
    try:
        return version("lectern")
    except PackageNotFoundError:
        return "0"
