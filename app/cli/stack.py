"""Redis, workers and gateway of one home: started in order, kept running, stopped in order.

Used by ``lectern up``, by the demonstration and by the integration tests, as a context manager: inside it the
gateway is ready. Prints nothing itself; every line goes to ``emit``.
"""

from __future__ import annotations

import http.client
import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

from app.cli import embedded_redis
from app.cli.address import Address
from app.cli.guarded import Emit, Program
from app.cli.home import Home
from app.cli.kept import Kept
from app.cli.output import CommandFailed
from app.cli.settings_check import check_settings

STARTS = 5
REDIS_START_SECONDS = 60.0
POLL_SECONDS = 0.05
PROBE_SECONDS = 5.0
DRAIN_SECONDS = "6"
"""What the gateway gives requests in flight at its end: less than its guard's grace."""


@dataclass(frozen=True)
class StackOptions:
    """What to start. Without ``redis_url`` a Redis of its own; ``environment`` is added to the programs'."""

    home: Path
    address: Address
    workers: int = 1
    redis_url: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


class Stack:
    """The running pieces of one home."""

    def __init__(self, options: StackOptions, emit: Emit) -> None:
        """Start nothing yet."""
        self.home = options.home.absolute()
        self.base_url = options.address.url
        self.redis_url = options.redis_url or ""
        self.halt = threading.Event()
        """Set it to end ``wait`` and a start under way; the stack sets it when it gives up."""
        self._options = options
        self._emit = emit
        self._failure: str | None = None
        self._redis: Kept | None = None
        self._socket: Path | None = None
        self._kept: list[Kept] = []

    def __enter__(self) -> Self:
        """Start everything; return when the gateway is ready, or ``halt`` was set.

        Raises:
            CommandFailed: a setting is wrong, the home is in use, Redis does not answer or the gateway cannot start.
        """
        check_settings(self._environment())
        self._lock = Home(self.home)
        try:
            self._start_redis()
            if not self.halt.is_set():
                self._start_gateway_and_workers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop gateway and workers, then Redis; return when all are gone."""
        self.halt.set()
        for programs in (self._kept, [self._redis] if self._redis else []):
            for program in programs:
                program.stop()
            for program in programs:
                program.join()
        if self._socket and self._socket.parent != self.home:
            shutil.rmtree(self._socket.parent, ignore_errors=True)
        self._lock.close()

    def wait(self) -> None:
        """Return when ``halt`` is set.

        Raises:
            CommandFailed: the gateway cannot be kept running.
        """
        self.halt.wait()
        if self._failure:
            raise CommandFailed(self._failure)

    def _start_redis(self) -> None:
        if self.redis_url:
            embedded_redis.require(self.redis_url)
            return
        self._socket = embedded_redis.socket_path(self.home)
        self.redis_url = embedded_redis.redis_url(self._socket)
        self._redis = self._keep(embedded_redis.program(self.home, self._socket), essential=True)
        deadline = time.monotonic() + REDIS_START_SECONDS
        while not self.halt.is_set() and (reason := embedded_redis.unreachable(self.redis_url)):
            if time.monotonic() > deadline:
                message = f"The Redis in {self.home} does not answer ({reason}); its own lines above say more."
                raise CommandFailed(message)
            self.halt.wait(POLL_SECONDS)
        if self._failure:
            raise CommandFailed(self._failure)
        self._redis.well = True

    def _start_gateway_and_workers(self) -> None:
        environment = self._environment()
        command = (sys.executable, "-m", "app.cli.main", "gateway")
        gateway = self._keep(Program("gateway", command, environment), essential=True)
        self._kept.append(gateway)
        for number in range(1, self._options.workers + 1):
            name = "worker" if self._options.workers == 1 else f"worker{number}"
            self._kept.append(self._keep(Program(name, (sys.executable, "-m", "workers"), environment)))
        while not self.halt.is_set() and not is_ready(self._options.address):
            self.halt.wait(POLL_SECONDS)
        if self._failure:
            raise CommandFailed(self._failure)
        gateway.well = True

    def _keep(self, program: Program, *, essential: bool = False) -> Kept:
        give_up = partial(self._give_up, program.name) if essential else None
        return Kept(program, self._lock.descriptor, self._emit, give_up)

    def _give_up(self, name: str, failures: int, status: int) -> bool:
        """End everything when a program without which nothing works ended too often."""
        if failures < STARTS:
            return False
        self._failure = (
            f"The {name} ended {failures} times in a row (last with status {status}) and is given up; "
            f"the lines of {name} above say why."
        )
        self.halt.set()
        return True

    def _environment(self) -> dict[str, str]:
        """Return the environment of gateway and workers; what the user set is kept where it makes sense."""
        defaults = {
            "LECTERN_STORE_URL": (self.home / "store").as_uri(),
            "LECTERN_SHUTDOWN_GRACE_SECONDS": DRAIN_SECONDS,
        }
        ours = {
            "LECTERN_HOME": str(self.home),
            "LECTERN_HOST": self._options.address.host,
            "LECTERN_PORT": str(self._options.address.port),
            "LECTERN_REDIS_URL": self.redis_url,
            "PYTHONSAFEPATH": "1",  # a folder named app or models where `lectern up` is called is not ours
            "PYTHONUNBUFFERED": "1",
        }
        return defaults | dict(os.environ) | ours | dict(self._options.environment)


def is_ready(address: Address) -> bool:
    """Return whether the gateway at ``address`` takes requests."""
    connection = http.client.HTTPConnection(address.probe_host, address.port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
