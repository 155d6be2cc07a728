"""A whole Lectern for the tests of this folder: Redis, a worker and a gateway, started once, as `lectern up` does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.cli.address import free_address
from app.cli.log_files import LogFiles
from app.cli.stack import Stack, StackOptions
from app.client import Client

TESTS = Path(__file__).resolve().parents[1]


class StackClient(Client):
    """A client of the running stack, which also says where its home and its Redis are."""

    def __init__(self, stack: Stack) -> None:
        """Connect to ``stack``."""
        super().__init__(stack.base_url)
        self.home = stack.home
        self.redis_url = stack.redis_url


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackClient]:
    """A client of a stack that knows the families of ``models`` and of ``rehearsal``; logs in ``home/logs``."""
    home = tmp_path_factory.mktemp("home")
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        "LECTERN_FAMILIES": "models,rehearsal",
        "LECTERN_STORE_URL": (home / "store").as_uri(),
        "PYTHONPATH": os.pathsep.join(paths),
    }
    options = StackOptions(home, free_address("127.0.0.1", 0), environment=environment)
    with LogFiles(home / "logs") as logs, Stack(options, logs.emit) as running, StackClient(running) as client:
        yield client
