"""Whether a gateway answers where one is expected, or the port is free for one."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import cast
from urllib.parse import urlsplit

from app.cli.checks.finding import Finding, ok, problem, warning
from app.cli.checks.installation import own_version

ANSWER_SECONDS = 3.0
PORTS = {"http": 80, "https": 443}


def gateway(url: str, *, wanted: bool) -> Iterator[Finding]:
    """Yield whether the gateway at ``url`` is ready; if nothing is there it is a problem only when ``wanted``."""
    import httpx  # noqa: PLC0415 - `lectern --help` opens no connection

    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        yield problem("gateway", f"'{url}' is no URL", "write http://host:port in LECTERN_URL or --url")
        return
    try:
        with httpx.Client(base_url=url, timeout=ANSWER_SECONDS, trust_env=False) as client:
            server, ready = client.get("/v2"), client.get("/readyz")
    except httpx.TransportError:
        yield _silent(url, parts.hostname, parts.port or PORTS[parts.scheme], wanted=wanted)
        return
    facts = _object(server.text)
    if facts.get("name") != "lectern":
        yield problem("gateway", f"another program answers at {url}", "choose another port with --port or LECTERN_PORT")
        return
    yield _version(url, str(facts.get("version")))
    yield _readiness(ready.status_code, _object(ready.text))


def _object(text: str) -> dict[str, object]:
    try:
        found: object = json.loads(text)
    except ValueError:
        return {}
    return cast("dict[str, object]", found) if isinstance(found, dict) else {}


def _silent(url: str, host: str, port: int, *, wanted: bool) -> Finding:
    try:
        socket.create_connection((host, port), ANSWER_SECONDS).close()
    except OSError:
        if wanted:
            return problem("gateway", f"nothing answers at {url}", "start one with 'lectern up', or correct the URL")
        return ok("gateway", f"none runs; port {port} is free for 'lectern up'")
    remedy = "choose another port with --port or LECTERN_PORT"
    return problem("gateway", f"port {port} is taken by a program that is no gateway", remedy)


def _version(url: str, version: str) -> Finding:
    own = own_version()
    if version != own:
        return warning("gateway", f"{url} runs {version}, this is {own}", "restart it from the same installation")
    return ok("gateway", f"{url} runs version {version}")


def _readiness(status: int, state: dict[str, object]) -> Finding:
    down = [name for name in ("queue", "store") if state.get(name) == "down"]
    if down:
        return problem("ready", f"the gateway does not reach its {' and its '.join(down)}", "see redis and store below")
    if status != 200:  # noqa: PLR2004 - the one status of readiness
        return problem("ready", f"the gateway takes no requests (status {status})", "wait, or look at its log")
    return ok("ready", "it takes requests and reaches queue and store")
