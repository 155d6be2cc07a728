"""A gateway of a few canned answers on a free port, which remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner, Result

from app.cli.main import app


@dataclass(frozen=True)
class Asked:
    """A request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        return json.loads(self.body)


@dataclass
class CannedGateway:
    """Answers by method and path; ``asked`` grows."""

    url: str = ""
    answers: dict[str, tuple[int, str, bytes]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, request: str, body: object, status: int = 200) -> None:
        """Answer ``request``, such as ``GET /v1/jobs``, with JSON."""
        self.answers[request] = (status, "application/json", json.dumps(body).encode())

    def refuse(self, request: str, status: int, code: str, detail: str, *errors: dict[str, str]) -> None:
        """Answer ``request`` with a problem."""
        problem = {"code": code, "detail": detail, "errors": errors}
        self.answers[request] = (status, "application/problem+json", json.dumps(problem).encode())

    def stream(self, request: str, *events: tuple[str, Mapping[str, object]]) -> None:
        """Answer ``request`` with server-sent events."""
        lines = (
            f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"
            for number, (name, data) in enumerate(events, start=1)
        )
        self.answers[request] = (200, "text/event-stream", "".join(lines).encode())


@pytest.fixture
def canned() -> Iterator[CannedGateway]:
    gateway = CannedGateway()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            gateway.asked.append(Asked(self.command, self.path, dict(self.headers), body))
            missing = (404, "application/problem+json", b'{"code": "route_not_found", "detail": "No such path."}')
            status, media_type, content = gateway.answers.get(f"{self.command} {self.path}", missing)
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - the names http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base's
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        gateway.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield gateway
        server.shutdown()
        thread.join()


@pytest.fixture
def lectern(canned: CannedGateway) -> Callable[..., Result]:
    """Run the command line against the canned gateway."""

    def run(*words: str, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(app, words, input=stdin, env={"LECTERN_URL": canned.url, "COLUMNS": "200"})

    return run
