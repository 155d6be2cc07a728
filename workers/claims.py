"""A job's record as its worker writes it: every write is a Lua compare-and-set that checks the claim's token.

Keys, fields and events are described in ``models/contract/jobs.py``. A writer whose token is no longer the
job's gets :class:`LeaseLost` and must stop: a newer attempt owns the job.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import orjson
from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from models.contract.errors import LeaseLost, LecternError
from models.contract.jobs import (
    CHANGED_MODELS,
    EVENTS_KEPT,
    LOG_LINES,
    JobKeys,
    JobRequest,
    JobState,
    Progress,
)
from workers import scripts

RETRIES = 8


def connect(redis_url: str) -> Redis:
    """Return a client that rides out a restart of Redis of some ten seconds."""
    return Redis.from_url(
        redis_url,
        socket_timeout=10,
        socket_connect_timeout=5,
        health_check_interval=10,
        retry=Retry(ExponentialBackoff(cap=2, base=0.05), RETRIES),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        decode_responses=True,
    )


def now() -> str:
    """Return the time as RFC 3339 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class JobRef:
    """Which job: the project it belongs to and its id."""

    project: str
    job_id: str

    @property
    def keys(self) -> list[str]:
        """The Redis keys that every script takes."""
        return JobKeys(self.project).transition(self.job_id)


class Claim:
    """The right to work on one job, for as long as the token is the job's."""

    def __init__(self, redis: Redis, ref: JobRef, token: str, attempt: int) -> None:
        """Hold an already taken claim; :meth:`take` makes one."""
        self._redis = redis
        self.ref = ref
        self.token = token
        self.attempt = attempt

    @classmethod
    def take(cls, redis: Redis, ref: JobRef, lease_seconds: float) -> Claim | None:
        """Claim a queued job; return None when it is not queued any more."""
        token = secrets.token_hex(16)
        arguments = [token, int(lease_seconds * 1000), now(), EVENTS_KEPT, ref.job_id]
        attempt = cast("int", _run(redis, scripts.CLAIM, ref, *arguments))
        return cls(redis, ref, token, attempt) if attempt else None

    def request(self) -> JobRequest:
        """Return what was submitted."""
        raw = cast("str", self._redis.hget(self.ref.keys[0], "request"))
        return JobRequest.model_validate_json(raw)

    def field(self, name: str) -> str | None:
        """Return one field of the job's hash."""
        return self.field_of(self.ref, name)

    def field_of(self, ref: JobRef, name: str) -> str | None:
        """Return one field of another job's hash."""
        return cast("str | None", self._redis.hget(ref.keys[0], name))

    def renew(self, lease_seconds: float) -> bool:
        """Extend the lease; return whether the owner asked for cancellation."""
        return self._fenced(scripts.RENEW, int(lease_seconds * 1000)) == 1

    def cancel_requested(self) -> bool:
        """Return whether the owner asked for cancellation, without extending the lease."""
        return self.field("cancel_requested") == "1"

    def progress(self, progress: Progress) -> None:
        """Record and announce how far the job is."""
        data = progress.model_dump_json()
        self._fenced(scripts.REPORT, "progress", data, "progress", EVENTS_KEPT)

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Announce the metrics of a finished epoch."""
        data = orjson.dumps({"epoch": epoch, "metrics": dict(metrics)}).decode()
        self._fenced(scripts.REPORT, "epoch", data, "", EVENTS_KEPT)

    def log(self, line: str) -> None:
        """Keep and announce a line of the trainer's output."""
        data = orjson.dumps({"line": line}).decode()
        self._fenced(scripts.REPORT, "log", data, "", EVENTS_KEPT, line, LOG_LINES)

    def checkpoint(self, path: str) -> None:
        """Record where the newest checkpoint lies."""
        self._fenced(scripts.REPORT, "", path, "checkpoint", EVENTS_KEPT)

    def exporting(self) -> None:
        """Move the job from running to exporting."""
        self._fenced(scripts.EXPORTING, *self._moment())

    def publishing(self) -> bool:
        """Pass the point of no return; return False when cancellation was asked for first."""
        return self._fenced(scripts.PUBLISHING) == 1

    def succeed(self, model: str, version: int) -> None:
        """End the job with a published version and tell the gateways."""
        changed = f"{self.ref.project}/{model}"
        self._fenced(scripts.SUCCEED, *self._moment(), model, version, CHANGED_MODELS, changed)

    def fail(self, error: LecternError) -> None:
        """End the job with a problem."""
        self._fenced(scripts.FINISH, *self._moment(), JobState.FAILED.value, _problem(error))

    def cancelled(self) -> None:
        """End the job as its owner asked."""
        self._fenced(scripts.FINISH, *self._moment(), JobState.CANCELLED.value, "")

    def release(self, error: LecternError) -> JobState | None:
        """Give the job back: queued for another attempt, cancelled if asked, failed with ``error`` at the last.

        Returns:
            The job's new state, or None when it was not held by this claim or the reaper has to look after it.
        """
        return _release(self._redis, self.ref, self.token, error)

    def _moment(self) -> tuple[object, ...]:
        return self.ref.job_id, now(), EVENTS_KEPT

    def _fenced(self, script: str, *arguments: object) -> int:
        outcome = _run(self._redis, script, self.ref, self.token, *arguments)
        if outcome == -1:
            message = f"Attempt {self.attempt} of job {self.ref.job_id} no longer owns it; it stops."
            raise LeaseLost(message)
        return cast("int", outcome)


def reap(redis: Redis, ref: JobRef, error: LecternError, *, settled: bool = False) -> JobState | None:
    """Take a job away from a worker whose lease lapsed; return its new state, or None when it is held or idle.

    At its last attempt and past the point of no return a job fails only if ``settled``: the store was made to hold no
    version of it.
    """
    return _release(redis, ref, "", error, settled=settled)


def complete(redis: Redis, ref: JobRef, model: str, version: int) -> bool:
    """End a job that nobody holds with the version that it published; return False when somebody holds it."""
    moment = (ref.job_id, now(), EVENTS_KEPT)
    changed = f"{ref.project}/{model}"
    return _run(redis, scripts.SUCCEED, ref, "", *moment, model, version, CHANGED_MODELS, changed) == 1


def _release(redis: Redis, ref: JobRef, token: str, error: LecternError, *, settled: bool = False) -> JobState | None:
    arguments = (token, ref.job_id, now(), EVENTS_KEPT, _problem(error), "1" if settled else "")
    outcome = cast("str", _run(redis, scripts.RELEASE, ref, *arguments))
    return None if outcome in ("held", "not_held", "unsettled") else JobState(outcome)


def _problem(error: LecternError) -> str:
    return orjson.dumps(error.problem()).decode()


def _run(redis: Redis, script: str, ref: JobRef, *arguments: object) -> object:
    return redis.eval(script, len(ref.keys), *ref.keys, *map(str, arguments))
