"""What is refused unread while more comes than can be answered.

Small predictions are computed on the event loop as they come, so no queue of ours grows when there are too many: they
wait in their sockets, and a turn of the loop, which takes what has come by then, gets long. When turns have been long
for a while, only what is read early in one is answered, so that they end in time: the fewer connections wait, the
less of the processor's caches they take. A refusal that is parsed, admitted and answered like any request costs half a
small prediction, so at twice the rate that can be served hardly anything would be left to serve with; on a connection
whose last request was for the same model, one is told from its bytes and costs a fifth.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from weakref import ReferenceType, WeakKeyDictionary, ref

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app import problems
from app.routes import inference
from app.serving.batching import TOO_MANY
from app.serving.endpoints import Endpoint
from models.contract.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.protocol import BoundedProtocol
    from app.telemetry import RequestTelemetry

PATIENCE_SECONDS = 0.1
"""So long turns may be long before anything is refused: a burst is no overload."""

MOST = 256
"""A turn that reads no more is not long: so many clients that ask all the time are no overload."""

BRIEF = 16
"""Under overload a turn takes and reads a sixteenth of what makes one long: whoever asks waits little, and what must be
remembered of those who wait fits into the processor's caches. After a short turn that refused nothing the next may be
twice as long, until none is brief any more."""

TRIAL_SECONDS = 1.0
"""After so long, turns may be as long as they get again: to clients that ask anew as soon as they are refused, no turn
refuses nothing, however few they are."""

SUSPICION_SECONDS = 0.5
"""So soon after brief turns the first long one says that it is overload still."""

SILENCE_SECONDS = 1.0
"""When nothing has come for so long, overload is over, however long the last turn took."""

END = b"\r\n\r\n"
LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\n-\x1f\x7f]*")
"""A header as RFC 9110, section 5, has it; whatever else there may be is left to the parser."""

SPECIAL = frozenset({b"expect", b"transfer-encoding", b"upgrade"})
KEEP_ALIVE = b"keep-alive"

LONGEST_HEAD = 2048
LONGEST_LENGTH = len(str(inference.PARSED_INLINE_BYTES))
KNOWN = 256
"""So many heads are kept with what they tell, and for a version so many first lines: all repeat themselves."""


class Turns:
    """The turns of the event loop: how long this one takes, and since when each was long or refused something."""

    def __init__(self, longest_seconds: float, most: int = MOST) -> None:
        """Call those long that read more than ``most`` and take more than ``longest_seconds``; with 0 none is."""
        self._longest_seconds = longest_seconds
        self._most = most
        self._read = 0
        self.began = 0.0
        """When this turn read first."""
        self._last_ended = 0.0
        self._long_since = 0.0
        self._brevity = 1
        """By what the time of a turn, and what it reads at least, are divided; 1 is no overload."""
        self._brief_since = 0.0
        self._eased = 0.0
        self._late_since = 0.0
        self._refusing_seconds = 0.0

    def late(self) -> bool:
        """Return whether what is read now is one too many for this turn; ``reads`` was called for it.

        The turn is to end in time with its refusals and all it writes: what they took in the last one, or half of the
        time if that is less, is left for them.
        """
        if not self._late_since and self._brevity > 1 and self._read > self._most // self._brevity:
            now = time.perf_counter()
            if now - self.began > self._longest_seconds / self._brevity - self._refusing_seconds:
                self._late_since = now
        return self._late_since > 0

    def reads(self) -> None:
        """Learn that something is read in this turn.

        While 1,024 connections or more are ready, libuv goes on reading, up to 48 times. A turn that has been long, or
        has refused, for long enough is taken for over: else nothing might be refused, or nothing answered, in seconds.
        """
        self._read += 1
        if self._read == 1:
            self._begin(time.perf_counter())
            asyncio.get_running_loop().call_soon(self._ended)  # after all that this turn reads
        elif self._late_since or self._read > self._most:
            now = time.perf_counter()
            if self._late_since:
                over = now - self._late_since > 2 * self._longest_seconds / BRIEF
            else:
                over = self._is_overload(now)
            if over:
                self._end(now)
                self._begin(now)

    def _begin(self, now: float) -> None:
        self.began, self._read = now, 1
        if now - self._last_ended > SILENCE_SECONDS:
            self._long_since, self._brevity, self._refusing_seconds = 0.0, 1, 0.0
        elif self._brevity > 1 and now - self._brief_since > TRIAL_SECONDS:
            self._brevity, self._eased = 1, now

    def _is_long(self, now: float) -> bool:
        return self._read > self._most and 0 < self._longest_seconds < now - self.began

    def _is_overload(self, now: float) -> bool:
        long_for = now - (self._long_since or self.began)
        return self._is_long(now) and (long_for > PATIENCE_SECONDS or now - self._eased < SUSPICION_SECONDS)

    def _ended(self) -> None:
        self._end(time.perf_counter())
        self._read = 0

    def _end(self, now: float) -> None:
        refused, long = self._late_since > 0, self._is_long(now)
        self._refusing_seconds = min(now - self._late_since, self._longest_seconds / BRIEF / 2) if refused else 0.0
        if refused:
            self._brevity = BRIEF
        elif self._is_overload(now):
            self._brevity, self._brief_since = BRIEF, now
        elif not long and self._brevity > 1:
            self._brevity //= 2
            self._eased = now
        self._long_since = (self._long_since or self.began) if long else 0.0
        self._late_since, self._last_ended = 0.0, now


@dataclass(slots=True, eq=False)
class Served:
    """What a connection asked for last and was answered, and with which key; connections share it."""

    line: bytes
    path: inference.Path
    endpoint: ReferenceType[Endpoint]  # of which nothing is kept in memory
    authorization: bytes | None
    refused: int = 0
    """In this turn, and not counted yet."""


class Told(NamedTuple):
    """What a head tells of its request; ``length`` is that of both together."""

    length: int
    request_id: bytes | None
    authorization: bytes | None


class Shedding:
    """Refuses what comes too late in a turn, or to a version before which too many wait."""

    def __init__(self, turns: Turns, telemetry: RequestTelemetry) -> None:
        """Tell ``telemetry`` of what is refused."""
        self.turns = turns
        self._telemetry = telemetry
        self._default: Sequence[tuple[bytes, bytes]] = ()
        self._made = (b"", b"")
        self._refused: list[Served] = []
        self._told = lru_cache(KNOWN)(_told)
        self._known: WeakKeyDictionary[Endpoint, Callable[..., Served]] = WeakKeyDictionary()

    def served(self, url: bytes, path: inference.Path, endpoint: Endpoint, authorization: bytes | None) -> Served:
        """Return what to remember of an answered request; the version may be unloaded meanwhile."""
        known = self._known.get(endpoint)
        if known is None:
            known = self._known[endpoint] = lru_cache(KNOWN)(Served)
        return known(b"POST %b HTTP/1.1\r\n" % url, path, ref(endpoint), authorization)

    def refuses(self, connection: BoundedProtocol, served: Served, data: bytes) -> bool:
        """Return whether ``data``, read between two requests, was one that may not be answered; then it is done."""
        endpoint = served.endpoint()
        if endpoint is None or not (self.turns.late() or endpoint.crowded) or not data.startswith(served.line):
            return False
        end = data.find(END, 0, LONGEST_HEAD)
        told = self._told(data[:end]) if end > 0 else None
        if told is None or len(data) != told.length or told.authorization != served.authorization:
            return False
        default, transport = connection.server_state.default_headers, connection.transport
        if default is not self._default:  # a new list each second, for its date
            self._default, self._made = default, _made(default)
        head, content = self._made
        if not head or transport.get_write_buffer_size():  # each answer closes; or its client sends and does not read
            return False
        transport.write(b"%b%b%b" % (head, self._telemetry.identified(told.request_id).encode(), content))
        connection.idle_since = self.turns.began
        if not served.refused:
            if not self._refused:
                connection.loop.call_soon(self._count)
            self._refused.append(served)
        served.refused += 1
        return True

    def _count(self) -> None:
        """Count what was refused in this turn of the event loop, all at once."""
        refused, self._refused = self._refused, []
        status, _, _ = refusal(TOO_MANY)
        for served in refused:
            endpoint, count, served.refused = served.endpoint(), served.refused, 0
            if endpoint is not None:
                endpoint.statistics.rejected(Overloaded.code, count)
                endpoint.answered(None, "infer", Overloaded.code, 0.0, count)
            self._telemetry.answered(served.path.path, "POST", status, 0.0, count)


def _told(head: bytes) -> Told | None:
    """Return what ``head`` tells if it is that of a request with a body, and asks for nothing special."""
    lines = head.split(b"\r\n")[1:]
    if not all(map(LINE.fullmatch, lines)):
        return None
    parts = [line.partition(b":") for line in lines]
    headers = plain([(name.lower(), value.strip(b" \t")) for name, _, value in parts])
    if headers is None or headers.get(b"connection", KEEP_ALIVE).lower() != KEEP_ALIVE:
        return None
    length = len(head) + len(END) + int(headers[b"content-length"])
    return Told(length, headers.get(b"x-request-id"), headers.get(b"authorization"))


def plain(given: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes] | None:
    """Return the headers of a request with a small body that asks for an answer and nothing else, None of any other."""
    headers = dict(given)
    length = headers.get(b"content-length", b"")
    if (
        len(headers) != len(given)
        or not SPECIAL.isdisjoint(headers)
        or not length.isdigit()
        or len(length) > LONGEST_LENGTH
        or int(length) > inference.PARSED_INLINE_BYTES
    ):
        return None
    return headers


@lru_cache(1)
def refusal(detail: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return status, headers and body for a request that is one too many: refusing must cost little."""
    response = problems.response(Overloaded(detail), {"path": "/v2"})
    return response.status_code, response.raw_headers, bytes(response.body)


def _made(default: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    if any(name == b"connection" for name, _ in default):
        return b"", b""
    status, headers, content = refusal(TOO_MANY)
    lines = b"\r\n".join(b"%b: %b" % header for header in (*default, *headers, (b"x-request-id", b"")))
    return STATUS_LINE[status] + lines, b"\r\n\r\n" + content
