"""What TorchScript from the gateway's child costs, beside ONNX in the gateway: ``python -m benchmarks.formats``.

Trains one small model in either format with the same seed and asks both in turns, over HTTP on one connection, so
that whatever else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import httpx
import numpy as np

from app.cli.address import free_address
from app.cli.log_files import LogFiles
from app.cli.stack import Stack, StackOptions
from app.client import Client
from benchmarks.machine import describe

FORMATS = ("onnx", "torchscript")
BATCHES = (1, 32)
BLOCK = 100
CLIENTS = 8


def main() -> None:
    """Print latencies and throughput by format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="blocks of 100 requests per format (default 20)")
    rounds = parser.parse_args().rounds
    print(describe("onnxruntime", "torch"))
    with tempfile.TemporaryDirectory() as folder, LogFiles(Path(folder) / "logs") as logs:
        environment = {"LECTERN_STORE_URL": (Path(folder) / "store").as_uri()}
        options = StackOptions(Path(folder), free_address("127.0.0.1", 0), environment=environment)
        with Stack(options, logs.emit) as stack, Client(stack.base_url) as client:
            for name in FORMATS:
                _train(client, name)
            with httpx.Client(base_url=stack.base_url, trust_env=False, timeout=60) as http:
                for name in FORMATS:
                    started = time.perf_counter()
                    _ask(http, name, 1)
                    print(f"first answer of {name}: {time.perf_counter() - started:.2f} s")
                for batch in BATCHES:
                    _compare(http, batch, rounds)


def _train(client: Client, name: str) -> None:
    body = {
        "family": "mlp",
        "dataset": "digits",
        "model": name,
        "training": {"epochs": 2, "seed": 1},
        "export": {"formats": [name]},
    }
    for event in client.events(client.submit(body).id):
        if event.final and event.data["state"] != "succeeded":
            sys.exit(f"the training failed: {event.data}")


def _compare(http: httpx.Client, batch: int, rounds: int) -> None:
    latencies: dict[str, list[float]] = {name: [] for name in FORMATS}
    rates: dict[str, list[float]] = {name: [] for name in FORMATS}
    with ThreadPoolExecutor(CLIENTS) as threads:
        for index in range(rounds + 1):
            for name in FORMATS:
                block = [_ask(http, name, batch) for _ in range(BLOCK)]
                started = time.perf_counter()
                list(threads.map(_ask, repeat(http), repeat(name), [batch] * BLOCK))
                if index > 0:  # the first round warms both
                    latencies[name] += block
                    rates[name].append(BLOCK / (time.perf_counter() - started))
    for name in FORMATS:
        p50, p99 = (_percentile(latencies[name], share) * 1e3 for share in (0.5, 0.99))
        rate = statistics.median(rates[name])
        print(f"{batch:3} images, {name:12} p50 {p50:6.2f} ms  p99 {p99:6.2f} ms  {CLIENTS} clients {rate:6.0f} /s")
    added = statistics.median(latencies["torchscript"]) - statistics.median(latencies["onnx"])
    print(f"{batch:3} images: the child adds {added * 1e6:.0f} µs to the median")


def _ask(http: httpx.Client, model: str, batch: int) -> float:
    """Return the seconds that one prediction took."""
    images = np.random.default_rng(batch).integers(0, 17, (batch, 8, 8)).tolist()
    started = time.perf_counter()
    http.post(f"/v1/models/{model}/classify", json={"inputs": images, "top": 1}).raise_for_status()
    return time.perf_counter() - started


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


if __name__ == "__main__":
    main()
