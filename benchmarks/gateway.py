"""How soon the gateway is ready and how much memory it holds with one model: ``make bench-gateway``.

Trains a small model once, then starts the gateway alone several times against the same Redis and store. Exits with 1 if
a bound is not kept.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from app.cli.address import free_address
from app.cli.log_files import LogFiles
from app.cli.stack import Stack, StackOptions
from app.client import Client
from benchmarks.machine import describe

POLL_SECONDS = 0.01
START_LIMIT_SECONDS = 60.0
MOST_IMPORT_SECONDS = 0.6
MOST_READY_SECONDS = 1.5
MOST_RESIDENT_MEGABYTES = 130.0
ZERO_IMAGE = {"inputs": [[[0] * 8] * 8]}


def main() -> int:
    """Print start-up times, resident memory and whether torch is loaded; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="starts of the gateway, the first not counted (default 7)")
    runs = parser.parse_args().runs
    print(describe("fastapi", "uvicorn", "onnxruntime"))
    with tempfile.TemporaryDirectory() as folder, LogFiles(Path(folder) / "logs") as logs:
        store = {"LECTERN_STORE_URL": (Path(folder) / "store").as_uri()}
        options = StackOptions(Path(folder), free_address("127.0.0.1", 0), environment=store)
        with Stack(options, logs.emit) as stack, Client(stack.base_url) as client:
            body = {"family": "mlp", "dataset": "digits", "model": "digits", "training": {"epochs": 2}}
            for event in client.events(client.submit(body).id):
                if event.final and event.data["state"] != "succeeded":
                    sys.exit(f"the training failed: {event.data}")
            environment = os.environ | store | {"LECTERN_REDIS_URL": stack.redis_url}
            samples = [_start(environment) for _ in range(runs)][1:]
    seconds, megabytes, torch = zip(*samples, strict=True)
    kept = [
        _shown("app.main is imported in", [_import_seconds() for _ in range(runs)][1:], "s", MOST_IMPORT_SECONDS),
        _shown("ready after", seconds, "s", MOST_READY_SECONDS),
        _shown("resident with one model", megabytes, "MB", MOST_RESIDENT_MEGABYTES),
        not any(torch),
    ]
    print(f"torch loaded: {'yes' if any(torch) else 'no'}")
    return 0 if all(kept) else 1


def _shown(what: str, values: Sequence[float], unit: str, most: float) -> bool:
    """Print the median and its spread; return whether it is below ``most``."""
    median = statistics.median(values)
    verdict = f"less than {most:g} {unit}" if median < most else f"NOT less than {most:g} {unit}"
    print(f"{what} {median:.3g} {unit} (from {min(values):.3g} to {max(values):.3g}): {verdict}")
    return median < most


def _import_seconds() -> float:
    """Return what a new interpreter takes for ``import app.main``, beyond its own start; torch must not come along."""
    code = (
        "import time; began = time.perf_counter(); import app.main; print(time.perf_counter() - began); "
        "import sys; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def _start(environment: Mapping[str, str]) -> tuple[float, float, bool]:
    """Return seconds until ready, resident megabytes after a prediction, and whether torch's library is mapped."""
    address = free_address("127.0.0.1", 0)
    started = time.perf_counter()
    command = [sys.executable, "-m", "app.cli.main", "gateway", "--port", str(address.port)]
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, env=dict(environment), stdout=silent, stderr=silent) as gateway:
        try:
            while not _answers(f"{address.url}/readyz"):
                if time.perf_counter() - started > START_LIMIT_SECONDS or gateway.poll() is not None:
                    sys.exit("the gateway does not get ready")
                time.sleep(POLL_SECONDS)
            seconds = time.perf_counter() - started
            url = f"{address.url}/v1/models/digits/classify"
            httpx.post(url, json=ZERO_IMAGE, trust_env=False).raise_for_status()
            return seconds, _resident_megabytes(gateway.pid), _maps_torch(gateway.pid)
        finally:
            gateway.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _resident_megabytes(pid: int) -> float:
    listing = subprocess.run(["/bin/ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(listing.stdout) * 1024 / 1e6


def _maps_torch(pid: int) -> bool:
    maps = Path(f"/proc/{pid}/maps")
    return maps.exists() and "libtorch" in maps.read_text()


if __name__ == "__main__":
    sys.exit(main())
