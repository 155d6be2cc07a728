"""Predictions answered on their connection: plain requests for ``infer`` pass no task and no ASGI.

Between the bytes of such a request and those of its answer are the checks that every request passes, the queue of the
part, and nothing else. Whatever is not plain (a body that is compressed, chunked, large, or asked to be waited for; a
request that another one on its connection is before; a model that is not in memory) takes the way of
``routes/inference.py``, which answers the same; tests hold the two to that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, cast

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app import bodies, problems
from app.access.guard import AccessGuard, Refused
from app.dependencies import Services, ServicesByProject
from app.limits import Bound, too_slow
from app.routes import inference
from app.serving.batching import too_many
from app.serving.endpoints import Endpoint
from app.serving.oip import requests
from app.serving.runs import Outputs
from app.serving.tickets import ClientLeft, Ticket
from app.shedding import Shedding, plain, refusal
from app.telemetry import RequestTelemetry
from models.contract.errors import Draining, LecternError, Overloaded

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope

    from app.protocol import BoundedProtocol

KNOWN_PATHS = 1024
LONGEST_PATH = 512

log = structlog.get_logger()


class Direct:
    """What the connections of one gateway answer by themselves."""

    def __init__(
        self,
        telemetry: RequestTelemetry,
        guard: AccessGuard,
        bound: Bound,
        projects: ServicesByProject,
        shedding: Shedding,
    ) -> None:
        """Answer within ``bound`` what ``guard`` lets in and ``shedding`` does not refuse."""
        self.telemetry = telemetry
        self.guard = guard
        self.bound = bound
        self.projects = projects
        self.shedding = shedding
        self._path = lru_cache(KNOWN_PATHS)(_path)

    def begins(self, connection: BoundedProtocol, *, keep_alive: bool) -> bool:
        """Return whether the request whose headers were read is answered here, perhaps done already."""
        url = connection.url
        path = self._path(url) if len(url) <= LONGEST_PATH else None
        if path is None:
            return False
        headers = plain(connection.headers)
        if (
            headers is None
            or b"content-encoding" in headers
            or connection.flow.write_paused  # its client sends and does not read
        ):
            return False
        before = connection.cycle
        exchange = Exchange(self, connection, path, headers, keep_alive=keep_alive)
        connection.cycle = exchange  # type: ignore[assignment] - has what uvicorn asks of one
        if exchange.admit():
            return True
        connection.cycle = before
        exchange.forget()
        return False


class Exchange:
    """One request and its answer. In uvicorn's eyes the cycle of its connection; lives on the event loop."""

    __slots__ = (
        "_body",
        "_connection",
        "_direct",
        "_endpoint",
        "_headers",
        "_path",
        "_request_id",
        "_scope",
        "_services",
        "_slow",
        "_started",
        "_ticket",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
    )

    _endpoint: Endpoint
    _services: Services

    def __init__(
        self,
        direct: Direct,
        connection: BoundedProtocol,
        path: inference.Path,
        headers: bodies.Headers,
        *,
        keep_alive: bool,
    ) -> None:
        """Begin with the headers read."""
        self._started = time.perf_counter()
        self._direct = direct
        self._connection = connection
        self._path = path
        self._scope = cast("Scope", connection.scope)
        self._headers = headers
        self._body: bytes = b""
        self._slow: asyncio.TimerHandle | None = None
        self._ticket = Ticket(left=self._has_left)
        self._request_id = direct.telemetry.identified(headers.get(b"x-request-id"))
        self.keep_alive = keep_alive
        self.disconnected = False
        self.more_body = True
        self.response_complete = False

    @property
    def message_event(self) -> Exchange:
        """What uvicorn sets when a connection is lost."""
        return self

    def set(self) -> None:
        """End at once if the client has left before its body was whole; whatever is computed ends by itself."""
        if self.disconnected and self.more_body and not self.response_complete:
            self._whole()
            self._end(problems.CLIENT_LEFT, "client_left")

    def admit(self) -> bool:
        """Return whether the request is answered here; refuse at once what its headers forbid."""
        scope = self._scope
        scope["method"], scope["path"] = "POST", self._path.given
        scope["request_id"] = self._request_id
        try:
            grant = self._direct.guard.admitted(scope)
            self._services = self._direct.projects.of(grant.project)
            endpoint = self._services.registry.at_hand(self._path.model, self._path.version)
            if endpoint is None:
                scope["grant"] = grant  # nothing is counted twice
                return False
            self._endpoint = endpoint
            if self._direct.shedding.turns.late():
                raise too_many(endpoint.statistics)
            endpoint.admit()
        except Overloaded as error:
            status, headers, content = refusal(error.detail)
            self._answer(status, error.code, headers, content, complete=True)
        except Refused as refused:
            self._refuse(refused.error, refused.headers)
        except LecternError as error:
            self._refuse(error)
        return True

    def take(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self._body = self._body + piece if self._body else piece

    def wait(self) -> None:
        """Go on when more of the body has come, within the time that it has."""
        if self._slow is None:
            self._slow = self._connection.loop.call_later(self._direct.bound.seconds, self._too_slow)

    def complete(self) -> None:
        """Ask the model, now that the body is whole."""
        self._whole()
        services, endpoint, ticket = self._services, self._endpoint, self._ticket
        if services.default_timeout:
            ticket.deadline = self._started + services.default_timeout
        endpoint.begin(ticket)
        try:
            asked = inference.read(endpoint, self._headers, self._body, ticket)
            endpoint.submit(asked.part, asked.arrays, ticket, partial(self._computed, asked))
        except Exception as error:  # noqa: BLE001 - told apart there
            self._fail(error)

    def cut_off(self) -> None:
        """Answer that the gateway shuts down, unless another answer was sent; whatever is computed ends by itself."""
        if not self.response_complete:
            self._whole()
            self._respond(problems.cut_off(self._scope), Draining.code)

    def _whole(self) -> None:
        """Wait for no more of the body."""
        self.more_body = False
        if self._slow is not None:
            self._slow.cancel()

    def _computed(self, asked: requests.Asked, result: Outputs | Exception) -> None:
        if self.response_complete:  # it was cut off
            return
        if isinstance(result, Exception):
            self._fail(result)
            return
        arguments = self._endpoint, asked, result, self._headers, self._ticket
        if inference.is_long(result):
            writing = self._connection.loop.run_in_executor(self._services.executor, inference.written, *arguments)
            writing.add_done_callback(self._written)
            return
        try:
            content, extra = inference.written(*arguments)
        except Exception as error:  # noqa: BLE001 - told apart there
            self._fail(error)
        else:
            self._answer(200, "ok", extra, content)

    def _written(self, done: asyncio.Future[tuple[bytes, list[tuple[bytes, bytes]]]]) -> None:
        if self.response_complete:  # as above
            return
        if done.cancelled():
            self._fail(Draining("The gateway is shutting down."))
        elif (error := done.exception()) is not None:
            self._fail(error if isinstance(error, Exception) else RuntimeError(error))
        else:
            content, extra = done.result()
            self._answer(200, "ok", extra, content)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, LecternError):
            self._refuse(error)
        elif isinstance(error, ClientLeft):
            self._end(problems.CLIENT_LEFT, "client_left")
        else:
            log.error(
                "request_failed", method="POST", path=self._path.given, request_id=self._request_id, exc_info=error
            )
            self._respond(problems.unexpected(self._scope), "failed")

    def _refuse(self, error: LecternError, headers: dict[str, str] | None = None) -> None:
        self._respond(problems.response(error, self._scope, headers), error.code)

    def _respond(self, response: Response, outcome: str) -> None:
        self._answer(response.status_code, outcome, response.raw_headers, bytes(response.body), complete=True)

    def _answer(
        self,
        status: int,
        outcome: str,
        headers: Iterable[tuple[bytes, bytes]],
        content: bytes,
        *,
        complete: bool = False,
    ) -> None:
        """Send the answer in one piece; ``complete`` headers have its length."""
        if self.disconnected:
            self._end(problems.CLIENT_LEFT, "client_left")
            return
        connection = self._connection
        lines = [STATUS_LINE[status]]
        closes = False
        for name, value in (*connection.server_state.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
            closes = closes or (name == b"connection" and value.lower() == b"close")
        if closes:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close\r\n")
        if not complete:
            lines.append(b"content-length: %d\r\n" % len(content))
        lines += (b"x-request-id: ", self._request_id.encode(), b"\r\n\r\n", content)
        connection.transport.write(b"".join(lines))
        self._end(status, outcome)

    def _end(self, status: int, outcome: str) -> None:
        self.response_complete = True
        connection = self._connection
        seconds = time.perf_counter() - self._started
        endpoint: Endpoint | None = getattr(self, "_endpoint", None)
        if endpoint is not None:
            endpoint.answered(self._ticket, "infer", outcome, seconds)
            served, key = connection.served, self._headers.get(b"authorization")
            if (
                served is None
                or served.path is not self._path
                or served.authorization != key
                or served.endpoint() is not endpoint
            ):
                connection.served = self._direct.shedding.served(connection.url, self._path, endpoint, key)
            del self._endpoint  # a connection whose body is still to come keeps its exchange, but no model in memory
        self.forget()
        self._body = b""
        self._direct.telemetry.answered(self._path.path, "POST", status, seconds)
        if not self.keep_alive and not connection.transport.is_closing():
            connection.transport.close()
        connection.on_response_complete()

    def forget(self) -> None:
        """Let go of the ticket, which knows this exchange: a cycle would wait for the collector, its arrays too."""
        del self._ticket

    def _too_slow(self) -> None:
        if not self.response_complete:
            self._refuse(too_slow(self._direct.bound.seconds))

    def _has_left(self) -> bool:
        return self.disconnected


def _path(url: bytes) -> inference.Path | None:
    """Return what the URL names if it is that of ``infer`` and written plainly."""
    try:
        parsed = httptools.parse_url(url)
        found = inference.path_of(parsed.path.decode("ascii")) if b"%" not in url else None
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
        return None
    return found if found is not None and found.verb is None else None
