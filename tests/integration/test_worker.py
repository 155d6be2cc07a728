"""One worker alone, as `lectern worker` runs it in a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from models.contract.jobs import JobKeys, JobRequest
from waiting import DEADLINE_SECONDS
from workers.celery_app import make_celery
from workers.claims import JobRef, connect
from workers.settings import WorkerSettings
from workers.tasks import send

if TYPE_CHECKING:
    from integration.conftest import StackClient

LIMIT_SECONDS = 20.0


def test_ctrl_c_ends_a_worker_in_the_middle_of_a_job(stack: StackClient) -> None:
    url, store = stack.redis_url.replace("db=0", "db=1"), (stack.home / "alone").as_uri()
    digest = Datasets(ArtifactStore(store), Catalog()).record("digits").digest
    ref, redis = JobRef("default", "job_1"), connect(url)
    request = JobRequest(
        family="mlp", dataset="digits", model="m", project="default", dataset_digest=digest, training={"epochs": 50_000}
    )
    fields = {"request": request.model_dump_json(), "state": "queued", "attempt": "0", "max_attempts": "5"}
    for name, value in fields.items():
        redis.hset(ref.keys[0], name, value)
    redis.sadd(JobKeys("default").active(), ref.job_id)
    celery = make_celery(WorkerSettings(redis_url=url))
    send(celery, ref)
    celery.close()
    environment = os.environ | {"LECTERN_REDIS_URL": url, "LECTERN_STORE_URL": store}
    command = [sys.executable, "-m", "workers"]
    with subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL) as worker:
        try:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while redis.hget(ref.keys[0], "progress") is None and time.monotonic() < deadline:
                time.sleep(0.05)
            assert redis.hget(ref.keys[0], "progress") is not None
            os.killpg(worker.pid, signal.SIGINT)
            worker.wait(LIMIT_SECONDS)
        finally:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
    redis.close()
