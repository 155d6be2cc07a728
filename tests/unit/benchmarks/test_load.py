"""The load client against a small server of its own: what it counts is what happened."""

from __future__ import annotations

import socketserver
import sys
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest

from benchmarks.serving.load import Load

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the load client uses epoll")

GOOD = b"POST /good HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"
REFUSED = GOOD.replace(b"/good", b"/busy")
CLOSING = GOOD.replace(b"/good", b"/last")
DROPPED = GOOD.replace(b"/good", b"/drop")


class _Handler(socketserver.BaseRequestHandler):
    answers: ClassVar[dict[bytes, bytes]] = {
        b"/good": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"/busy": b"HTTP/1.1 429 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
        b"/last": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    }

    def handle(self) -> None:
        while data := self.request.recv(65_536):
            answer = self.answers.get(data.split()[1])
            if answer is None:
                return
            self.request.sendall(answer[:9])  # in two pieces, as it may come
            self.request.sendall(answer[9:])


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


@pytest.fixture
def load() -> Iterator[Load]:
    """Return a client with at most four connections."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with Load("127.0.0.1", server.server_address[1], most_connections=4) as client:
            yield client
        server.shutdown()
        thread.join()


def test_scheduled_asks_once_for_every_time_and_counts_from_it(load: Load) -> None:
    """All are due at once and four may be asked at a time: later ones have waited for those before them."""
    sample = load.scheduled(GOOD, [0.0] * 40)
    assert sorted(sample.numbers) == list(range(40))
    assert sample.statuses == [200] * 40
    assert sample.latencies == pytest.approx(sample.ended)
    assert (sample.unsent, sample.unanswered) == (0, 0)


def test_scheduled_gives_up_what_waits_too_long(load: Load) -> None:
    """Nothing is sent after the time is over, and every request is accounted for."""
    sample = load.scheduled(GOOD, [0.0] * 40, drop_after=1e-6)
    assert len(sample.statuses) + sample.unsent == 40
    assert sample.unsent > 0


def test_refusals_are_counted_with_their_header(load: Load) -> None:
    sample = load.scheduled(REFUSED, [0.0] * 10)
    assert sample.other_statuses() == {429: 10}
    assert sum(sample.retry_after) == 10
    assert sample.good() == []


@pytest.mark.parametrize("request_bytes", [GOOD, CLOSING])
def test_closed_loop_goes_on_over_connections_that_are_ended(load: Load, request_bytes: bytes) -> None:
    sample = load.closed(request_bytes, connections=2, seconds=0.1)
    assert len(sample.good()) > 2
    assert sample.other_statuses() == {}


def test_lost_connections_are_answers_with_status_0(load: Load) -> None:
    assert load.scheduled(DROPPED, [0.0] * 6).other_statuses() == {0: 6}


def test_together_returns_the_answers_in_the_order_of_the_requests(load: Load) -> None:
    answers = load.together([GOOD, REFUSED, DROPPED, CLOSING])
    assert [answer.status for answer in answers] == [200, 429, 0, 200]
    assert [answer.status for answer in load.together([REFUSED, GOOD])] == [429, 200]
