"""Runs one program and makes sure that it does not outlive ``lectern up``.

``python -m app.cli.guard [--delay=SECONDS] [--grace=SECONDS] -- COMMAND…`` starts the command in a session of
its own. Its standard input is held by whoever started it: end of file means that the holder died, and after
``delay`` the command is stopped; any byte means stop now. Stopping is SIGTERM to the command, after ``grace``
SIGKILL to its whole process group. If standard input is a socket, the command's process id is written to it.

Imports little: one of these runs beside every program for as long as it runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType


def main(arguments: Sequence[str]) -> int:
    """Run the command after ``--`` to its end and return its exit status."""
    cut = arguments.index("--")
    options = dict(item.removeprefix("--").split("=", 1) for item in arguments[:cut])
    delay_seconds, grace_seconds = float(options.get("delay", 0)), float(options.get("grace", 8))
    child = subprocess.Popen(arguments[cut + 1 :], stdin=subprocess.DEVNULL, start_new_session=True)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        threading.Thread(target=_stop, args=(child, grace_seconds), daemon=True).start()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    _report(child.pid)
    threading.Thread(target=_follow, args=(child, delay_seconds, grace_seconds), daemon=True).start()
    status = child.wait()
    _kill_group(child)
    return status if status >= 0 else 128 - status


def _follow(child: subprocess.Popen[bytes], delay_seconds: float, grace_seconds: float) -> None:
    """Wait for a byte or the end of standard input, then stop the child."""
    try:
        orphaned = not os.read(0, 1)
    except OSError:
        orphaned = True
    if orphaned:
        time.sleep(delay_seconds)
    _stop(child, grace_seconds)


def _stop(child: subprocess.Popen[bytes], grace_seconds: float) -> None:
    child.terminate()
    time.sleep(grace_seconds)
    _kill_group(child)


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS says EPERM of a group whose members are all zombies
        return


def _report(pid: int) -> None:
    try:
        os.write(0, b"%d\n" % pid)
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
