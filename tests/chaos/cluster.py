"""Redis, a gateway and two workers, each in a session of its own, so that each can be killed, stopped and started.

What ends without having been told to is started again, as ``lectern up`` would, and kept in mind for the report.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from redis import Redis, RedisError

from app.cli import embedded_redis
from app.cli.address import free_address
from app.cli.stack import is_ready
from app.redis_client import TextRedis
from chaos.processes import PIECE_MARK, RUN_MARK, Process, kill_all, processes

REDIS, GATEWAY = "redis", "gateway"
WORKERS = ("worker1", "worker2")
TESTS = Path(__file__).resolve().parents[1]
CRASH = Path(__file__).parent / "crash"
START_SECONDS = 120.0
END_SECONDS = 30.0
LOOK_SECONDS = 0.3
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class ClusterOptions:
    """Where the cluster keeps its files, and the lease of its workers."""

    home: Path
    store: Path
    lease_seconds: float
    checkpoint_seconds: float = 0.5


class Cluster:
    """The running pieces; a context manager, inside which the gateway is ready and the workers are there."""

    def __init__(self, options: ClusterOptions) -> None:
        """Start nothing yet."""
        self.options = options
        self.run = secrets.token_hex(8)
        self.crash_folder = options.home / "crash"
        self.logs = options.home / "logs"
        self.ended_by_themselves: Counter[str] = Counter()
        self._address = free_address("127.0.0.1", 0)
        self.base_url = self._address.url
        self._socket = embedded_redis.socket_path(options.home)
        self.redis_url = embedded_redis.redis_url(self._socket)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._down: set[str] = set()
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep)

    def __enter__(self) -> Self:
        """Start everything."""
        for folder in (self.crash_folder, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            self.start(REDIS)
            self.wait_for_redis()
            for name in (GATEWAY, *WORKERS):
                self.start(name)
            self._wait(lambda: is_ready(self._address), "the gateway")
            self._wait(lambda: all(self.workers_there()), "both workers")
        except BaseException:
            self._end()
            raise
        self._keeper.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """End everything, Redis last, and leave no process behind."""
        self._over.set()
        self._keeper.join()
        try:
            for name in (GATEWAY, *WORKERS, REDIS):
                self.stop(name)
        finally:
            self._end()

    def redis(self) -> TextRedis:
        """Return a client of its own for whoever looks at the records themselves."""
        return Redis.from_url(self.redis_url, socket_timeout=5, socket_connect_timeout=5, decode_responses=True)

    def processes(self, piece: str | None = None) -> list[Process]:
        """Return what runs, or what runs of one piece."""
        return processes(self.run, piece)

    def main_pid(self, piece: str) -> int:
        """Return the process id of what was started as ``piece``."""
        return self._running[piece].pid

    def start(self, piece: str) -> None:
        """Start a piece that is down."""
        command, environment = self._command(piece)
        with self._lock, (self.logs / f"{piece}.log").open("ab") as log:
            self._running[piece] = subprocess.Popen(
                command,
                env=environment | {RUN_MARK: self.run, PIECE_MARK: piece},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._down.discard(piece)

    def kill(self, piece: str) -> None:
        """Kill -9 every process of a piece; it stays down until it is started."""
        with self._lock:
            self._down.add(piece)
            self._running[piece].kill()  # by its id: Redis writes its title over the marks in its environment
            kill_all(self.run, piece)
            self._running[piece].wait()

    def kill_main(self, piece: str) -> None:
        """Kill -9 the first process of a piece, and let what it started find out."""
        with self._lock:
            self._down.add(piece)
            self._running[piece].kill()
            self._running[piece].wait()

    def stop(self, piece: str) -> float:
        """Tell a piece to end; return the seconds it took, after which it was killed if need be."""
        began = time.monotonic()
        with self._lock:
            self._down.add(piece)
            process = self._running.get(piece)
        if process is None:
            return 0.0
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        seconds = time.monotonic() - began
        process.kill()
        kill_all(self.run, piece)
        process.wait()
        return seconds

    def wait_for_redis(self) -> None:
        """Return when Redis answers."""
        self._wait(lambda: embedded_redis.unreachable(self.redis_url) is None, "Redis")

    def workers_there(self) -> list[bool]:
        """Return of each worker whether it shows itself in Redis."""
        try:
            with self.redis() as redis:
                keys = {key.rpartition(":")[2] for key in redis.scan_iter(match="lectern:worker:*")}
        except RedisError:
            return [False]
        return [str(self.main_pid(name)) in keys for name in WORKERS]

    def _end(self) -> None:
        for process in self._running.values():
            process.kill()
        kill_all(self.run)

    def _keep(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            with self._lock:
                ended = [name for name, process in self._running.items() if process.poll() is not None]
                for name in ended:
                    if name not in self._down:
                        self.ended_by_themselves[name] += 1
                        self.start(name)

    def _command(self, piece: str) -> tuple[list[str], dict[str, str]]:
        if piece == REDIS:
            program = embedded_redis.program(self.options.home, self._socket)
            return list(program.command), dict(program.environment)
        module = ["app.cli.main", "gateway"] if piece == GATEWAY else ["workers"]
        return [sys.executable, "-m", *module], dict(os.environ) | self._environment()

    def _environment(self) -> dict[str, str]:
        paths = [str(CRASH), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            "CHAOS_CRASH_FOLDER": str(self.crash_folder),
            "LECTERN_CHECKPOINT_SECONDS": str(self.options.checkpoint_seconds),
            "LECTERN_HOME": str(self.options.home),
            "LECTERN_HOST": self._address.host,
            "LECTERN_LEASE_SECONDS": str(self.options.lease_seconds),
            "LECTERN_PORT": str(self._address.port),
            "LECTERN_REDIS_URL": self.redis_url,
            "LECTERN_SHUTDOWN_GRACE_SECONDS": "2",
            "LECTERN_STORE_URL": self.options.store.as_uri(),
            "LECTERN_TRAINER_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONSAFEPATH": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def _wait(self, reached: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not reached():
            if time.monotonic() > deadline:
                message = f"{what} did not get ready in {START_SECONDS:.0f} s; {self.logs} says why"
                raise TimeoutError(message)
            time.sleep(POLL_SECONDS)
