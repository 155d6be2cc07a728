"""The stack of docker-compose.yml, built and running on a real engine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.cli.address import free_address
from app.client import Client
from containers.engine import Engine, NoEngine, engine
from containers.images import BASES, ROOT, Image, bases, build

TAG = f"test-{os.getpid()}"
UP_SECONDS = 180.0


@dataclass(frozen=True)
class Composed:
    """A running stack: where its gateway and its Prometheus are, and how long it took to be there."""

    engine: Engine
    variables: Mapping[str, str]
    gateway_url: str
    prometheus_url: str
    start_seconds: float

    def compose(self, *words: str, **variables: str) -> str:
        """Run compose on this stack, with more variables if there are any."""
        return _compose(self.engine, {**self.variables, **variables}, *words)

    def client(self) -> Client:
        """Return a client of the gateway."""
        return Client(self.gateway_url)


@pytest.fixture(scope="session")
def running_engine() -> Iterator[Engine]:
    """An engine that has, or can be given, the images that ours rest on."""
    try:
        with engine(BASES) as found:
            yield found
    except NoEngine as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def images(running_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Image]]:
    """Our images by name, built from this working tree."""
    folder: Path = tmp_path_factory.mktemp("images")
    try:
        with bases(running_engine, folder) as arguments:
            built = build(running_engine, TAG, arguments)
    except NoEngine as missing:
        pytest.skip(str(missing))
    yield built
    running_engine.run("image", "rm", "--force", *(image.name for image in built.values()))


@pytest.fixture(scope="session")
def composed(running_engine: Engine, images: dict[str, Image]) -> Iterator[Composed]:
    """The stack as ``docker-compose up`` starts it, on free ports."""
    assert images
    gateway, prometheus = free_address("127.0.0.1", 0), free_address("127.0.0.1", 0)
    variables = {
        "COMPOSE_PROJECT_NAME": f"lectern-{TAG}",
        "LECTERN_TAG": TAG,
        "LECTERN_PORT": str(gateway.port),
        "PROMETHEUS_PORT": str(prometheus.port),
    }
    began = time.monotonic()
    try:
        _up(running_engine, variables)
        yield Composed(running_engine, variables, gateway.url, prometheus.url, time.monotonic() - began)
    finally:
        _compose(running_engine, variables, "down", "--volumes", "--remove-orphans")


def _up(engine: Engine, variables: Mapping[str, str]) -> None:
    try:
        _compose(engine, variables, "up", "--detach", "--no-build")
    except AssertionError as failure:
        failure.add_note(_compose(engine, variables, "logs", "--no-color", "--tail=40"))
        raise


def _compose(engine: Engine, variables: Mapping[str, str], *words: str) -> str:
    file = str(ROOT / "docker-compose.yml")
    return engine.composed("--file", file, *words, timeout_seconds=UP_SECONDS, **variables)
