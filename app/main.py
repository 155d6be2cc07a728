"""The gateway, put together. Read this first: what there is, in which order requests pass it, how it stops.

``create_app`` builds the application without touching the network; its lifespan watches for changed models and keys.
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
from app.access.callers import Callers
from app.access.guard import AccessGuard
from app.access.keyring import Keyring
from app.access.keys import Keys
from app.access.rates import Rates
from app.dependencies import Services
from app.limits import BodyLimit, BodyLimits
from app.projects import Projects, Shared, ended
from app.reading import Readings
from app.routes import datasets, families, health, jobs, models, oip, predict
from app.serving.runtimes.onnx import OnnxRuntime
from app.serving.runtimes.torchscript import TorchScriptRuntime
from app.settings import GatewaySettings
from app.telemetry import Metrics, RequestTelemetry, configure_logs
from models.artifacts.store import ArtifactStore
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
    shared = _shared(settings)
    projects = Projects(shared)
    keyring = Keyring(Keys(shared.store), settings.project)
    app = FastAPI(
        title="Lectern",
        version=_version(),
        description=DESCRIPTION,
        lifespan=_lifespan,
        redirect_slashes=False,
        redoc_url=None,
        # From the outside in.
        middleware=[
            Middleware(RequestTelemetry, metrics=shared.metrics),
            Middleware(
                AccessGuard,
                keyring=keyring,
                callers=Callers(settings.trusted_hosts, any_host=settings.insecure and not settings.trusted_hosts),
                rates=Rates(settings.rate_per_second, settings.rate_burst),
            ),
            Middleware(BodyLimit, limits=BodyLimits.of(settings), uploads=datasets.UPLOADS),
        ],
    )
    app.state.projects, app.state.services, app.state.keyring = projects, projects.own, keyring
    # Routes are tried in order, and that takes longer than a small prediction: the frequent ones come first.
    app.router.routes[:0] = predict.routes
    for module in (oip, jobs, models, datasets, families, health):
        app.include_router(module.router)
    problems.install(app)
    openapi.install(app, shared.catalog)
    return app


def serve(settings: GatewaySettings) -> int:
    """Run the gateway until it is told to stop; return the exit code.

    A reason not to start is a sentence on stderr and the code 1.
    """
    refusal = _exposed(settings)
    if refusal:
        return _refuse(refusal)
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


def _exposed(settings: GatewaySettings) -> str | None:
    """Return why the gateway may not listen where it should; None if it may."""
    if settings.insecure or not settings.listens_beyond_this_machine():
        return None
    try:
        if Keys(ArtifactStore(settings.store_url)).live():
            return None
    except LecternError as error:
        return f"Lectern cannot tell whether there are keys: {error}"
    return (
        f"Lectern does not listen on {settings.host}: anybody who reaches it could use it, as there are no keys. "
        "Create one with 'lectern keys create', listen on 127.0.0.1, or allow it with LECTERN_INSECURE=1."
    )


def _shared(settings: GatewaySettings) -> Shared:
    return Shared(
        settings=settings,
        catalog=Catalog(settings.families),
        store=ArtifactStore(settings.store_url),
        readings=Readings(settings),
        metrics=Metrics(),
        runtimes={"onnx": OnnxRuntime(), "torchscript": TorchScriptRuntime(settings.torchscript_limit_seconds)},
        executor=ThreadPoolExecutor(settings.threads(), thread_name_prefix="inference"),
        waiting=ThreadPoolExecutor(settings.threads(), thread_name_prefix="waiting"),
        draining=asyncio.Event(),
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
        for threads in (services.executor, services.waiting):
            threads.shutdown(wait=False, cancel_futures=True)
        for runtime in services.runtimes.values():
            await to_thread.run_sync(runtime.close)


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

    from app.protocol import BoundedProtocol  # noqa: PLC0415 - as above

    services: Services = app.state.services
    keyring: Keyring = app.state.keyring
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    class Server(uvicorn.Server):
        """Says when it is ready, and lets open streams know as soon as it is told to stop."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            # What start-up left stays for good; scanning it at every collection is the tail of latencies.
            gc.collect()
            gc.freeze()
            log.info("gateway_ready", url=url, needs_key=keyring.asks)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
            # Unlike uvicorn's own, which raises the signal again at the end: being told to stop is no failure.
            services.draining.set()
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self.should_exit = True

    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
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
