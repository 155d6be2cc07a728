"""A gateway as a user runs it, in processes of its own, and a store with tiny models for it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from processes import processes_with
from unit.app.publishing import Publisher
from waiting import wait_until

ROOT = Path(__file__).resolve().parents[1]
SERVE = """
import sys
from app.entry import serve
from app.settings import GatewaySettings
sys.exit(serve(GatewaySettings()))
"""
IMAGES = {"inputs": [[[0, 1], [2, 3]]]}
CLASSIFY = "/v1/models/tiny/classify"


def publisher(folder: Path) -> Publisher:
    """Return what publishes into the store that a gateway of ``folder`` has."""
    store = ArtifactStore((folder / "store").as_uri())
    return Publisher(store, Versions(store, "default"))


class Gateway:
    """A running gateway of two processes or as many as set; Redis is away, which predictions do not mind."""

    def __init__(self, folder: Path, terminal: int | None = None, /, **settings: str) -> None:
        self.folder = folder
        self.log_file = folder / "log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        ours = {
            "LECTERN_PORT": str(self.port),
            "LECTERN_PROCESSES": "2",
            "LECTERN_REDIS_URL": f"unix://{folder}/none.sock",
            "LECTERN_STORE_URL": (folder / "store").as_uri(),
            **settings,
        }
        others = {name: value for name, value in os.environ.items() if not name.startswith("LECTERN_")}
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE], cwd=ROOT, env=others | ours, stderr=log if terminal is None else terminal
            )

    def __enter__(self) -> Self:
        self.wait_for("gateway_ready")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pid in self.children():
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: not self.children(), 30)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        return self.log_file.read_text()

    def wait_for(self, event: str, times: int = 1) -> None:
        wait_until(lambda: len(re.findall(event, self.log())) >= times or self.process.poll() is not None)
        assert len(re.findall(event, self.log())) >= times, self.log()

    def children(self) -> list[int]:
        return sorted(processes_with(f"{self.folder}/none.sock", "app.processes.child"))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def assert_nothing_is_left(self) -> None:
        assert self.children() == []
        with socket.create_server(("127.0.0.1", self.port)):
            pass


def read(connection: socket.socket) -> bytes:
    """Return everything until the other end closes."""
    connection.settimeout(20)
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))
