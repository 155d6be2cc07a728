"""Several gateway processes as a user runs them: killed, stopped and replaced under load, with no request lost."""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateways import CLASSIFY, Gateway, publisher, read
from steady_load import CLIENTS, RATE, counters, steady_load
from waiting import wait_until

pytestmark = pytest.mark.slow

RESTARTS, LONG_RESTARTS = 4, 20
ASK = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


def answered(port: int, count: int) -> list[socket.socket]:
    """Return connections that have had an answer each, and are kept."""
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for connection in connections:
        connection.sendall(ASK)
        answer = b""
        while not answer.endswith(b"}"):
            answer += connection.recv(4096)
    return connections


@pytest.fixture
def own() -> dict[str, str]:
    """Return settings that a test changes by parametrising this."""
    return {}


@pytest.fixture
def gateway(tmp_path: Path, own: dict[str, str]) -> Iterator[Gateway]:
    publisher(tmp_path).publish()
    with Gateway(tmp_path, **own) as running:
        yield running


async def test_killed_process_costs_its_own_requests_alone(gateway: Gateway) -> None:
    """It is started again, and no counter goes back whoever is asked."""
    async with steady_load(gateway.url) as clients:
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


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_rolling_restarts_lose_no_request(gateway: Gateway, *, long: bool) -> None:
    """Every process is replaced each time, while 200 requests a second come."""
    old = set(gateway.children())
    async with steady_load(gateway.url) as clients:
        wanted = LONG_RESTARTS if long else RESTARTS
        for times in range(1, wanted + 1):
            gateway.process.send_signal(signal.SIGHUP)
            await asyncio.to_thread(gateway.wait_for, "rolling_restart_ended .*done=True", times)
        print(f"{wanted} rolling restarts, {len(clients.requests)} requests, {clients.rate:.0f} a second")  # noqa: T201 - the figures, with -s
    assert clients.failed == []
    assert clients.rate > RATE / 4
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


@pytest.mark.parametrize("own", [{"LECTERN_MAX_QUEUE_DELAY_MICROSECONDS": "900000"}])
def test_stop_answers_what_is_in_flight_and_leaves_nothing(gateway: Gateway) -> None:
    """64 that wait or are still being sent, and those that come on a kept connection just then.

    Every answer is the last of its connection.
    """
    body = b'{"inputs": [[[0, 1], [2, 3]]]}'
    head = f"POST {CLASSIFY} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    begun, waiting = ([socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(32)] for _ in range(2))
    for connection in begun:
        connection.sendall(head.encode() + body[:9])
    kept = answered(gateway.port, 4)
    for connection in waiting:
        connection.sendall(head.encode() + body)
    time.sleep(0.2)  # they are in the queue, where they wait for company
    assert select.select(waiting, [], [], 0)[0] == []
    gateway.process.send_signal(signal.SIGTERM)
    time.sleep(0.4)
    for connection in kept:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for connection in begun:
        connection.sendall(body[9:])
    answers = [read(connection) for connection in (*begun, *waiting, *kept)]
    assert [b"connection: close" in answer.lower() for answer in answers] == [True] * 68
    assert [answer[9:12] for answer in answers] == [b"200"] * 64 + [b"503"] * 4
    assert gateway.process.wait(15) == 0
    gateway.assert_nothing_is_left()


def test_a_process_that_stood_still_while_it_stopped_answers_what_came_meanwhile(gateway: Gateway) -> None:
    """A machine that is too busy to let it run must not make it close a connection on which a request lies."""
    kept = answered(gateway.port, 8)
    new = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(8)]
    gateway.process.send_signal(signal.SIGTERM)
    time.sleep(0.4)
    children = gateway.children()
    for pid in children:
        os.kill(pid, signal.SIGSTOP)
    for connection in (*kept, *new):
        connection.sendall(ASK)
    time.sleep(1.5)  # meanwhile the time for idle connections is over
    for pid in children:
        os.kill(pid, signal.SIGCONT)
    answers = [read(connection) for connection in (*kept, *new)]
    assert [answer[9:12] for answer in answers] == [b"200"] * 16
    assert gateway.process.wait(15) == 0


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
