"""The Redis side of retention: which jobs have ended, and how their checkpoints and records go. ``retention.py`` calls.

Each removal is one step in Redis that looks again: the job is final, it ended long enough ago, and no job that is not
final goes on from it. The gateway makes a job that resumes another in one step, too, which looks for the checkpoint
(``SUBMIT`` in ``app/scripts.py``). So whichever of the two comes second sees the other: the checkpoint stays for the
new job, or the new job is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from redis import Redis

from models.contract.jobs import FINAL_STATES, JobKeys
from models.contract.transitions import MOVE

QUEUE_ID = "lectern:id"
JOBS_PER_READ = 200

# KEYS: those of ``JobKeys.transition``, then the index. ARGV: job id · ended at this time or before · prefix of the job
# keys · '1' to change nothing · then what the script adds. Goes on only for a job that may lose something.
_LOOK = """
local job = redis.call('HMGET', KEYS[1], 'state', 'finished', 'checkpoint', 'idempotency_key')
if job[1] ~= 'succeeded' and job[1] ~= 'failed' and job[1] ~= 'cancelled' then return 0 end
if not job[2] or job[2] > ARGV[2] then return 0 end
for _, id in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  if redis.call('HGET', ARGV[3] .. id, 'resumed_from') == ARGV[1] then return 0 end
end
"""

# ARGV adds: path of the checkpoint.
DROP_CHECKPOINT = f"""{_LOOK}
if job[3] ~= ARGV[5] then return 0 end
if ARGV[4] ~= '1' then redis.call('HDEL', KEYS[1], 'checkpoint') end
return 1
"""

# ARGV adds: prefix of the idempotency keys. A record that still names a checkpoint stays.
EXPIRE = f"""{MOVE}{_LOOK}
if ARGV[4] == '1' then return 1 end
if job[3] then return 0 end
forget()
redis.call('DEL', KEYS[1], KEYS[2], KEYS[4])
redis.call('ZREM', KEYS[7], ARGV[1])
if job[4] then
  local named = redis.call('GET', ARGV[5] .. job[4])
  if named and string.match(named, '^%S+ (%S+)$') == ARGV[1] then redis.call('DEL', ARGV[5] .. job[4]) end
end
return 1
"""


@dataclass(frozen=True)
class Ended:
    """A job that is final: when it ended, and where its last checkpoint lies."""

    finished: datetime
    checkpoint: str | None


@dataclass(frozen=True)
class Records:
    """The jobs of a project as Redis knows them. One that is known and not ``ended`` is left alone.

    ``resumed`` are the jobs that others go on from which are not final.
    """

    known: frozenset[str]
    ended: Mapping[str, Ended]
    resumed: frozenset[str]


class Expiry:
    """The records of one project's jobs."""

    def __init__(self, redis: Redis, project: str, *, dry_run: bool = False) -> None:
        """Keep where the records are, and whether they stay as they are."""
        self._redis = redis
        self._project = project
        self._keys = JobKeys(project)
        self._dry_run = dry_run

    def records(self, further: Iterable[str] = ()) -> Records:
        """Return the records of all jobs, those of the ids in ``further`` included if there are any."""
        indexed = cast("list[str]", self._redis.zrange(self._keys.index(), 0, -1))
        active = cast("set[str]", self._redis.smembers(self._keys.active()))
        known: set[str] = set()
        ended: dict[str, Ended] = {}
        resumed: set[str] = set()
        for job_id, fields in self._fields(sorted({*indexed, *active, *further})):
            if not any(fields):
                continue
            known.add(job_id)
            end = self._ended(job_id, fields)
            if end is not None and job_id not in active:
                ended[job_id] = end
            elif fields[3]:
                resumed.add(fields[3])
        return Records(frozenset(known), ended, frozenset(resumed))

    def drop_checkpoint(self, job_id: str, path: str, before: datetime) -> bool:
        """Let the record name no checkpoint any more, if the job ended by ``before``; return whether it does not."""
        return self._run(DROP_CHECKPOINT, job_id, before, path)

    def expire(self, job_id: str, before: datetime) -> bool:
        """Remove the record, events, log and idempotency key of a job that ended by ``before``; return whether."""
        return self._run(EXPIRE, job_id, before, self._keys.idempotency(""))

    def payload_bytes(self, job_id: str) -> int:
        """Return what a job takes up in Redis."""
        own = (self._keys.job(job_id), self._keys.events(job_id), self._keys.logs(job_id))
        return sum(self._redis.memory_usage(key) or 0 for key in own)

    def _fields(self, ids: list[str]) -> Iterator[tuple[str, list[str | None]]]:
        for start in range(0, len(ids), JOBS_PER_READ):
            some = ids[start : start + JOBS_PER_READ]
            with self._redis.pipeline(transaction=False) as pipeline:
                for job_id in some:
                    pipeline.hmget(
                        self._keys.job(job_id), ["state", "finished", "checkpoint", "resumed_from", "request"]
                    )
                yield from zip(some, cast("list[list[str | None]]", pipeline.execute()), strict=True)

    def _ended(self, job_id: str, fields: list[str | None]) -> Ended | None:
        """Return how a job ended; None while it has not, or where that is told in a way of another Lectern."""
        state, finished, checkpoint, *_ = fields
        own = f"{self._project}/jobs/{job_id}/checkpoints/"
        if state not in FINAL_STATES or finished is None or not (checkpoint or own).startswith(own):
            return None
        try:
            moment = datetime.fromisoformat(finished)
        except ValueError:
            return None
        return None if moment.tzinfo is None else Ended(moment, checkpoint)

    def _run(self, script: str, job_id: str, before: datetime, *arguments: str) -> bool:
        keys = [*self._keys.transition(job_id), self._keys.index()]
        moment = before.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        dry = "1" if self._dry_run else ""
        return self._redis.eval(script, len(keys), *keys, job_id, moment, self._keys.job(""), dry, *arguments) == 1


def projects(redis: Redis) -> set[str]:
    """Return the projects that have jobs."""
    found = {key.split(":")[1] for key in cast("Iterable[str]", redis.scan_iter(match=JobKeys("*").index()))}
    return {project for project in found if redis.exists(JobKeys(project).index())}
