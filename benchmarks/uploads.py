"""What uploads cost and what they do to predictions meanwhile: ``make bench-uploads``.

Two measurements on a whole stack of this machine. A zip of 60,000 PNG, made of MNIST from ``LECTERN_DATA``, is
uploaded: time, and the largest resident memory of the gateway and of the process that reads it. Then a served model is
asked at a steady rate, first in quiet and then while 1 GB is uploaded by a process of its own: the 99th percentiles.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Self

import numpy as np
from PIL import Image

from app.cli.address import free_address
from app.cli.log_files import LogFiles
from app.cli.stack import Stack, StackOptions
from app.client import Client
from benchmarks.machine import describe

GIGABYTE = 10**9
ALLOWED_SLOWDOWN = 2.0
POLL_SECONDS = 0.02
WARM_UP_SECONDS = 2.0
READER = b"models.data.reading_process"
GATEWAY = b"\0gateway\0"
UPLOADER = ("-m", "app.cli.main", "datasets", "add")
ZERO_IMAGE = json.dumps({"inputs": [[[0] * 8] * 8]}).encode()
CONNECTIONS = 8


def main() -> None:
    """Print both measurements; exit with 1 if predictions slow down by more than is allowed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200, help="predictions a second (default 200)")
    parser.add_argument("--rounds", type=int, default=3, help="how often quiet and an upload take turns (default 3)")
    parser.add_argument("--quiet-seconds", type=float, default=10, help="how long quiet is, each time (default 10)")
    parser.add_argument("--upload-bytes", type=int, default=GIGABYTE, help="size of the upload (default 1 GB)")
    options = parser.parse_args()
    data = os.environ.get("LECTERN_DATA")
    if not data or not (Path(data) / "mnist").is_dir():
        sys.exit("LECTERN_DATA must name a folder with mnist/ and its four idx .gz files")
    print(describe("fastapi", "uvicorn", "onnxruntime", "pillow"))
    with tempfile.TemporaryDirectory() as name, LogFiles(Path(name) / "logs") as logs:
        folder = Path(name)
        store = {"LECTERN_STORE_URL": (folder / "store").as_uri()}
        options_of_stack = StackOptions(folder, free_address("127.0.0.1", 0), environment=store)
        with Stack(options_of_stack, logs.emit) as stack, Client(stack.base_url) as client:
            _serve_digits(client)
            _zip_of_pictures(stack.base_url, client, Path(data) / "mnist", folder)
            slowdown = _predictions(stack.base_url, folder, options)
    sys.exit(slowdown > ALLOWED_SLOWDOWN)


def _serve_digits(client: Client) -> None:
    body = {"family": "mlp", "dataset": "digits", "model": "digits", "training": {"epochs": 2}}
    for event in client.events(client.submit(body).id):
        if event.final and event.data["state"] != "succeeded":
            sys.exit(f"the training failed: {event.data}")


def _zip_of_pictures(url: str, client: Client, mnist: Path, folder: Path) -> None:
    images = _idx(mnist / "train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    labels = _idx(mnist / "train-labels-idx1-ubyte.gz", 8)
    path = folder / "mnist.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            file = BytesIO()
            Image.fromarray(image).save(file, "PNG")
            archive.writestr(f"{label}/{number}.png", file.getvalue())
    final_megabytes = images.nbytes / 1e6
    del images
    began = time.perf_counter()
    with _peaks(GATEWAY, READER) as peaks:
        subprocess.run(
            [sys.executable, *UPLOADER, "mnist", f"train={path}", *_target(url)], check=True, stdout=subprocess.DEVNULL
        )
    seconds = time.perf_counter() - began
    record = client.dataset("mnist")
    print(f"zip of {sum(record.counts.values())} PNG, {path.stat().st_size / 1e6:.0f} MB: {seconds:.1f} s")
    print(f"  largest resident memory: reader {peaks[READER]:.0f} MB, gateway {peaks[GATEWAY]:.0f} MB")
    print(f"  the pixels alone are {final_megabytes:.0f} MB")


def _predictions(url: str, folder: Path, options: argparse.Namespace) -> float:
    """Print both percentiles; return their ratio. Quiet and busy take turns, so that both meet the same machine."""
    path = folder / "large.npz"
    count = options.upload_bytes // (28 * 28)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    np.savez(path, images=pixels, labels=np.arange(count, dtype=np.int64) % 10)
    del pixels
    quiet: list[float] = []
    busy: list[float] = []
    seconds: list[float] = []
    with Load(url, options.rate) as load:
        for _ in range(options.rounds):
            time.sleep(WARM_UP_SECONDS)
            quiet += load.during(lambda: time.sleep(options.quiet_seconds))
            began = time.perf_counter()
            busy += load.during(lambda: _upload(url, path))
            seconds.append(time.perf_counter() - began)
            with Client(url) as client:
                client.delete_dataset("large")
    uploaded = (
        f"{options.rounds} uploads of {path.stat().st_size / 1e9:.2f} GB, {statistics.median(seconds):.1f} s each"
    )
    ratio = _told(f"during {uploaded}", busy) / _told("in quiet", quiet)
    print(f"  p99 during an upload is {ratio:.2f} × quiet; at most {ALLOWED_SLOWDOWN:g} × is allowed")
    return ratio


def _upload(url: str, path: Path) -> None:
    command = [sys.executable, *UPLOADER, "large", f"train={path}", *_target(url)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _told(when: str, answers: list[float]) -> float:
    """Print the percentiles; return the 99th, in milliseconds."""
    cuts = statistics.quantiles(answers, n=1000)
    p50, p99, p999 = (1000 * cuts[number - 1] for number in (500, 990, 999))
    print(f"predictions {when}: p50 {p50:.2f} ms, p99 {p99:.2f} ms, p99.9 {p999:.2f} ms, {len(answers)} answers")
    return p99


@dataclass
class Load:
    """Predictions at a steady rate, each due at its moment: one that waits for its turn counts from when it was due."""

    url: str
    rate: float
    answers: list[float] = field(default_factory=list[float])
    _stop: threading.Event = field(default_factory=threading.Event)
    _own: threading.local = field(default_factory=threading.local)

    def __enter__(self) -> Self:
        self._threads = ThreadPoolExecutor(CONNECTIONS, initializer=self._connect)
        self._pacer = threading.Thread(target=self._pace, daemon=True)
        self._pacer.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._pacer.join()
        self._threads.shutdown()

    def during(self, work: Callable[[], None]) -> list[float]:
        """Return the seconds that answers took while ``work`` ran."""
        self.answers.clear()
        work()
        return self.answers.copy()

    def _connect(self) -> None:
        self._own.connection = HTTPConnection(self.url.removeprefix("http://"))
        self._own.connection.connect()
        self._own.connection.sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)

    def _pace(self) -> None:
        due = time.perf_counter()
        while not self._stop.is_set():
            due += 1 / self.rate
            time.sleep(max(0.0, due - time.perf_counter()))
            self._threads.submit(self._ask, due)

    def _ask(self, due: float) -> None:
        connection: HTTPConnection = self._own.connection
        connection.request("POST", "/v1/models/digits/classify", ZERO_IMAGE, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status == HTTPStatus.OK:
            self.answers.append(time.perf_counter() - due)


@contextmanager
def _peaks(*names: bytes) -> Generator[dict[bytes, float]]:
    """Watch the resident memory of processes whose command line holds one of ``names``; megabytes."""
    peaks = dict.fromkeys(names, 0.0)
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(POLL_SECONDS):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    words = (process / "cmdline").read_bytes()
                    status = (process / "status").read_text() if any(name in words for name in names) else ""
                except OSError:
                    continue
                for name in names:
                    if name in words and "VmHWM:" in status:
                        kilobytes = int(status.partition("VmHWM:")[2].split()[0])
                        peaks[name] = max(peaks[name], kilobytes * 1024 / 1e6)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        stop.set()
        thread.join()


def _target(url: str) -> tuple[str, ...]:
    return ("--kind", "images", "--url", url)


def _idx(path: Path, header_bytes: int) -> np.ndarray:
    return np.frombuffer(gzip.decompress(path.read_bytes())[header_bytes:], np.uint8)


if __name__ == "__main__":
    main()
