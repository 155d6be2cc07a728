"""The gateway, put together. Read this first: what there is, in which order requests pass it, how it stops.

``create_app`` builds the application without touching the network; its lifespan watches for changed models.
``serve`` runs it: ``lectern gateway`` calls it. Nothing happens at import.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import structlog
from anyio import to_thread
from fastapi import FastAPI
from starlette.middleware import Middleware

from app import openapi, problems
from app.dependencies import Services
from app.limits import BodyLimit
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
from app.telemetry import Metrics, RequestTelemetry, configure_logs
from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from models.catalog import Catalog
from models.contract.errors import LecternError

if TYPE_CHECKING:
    from types import FrameType

BACKLOG = 2048

DESCRIPTION = """Train, export and serve deep-learning models on your own machine.

Errors are problem documents (RFC 9457) with a stable `code`; under `/v2` they are `{"error": "…"}`."""

log = structlog.get_logger()


def create_app(settings: GatewaySettings) -> FastAPI:
    """Return the gateway as an ASGI application.

    Raises:
        StoreUnavailable: the artifact store cannot be opened.
        ModuleNotFoundError: a package of families is not there.
        ValueError: the URL of Redis is none.
    """
    services = _services(settings)
    app = FastAPI(
        title="Lectern",
        version=_version(),
        description=DESCRIPTION,
        lifespan=_lifespan,
        redirect_slashes=False,
        redoc_url=None,
        # From the outside in.
        middleware=[
            Middleware(RequestTelemetry, metrics=services.metrics),
            Middleware(inference.InferenceRoute),
            Middleware(
                BodyLimit,
                json_limit_bytes=settings.json_limit_bytes,
                upload_limit_bytes=settings.upload_limit_bytes,
                uploads=datasets.UPLOADS,
            ),
        ],
    )
    app.state.services = services
    # Routes are tried in order, and that takes longer than a small prediction: the frequent ones come first.
    app.router.routes[:0] = inference.routes
    for module in (oip, jobs, models, datasets, families, health):
        app.include_router(module.router)
    problems.install(app)
    openapi.install(app, services.catalog)
    return app


def serve(settings: GatewaySettings) -> int:
    """Run the gateway until it is told to stop; return the exit code.

    A reason not to start is a sentence on stderr and the code 1.
    """
    if settings.listens_beyond_this_machine() and not settings.insecure:
        return _refuse(
            f"Lectern does not listen on {settings.host}: anybody who reaches it could use it, as there are no keys. "
            "Listen on 127.0.0.1, or allow it with LECTERN_INSECURE=1."
        )
    configure_logs(settings)
    try:
        listener = _listen(settings)
    except OSError as error:
        reason = error.strerror or str(error)
        return _refuse(f"Lectern cannot listen on {settings.host}:{settings.port}: {reason}. Choose another port.")
    with listener:
        try:
            app = create_app(settings)
        except (LecternError, ModuleNotFoundError, ValueError) as error:
            return _refuse(f"Lectern cannot start: {error}")
        _run(app, settings, listener)
    return 0


def _services(settings: GatewaySettings) -> Services:
    catalog = Catalog(settings.families)
    store = ArtifactStore(settings.store_url)
    versions = Versions(store, settings.project)
    runtimes = {"onnx": OnnxRuntime(), "torchscript": TorchScriptRuntime(settings.torchscript_limit_seconds)}
    metrics = Metrics()
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


def _listen(settings: GatewaySettings) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _run(app: FastAPI, settings: GatewaySettings, listener: socket.socket) -> None:
    import uvicorn  # noqa: PLC0415 - tests and tools that only build the application do without

    services: Services = app.state.services
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    class Server(uvicorn.Server):
        """Says when it is ready, and lets open streams know as soon as it is told to stop."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            # What start-up left stays for good; scanning it at every collection is the tail of latencies.
            gc.collect()
            gc.freeze()
            log.info("gateway_ready", url=url)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
            # Unlike uvicorn's own, which raises the signal again at the end: being told to stop is no failure.
            services.draining.set()
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self.should_exit = True

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",  # nothing speaks WebSocket yet, and loading its library takes 3 MB
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
        backlog=BACKLOG,
    )
    Server(config).run(sockets=[listener])
    log.info("gateway_stopped")


def _refuse(sentence: str) -> int:
    print(sentence, file=sys.stderr)  # noqa: T201 - the one thing that the person who starts it must see
    return 1


def _version() -> str:
    try:
        return version("lectern")
    except PackageNotFoundError:
        return "0"
