"""Uploads through a real stack: pictures in a zip become a model that answers pictures, and nothing is left behind."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from app.cli.address import free_address
from app.cli.log_files import LogFiles
from app.cli.stack import Stack, StackOptions
from app.client import Client
from processes import processes_with
from waiting import wait_for, wait_until

pytestmark = pytest.mark.slow

SIZES = ((16, 16), (16, 16), (24, 12))


class Gateway(Client):
    """A client of a stack of its own, and the folder where that keeps uploads."""

    def __init__(self, stack: Stack, temporary: Path) -> None:
        """Connect to ``stack``."""
        super().__init__(stack.base_url)
        self.home = stack.home
        self.temporary = temporary

    def kept(self) -> list[Path]:
        """Return the folders of uploads that are there; torch keeps things of its own beside them."""
        return list(self.temporary.glob("lectern-*"))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Start a stack whose temporary folder nobody else uses."""
    home, temporary = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("temporary")
    environment = {"LECTERN_STORE_URL": (home / "store").as_uri(), "TMPDIR": str(temporary)}
    options = StackOptions(home, free_address("127.0.0.1", 0), environment=environment)
    with LogFiles(home / "logs") as logs, Stack(options, logs.emit) as stack, Gateway(stack, temporary) as client:
        yield client


def _square(generator: np.random.Generator, label: str, number: int) -> bytes:
    """Return a noisy picture of its label: a bright square on the left or on the right, in various sizes and forms."""
    width, height = SIZES[number % len(SIZES)]
    pixels = generator.integers(0, 60, (height, width, 3), dtype=np.uint8)
    half = slice(0, width // 2) if label == "left" else slice(width // 2, width)
    pixels[:, half] += 150
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG" if number % 5 == 0 else "PNG")
    return file.getvalue()


def _zip(path: Path, count: int) -> Path:
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("squares/.DS_Store", b"x")
        for label in ("left", "right"):
            for number in range(count):
                archive.writestr(f"squares/{label}/{number}.png", _square(generator, label, number))
    return path


def test_zip_of_pictures_becomes_a_model_that_answers_pictures(own: Gateway, tmp_path: Path) -> None:
    """By the command line, as a user does it; pictures of any size are asked about."""
    path = _zip(tmp_path / "squares.zip", 60)
    words = ("datasets", "add", "squares", f"train={path}", "--kind", "images", "--json", "--url", own.base_url)
    added = subprocess.run([sys.executable, "-m", "app.cli.main", *words], capture_output=True, text=True, check=False)
    assert added.returncode == 0, added.stderr
    summary = json.loads(added.stdout)
    assert sum(summary["counts"].values()) == 120
    assert summary["meta"]["classes"] == ["left", "right"]
    assert (summary["meta"]["height"], summary["meta"]["width"], summary["meta"]["channels"]) == (16, 16, 3)
    assert summary["meta"]["ignored_files"] == {"train": 1}
    assert sum(summary["meta"]["class_balance"]["test"].values()) == summary["counts"]["test"]
    assert [item["label"] for item in own.preview("squares", count=2)["items"]] == ["left", "left"]
    body = {"family": "mlp", "dataset": "squares", "model": "squares", "config": {"hidden_sizes": [16]}}
    job = wait_for(own, own.submit({**body, "training": {"epochs": 15}}).id)
    assert job.version == 1, job.sent()
    generator = np.random.default_rng(1)
    for number, label in enumerate(("left", "right") * 3):
        answer = own.predict("squares", "classify", _square(generator, label, number), media_type="image/png")
        assert answer["predictions"][0]["label"] == label
    assert own.kept() == []


def _cut_off(own: Gateway, sent_bytes: int) -> None:
    """Announce ten megabytes, send some, and hang up once they are on disk."""
    head = b'--x\r\nContent-Disposition: form-data; name="train"; filename="a.zip"\r\n\r\n'
    address = own.base_url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1]))) as connection:
        connection.sendall(
            b"POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + head + bytes(sent_bytes)
        )
        wait_until(lambda: any(file.stat().st_size > 2**20 for file in own.temporary.glob("lectern-*/*")), 30)


def test_upload_that_is_cut_off_half_way_leaves_nothing(own: Gateway) -> None:
    _cut_off(own, 5_000_000)
    wait_until(lambda: own.kept() == [], 30)
    assert "half" not in [dataset.name for dataset in own.datasets()]


def _processes(own: Gateway, words: str) -> list[int]:
    """Return the processes of this stack with ``words`` in their command."""
    found = processes_with(words, f"TMPDIR={own.temporary}")
    return [process for process, command in found.items() if "app.cli.guard" not in command]


def _readers(own: Gateway) -> list[int]:
    return _processes(own, "-m models.data.reading_process")


def test_gateway_answers_while_a_large_zip_is_read_and_a_client_that_leaves_ends_it(
    own: Gateway, tmp_path: Path
) -> None:
    """Thousands of pictures take seconds to read; asked every few milliseconds, the gateway is there."""
    path = _zip(tmp_path / "many.zip", 6_000)
    words = ("datasets", "add", "many", f"train={path}", "--kind", "images", "--url", own.base_url)
    with subprocess.Popen([sys.executable, "-m", "app.cli.main", *words]) as uploader:
        wait_until(lambda: _readers(own), 30)
        with httpx.Client(base_url=own.base_url, trust_env=False, timeout=5) as asking:
            for _ in range(50):
                assert asking.get("/livez").status_code == 200
        assert _readers(own), "the reading was over too soon to prove anything"
        uploader.send_signal(signal.SIGINT)
    wait_until(lambda: _readers(own) == [] and own.kept() == [], 30)
    assert "many" not in [dataset.name for dataset in own.datasets()]


def test_preview_and_memory_of_a_large_dataset_stay_small(own: Gateway, tmp_path: Path) -> None:
    """The gateway takes in and looks into 300 MB without ever holding them."""
    count = 300_000_000 // 784
    images = np.zeros((count, 28, 28), np.uint8)
    np.savez(tmp_path / "large.npz", images=images, labels=np.arange(count, dtype=np.int64) % 10)
    own.add_dataset("large", "images", {"train": tmp_path / "large.npz"}, {})
    assert len(own.preview("large", count=5)["items"]) == 5
    assert _largest_resident_bytes(own) < 250_000_000
    own.delete_dataset("large")
    assert list((own.home / "store" / "blobs" / "sha256").glob("*.safetensors")) == _content_of(own, "squares")


def _content_of(own: Gateway, name: str) -> list[Path]:
    known = [dataset.digest for dataset in own.datasets() if dataset.name == name]
    return [own.home / "store" / "blobs" / f"{digest.replace(':', '/')}.safetensors" for digest in known]


def _largest_resident_bytes(own: Gateway) -> int:
    """Return the most that the gateway ever held; where the system does not keep it, what it holds now."""
    (pid,) = _processes(own, "app.cli.main gateway")
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    listing = subprocess.run(["/bin/ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(listing.stdout) * 1024
