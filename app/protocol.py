"""HTTP/1.1 as uvicorn speaks it over httptools, with bounds that it does not have.

httptools keeps headers in memory however many come. uvicorn waits for ever for a request that does not end and for a
client that does not read, and keeps every request that comes before its turn. Here headers have a size and a time, and
so has the rest of a body whose request was answered already; requests before their turn have a number, and answers that
nobody reads a time (``send_timeout.py``). Plain requests for predictions are answered by ``exchange.py``; every other
is uvicorn's.
"""

from __future__ import annotations

import asyncio
import time
from typing import NoReturn

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.exchange import Direct, Exchange
from app.send_timeout import SendTimeout
from app.shedding import Served

HEADER_LIMIT_BYTES = 2**16
"""Bytes of one request's headers that come after the piece in which they began, itself of 256 KiB at most."""

HEADER_SECONDS = 20.0
"""Time from a connection, or from the first byte of a later request, to the end of its headers."""

LINGER_SECONDS = 30.0
"""How long the rest of a body is thrown away once its request was refused; a client may read answers only after it."""

PIPELINED_REQUESTS = 32
"""So many requests may begin in one piece, and so many wait on a connection for their turn. With one more the
connection ends after the answers to those before it, and clients repeat the others (RFC 9112, §9.3.2). Each takes some
kilobytes and time on the event loop before its key is looked at, and a piece of 256 KiB has room for 14,000."""

INVALID = "Invalid HTTP request received."


class SurplusRequestError(Exception):
    """More requests were sent ahead than are taken; ends the parsing of a piece."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Those that go beyond a bound are closed without an answer, or with the last they are owed."""

    # What most requests ask for is no part of the dictionary, which beyond 30 attributes would be one of its own.
    __slots__ = (
        "_begun",
        "_between_requests",
        "_closing",
        "_direct",
        "_in_headers",
        "_kept_bytes",
        "_progressed",
        "_send_timeout",
        "_surplus",
        "cycle",
        "idle_since",
        "served",
        "server_state",
        "transport",
    )

    _closing: asyncio.TimerHandle | None
    _direct: Direct | None
    _send_timeout: SendTimeout | None
    idle_since: float
    """When the last request was answered."""
    served: Served | None
    """What was answered last, if it was a plain prediction."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        self._in_headers = self._progressed = self._surplus = False
        self._between_requests = True
        self._begun = self._kept_bytes = 0
        self.idle_since = 0.0
        self._closing = self._send_timeout = self.served = None
        self._direct = getattr(self.config.app, "direct", None)
        super().connection_made(transport)
        self._close_in(HEADER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stay()
        if self._send_timeout is not None:
            self._send_timeout.stop()
            self._send_timeout = None
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        super().connection_lost(exc)
        # They know their connection: cycles would wait for the collector.
        self.cycle = None  # type: ignore[assignment] - as uvicorn begins
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Read a piece; close when headers, or the trailers of a body, have become too many or take too long."""
        direct = self._direct
        if direct is not None:
            shedding, served = direct.shedding, self.served
            shedding.turns.reads()
            free = self._between_requests and not self.cycle
            if served is not None and free and shedding.refuses(self, served, data):
                return
        self._progressed = False
        self._begun = 0
        self._parse(data)
        self._kept_bytes = 0 if self._progressed else self._kept_bytes + len(data)
        if self._kept_bytes > HEADER_LIMIT_BYTES:
            self._close()
        elif self._in_headers and self._closing is None:
            self._close_in(HEADER_SECONDS)
        else:
            cycle = self.cycle
            if isinstance(cycle, Exchange) and cycle.more_body and not cycle.response_complete:
                cycle.wait()

    def on_message_begin(self) -> None:
        """Begin with headers."""
        if self._begun == PIPELINED_REQUESTS:
            self._take_no_more()
        self._begun += 1
        self._in_headers = self._progressed = True
        self._between_requests = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin with the body."""
        self._in_headers, self._progressed = False, True
        self._stay()
        parser = self.parser
        assert parser is not None
        if self._direct is not None and parser.get_method() == b"POST" and not self.cycle:
            keep_alive = parser.get_http_version() != "1.0" and parser.should_keep_alive()
            if self._direct.begins(self, keep_alive=keep_alive):
                return
        if len(self.pipeline) == PIPELINED_REQUESTS:
            self._take_no_more()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Go on with the body."""
        self._progressed = True
        cycle = self.cycle
        if not isinstance(cycle, Exchange):
            super().on_body(body)
        elif not cycle.response_complete:
            cycle.take(body)

    def on_message_complete(self) -> None:
        """End a request that was read to its end."""
        self._progressed = self._between_requests = True
        self._stay()
        cycle = self.cycle
        if isinstance(cycle, Exchange) and not cycle.response_complete:
            cycle.complete()
            return
        super().on_message_complete()
        if cycle and cycle.response_complete:
            self.cycle = None  # type: ignore[assignment] - as uvicorn begins; who is idle keeps no request

    def on_response_complete(self) -> None:
        """Give what is still to come of an answered request some time."""
        if self.parser is None:  # the connection was lost meanwhile
            return
        cycle = self.cycle
        if cycle.response_complete and cycle.more_body:
            self._close_in(LINGER_SECONDS)
        self.idle_since = time.perf_counter()
        if self.transport.is_closing():
            self._watch_sending()
        elif self.pipeline or self.timeout_keep_alive_task is None:
            super().on_response_complete()
        else:
            # As uvicorn has it, but that the timer goes on: to set it anew takes longer than to look at the clock. Nor
            # are requests counted, as nothing limits how many a server answers.
            self.flow.resume_reading()
        if cycle.response_complete and not cycle.more_body:
            self.cycle = None  # type: ignore[assignment] - as above

    def timeout_keep_alive_handler(self) -> None:
        """Close if the connection has been idle for as long as it may be, else look again when it can have been."""
        self.timeout_keep_alive_task = None
        busy = not self._between_requests or bool(self.cycle)
        left = self.timeout_keep_alive - (0.0 if busy else time.perf_counter() - self.idle_since)
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()
            self._watch_sending()

    def eof_received(self) -> None:
        """Close, which uvicorn has the event loop do."""
        self._watch_sending()

    def pause_writing(self) -> None:
        """Give the client some time to read."""
        super().pause_writing()
        self._watch_sending()

    def resume_writing(self) -> None:
        """Go on, as the client reads."""
        super().resume_writing()
        if self._send_timeout is not None and not self.transport.is_closing():  # else the rest is waited for
            self._send_timeout.stop()
            self._send_timeout = None

    def cut_off(self) -> None:
        """End a prediction that is not done although the gateway has waited for it as long as it does."""
        if isinstance(self.cycle, Exchange):
            self.cycle.cut_off()

    def _unset_keepalive_if_required(self) -> None:
        """Let the timer go on; see there."""

    def _parse(self, data: bytes) -> None:
        """Parse a piece as uvicorn does, to which requests that are too many would be invalid ones."""
        parser = self.parser
        assert parser is not None
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()
        except httptools.HttpParserError:  # of what comes after a surplus request, too
            if self._surplus:
                self._progressed = True
                return
            self.logger.warning(INVALID)
            self.send_400_response(INVALID)
            self._watch_sending()

    def _take_no_more(self) -> NoReturn:
        """Let the last request that was taken be the last of the connection."""
        self._surplus = True
        self.shutdown()
        if self.transport.is_closing():
            self._watch_sending()
        raise SurplusRequestError

    def _watch_sending(self) -> None:
        """Wait for what was written to be read, but not for ever."""
        if self._send_timeout is None and self.transport.get_write_buffer_size():
            self._send_timeout = SendTimeout(self.transport, self.loop)

    def _close_in(self, seconds: float) -> None:
        self._stay()
        self._closing = self.loop.call_later(seconds, self._close)

    def _close(self) -> None:
        self._closing = None
        if not self.transport.is_closing():
            self.transport.close()
        self._watch_sending()

    def _stay(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
