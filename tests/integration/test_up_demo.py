"""`lectern demo`: the whole way from upload to answer, in one command."""

from __future__ import annotations

import re
import socket
import subprocess
import sys

LECTERN = (sys.executable, "-P", "-m", "app.cli.main")
PARTS = ("start", "upload", "queue to first step", "train", "export", "first answer", "stop", "together")


def test_demo_trains_serves_asks_and_says_where_the_time_went() -> None:
    done = subprocess.run([*LECTERN, "demo"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"^test accuracy (0\.\d{4})$", done.stdout, flags=re.MULTILINE)
    assert accuracy is not None, done.stdout
    assert float(accuracy[1]) >= 0.96
    asked = re.search(r"asked for a test image of '(\d)', it answers '(\d)'", done.stdout)
    assert asked is not None
    assert asked[1] == asked[2]
    assert "@" in done.stdout.splitlines()[1] + done.stdout.splitlines()[2]
    assert all(re.search(rf"^  {part} +\d+\.\d\d s$", done.stdout, flags=re.MULTILINE) for part in PARTS)


def test_demo_on_a_taken_port_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        failed = subprocess.run(
            [*LECTERN, "demo", "--port", str(port)], capture_output=True, text=True, timeout=60, check=False
        )
    assert failed.returncode == 1
    assert failed.stderr == f"lectern: Port {port} on 127.0.0.1 is taken; choose another with --port.\n"
