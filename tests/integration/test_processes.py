"""Several gateway processes as a user runs them: killed, stopped and replaced under load, with no request lost."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from processes import processes_with
from unit.app.publishing import Publisher
from waiting import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SERVE = """
import sys
from app.entry import serve
from app.settings import GatewaySettings
sys.exit(serve(GatewaySettings()))
"""
IMAGES = {"inputs": [[[0, 1], [2, 3]]]}
CLASSIFY = "/v1/models/tiny/classify"
PAUSE_SECONDS = 0.08
CLIENTS = 8
"""Together with the pause about 100 requests a second."""


class Gateway:
    """A running gateway of two processes; Redis is away, which predictions do not mind."""

    def __init__(self, folder: Path, terminal: int | None = None, **settings: str) -> None:
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


@dataclass
class Request:
    """What became of one request."""

    began: float
    failure: str | None = None


class Load:
    """Clients that predict and ask for life, half of them on connections that they keep."""

    def __init__(self, url: str) -> None:
        self.requests: list[Request] = []
        self.scrapes = 0
        self._url = url
        self._over = False

    @property
    def failed(self) -> list[Request]:
        return [request for request in self.requests if request.failure]

    async def client(self, number: int) -> None:
        kept = httpx.AsyncClient(base_url=self._url, timeout=20, trust_env=False)
        async with kept:
            while not self._over:
                request = Request(time.monotonic())
                self.requests.append(request)
                try:
                    await self._ask(kept, number)
                except (httpx.HTTPError, AssertionError) as error:
                    request.failure = repr(error)
                await asyncio.sleep(PAUSE_SECONDS)

    async def scrape(self) -> None:
        """Read the metrics again and again; no counter goes back."""
        before: dict[object, float] = {}
        async with httpx.AsyncClient(base_url=self._url, timeout=20, trust_env=False) as client:
            while not self._over:
                try:
                    answer = await client.get("/metrics")
                except httpx.HTTPError:
                    continue  # it may have asked the one that was killed
                assert answer.status_code == 200, answer.text
                now = counters(answer.text)
                back = {key: (value, now.get(key)) for key, value in before.items() if now.get(key, -1) < value}
                assert back == {}
                before = now
                self.scrapes += 1
                await asyncio.sleep(0.2)

    def end(self) -> None:
        self._over = True

    async def _ask(self, kept: httpx.AsyncClient, number: int) -> None:
        headers = {} if number % 2 else {"Connection": "close"}
        if number % 4 < 2:
            answer = await kept.get("/livez", headers=headers)
        else:
            answer = await kept.post(CLASSIFY, json=IMAGES, headers=headers)
        assert answer.status_code == 200, answer.text


def counters(text: str) -> dict[object, float]:
    families = [family for family in text_string_to_metric_families(text) if family.type in {"counter", "histogram"}]
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


@asynccontextmanager
async def load(gateway: Gateway) -> AsyncGenerator[Load]:
    found = Load(gateway.url)
    async with asyncio.TaskGroup() as tasks:
        for number in range(CLIENTS):
            tasks.create_task(found.client(number))
        tasks.create_task(found.scrape())
        await asyncio.sleep(2)
        try:
            yield found
        finally:
            found.end()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    store = ArtifactStore((tmp_path / "store").as_uri())
    Publisher(store, Versions(store, "default")).publish()
    with Gateway(tmp_path) as running:
        yield running


async def test_killed_process_costs_its_own_requests_alone(gateway: Gateway) -> None:
    """It is started again, and no counter goes back whoever is asked."""
    async with load(gateway) as clients:
        killed = gateway.children()[0]
        at = time.monotonic()
        os.kill(killed, signal.SIGKILL)
        await asyncio.to_thread(wait_until, lambda: killed not in (now := gateway.children()) and len(now) == 2)
        await asyncio.sleep(3)
    assert len(clients.requests) > 100
    assert clients.scrapes > 5
    assert len(clients.failed) <= CLIENTS, clients.failed
    # A client learns of a connection that was cut when it uses it again, which a busy machine lets wait.
    assert all(at - 5 < request.began < at + 3 for request in clients.failed), clients.failed
    assert "signal=SIGKILL" in gateway.log()


async def test_rolling_restarts_lose_no_request(gateway: Gateway) -> None:
    """Five of them, every process replaced each time."""
    old = set(gateway.children())
    async with load(gateway) as clients:
        for times in range(1, 6):
            gateway.process.send_signal(signal.SIGHUP)
            await asyncio.to_thread(gateway.wait_for, "rolling_restart_ended .*done=True", times)
    assert clients.failed == []
    assert len(clients.requests) > 200
    assert not old & set(gateway.children())
    assert len(gateway.children()) == 2
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as client:
        counted = counters((await client.get("/metrics")).text)
    answered = sum(
        value
        for (name, labels), value in counted.items()  # type: ignore[misc]
        if name == "lectern_http_requests_total" and dict(labels)["route"] != "/metrics"
    )
    assert answered == len(clients.requests)
    assert gateway.stop() == 0
    gateway.assert_nothing_is_left()


def test_connections_that_wait_go_to_the_others(gateway: Gateway) -> None:
    """What a killed process had not accepted belongs to nobody in particular."""
    killed, other = gateway.children()
    for pid in (killed, other):
        os.kill(pid, signal.SIGSTOP)
    waiting = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(20)]
    for connection in waiting:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    os.kill(killed, signal.SIGKILL)
    os.kill(other, signal.SIGCONT)
    assert [read(connection).split(b"\r\n")[0] for connection in waiting] == [b"HTTP/1.1 200 OK"] * 20


def test_stop_answers_what_is_in_flight_and_leaves_nothing(gateway: Gateway) -> None:
    """Also a request that comes on a kept connection just then; every answer is the last of its connection."""
    body = b'{"inputs": [[[0, 1], [2, 3]]]}'
    head = f"POST {CLASSIFY} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    begun = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(10)]
    kept = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(4)]
    for connection in begun:
        connection.sendall(head.encode() + body[:9])
    for connection in kept:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(4096)
    gateway.process.send_signal(signal.SIGTERM)
    time.sleep(0.4)
    for connection in kept:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for connection in begun:
        connection.sendall(body[9:])
    answers = [read(connection) for connection in (*begun, *kept)]
    assert [b"connection: close" in answer.lower() for answer in answers] == [True] * 14
    assert [answer[9:12] for answer in answers] == [b"200"] * 10 + [b"503"] * 4
    assert gateway.process.wait(15) == 0
    gateway.assert_nothing_is_left()


def test_killed_parent_takes_its_children_with_it(gateway: Gateway) -> None:
    """They drain and go, so nobody keeps the port."""
    gateway.process.kill()
    gateway.process.wait()
    wait_until(lambda: not gateway.children(), 10)
    gateway.assert_nothing_is_left()


def test_killed_parent_is_not_outlived_by_a_process_that_hangs(tmp_path: Path) -> None:
    """A request that never ends holds it for the grace time."""
    with Gateway(tmp_path, LECTERN_SHUTDOWN_GRACE_SECONDS="1") as gateway:
        hanging = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(4)]
        for connection in hanging:
            connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        time.sleep(0.3)
        gateway.process.kill()
        gateway.process.wait()
        wait_until(lambda: not gateway.children(), 10)
        gateway.assert_nothing_is_left()
        for connection in hanging:
            connection.close()


def test_closed_terminal_stops_everything(tmp_path: Path) -> None:
    """It sends the signal that otherwise asks for a rolling restart; and nobody reads the log any more."""
    screen, terminal = os.openpty()
    gateway = Gateway(tmp_path, terminal)
    os.close(terminal)
    try:
        shown = b""
        while b"gateway_ready" not in shown:
            shown += os.read(screen, 4096)
        os.close(screen)
        gateway.process.send_signal(signal.SIGHUP)
        assert gateway.process.wait(20) == 0
        gateway.assert_nothing_is_left()
    finally:
        gateway.__exit__()


def test_metrics_of_jobs_are_told_once(gateway: Gateway) -> None:
    """They are Redis's and not the processes'."""
    text = httpx.get(f"{gateway.url}/metrics").text
    assert len(re.findall("^lectern_queue_up ", text, re.MULTILINE)) == 1
    assert len(re.findall("^process_resident_memory_bytes", text, re.MULTILINE)) == 2
    assert "_created" not in text


def test_setting_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    """Not one per process."""
    gateway = Gateway(tmp_path, LECTERN_STORE_URL="nowhere://x")
    assert gateway.process.wait(60) == 1
    assert gateway.log().count("\nLectern cannot start: The artifact store") == 1
    gateway.assert_nothing_is_left()


def read(connection: socket.socket) -> bytes:
    """Return everything until the other end closes."""
    connection.settimeout(20)
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))
