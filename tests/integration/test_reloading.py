"""Versions that are loaded, asked and unloaded hundreds of times, some of them damaged, leave nothing behind."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path

import httpx
import numpy as np
import pytest

from gateways import CLASSIFY, IMAGES, Gateway, publisher

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: only there it is told what a process has alone"),
]

THREADS = 32
CYCLES, WARM, LARGEST_SLOPE_BYTES = 500, 100, 2048
DAMAGED = {
    "changed": "the bytes of the part 'classifier' are not those that were published",
    "unreadable": "the part 'classifier' cannot be read",
    "different": "differs by",
    "missing": "is missing from the artifact store",
}


def test_five_hundred_loads_leave_nothing_behind(tmp_path: Path) -> None:
    """The memory that the process has alone grows by less than 2 KB a cycle, and no descriptor stays open."""
    publisher(tmp_path).publish()
    for number, name in enumerate(DAMAGED):
        publisher(tmp_path).publish(model=name, job=f"job_{name}", scale=2.0 + number)
        damage(tmp_path, name)
    with Gateway(tmp_path, LECTERN_PROCESSES="1") as gateway:
        # Every thread takes some memory of its own when it first runs: bounded, and no business of a cycle.
        with ThreadPoolExecutor(THREADS) as threads:
            for _ in threads.map(lambda _: once(gateway), range(10 * THREADS)):
                pass
        taken = list(taken_by(gateway, CYCLES))
    memory, descriptors = np.array(taken[WARM:]).T
    slope = float(np.polyfit(np.arange(len(memory)), memory, 1)[0])
    print(f"{slope:.0f} bytes a cycle, {memory[0]} to {memory[-1]} bytes; {set(descriptors)} descriptors")  # noqa: T201 - the figures, with -s
    assert slope <= LARGEST_SLOPE_BYTES
    assert max(descriptors) - min(descriptors) <= 2


def taken_by(gateway: Gateway, cycles: int) -> Iterator[tuple[int, int]]:
    """Load, ask and unload; yield the process's own bytes and its descriptors after each time."""
    damaged = cycle(DAMAGED.items())
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as client:
        for number in range(cycles):
            if number % 10 == 5:
                name, reason = next(damaged)
                answer = client.post(f"/v2/repository/models/{name}/load")
                assert (answer.status_code, reason in answer.text) == (503, True), (number, answer.text)
                client.post(f"/v2/repository/models/{name}/unload").raise_for_status()
                client.get("/metrics").raise_for_status()
            else:
                client.post("/v2/repository/models/tiny/load").raise_for_status()
                client.post(CLASSIFY, json=IMAGES).raise_for_status()
                client.post("/v2/repository/models/tiny/unload").raise_for_status()
                assert client.post(CLASSIFY, json=IMAGES).status_code == 503
            yield own_bytes(gateway.process.pid), len(list(Path(f"/proc/{gateway.process.pid}/fd").iterdir()))


def once(gateway: Gateway) -> None:
    """Have something loaded and asked, whatever comes of it."""
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as client:
        for name in ("tiny", *DAMAGED):
            client.post(f"/v2/repository/models/{name}/load")
            client.post(CLASSIFY, json=IMAGES)
            client.post(f"/v2/repository/models/{name}/unload")


def own_bytes(pid: int) -> int:
    """Return what a process has written to and shares with no other.

    Not what it only reads, as of libraries: that is its own or shared as other processes read them.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty:"))


def damage(folder: Path, name: str) -> None:
    """Damage the only version of a model in the way that its name says."""
    store = folder / "store"
    manifest_file = next(store.glob(f"**/models/{name}/versions/1.json"))
    manifest = json.loads(manifest_file.read_bytes())
    part = manifest["parts"]["classifier"]
    file = store / part["path"]
    match name:
        case "changed":
            file.write_bytes(file.read_bytes()[:-1])
            return
        case "missing":
            file.unlink()
            return
        case "unreadable":
            file.write_bytes(file.read_bytes()[:-100])
        case _:
            file.write_bytes((store / "default/jobs/job_1/1/classifier.onnx").read_bytes())
    part["sha256"], part["payload_bytes"] = hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_size
    manifest_file.write_text(json.dumps(manifest))
