"""What several gateway processes cost: their parent's memory, a merged scrape, a restart: ``make bench-processes``.

Needs neither Redis nor a model. Requests without a route make the series of a gateway that has been up for long.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

from app.cli.address import free_address
from benchmarks.machine import describe

POLL_SECONDS = 0.01
START_LIMIT_SECONDS = 120.0
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PATHS = ("/v1/models", "/v1/models/m", "/v1/models/m/versions/1", "/v1/jobs/j", "/v1/datasets", "/v1/families/f", "/")
SERVE = """
import sys
from app.entry import serve
from app.settings import GatewaySettings
sys.exit(serve(GatewaySettings()))
"""


def main() -> None:
    """Print the figures for one process and for several."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scrapes", type=int, default=50, help="scrapes of each gateway (default 50)")
    scrapes = parser.parse_args().scrapes
    print(describe("fastapi", "uvicorn", "prometheus-client"))
    for processes in (1, 2, 4):
        with _gateway(processes) as (url, pid, log), httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            for _ in range(2 * processes):
                for method in METHODS:
                    for path in PATHS:
                        client.request(method, path, headers={"Connection": "close"})
            milliseconds = sorted(_scrape(client) for _ in range(scrapes))
            lines = sum(not line.startswith("#") for line in client.get("/metrics").text.splitlines())
            scrape = f"{lines} samples in {statistics.median(milliseconds):.1f} ms (slowest {milliseconds[-1]:.1f})"
            print(f"{processes} process(es): a scrape tells {scrape}")
            if processes > 1:
                children = [_kilobytes(each, "Pss") // 1024 for each in _children(pid)]
                print(
                    f"  parent: {_kilobytes(pid, 'Rss') // 1024} MB resident, {_kilobytes(pid, 'Pss') // 1024} its own"
                )
                print(f"  children: {children} MB; one that is killed is replaced in {_restart(pid, log):.2f} s")


@contextmanager
def _gateway(processes: int) -> Generator[tuple[str, int, Path]]:
    with tempfile.TemporaryDirectory() as folder:
        address = free_address("127.0.0.1", 0)
        settings = {
            "LECTERN_PORT": str(address.port),
            "LECTERN_PROCESSES": str(processes),
            "LECTERN_REDIS_URL": f"unix://{folder}/none.sock",
            "LECTERN_STORE_URL": (Path(folder) / "store").as_uri(),
        }
        log = Path(folder) / "log"
        with log.open("wb") as stderr:
            command = [sys.executable, "-c", SERVE]
            gateway = subprocess.Popen(command, env=os.environ | settings, stderr=stderr)
        try:
            _wait(lambda: "gateway_ready" in log.read_text())
            yield address.url, gateway.pid, log
        finally:
            gateway.terminate()
            gateway.wait()


def _scrape(client: httpx.Client) -> float:
    """Return how many milliseconds a scrape took."""
    began = time.perf_counter()
    client.get("/metrics").raise_for_status()
    return (time.perf_counter() - began) * 1000


def _restart(parent: int, log: Path) -> float:
    """Kill a child; return the seconds until another takes requests."""
    ready = log.read_text().count("process_ready") + 1
    os.kill(_children(parent)[0], signal.SIGKILL)
    began = time.perf_counter()
    _wait(lambda: log.read_text().count("process_ready") >= ready)
    return time.perf_counter() - began


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _kilobytes(pid: int, what: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{what}:")), 0)


def _wait(reached: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + START_LIMIT_SECONDS
    while not reached():
        if time.perf_counter() > deadline:
            sys.exit("the gateway does not get there")
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main()
