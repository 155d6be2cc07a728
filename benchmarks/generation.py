"""A traversal of a served variational autoencoder over HTTP: ``make bench-generation``.

A whole Lectern in a folder of its own trains the network 784-400-20 for one epoch of noise, as what it has learnt does
not change how long it takes; then one client asks for 10 dimensions × 9 steps, images of 28 × 28 as JSON, and as a PNG.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
from pydantic import JsonValue

from app.cli.address import free_address
from app.cli.log_files import LogFiles
from app.cli.stack import Stack, StackOptions
from app.client import Client
from benchmarks.machine import describe

MODEL = "bench"
SIDE, IMAGES = 28, 500
SUBMISSION: dict[str, JsonValue] = {
    "family": "vae",
    "dataset": "noise",
    "model": MODEL,
    "config": {"latent": 20, "hidden_sizes": [400]},
    "training": {"epochs": 1},
}
FORMS = ("application/json", "image/png")
WARM_UP = 10


def main() -> None:
    """Print the median time of a traversal in both forms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="requests of each form (default 200)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="lectern-bench-") as folder:
        home = Path(folder)
        options = StackOptions(
            home, free_address("127.0.0.1", 0), environment={"LECTERN_STORE_URL": (home / "store").as_uri()}
        )
        with LogFiles(home / "logs") as logs, Stack(options, logs.emit) as stack, Client(stack.base_url) as client:
            _train(client, home)
            print(describe("onnxruntime"))
            for form in FORMS:
                milliseconds, size = _measure(stack.base_url, form, rounds)
                median, ninetieth = statistics.median(milliseconds), statistics.quantiles(milliseconds, n=10)[-1]
                print(f"10 × 9 images as {form}, {size / 1e3:.0f} kB: p50 {median:.1f} ms, p90 {ninetieth:.1f} ms")


def _train(client: Client, home: Path) -> None:
    random = np.random.default_rng(0)
    path = home / "noise.npz"
    labels = np.arange(IMAGES) % 10
    np.savez(path, images=random.integers(0, 256, (IMAGES, SIDE, SIDE), dtype=np.uint8), labels=labels)
    client.add_dataset("noise", "images", {"train": path}, {})
    job = client.submit(SUBMISSION).id
    last = [event.data for event in client.events(job)][-1]
    assert last.get("state") == "succeeded", last


def _measure(url: str, form: str, rounds: int) -> tuple[list[float], int]:
    """Return the milliseconds of each request behind the warm-up, and the bytes of an answer."""
    body = {"seed": 0, "dimensions": list(range(10)), "steps": 9}
    milliseconds, size = list[float](), 0
    with httpx.Client(base_url=url, headers={"Accept": form}, trust_env=False) as client:
        for index in range(rounds + WARM_UP):
            started = time.perf_counter()
            answer = client.post(f"/v1/models/{MODEL}/traverse", json=body).raise_for_status()
            if index >= WARM_UP:
                milliseconds.append((time.perf_counter() - started) * 1e3)
            size = len(answer.content)
    return milliseconds, size


if __name__ == "__main__":
    main()
