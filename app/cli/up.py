"""``lectern up``: everything on this machine in one terminal, until Ctrl-C. ``stack`` does the work."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from app.cli.address import check_exposure, free_address
from app.cli.home import store_url
from app.cli.kept import LECTERN
from app.cli.stack import Stack, StackOptions

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COLOURS = {"gateway": 36, "redis": 35, LECTERN: 1}
WORKER_COLOUR = 32


def up(
    home: Annotated[Path, typer.Option(envvar="LECTERN_HOME", help="Folder that keeps everything.")] = Path(".lectern"),
    host: Annotated[str, typer.Option(envvar="LECTERN_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(envvar="LECTERN_PORT", min=0, max=65_535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    workers: Annotated[
        int, typer.Option(envvar="LECTERN_WORKERS", min=1, max=64, help="Workers, each training one job at a time.")
    ] = 1,
    processes: Annotated[
        int, typer.Option(envvar="LECTERN_PROCESSES", min=1, max=64, help="Processes of the gateway.")
    ] = 1,
    *,
    insecure: Annotated[
        bool, typer.Option("--insecure", envvar="LECTERN_INSECURE", help="Listen beyond this machine without a key.")
    ] = False,
) -> None:
    """Start Redis, worker(s) and gateway on this machine, until Ctrl-C."""
    check_exposure(host, store_url(home), insecure=insecure)
    log = LogStream()
    options = StackOptions(
        home=home,
        address=free_address(host, port),
        workers=workers,
        redis_url=os.environ.get("LECTERN_REDIS_URL") or None,
        environment={"LECTERN_PROCESSES": str(processes)} | ({"LECTERN_INSECURE": "1"} if insecure else {}),
    )
    stack = Stack(options, log.emit)
    with _halted_by_signals(stack), stack:
        if not stack.halt.is_set():
            log.write(f"ready {stack.base_url}")
        stack.wait()


class LogStream:
    """Lines of several programs on one stdout, each marked with its program; coloured on a terminal."""

    def __init__(self) -> None:
        """Look at stdout once."""
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._turn = threading.Lock()

    def emit(self, name: str, line: str) -> None:
        """Write a line of the program ``name``."""
        mark = f"{name:<7} | "
        if self._coloured:
            mark = f"\033[{COLOURS.get(name, WORKER_COLOUR)}m{mark}\033[0m"
        self.write(f"{mark}{line}")

    def write(self, line: str) -> None:
        """Write a line as it is. A reader that left is no reason to stop."""
        with self._turn:
            try:
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _halted_by_signals(stack: Stack) -> Generator[None]:
    def halt(_number: int, _frame: object) -> None:
        stack.halt.set()

    previous = {number: signal.signal(number, halt) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
