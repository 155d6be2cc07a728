"""What is loaded goes on answering whatever happens to store and Redis, and the gateway says what is wrong."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.cli import embedded_redis
from app.serving.registry import BELIEVED_SECONDS
from gateways import CLASSIFY, IMAGES, Gateway, publisher
from waiting import wait_until

pytestmark = pytest.mark.slow

CARD = "/v1/models/tiny/versions/1"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Redis of its own."""
    program = embedded_redis.program(tmp_path, tmp_path / embedded_redis.SOCKET)
    with subprocess.Popen(program.command, env=os.environ | program.environment, stdout=subprocess.DEVNULL) as server:
        yield server
        server.kill()


@pytest.fixture
def client(tmp_path: Path, redis: subprocess.Popen[bytes]) -> Iterator[httpx.Client]:
    """Return a client of a gateway that has version 1 of ``tiny`` in memory, and version 2 not yet."""
    del redis
    for job in ("job_1", "job_2"):
        publisher(tmp_path).publish(job=job)
    publisher(tmp_path).versions.set_alias("tiny", "production", 1)
    url = embedded_redis.redis_url(tmp_path / embedded_redis.SOCKET)
    with (
        Gateway(tmp_path, LECTERN_PROCESSES="1", LECTERN_REDIS_URL=url) as gateway,
        httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as found,
    ):
        assert answers(found)
        wait_until(lambda: found.get("/readyz").json() == {"status": "ready", "queue": "up", "store": "up"}, 20)
        assert found.get(CARD).json()["problem"] is None
        yield found


@pytest.mark.parametrize("data", [None, b"damaged"], ids=["deleted", "damaged"])
def test_file_that_is_damaged_while_its_version_is_loaded(
    client: httpx.Client, tmp_path: Path, data: bytes | None
) -> None:
    """That version answers, and its card says what will be wrong with it; one not loaded yet is refused."""
    for job in ("job_1", "job_2"):
        file = tmp_path / "store" / publisher(tmp_path).versions.part_path(job, 1, "classifier.onnx")
        if data is None:
            file.unlink()
        else:
            file.write_bytes(data)
    assert answers(client)
    problem = client.get(CARD).json()["problem"]
    assert "is missing from the artifact store" in problem if data is None else "the part 'classifier'" in problem
    refused = client.post(CLASSIFY.replace("/classify", "/versions/2/classify"), json=IMAGES)
    assert (refused.status_code, refused.json()["code"]) == (503, "model_damaged")
    assert problem.removeprefix("default/jobs/job_1/1/") in refused.json()["detail"]
    assert answers(client)


def test_store_that_is_away(client: httpx.Client, tmp_path: Path) -> None:
    """What is loaded answers for longer than a listing is believed; all else says that the store is away."""
    (tmp_path / "store").rename(tmp_path / "away")
    wait_until(lambda: client.get("/readyz").json() == {"status": "ready", "queue": "up", "store": "down"}, 20)
    end = time.monotonic() + 3 * BELIEVED_SECONDS
    while time.monotonic() < end:
        assert answers(client)
    refused = client.get(CARD)
    assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
    other = client.post("/v1/models/other/classify", json=IMAGES)
    assert (other.status_code, other.json()["code"]) == (503, "store_unavailable")
    (tmp_path / "away").rename(tmp_path / "store")
    wait_until(lambda: client.get("/readyz").json()["store"] == "up", 20)
    assert client.get(CARD).json()["problem"] is None
    assert answers(client)


def test_redis_that_is_gone(client: httpx.Client, redis: subprocess.Popen[bytes]) -> None:
    """Predictions and aliases need none; ``/readyz`` and the metrics tell that it is down."""
    redis.kill()
    redis.wait()
    wait_until(lambda: client.get("/readyz").json() == {"status": "ready", "queue": "down", "store": "up"}, 20)
    assert answers(client)
    assert client.put("/v1/models/tiny/aliases/production", json={"version": 2}).status_code == 200
    assert answers(client, "2")
    assert "lectern_queue_up 0.0" in client.get("/metrics").text
    refused = client.get("/v1/jobs")
    assert (refused.status_code, refused.json()["code"]) == (503, "queue_unavailable")


def answers(client: httpx.Client, version: str = "1") -> bool:
    """Return whether a prediction is answered by this version."""
    answer = client.post(CLASSIFY, json=IMAGES)
    return (answer.status_code, answer.headers.get("Lectern-Model-Version")) == (200, version)
