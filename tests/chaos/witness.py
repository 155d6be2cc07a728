"""Looks at the trainers of the cluster several times a second: which of them runs, and for which job.

The record of a job names the process of its newest trainer; a trainer serves one job and ends.
"""

from __future__ import annotations

import threading
import time
from typing import Self

from redis import RedisError

from chaos.cluster import Cluster
from chaos.evidence import TrainerLife, active_jobs
from models.contract.jobs import JobState

LOOK_SECONDS = 0.2
LONGEST_GAP_SECONDS = 1.0
"""Two looks at which a trainer ran make an interval if they lie no further apart."""

AT_WORK = (JobState.RUNNING, JobState.EXPORTING)


class Witness:
    """A thread; a context manager, inside which it looks."""

    def __init__(self, cluster: Cluster) -> None:
        """Look at nothing yet."""
        self._cluster = cluster
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._jobs: dict[int, str] = {}
        self._runs: dict[tuple[int, int], list[tuple[float, float]]] = {}

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def trainers(self) -> tuple[TrainerLife, ...]:
        """Return every trainer that was seen with a job."""
        lives = ((pid, self._jobs.get(pid), runs) for (pid, _), runs in self._runs.items())
        return tuple(TrainerLife(pid, job_id, tuple(runs)) for pid, job_id, runs in lives if job_id)

    def _run(self) -> None:
        with self._cluster.redis() as redis:
            while not self._over.wait(LOOK_SECONDS):
                try:
                    records = active_jobs(redis)
                except RedisError:
                    records = {}
                for job_id, fields in records.items():
                    if "worker" in fields and JobState(fields["state"]) in AT_WORK:
                        self._jobs[int(fields["worker"].rpartition(":")[2])] = job_id
                self._look()

    def _look(self) -> None:
        moment = time.monotonic()
        for process in self._cluster.processes():
            if process.is_trainer and process.pid in self._jobs and process.state not in "Tt":
                runs = self._runs.setdefault((process.pid, process.started), [])
                if runs and moment - runs[-1][1] < LONGEST_GAP_SECONDS:
                    runs[-1] = (runs[-1][0], moment)
                else:
                    runs.append((moment, moment))
