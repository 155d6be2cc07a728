"""Uploads are read in a process of their own: its limits, its crashes, and who ends it when nobody waits any more."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from app.dependencies import Services
from app.settings import GatewaySettings
from models.data.kind import UploadedFile

KINDS = {
    "memory": "hoard = [bytearray(2**24) for _ in range(1000)]",
    "processor": "while True: pass",
    "patience": "import time; time.sleep(600)",
    "file": "open(files['train'].path.parent / 'large', 'wb').truncate(2**40)",
    "segfault": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "bug": "print('on stdout'); raise RuntimeError('a mistake of ours')",
    "refusal": "raise InvalidDataset.at('/train', 'is wrong; mend it')",
}
KIND = """
from models.contract.errors import InvalidDataset
from models.data.kind import DatasetKind, SplitOptions

class Kind(DatasetKind):
    name = title = "{name}"
    options = SplitOptions

    def read(self, files, options):
        {does}

    def facts(self, content):
        return {{}}

    def preview(self, content, split, count):
        return []

KIND = Kind()
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Make a package with a dataset kind for everything that can go wrong; return its name."""
    folder = tmp_path_factory.mktemp("packages")
    kinds = folder / "wayward" / "data" / "kinds"
    kinds.mkdir(parents=True)
    for init in (kinds, kinds.parent, kinds.parent.parent):
        (init / "__init__.py").touch()
    for name, does in KINDS.items():
        (kinds / f"{name}.py").write_text(KIND.format(name=name, does=does))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "wayward"


@pytest.fixture
def overrides(package: str) -> dict[str, object]:
    """Return tight limits."""
    return {
        "families": ("models", package),
        "reading_memory_bytes": 2**29,
        "reading_cpu_seconds": 3,
        "reading_slots": 1,
    }


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder in which uploads are kept."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def _left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def _upload(client: httpx.AsyncClient, kind: str, name: str = "x", data: bytes = b"anything") -> httpx.Response:
    return await client.post("/v1/datasets", data={"name": name, "kind": kind}, files={"train": ("a.bin", data)})


@pytest.mark.parametrize(
    ("kind", "status", "code", "words"),
    [
        ("memory", 413, "payload_too_large", "raise LECTERN_READING_MEMORY_BYTES"),
        ("file", 413, "payload_too_large", "raise LECTERN_READING_MEMORY_BYTES"),
        ("processor", 413, "payload_too_large", "raise LECTERN_READING_CPU_SECONDS"),
        ("segfault", 422, "invalid_dataset", "crash (SIGSEGV)"),
        ("killed", 413, "payload_too_large", "ran out of memory"),
        ("refusal", 422, "invalid_dataset", "/train: is wrong; mend it"),
        ("bug", 500, "internal_error", "log names this request's id"),
    ],
)
async def test_reading_that_fails_says_why(
    client: httpx.AsyncClient, temporary: Path, kind: str, status: int, code: str, words: str
) -> None:
    """Which limit, and the setting that raises it; nothing stays behind."""
    answer = await _upload(client, kind)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert words in problem["detail"]
    assert _left_in(temporary) == []
    assert [item["name"] for item in (await client.get("/v1/datasets")).json()["items"]] == [
        "digits",
        "ellipses",
        "sprites",
    ]


class TestImpatience:
    """With little time."""

    @pytest.fixture
    def overrides(self, package: str) -> dict[str, object]:
        return {"families": ("models", package), "reading_seconds": 0.5}

    async def test_reading_that_takes_too_long_is_ended(self, client: httpx.AsyncClient, temporary: Path) -> None:
        answer = await _upload(client, "patience")
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
        assert "0.5 seconds" in answer.json()["detail"]
        assert "LECTERN_READING_SECONDS" in answer.json()["detail"]
        assert _left_in(temporary) == []


async def test_gateway_answers_while_an_upload_is_read(client: httpx.AsyncClient) -> None:
    """Reading takes the processor for a second, and the gateway does not notice."""
    reading = asyncio.create_task(_upload(client, "processor"))
    slowest = 0.0
    answers = 0
    while not reading.done():
        began = time.perf_counter()
        assert (await client.get("/livez")).status_code == 200
        slowest = max(slowest, time.perf_counter() - began)
        answers += 1
        await asyncio.sleep(0.02)
    assert answers > 10
    assert slowest < 1


def _readers() -> list[int]:
    """Return the processes that read uploads and were started by this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes()
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if b"models.data.reading_process" in words and parent == os.getpid():
            found.append(int(path.name))
    return found


async def _until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


linux = pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs Linux, to look for processes")


class _Caller:
    """One request as a server passes it on, whose client can leave at any moment."""

    def __init__(self, app: FastAPI, body: bytes, *, more: bool = False) -> None:
        self._messages: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self._messages.put_nowait({"type": "http.request", "body": body, "more_body": more})
        self.sent: list[MutableMapping[str, Any]] = []
        self.task = asyncio.create_task(self._call(app))

    def leave(self) -> None:
        """Be gone."""
        self._messages.put_nowait({"type": "http.disconnect"})

    async def _call(self, app: FastAPI) -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/datasets",
            "raw_path": b"/v1/datasets",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"content-type", b"multipart/form-data; boundary=x")],
        }

        async def send(message: MutableMapping[str, Any]) -> None:
            self.sent.append(message)

        await app(scope, self._messages.get, send)


def _form(kind: str, data: bytes = b"anything") -> bytes:
    fields = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in {"name": "x", "kind": kind}.items()
    )
    file = b'--x\r\nContent-Disposition: form-data; name="train"; filename="a"\r\n\r\n' + data + b"\r\n"
    return fields.encode() + file + b"--x--\r\n"


@linux
async def test_reading_ends_when_its_client_leaves(gateway: FastAPI, temporary: Path) -> None:
    caller = _Caller(gateway, _form("patience"))
    await _until(_readers)
    assert _left_in(temporary) != []
    caller.leave()
    await asyncio.wait_for(caller.task, 20)
    assert (_readers(), _left_in(temporary)) == ([], [])


@linux
async def test_reading_ends_when_its_request_is_cancelled(gateway: FastAPI, temporary: Path) -> None:
    """As a server does with what is left at the end of its grace."""
    caller = _Caller(gateway, _form("patience"))
    await _until(_readers)
    caller.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller.task
    assert (_readers(), _left_in(temporary)) == ([], [])


async def test_upload_that_is_cut_off_half_way_leaves_nothing(gateway: FastAPI, temporary: Path) -> None:
    """Three megabytes came and were written, then the client vanished."""
    caller = _Caller(gateway, _form("images", bytes(3 * 2**20))[: -(2**20)], more=True)
    await _until(lambda: any(path.stat().st_size > 2**20 for path in temporary.glob("*/*")))
    caller.leave()
    await asyncio.wait_for(caller.task, 20)
    assert _left_in(temporary) == []


@linux
class TestStopping:
    """With a second of grace."""

    @pytest.fixture
    def overrides(self, package: str) -> dict[str, object]:
        return {"families": ("models", package), "shutdown_grace_seconds": 1}

    async def test_reading_is_given_up_when_the_gateway_stops(
        self, gateway: FastAPI, services: Services, temporary: Path
    ) -> None:
        caller = _Caller(gateway, _form("patience"))
        await _until(_readers)
        services.draining.set()
        await asyncio.wait_for(caller.task, 20)
        assert caller.sent[0]["status"] == 503
        assert json.loads(caller.sent[1]["body"])["code"] == "draining"
        assert (_readers(), _left_in(temporary)) == ([], [])


@linux
async def test_readings_take_turns(gateway: FastAPI, settings: GatewaySettings) -> None:
    """One slot: the second upload waits until the first is over, and then has its own."""
    assert settings.reading_slots == 1
    first = _Caller(gateway, _form("patience"))
    await _until(_readers)  # before the second comes: which of two at once is read first is anybody's guess
    second = _Caller(gateway, _form("patience"))
    await asyncio.sleep(0.5)
    (only,) = _readers()
    first.leave()
    await first.task
    await _until(lambda: _readers() not in ([], [only]))
    second.leave()
    await second.task


@linux
async def test_reader_ends_itself_when_its_gateway_was_killed(package: str, tmp_path: Path) -> None:
    """Its input ends, whatever happened to whoever held it."""
    task = {
        "order": {"name": "x", "kind": "patience", "options": {}, "files": {}},
        "families": ["models", package],
        "folder": str(tmp_path),
        "memory_bytes": 2**30,
        "cpu_seconds": 60,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "models.data.reading_process"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(task).encode() + b"\n")
    await process.stdin.drain()
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 20) == -signal.SIGKILL


async def test_content_is_that_of_a_reading_in_this_process(
    client: httpx.AsyncClient, services: Services, tmp_path: Path
) -> None:
    """The child and the function it calls give the same digest."""
    np.savez(tmp_path / "a.npz", images=np.arange(400, dtype=np.uint8).reshape(100, 2, 2), labels=np.arange(100) % 3)
    answer = await _upload(client, "images", data=(tmp_path / "a.npz").read_bytes())
    assert answer.status_code == 201, answer.text
    here = services.datasets.add("y", "images", {}, {"train": UploadedFile("a", tmp_path / "a.npz")})
    assert here.digest == answer.json()["digest"]
