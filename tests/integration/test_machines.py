"""Workers on several machines, which share Redis and an object store and nothing else.

Each worker has a home, a working folder and a folder for temporary files of its own. Redis is reached over TCP; the
store is S3 as moto emulates it. One machine is lost in the middle of a job; the other ends it as if it had not been.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.cli.address import free_address
from app.cli.embedded_redis import find_server
from app.client import Client, Job
from models.contract.jobs import JobState
from processes import processes_with
from waiting import wait_for, wait_until

pytestmark = pytest.mark.slow

START_SECONDS = 60.0
LEASE_SECONDS = 3.0
JOB: dict[str, Any] = {
    "family": "mlp",
    "dataset": "digits",
    "config": {"hidden_sizes": [32], "dropout": 0.2},
    "training": {"epochs": 60, "batch_size": 32},
}


@dataclass(frozen=True)
class Shared:
    """What the machines share: the environment that names Redis and the store, and the gateway's client."""

    environment: Mapping[str, str]
    client: Client


class Machine:
    """A worker whose files are all in a home of its own."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        """Start the worker."""
        self.home = home
        (home / "tmp").mkdir(parents=True)
        own = {"HOME": str(home), "TMPDIR": str(home / "tmp"), "PATH": os.environ["PATH"]}
        with (home / "worker.log").open("w") as log:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "workers"],
                cwd=home,
                env=own | dict(environment),
                start_new_session=True,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def processes(self) -> dict[int, str]:
        """Return the commands of its processes, by what their environment says."""
        return processes_with(f"HOME={self.home} ")

    def trains(self, job: Job) -> bool:
        """Return whether the newest trainer of ``job`` runs here."""
        return job.worker is not None and int(job.worker.rpartition(":")[2]) in self.processes()

    def vanish(self) -> None:
        """End everything at once, as a power cut does."""
        while found := self.processes():
            for process in found:
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        self._worker.wait()


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    """Return a Redis on a port, an emulator of S3, and a gateway."""
    redis, s3, gateway = (free_address("127.0.0.1", 0) for _ in range(3))
    environment = {
        "LECTERN_REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
        "LECTERN_STORE_URL": "s3://lectern/store",
        "LECTERN_LEASE_SECONDS": str(LEASE_SECONDS),
        "LECTERN_CHECKPOINT_SECONDS": "0.5",
        "LECTERN_TRAINER_THREADS": "1",
        "AWS_ENDPOINT_URL": s3.url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    commands = [
        [find_server(), "--port", str(redis.port), "--save", "", "--dir", str(tmp_path)],
        [sys.executable, "-m", "moto.server", "-p", str(s3.port)],
        [sys.executable, "-m", "app.cli.main", "gateway", "--port", str(gateway.port)],
    ]
    with ExitStack() as running:
        for command in commands:
            running.enter_context(_started(command, os.environ | environment))
            if "moto.server" in command:
                wait_until(lambda: _answers("PUT", f"{s3.url}/lectern"), START_SECONDS)
        wait_until(lambda: _answers("GET", f"{gateway.url}/readyz"), START_SECONDS)
        yield Shared(environment, running.enter_context(Client(gateway.url)))


def test_a_job_outlives_its_machine_and_ends_as_it_would_have(shared: Shared, tmp_path: Path) -> None:
    """Bit for bit; and neither machine kept anything that the other would have needed."""
    machines = [Machine(tmp_path / name, shared.environment) for name in ("one", "other")]
    try:
        client = shared.client
        job = client.submit({**JOB, "model": "moved"})
        begun = wait_for(client, job.id, lambda job: job.state is JobState.RUNNING and job.checkpoint)
        (first,) = [machine for machine in machines if machine.trains(begun)]
        (second,) = [machine for machine in machines if machine is not first]
        first.vanish()
        again = wait_for(client, job.id, lambda job: job.attempt == 2 and job.state is not JobState.QUEUED)
        assert second.trains(again)
        assert wait_for(client, job.id).state is JobState.SUCCEEDED
        assert "resuming on cpu" in client.logs(job.id)
        wait_for(client, client.submit({**JOB, "model": "whole"}).id)
        moved, whole = (client.version(name, 1).sent() for name in ("moved", "whole"))
        assert (moved["curves"], moved["metrics"]) == (whole["curves"], whole["metrics"])
        answer = httpx.post(
            f"{client.base_url}/v1/models/moved/classify", json={"inputs": [[[0.0] * 8] * 8]}, trust_env=False
        )
        assert answer.status_code == httpx.codes.OK
        left = {path.name for machine in machines for path in machine.home.iterdir()}
        assert left <= {"tmp", "worker.log", ".cache"}, "what a job needs lies in Redis and the store"
    finally:
        for machine in machines:
            machine.vanish()


def _started(command: list[str], environment: Mapping[str, str]) -> ExitStack:
    """Return a context in which ``command`` runs, quietly."""
    silent = subprocess.DEVNULL
    process = subprocess.Popen(command, env=dict(environment), stdout=silent, stderr=silent)
    context = ExitStack()
    context.callback(process.wait)
    context.callback(process.terminate)
    return context


def _answers(method: str, url: str) -> bool:
    try:
        return httpx.request(method, url, trust_env=False).is_success
    except httpx.TransportError:
        return False
