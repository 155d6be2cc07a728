"""The load client: raw sockets in one thread, one request in flight per connection, request bytes made beforehand.

It must be cheap: on one core it has to keep a server busy that answers 15,000 times a second. So there is no event
loop and no HTTP library; ``answers`` finds the end of an answer. Linux only (epoll). Nothing is pipelined.

Three ways to ask: ``closed`` (each connection asks again as soon as it has its answer), ``scheduled`` (at given times,
whatever the server does; time is counted from when a request was to be sent, not from when a connection was free), and
``together`` (some requests at the same moment).
"""

from __future__ import annotations

import errno
import gc
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from benchmarks.serving.answers import LOST, Answer, answer_in

RECEIVE_BYTES = 262_144
EVENTS = 64
"""Answers taken at a time, so that a request that is due need not wait for a thousand of them."""

WATCH = select.EPOLLIN
WATCH_BOTH = select.EPOLLIN | select.EPOLLOUT
PATIENCE_SECONDS = 20.0
"""How long answers are awaited that are still missing when nothing more is sent."""

SPIN_SECONDS = 0.0002
"""Before a time to send, the client looks without sleeping, as it wakes up a tenth of a millisecond late."""


@dataclass(slots=True, eq=False)
class _Connection:
    socket: socket.socket
    received: bytes = b""
    unsent: bytes = b""
    busy: bool = False
    number: int = 0
    since: float = 0.0


@dataclass
class Sample:
    """What came of many requests; times in seconds, in the order in which answers came."""

    seconds: float = 0.0
    numbers: list[int] = field(default_factory=list[int])
    statuses: list[int] = field(default_factory=list[int])
    latencies: list[float] = field(default_factory=list[float])
    ended: list[float] = field(default_factory=list[float])
    retry_after: list[bool] = field(default_factory=list[bool])
    """Whether an answer that is not 200 says when to try again."""

    unsent: int = 0
    """Requests that found no free connection before the end."""

    unanswered: int = 0
    client_seconds: float = 0.0
    """Processor time of the client itself."""

    def good(self) -> list[float]:
        """Return the latencies of the answers with status 200."""
        return [latency for latency, status in zip(self.latencies, self.statuses, strict=True) if status == 200]

    def other_statuses(self) -> dict[int, int]:
        """Return how often each status but 200 came; 0 are lost connections."""
        return {status: self.statuses.count(status) for status in sorted({*self.statuses} - {200})}


class Load:
    """Connections to one server."""

    def __init__(self, host: str, port: int, most_connections: int = 1024) -> None:
        """Connect to nothing yet; no more than ``most_connections`` are opened at a time."""
        self._address = (host, port)
        self._most = most_connections
        self._poll = select.epoll()
        self._open: dict[int, _Connection] = {}
        self._idle: list[_Connection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._open.values():
            connection.socket.close()
        self._poll.close()

    def ask(self, request: bytes) -> Answer:
        """Return the answer to one request."""
        return self.together([request])[0]

    def closed(self, request: bytes, connections: int, seconds: float, warm_up_seconds: float = 0.0) -> Sample:
        """Ask over and over on ``connections``; return what came within ``seconds`` after the warm-up."""
        sample = Sample(seconds=seconds)
        with _undisturbed():
            begin = time.perf_counter() + warm_up_seconds
            end = begin + seconds
            cpu = time.process_time()
            for _ in range(connections):
                self._send(self._connected(), request, 0, time.perf_counter())
            now = time.perf_counter()
            while now < end:
                for connection, answer in self._answers(end - now):
                    now = time.perf_counter()
                    if begin <= now < end:
                        _note(sample, connection, answer, now)
                    self._send(self._again(connection, answer), request, 0, time.perf_counter())
                now = time.perf_counter()
            sample.client_seconds = (time.process_time() - cpu) * seconds / (seconds + warm_up_seconds)
        self._finish(lambda _connection, _answer: None)
        return sample

    def scheduled(self, request: bytes, due: Sequence[float], drop_after: float = float("inf")) -> Sample:
        """Ask at the seconds ``due`` from now, in order; ``ended`` is from now, too.

        What is still waiting for a connection ``drop_after`` seconds from now is given up, if it was due before that.
        """
        sample = Sample(seconds=due[-1] if due else 0.0)
        waiting: deque[int] = deque()
        following = 0
        with _undisturbed():
            cpu = time.process_time()
            begin = time.perf_counter()
            while following < len(due) or waiting or len(self._idle) < len(self._open):
                now = time.perf_counter() - begin
                while following < len(due) and due[following] <= now:
                    waiting.append(following)
                    following += 1
                if now > drop_after:
                    while waiting and due[waiting[0]] < drop_after:
                        waiting.popleft()
                        sample.unsent += 1
                while waiting and (self._idle or len(self._open) < self._most):
                    number = waiting.popleft()
                    self._send(self._connected(), request, number, begin + due[number])
                if following == len(due) and now > sample.seconds + PATIENCE_SECONDS:
                    break
                left = due[following] - now if following < len(due) else PATIENCE_SECONDS
                if left > SPIN_SECONDS:
                    # epoll itself would sleep whole milliseconds.
                    select.select([self._poll], [], [], left - SPIN_SECONDS)
                for connection, answer in self._answers(0):
                    now = time.perf_counter()
                    _note(sample, connection, answer, now)
                    sample.ended[-1] -= begin
                    self._release(connection, answer)
            sample.client_seconds = time.process_time() - cpu
        sample.unsent += len(waiting)
        sample.unanswered = self._drop_busy()
        return sample

    def together(self, requests: Sequence[bytes]) -> list[Answer]:
        """Return the answers to requests sent at the same moment, each on a connection of its own, in their order."""
        answers: dict[int, Answer] = {}
        connections = [self._connected() for _ in requests]
        for number, (connection, request) in enumerate(zip(connections, requests, strict=True)):
            self._send(connection, request, number, time.perf_counter())

        def keep(connection: _Connection, answer: Answer) -> None:
            answers[connection.number] = answer

        self._finish(keep)
        return [answers.get(number, LOST) for number in range(len(requests))]

    def _connected(self) -> _Connection:
        if self._idle:
            return self._idle.pop()
        opened = socket.socket()
        opened.setblocking(False)  # noqa: FBT003 - the name of the method says what it is
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = opened.connect_ex(self._address)
        if code not in (0, errno.EINPROGRESS):
            opened.close()
            raise OSError(code, "no connection")
        connection = _Connection(opened)
        self._open[opened.fileno()] = connection
        self._poll.register(opened.fileno(), WATCH)
        return connection

    def _send(self, connection: _Connection, request: bytes, number: int, since: float) -> None:
        connection.busy, connection.number, connection.since, connection.received = True, number, since, b""
        self._push(connection, request)

    def _push(self, connection: _Connection, data: bytes) -> None:
        try:
            sent = connection.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(data)  # the connection is gone; reading says so
        had, connection.unsent = bool(connection.unsent), data[sent:]
        if had != bool(connection.unsent):
            self._poll.modify(connection.socket.fileno(), WATCH_BOTH if connection.unsent else WATCH)

    def _answers(self, timeout_seconds: float) -> Generator[tuple[_Connection, Answer]]:
        for descriptor, events in self._poll.poll(timeout_seconds, EVENTS):
            connection = self._open[descriptor]
            if events & select.EPOLLOUT and connection.unsent:
                self._push(connection, connection.unsent)
            if not events & ~select.EPOLLOUT:
                continue
            try:
                data = connection.socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self._close(connection)
                if connection.busy:
                    yield connection, LOST
                continue
            connection.received = connection.received + data if connection.received else data
            answer = answer_in(connection.received)
            if answer is not None:
                yield connection, answer

    def _again(self, connection: _Connection, answer: Answer) -> _Connection:
        """Return a connection to go on with after an answer."""
        if answer.status and not answer.closes:
            return connection
        if answer.status:
            self._close(connection)
        return self._connected()

    def _release(self, connection: _Connection, answer: Answer) -> None:
        connection.busy = False
        if answer.status and not answer.closes:
            self._idle.append(connection)
        elif answer.status:
            self._close(connection)

    def _close(self, connection: _Connection) -> None:
        self._poll.unregister(connection.socket.fileno())
        del self._open[connection.socket.fileno()]
        connection.socket.close()
        if connection in self._idle:
            self._idle.remove(connection)

    def _finish(self, keep: Callable[[_Connection, Answer], None]) -> None:
        """Await what is in flight."""
        end = time.perf_counter() + PATIENCE_SECONDS
        while len(self._idle) < len(self._open) and (left := end - time.perf_counter()) > 0:
            for connection, answer in self._answers(left):
                keep(connection, answer)
                self._release(connection, answer)
        self._drop_busy()

    def _drop_busy(self) -> int:
        busy = [connection for connection in self._open.values() if connection.busy]
        for connection in busy:
            self._close(connection)
        return len(busy)


def _note(sample: Sample, connection: _Connection, answer: Answer, now: float) -> None:
    sample.numbers.append(connection.number)
    sample.statuses.append(answer.status)
    sample.latencies.append(now - connection.since)
    sample.ended.append(now)
    sample.retry_after.append(answer.status != 200 and answer.retry_after)


@contextmanager
def _undisturbed() -> Generator[None]:
    """Keep the garbage collector out of the times that are measured."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
