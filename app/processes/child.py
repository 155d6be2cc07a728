"""One of several gateway processes: ``python -m app.processes.child LISTENER PARENT``, the descriptors of two sockets.

Started by ``member.py``. Serves what ``main.create_app`` makes, on the socket that its parent bound. Ends when its
parent says so, and when its parent is gone.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from types import FrameType

HELD_BACK = frozenset({signal.SIGINT, signal.SIGHUP})
"""Signals that a child does not get until it has seen to them: its parent starts it with these blocked."""

SPARE_SECONDS = 1.0
"""Beyond the grace time, before a process without a parent ends with whatever it does."""


def main(listening: int, talking: int) -> int:
    """Serve until told to stop; return the exit code."""
    for descriptor in (listening, talking):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the standard library's own signature
    # A Ctrl-C reaches the whole group, and it is for the parent to say what follows from it.
    for number in HELD_BACK:
        signal.signal(number, _ignore)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    with socket.socket(fileno=listening) as listener, socket.socket(fileno=talking) as connection:
        return _serve(listener, connection)


def _serve(listener: socket.socket, connection: socket.socket) -> int:
    # Only now, as signals are seen to: this takes a second.
    from app.logs import configure_logs  # noqa: PLC0415 - as above
    from app.main import CANNOT_START, cannot_start, create_app  # noqa: PLC0415 - as above
    from app.processes import snapshots  # noqa: PLC0415 - as above
    from app.processes.link import Link  # noqa: PLC0415 - as above
    from app.server import Server  # noqa: PLC0415 - as above
    from app.settings import GatewaySettings  # noqa: PLC0415 - as above

    link = Link(connection)
    try:
        settings = GatewaySettings.model_validate(link.begin())
    except EOFError:  # the parent is gone already
        return 1
    link.watch(settings.shutdown_grace_seconds + SPARE_SECONDS)
    configure_logs(settings)
    try:
        app = create_app(settings, link)
    except CANNOT_START as error:
        link.refuse(cannot_start(error))
        return 1
    services = app.state.services

    def take() -> list[snapshots.Series]:
        services.metrics.refresh(services.registry.pending())
        return snapshots.take(services.metrics.registry)

    class Child(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await link.open(take, self.leave, app.state.projects.follow)
            await super().startup(sockets)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if sig == signal.SIGTERM:
                super().handle_exit(sig, frame)

    server = Child(app, settings.shutdown_grace_seconds, services.draining, link.ready, link.close)
    server.run(sockets=[listener])
    return 0


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing. Not ``SIG_IGN``, which the processes that this one starts would inherit."""


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
