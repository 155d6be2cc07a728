"""A job's record as its worker writes it: every write is a Lua compare-and-set that checks the claim's token.

Keys, fields and events are described in ``models/contract/jobs.py``. A writer whose token is no longer the
job's gets :class:`LeaseLost` and must stop: a newer attempt owns the job.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import orjson
import structlog
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
START_RETRIES = 3
"""Of what a person has just started: it says soon that there is no Redis; what runs is more patient."""

PATIENT_RETRIES = 24
"""Of a trainer, which has more to lose: some forty seconds until it gives up a Redis that refuses connections."""

EVENTS_PER_READ = 1_000

log = structlog.get_logger()


def connect(redis_url: str, retries: int = RETRIES) -> Redis:
    """Return a client that rides out a restart of Redis, by default one of some seven seconds.

    Raises:
        ValueError: the URL is none of Redis. It may hold a password and is not repeated, nor are pieces of it.
    """
    try:
        return Redis.from_url(
            redis_url,
            socket_timeout=10,
            socket_connect_timeout=5,
            health_check_interval=10,
            retry=Retry(ExponentialBackoff(cap=2, base=0.05), retries),
            retry_on_error=[RedisConnectionError, RedisTimeoutError],
            decode_responses=True,
        )
    except ValueError:
        message = "LECTERN_REDIS_URL cannot be read; write redis://[:password@]host:6379/0."
        raise ValueError(message) from None


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
    def take(cls, redis: Redis, ref: JobRef, lease_seconds: float, worker: str = "") -> Claim | None:
        """Claim a queued job for ``worker`` (as people find it); return None when it is not queued any more."""
        token = secrets.token_hex(16)
        arguments = [token, int(lease_seconds * 1000), now(), EVENTS_KEPT, ref.job_id, worker]
        attempt = cast("int", _run(redis, scripts.CLAIM, ref, *arguments))
        if not attempt:
            return None
        _tell(ref, JobState.RUNNING, attempt=attempt, worker=worker)
        return cls(redis, ref, token, attempt)

    def request(self) -> JobRequest:
        """Return what was submitted."""
        return request_of(self._redis, self.ref)

    def field(self, name: str) -> str | None:
        """Return one field of the job's hash."""
        return self.field_of(self.ref, name)

    def field_of(self, ref: JobRef, name: str) -> str | None:
        """Return one field of another job's hash."""
        return cast("str | None", self._redis.hget(ref.keys[0], name))

    def renew(self, lease_seconds: float) -> bool:
        """Extend the lease; return whether the owner asked for cancellation."""
        return self._fenced(scripts.RENEW, int(lease_seconds * 1000)) == 1

    def look(self) -> tuple[JobState, bool]:
        """Return the state of the job and whether its owner asked for cancellation.

        Raises:
            LeaseLost: there is no such job any more.
        """
        state, asked = cast("list[str | None]", self._redis.hmget(self.ref.keys[0], ("state", "cancel_requested")))
        if state is None:
            message = f"The record of job {self.ref.job_id} is gone; its attempt {self.attempt} stops."
            raise LeaseLost(message)
        return JobState(state), asked == "1"

    def progress(self, progress: Progress) -> None:
        """Record and announce how far the job is."""
        self._fenced(scripts.REPORT, "progress", progress.model_dump_json(), EVENTS_KEPT, "progress")

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Announce the metrics of a finished epoch."""
        data = orjson.dumps({"epoch": epoch, "metrics": dict(metrics)}).decode()
        self._fenced(scripts.REPORT, "epoch", data, EVENTS_KEPT, "")

    def log(self, line: str) -> None:
        """Keep a line of the trainer's output, and announce it unless the claim has ended."""
        data = orjson.dumps({"line": line}).decode()
        self._fenced(scripts.LOG, data, EVENTS_KEPT, line, LOG_LINES)

    def events(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield the ids and fields of the job's events so far, read in pieces."""
        after = "-"
        while found := cast(
            "list[tuple[str, dict[str, str]]]", self._redis.xrange(self.ref.keys[1], min=after, count=EVENTS_PER_READ)
        ):
            yield from found
            after = f"({found[-1][0]}"

    def log_text(self) -> str:
        """Return the lines that the job's trainers wrote so far."""
        return "".join(f"{line}\n" for line in cast("list[str]", self._redis.lrange(self.ref.keys[3], 0, -1)))

    def checkpoint(self, path: str) -> None:
        """Record where the newest checkpoint lies."""
        self._fenced(scripts.KEEP, "checkpoint", path)

    def exporting(self) -> None:
        """Move the job from running to exporting."""
        self._fenced(scripts.EXPORTING, *self._moment())
        _tell(self.ref, JobState.EXPORTING, attempt=self.attempt)

    def publishing(self) -> bool:
        """Pass the point of no return; return False when cancellation was asked for first."""
        return self._fenced(scripts.PUBLISHING) == 1

    def succeed(self, model: str, version: int) -> None:
        """End the job with a published version and tell the gateways."""
        changed = f"{self.ref.project}/{model}"
        self._fenced(scripts.SUCCEED, *self._moment(), model, version, CHANGED_MODELS, changed)
        _tell(self.ref, JobState.SUCCEEDED, attempt=self.attempt, model=model, version=version)

    def fail(self, error: LecternError) -> None:
        """Say why the job cannot be done; :meth:`release` ends it, once the last line of its log is kept."""
        self._fenced(scripts.KEEP, "failure", _problem(error))

    def stumble(self, error: LecternError) -> None:
        """Say why this attempt ends; :meth:`release` gives the job another, or ends it if there is none."""
        self._fenced(scripts.KEEP, "last_problem", _problem(error))

    def release(self, error: LecternError, *, handed_back: bool = False) -> JobState | None:
        """Give the job up: queued for another attempt, cancelled if asked, failed at the last one.

        Args:
            error: the problem of a last attempt that did not say its own.
            handed_back: the worker was told to stop; this attempt does not count.

        Returns:
            The job's new state, or None when it was not held by this claim or the reaper has to look after it.
        """
        return _release(self._redis, self.ref, self.token, error, handed_back=handed_back)

    def _moment(self) -> tuple[object, ...]:
        return self.ref.job_id, now(), EVENTS_KEPT

    def _fenced(self, script: str, *arguments: object) -> int:
        outcome = _run(self._redis, script, self.ref, self.token, *arguments)
        if outcome == -1:
            message = f"Attempt {self.attempt} of job {self.ref.job_id} no longer owns it; it stops."
            raise LeaseLost(message)
        return cast("int", outcome)


def request_of(redis: Redis, ref: JobRef) -> JobRequest:
    """Return what was submitted as this job."""
    return JobRequest.model_validate_json(cast("str", redis.hget(ref.keys[0], "request")))


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
    if _run(redis, scripts.SUCCEED, ref, "", *moment, model, version, CHANGED_MODELS, changed) != 1:
        return False
    _tell(ref, JobState.SUCCEEDED, model=model, version=version, reason="published by a worker that was lost")
    return True


def _release(
    redis: Redis, ref: JobRef, token: str, error: LecternError, *, settled: bool = False, handed_back: bool = False
) -> JobState | None:
    flags = ("1" if flag else "" for flag in (settled, handed_back))
    arguments = (token, ref.job_id, now(), EVENTS_KEPT, _problem(error), *flags)
    outcome, *problem = cast("list[str]", _run(redis, scripts.RELEASE, ref, *arguments))
    if outcome in ("held", "not_held", "unsettled"):
        return None
    state = JobState(outcome)
    if problem:
        _tell(ref, state, code=orjson.loads(problem[0])["code"])
    else:
        _tell(ref, state, reason="handed back" if handed_back else error.code)
    return state


def _tell(ref: JobRef, state: JobState, **facts: object) -> None:
    """Log a transition: one line each, of the same name wherever it happens."""
    log.info("job_state", project=ref.project, job_id=ref.job_id, state=state.value, **facts)


def _problem(error: LecternError) -> str:
    return orjson.dumps(error.problem()).decode()


def _run(redis: Redis, script: str, ref: JobRef, *arguments: object) -> object:
    return redis.eval(script, len(ref.keys), *ref.keys, *map(str, arguments))
