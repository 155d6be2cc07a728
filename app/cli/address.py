"""Where a gateway is to listen: checked before anything is started, so that a refusal is a sentence."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from app.cli.output import CommandFailed
from app.listening import is_loopback


@dataclass(frozen=True)
class Address:
    """Host and port; ``probe_host`` is where this machine reaches it."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address as a browser takes it."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def probe_host(self) -> str:
        """A host that can be connected to, also when listening on all of them."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound


def check_exposure(host: str, store_url: str, *, insecure: bool) -> None:
    """Return if ``host`` is this machine alone, there is a key to ask for, or the user insists.

    Raises:
        CommandFailed: others could reach the gateway, which asks nobody for a key.
    """
    if not insecure and not is_loopback(host) and not _has_key(store_url):
        message = (
            f"Listening on {host} lets everybody who reaches it train and predict without a key; "
            "create one with 'lectern keys create', listen on 127.0.0.1, or insist with --insecure."
        )
        raise CommandFailed(message)


def free_address(host: str, port: int) -> Address:
    """Return ``host`` and ``port`` if they can be listened on; port 0 becomes a free one.

    Raises:
        CommandFailed: the port is taken or not allowed, or the host is none of this machine's.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            return Address(host, int(probe.getsockname()[1]))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"Port {port} on {host} is taken; choose another with --port."
        elif error.errno == errno.EACCES:
            message = f"Port {port} needs more rights than you have; choose one above 1023 with --port."
        else:
            message = f"{host} is no address of this machine ({error.strerror}); choose another with --host."
        raise CommandFailed(message) from error


def _has_key(store_url: str) -> bool:
    from app.access.keys import Keys  # noqa: PLC0415 - `lectern --help` opens no store
    from models.artifacts.store import ArtifactStore  # noqa: PLC0415 - as above
    from models.contract.errors import LecternError  # noqa: PLC0415 - as above

    try:
        return Keys(ArtifactStore(store_url)).live() > 0
    except LecternError as error:
        message = f"Whether there is a key to ask for cannot be told: {error.detail}"
        raise CommandFailed(message) from error
