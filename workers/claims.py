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

RETRIES = 8

_CLAIM = """
if redis.call('HGET', KEYS[1], 'state') ~= 'queued' then return 0 end
local now = redis.call('TIME')
local attempt = redis.call('HINCRBY', KEYS[1], 'attempt', 1)
redis.call('HSET', KEYS[1], 'state', 'running', 'token', ARGV[1],
  'lease_expires_ms', now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2])
redis.call('HSETNX', KEYS[1], 'started', ARGV[3])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'event', 'state',
  'data', cjson.encode({state = 'running', attempt = attempt}))
return attempt
"""

_FENCE = """
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return -1 end
"""

_RENEW = f"""{_FENCE}
local now = redis.call('TIME')
redis.call('HSET', KEYS[1], 'lease_expires_ms', now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2])
return redis.call('HGET', KEYS[1], 'cancel_requested') == '1' and 1 or 0
"""

_REPORT = f"""{_FENCE}
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], ARGV[4], ARGV[3]) end
if ARGV[2] == 'log' then
  redis.call('RPUSH', KEYS[3], ARGV[6])
  redis.call('LTRIM', KEYS[3], -tonumber(ARGV[7]), -1)
end
if ARGV[2] ~= '' then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'event', ARGV[2], 'data', ARGV[3])
end
return 1
"""

_EXPORTING = f"""{_FENCE}
redis.call('HSET', KEYS[1], 'state', 'exporting')
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'event', 'state', 'data',
  cjson.encode({{state = 'exporting', attempt = tonumber(redis.call('HGET', KEYS[1], 'attempt'))}}))
return 1
"""

_PUBLISHING = f"""{_FENCE}
if redis.call('HGET', KEYS[1], 'publishing') == '1' then return 1 end
if redis.call('HGET', KEYS[1], 'cancel_requested') == '1' then return 0 end
redis.call('HSET', KEYS[1], 'publishing', '1')
return 1
"""

_FINISH = f"""{_FENCE}
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'finished', ARGV[3])
redis.call('HDEL', KEYS[1], 'token', 'lease_expires_ms')
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'error', ARGV[4]) end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'version', ARGV[5]) end
redis.call('SREM', KEYS[3], ARGV[6])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[8], '*', 'event', 'state', 'data', ARGV[7])
if ARGV[5] ~= '' then redis.call('PUBLISH', ARGV[9], ARGV[10]) end
return 1
"""

# ARGV: token or '' (then only a lapsed lease may be taken away) · now · problem for the last attempt · job id · kept
_RELEASE = """
local job = redis.call('HMGET', KEYS[1], 'state', 'token', 'lease_expires_ms', 'attempt', 'max_attempts',
  'cancel_requested', 'publishing')
if job[1] ~= 'running' and job[1] ~= 'exporting' then return 'not_held' end
if ARGV[1] == '' then
  local now = redis.call('TIME')
  if tonumber(job[3] or '0') > now[1] * 1000 + math.floor(now[2] / 1000) then return 'held' end
elseif job[2] ~= ARGV[1] then return 'not_held' end
redis.call('HDEL', KEYS[1], 'token', 'lease_expires_ms')
local state, data = 'queued', {attempt = tonumber(job[4])}
if job[6] == '1' and job[7] ~= '1' then state = 'cancelled'
elseif tonumber(job[4]) >= tonumber(job[5]) then
  state = 'failed'
  redis.call('HSET', KEYS[1], 'error', ARGV[3])
end
data['state'] = state
redis.call('HSET', KEYS[1], 'state', state)
if state ~= 'queued' then
  redis.call('HSET', KEYS[1], 'finished', ARGV[2])
  redis.call('SREM', KEYS[3], ARGV[4])
end
local event = cjson.encode(data)
-- The problem goes in as it is: decoded and encoded by cjson, its empty lists would become objects.
if state == 'failed' then event = string.sub(event, 1, -2) .. ',"error":' .. ARGV[3] .. '}' end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'event', 'state', 'data', event)
return state
"""


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
        """The Redis keys every script here takes: job, events, and the set of active jobs."""
        names = JobKeys(self.project)
        return [names.job(self.job_id), names.events(self.job_id), names.active()]


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
        arguments = [token, int(lease_seconds * 1000), now(), EVENTS_KEPT]
        attempt = cast("int", redis.eval(_CLAIM, 2, *ref.keys[:2], *arguments))
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
        return self._fenced(_RENEW, 1, int(lease_seconds * 1000)) == 1

    def cancel_requested(self) -> bool:
        """Return whether the owner asked for cancellation, without extending the lease."""
        return self.field("cancel_requested") == "1"

    def progress(self, progress: Progress) -> None:
        """Record and announce how far the job is."""
        data = progress.model_dump_json()
        self._fenced(_REPORT, 2, "progress", data, "progress", EVENTS_KEPT)

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Announce the metrics of a finished epoch."""
        data = orjson.dumps({"epoch": epoch, "metrics": dict(metrics)}).decode()
        self._fenced(_REPORT, 2, "epoch", data, "", EVENTS_KEPT)

    def log(self, line: str) -> None:
        """Keep and announce a line of the trainer's output."""
        names = JobKeys(self.ref.project)
        keys = [*self.ref.keys[:2], names.logs(self.ref.job_id)]
        data = orjson.dumps({"line": line}).decode()
        arguments = [self.token, "log", data, "", EVENTS_KEPT, line, LOG_LINES]
        self._check(self._redis.eval(_REPORT, 3, *keys, *arguments))

    def checkpoint(self, path: str) -> None:
        """Record where the newest checkpoint lies."""
        self._fenced(_REPORT, 2, "", path, "checkpoint", EVENTS_KEPT)

    def exporting(self) -> None:
        """Move the job from running to exporting."""
        self._fenced(_EXPORTING, 2, EVENTS_KEPT)

    def publishing(self) -> bool:
        """Pass the point of no return; return False when cancellation was asked for first."""
        return self._fenced(_PUBLISHING, 1) == 1

    def succeed(self, model: str, version: int) -> None:
        """End the job with a published version and tell the gateways."""
        data: dict[str, object] = {"model": model, "version": version}
        self._finish(JobState.SUCCEEDED, data, version=str(version), changed=f"{self.ref.project}/{model}")

    def fail(self, error: LecternError) -> None:
        """End the job with a problem."""
        self._finish(JobState.FAILED, {"error": error.problem()}, error=error)

    def cancelled(self) -> None:
        """End the job as its owner asked."""
        self._finish(JobState.CANCELLED, {})

    def release(self, error: LecternError) -> JobState | None:
        """Give the job back: queued for another attempt, cancelled if asked, failed with ``error`` at the last.

        Returns:
            The job's new state, or None when it was not held by this claim.
        """
        return _release(self._redis, self.ref, self.token, error)

    def _finish(
        self,
        state: JobState,
        data: dict[str, object],
        *,
        error: LecternError | None = None,
        version: str = "",
        changed: str = "",
    ) -> None:
        event = orjson.dumps({"state": state.value, "attempt": self.attempt, **data}).decode()
        problem = orjson.dumps(error.problem()).decode() if error else ""
        arguments = [
            state.value,
            now(),
            problem,
            version,
            self.ref.job_id,
            event,
            EVENTS_KEPT,
            CHANGED_MODELS,
            changed,
        ]
        self._fenced(_FINISH, 3, *arguments)

    def _fenced(self, script: str, keys: int, *arguments: object) -> int:
        return self._check(self._redis.eval(script, keys, *self.ref.keys[:keys], self.token, *map(str, arguments)))

    def _check(self, outcome: object) -> int:
        if outcome == -1:
            message = f"Attempt {self.attempt} of job {self.ref.job_id} no longer owns it; it stops."
            raise LeaseLost(message)
        return cast("int", outcome)


def reap(redis: Redis, ref: JobRef, error: LecternError) -> JobState | None:
    """Take a job away from a worker whose lease lapsed; return its new state, or None when it is held or idle."""
    return _release(redis, ref, "", error)


def _release(redis: Redis, ref: JobRef, token: str, error: LecternError) -> JobState | None:
    problem = orjson.dumps(error.problem()).decode()
    outcome = cast("str", redis.eval(_RELEASE, 3, *ref.keys, token, now(), problem, ref.job_id, EVENTS_KEPT))
    return None if outcome in ("held", "not_held") else JobState(outcome)
