"""A real Redis for the tests of job records, and a way to submit jobs as the gateway does."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from app.cli.embedded_redis import find_server
from models.contract.jobs import JobKeys, JobRequest, Priority
from workers.claims import JobRef, connect


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Return the URL of a server that lives as long as the tests."""
    with tempfile.TemporaryDirectory(prefix="lectern-") as folder:
        socket = Path(folder) / "redis.sock"
        command = [find_server(), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            url = f"unix://{socket}?db=0"
            connect(url).ping()
            yield url
            server.terminate()


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """Return a client of an empty database."""
    client = connect(redis_url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def submit(redis: Redis) -> Callable[..., JobRef]:
    """Return a function that records a queued job."""

    def record(
        job_id: str = "job_1", device: str = "auto", priority: Priority = Priority.NORMAL, **fields: str
    ) -> JobRef:
        ref = JobRef("default", job_id)
        request = JobRequest(
            family="mlp",
            dataset="digits",
            model="digits",
            training={"device": device},
            priority=priority,
            project="default",
            dataset_digest="sha256:" + "0" * 64,
        )
        start = {"request": request.model_dump_json(), "state": "queued", "attempt": "0", "max_attempts": "2"}
        for field, value in {**start, **fields}.items():
            redis.hset(ref.keys[0], field, value)
        redis.sadd(JobKeys("default").active(), job_id)
        return ref

    return record
