"""The gateway, put together. Read this first: what there is, in which order requests pass it, how it stops.

``create_app`` builds the application without touching the network; its lifespan watches for changed models.
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
from app.dependencies import Services
from app.entry import refuse
from app.limits import BodyLimit
from app.listening import url_of
from app.queue import JobQueue
from app.reading import Readings
from app.routes import datasets, families, health, inference, jobs, models, oip
from app.serving.batching import Limits
from app.serving.endpoints import Endpoint
from app.serving.registry import Registry
from app.serving.runtimes.onnx import OnnxRuntime
from app.serving.runtimes.torchscript import TorchScriptRuntime
from app.serving.sessions import LoadedModel
from app.settings import GatewaySettings
from app.telemetry import Merging, Metrics, RequestTelemetry
from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        scope["app"] = self
        await self.front(scope, receive, send)

    async def framework(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle what no layer before has answered."""
        await super().__call__(scope, receive, send)


def create_app(settings: GatewaySettings, merging: Merging | None = None) -> FastAPI:
    """Return the gateway as an ASGI application; ``merging`` if it is one process of several.

    Raises:
        StoreUnavailable: the artifact store cannot be opened.
        ModuleNotFoundError: a package of families is not there.
        ValueError: the URL of Redis is none.
    """
    services = _services(settings, merging)
    app = Gateway(
        title="Lectern",
        version=_version(),
        description=DESCRIPTION,
        lifespan=_lifespan,
        redirect_slashes=False,
        redoc_url=None,
    )
    app.state.services = services
    limited = BodyLimit(app.framework, settings.json_limit_bytes, settings.upload_limit_bytes, datasets.UPLOADS)
    predicting = inference.InferenceRoute(limited)
    app.front = RequestTelemetry(predicting, services.metrics, debug=settings.log_level == "DEBUG")
    # Routes are tried in order, and that takes longer than a small prediction: the frequent ones come first.
    app.router.routes[:0] = inference.routes
    for module in (oip, jobs, models, datasets, families, health):
        app.include_router(module.router)
    problems.install(app)
    openapi.install(app, services.catalog)
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
        log.info("gateway_ready", url=url_of(listener))

    Server(app, settings.shutdown_grace_seconds, services.draining, ready).run(sockets=[listener])
    log.info("gateway_stopped")
    return 0


def cannot_start(error: Exception) -> str:
    """Return the sentence about one of the errors ``CANNOT_START``."""
    return f"Lectern cannot start: {error}"


def _services(settings: GatewaySettings, merging: Merging | None) -> Services:
    catalog = Catalog(settings.families)
    store = ArtifactStore(settings.store_url)
    versions = Versions(store, settings.project)
    runtimes = {"onnx": OnnxRuntime(), "torchscript": TorchScriptRuntime(settings.torchscript_limit_seconds)}
    metrics = Metrics(merging)
    executor = ThreadPoolExecutor(settings.threads(), thread_name_prefix="inference")
    waiting = ThreadPoolExecutor(settings.threads(), thread_name_prefix="waiting")

    def opened(loaded: LoadedModel) -> Endpoint:
        limits = Limits(
            batch_size=settings.max_batch_size,
            queue_size=settings.max_queue_size,
            queue_delay_seconds=settings.max_queue_delay_microseconds / 1e6,
            concurrency=settings.threads() if loaded.in_process else 1,
        )
        meters = metrics.serving.of(loaded.manifest.model, loaded.manifest.version)
        return Endpoint(loaded, limits, executor if loaded.in_process else waiting, meters)

    return Services(
        settings=settings,
        catalog=catalog,
        store=store,
        datasets=Datasets(store, catalog, settings.project),
        readings=Readings(settings),
        versions=versions,
        queue=JobQueue(settings.redis_url, settings.project, settings.max_attempts),
        registry=Registry(
            versions,
            catalog,
            runtimes,
            settings.loaded_models_limit,
            settings.loaded_models_limit_bytes,
            opened,
            settings.max_batch_size,
        ),
        metrics=metrics,
        runtimes=runtimes,
        executor=executor,
        waiting=waiting,
        draining=asyncio.Event(),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    services: Services = app.state.services
    following = asyncio.create_task(services.registry.follow(services.queue))
    try:
        yield
    finally:
        services.draining.set()
        await _stop(following)
        await services.queue.close()
        for threads in (services.executor, services.waiting):
            threads.shutdown(wait=False, cancel_futures=True)
        for runtime in services.runtimes.values():
            await to_thread.run_sync(runtime.close)


async def _stop(task: asyncio.Task[None]) -> None:
    # The Redis client loses a cancellation that comes while it connects, so once is not enough.
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.1)


def _version() -> str:
    try:
        return version("lectern")
    except PackageNotFoundError:
        return "0"
