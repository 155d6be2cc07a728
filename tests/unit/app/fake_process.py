"""A gateway process without a gateway, run as a program by the tests of the parent; speaks the real messages.

The settings name a file that gets a line per start, and what each start does in order; the last goes on for ever.
It answers every connection with its process id, and counts the answers. Changes that it follows are lines of the file
``followed.PID`` beside the other; one that is ``deaf`` to them says nothing.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

from app.processes import messages


def main(listening: int, talking: int) -> None:
    """Do what this start is to do."""
    listener, parent = socket.socket(fileno=listening), socket.socket(fileno=talking)
    settings = messages.receive(parent)["settings"]
    starts = Path(settings["starts"])
    with starts.open("a", encoding="utf-8") as lines:
        lines.write(f"{os.getpid()}\n")
    number = starts.read_text(encoding="utf-8").splitlines().index(str(os.getpid())) + 1  # two may start at once
    does = settings["does"][min(number, len(settings["does"])) - 1]
    if does == "refuse":
        parent.sendall(messages.pack("refused", sentence="There is no store."))
        sys.exit(1)
    if does == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if does == "stuck":
        time.sleep(600)
    followed = starts.with_name(f"followed.{os.getpid()}")
    parent.sendall(messages.pack("join", id=7))
    while (message := messages.receive(parent))["word"] == "change":
        follow(message, followed)
    assert message == {"word": "confirmed", "id": 7}
    parent.sendall(messages.pack("ready"))
    if does == "hang":
        time.sleep(600)
    serve(listener, parent, followed, deaf=does == "deaf")


def follow(message: messages.Message, followed: Path) -> None:
    change = message["change"]
    with followed.open("a", encoding="utf-8") as lines:
        lines.write(f"{change['what']} {change['project']}/{change['model']}\n")


def serve(listener: socket.socket, parent: socket.socket, followed: Path, *, deaf: bool) -> None:
    answered = 0
    listener.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    while True:
        readable, _, _ = select.select([listener, parent], [], [])
        if parent in readable:
            try:
                message = messages.receive(parent)
            except EOFError:
                return
            if message["word"] == "leave":
                parent.sendall(messages.pack("snapshot", series=series(answered)))
                return
            if message["word"] == "change":
                if not deaf:
                    follow(message, followed)
                    parent.sendall(messages.pack("followed", id=message["id"]))
                continue
            parent.sendall(messages.pack("snapshot", series=series(answered)))
        elif listener in readable:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:  # the other process took it; to wait here would be to hear no parent
                continue
            with connection:
                answered += 1
                connection.sendall(b"%d" % os.getpid())


def series(answered: int) -> list[dict[str, object]]:
    entry = {"name": "answers", "help": "All.", "kind": "counter", "sample": "answers_total", "labels": []}
    return [{**entry, "bounds": None, "rows": [[[], [answered]]]}]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
