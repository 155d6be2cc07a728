"""A child of the TorchScript runtime without torch: every archive doubles its input, or does what its bytes say.

Run as a program by the tests; speaks the real frames.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

import numpy as np

from app.serving.runtimes import frames
from app.serving.runtimes.frames import Frame


def main() -> None:
    """Answer until the other end is gone; a line per start goes to the file named in the arguments."""
    with open(sys.argv[1], "a", encoding="utf-8") as starts:  # noqa: PTH123 - one line of one program
        starts.write(f"{os.getpid()}\n")
    connection = socket.socket(fileno=0)
    archives: dict[int, bytes] = {}
    frames.send(connection, Frame({"torch": "none"}))
    while True:
        try:
            asked = frames.receive(connection)
        except EOFError:
            return
        frames.send(connection, _answer(asked, archives))


def _answer(asked: Frame, archives: dict[int, bytes]) -> Frame:
    key, verb = asked.fields["key"], asked.fields["do"]
    if verb == "load":
        archives[key] = asked.arrays[0].tobytes()
        return Frame({"error": "no archive"} if archives[key] == b"broken" else {})
    if verb == "unload":
        del archives[key]
        return Frame({})
    values = asked.arrays[0]
    match archives[key]:
        case b"crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case b"hang":
            time.sleep(60)
        case b"slow":
            time.sleep(0.3)
        case b"refuse":
            return Frame({"error": "the values are wrong"})
        case b"twice":
            return Frame({}, [values, values])
        case b"census":
            return Frame({}, [np.full_like(values, len(archives))])
        case _:
            pass
    return Frame({}, [values * 2])


if __name__ == "__main__":
    main()
