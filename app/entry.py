"""Where the gateway starts: what it must not do is refused, its port is taken, then one process serves or several.

``lectern gateway`` calls ``serve``. Loads little before it knows which: the parent of several processes serves nothing.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import NoReturn

import orjson

from app.listening import listen
from app.logs import configure_logs
from app.settings import GatewaySettings

PARENT = "app.processes.parent"


def serve(settings: GatewaySettings) -> int:
    """Run the gateway until it is told to stop; return the exit code.

    A reason not to start is a sentence on stderr and the code 1. With several processes this one becomes their parent.
    """
    refusal = _exposed(settings)
    if refusal:
        return refuse(refusal)
    configure_logs(settings)
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        reason = error.strerror or str(error)
        return refuse(f"Lectern cannot listen on {settings.host}:{settings.port}: {reason}. Choose another port.")
    with listener:
        if settings.processes > 1:
            _become_parent(settings, listener)
        from app.main import run  # noqa: PLC0415 - the parent of several processes does without

        return run(settings, listener)


def refuse(sentence: str) -> int:
    """Say why there will be no gateway; return the exit code."""
    print(sentence, file=sys.stderr)  # noqa: T201 - the one thing that the person who starts it must see
    return 1


def _exposed(settings: GatewaySettings) -> str | None:
    """Return why the gateway may not listen where it should; None if it may."""
    if settings.insecure or not settings.listens_beyond_this_machine():
        return None
    from app.access.keys import Keys  # noqa: PLC0415 - only this case looks into the store
    from models.artifacts.store import ArtifactStore  # noqa: PLC0415 - as above
    from models.contract.errors import LecternError  # noqa: PLC0415 - as above

    try:
        if Keys(ArtifactStore(settings.store_url)).live():
            return None
    except LecternError as error:
        return f"Lectern cannot tell whether there are keys: {error}"
    return (
        f"Lectern does not listen on {settings.host}: anybody who reaches it could use it, as there are no keys. "
        "Create one with 'lectern keys create', listen on 127.0.0.1, or allow it with LECTERN_INSECURE=1."
    )


def _become_parent(settings: GatewaySettings, listener: socket.socket) -> NoReturn:
    """Go on as a fresh interpreter, which has 28 MB where this one has 50; the process id stays."""
    reading, writing = os.pipe()
    # Not by the environment or the arguments, which others can read: a setting may be a password.
    with open(writing, "wb") as pipe:  # noqa: PTH123 - a descriptor, no path
        pipe.write(orjson.dumps(settings.model_dump(), default=_plain))
    for descriptor in (reading, listener.fileno()):
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - the standard library's own signature
    # Its children must find the packages that this process finds.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-m", PARENT, str(listener.fileno()), str(reading)]
    os.execve(sys.executable, command, environment)  # noqa: S606 - this process becomes the parent


def _plain(value: object) -> object:
    """Return a setting in a form that JSON has; a secret in full, as the processes need it."""
    reveal = getattr(value, "get_secret_value", None)
    return reveal() if reveal else str(value)
