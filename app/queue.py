"""Training jobs as the gateway sees them: submitted, read, followed and cancelled in Redis.

Keys, fields and events are described in ``models/contract/jobs.py``. The record is the truth; the Celery
message only brings a worker, and a message that is lost is sent again by the reaper.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
import structlog

from app import scripts
from app.figures import JobFigures, ProjectFigures
from app.messages import task_message
from app.redis_client import ANSWER_SECONDS, connect, reachable
from app.schemas import Job
from models.contract.errors import (
    Conflict,
    IdempotencyMismatch,
    JobFinished,
    JobNotFound,
    QueueUnavailable,
    ValidationFailed,
)
from models.contract.jobs import (
    CHANGED_MODELS,
    EVENTS_KEPT,
    LOG_TAIL,
    QUEUES,
    TRAIN_TASK,
    JobKeys,
    JobRequest,
    JobState,
    Progress,
    Waiting,
    waiting_lists,
)
from models.contract.workers import WORKERS, WorkerPresence

STREAMS_LIMIT = 1_000
LISTEN_SECONDS = 60.0
FOLLOW_SECONDS = 0.5
"""How long one read of a stream waits; also how soon an open stream notices that the gateway stops."""

EVENTS_PER_READ = 500
JOBS_PER_READ = 1_000
"""Jobs looked at in one step of Redis, which does nothing else for some milliseconds."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Submission:
    """A validated request, and what makes sending it again the same: the caller's key, the body's digest."""

    request: JobRequest
    idempotency_key: str | None
    digest: str
    resumed_from: str | None = None


@dataclass(frozen=True)
class JobFilter:
    """Which jobs to list; None means any."""

    state: JobState | None = None
    family: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class Event:
    """One event of a job: a growing id, its kind, and JSON."""

    id: str
    kind: str
    data: str

    @property
    def last(self) -> bool:
        """Whether no event can follow."""
        return self.kind == "state" and JobState(orjson.loads(self.data)["state"]).final


class JobQueue:
    """The jobs of one project. Every method raises ``QueueUnavailable`` when Redis does not answer."""

    def __init__(self, redis_url: str, project: str, max_attempts: int) -> None:
        """Keep where Redis is; nothing connects before it is asked.

        Raises:
            ValueError: the URL is none of Redis.
        """
        self._project = project
        self._max_attempts = max_attempts
        self._keys = JobKeys(project)
        self._redis = connect(redis_url, ANSWER_SECONDS)
        # Open event streams hold a connection each; they must not use up those of everybody else.
        self._streams = connect(redis_url, FOLLOW_SECONDS + ANSWER_SECONDS, STREAMS_LIMIT)
        self._submit = self._redis.register_script(scripts.SUBMIT)
        self._cancel = self._redis.register_script(scripts.CANCEL)
        self._page = self._redis.register_script(scripts.PAGE)
        self._look = self._redis.register_script(scripts.LOOK)

    async def close(self) -> None:
        """Close every connection."""
        await self._redis.aclose()
        await self._streams.aclose()

    async def earlier(self, key: str | None, digest: str) -> Job | None:
        """Return the job that was submitted with this idempotency key, or None.

        Raises:
            IdempotencyMismatch: the key was used with another body.
        """
        if key is None:
            return None
        with reachable():
            found = await self._redis.get(self._keys.idempotency(key))
        if found is None:
            return None
        earlier_digest, job_id = found.split(" ")
        if earlier_digest != digest:
            raise _mismatch(job_id)
        return await self.read(job_id)

    async def submit(self, submission: Submission) -> Job:
        """Write the job and bring a worker; the same idempotency key and body return the same job.

        Raises:
            IdempotencyMismatch: the key was used with another body.
            Conflict: the checkpoint that it was to go on from has just expired.
        """
        milliseconds = time.time_ns() // 1_000_000
        job_id = scripts.new_job_id(milliseconds)
        key = submission.idempotency_key
        fields: dict[str, str] = {
            "request": submission.request.model_dump_json(),
            "state": JobState.QUEUED.value,
            "attempt": "0",
            "max_attempts": str(self._max_attempts),
            "created": _now(),
            "resumed_from": submission.resumed_from or "",
            "idempotency_key": key or "",
            "queue": submission.request.waiting.queue,
            "family": submission.request.family,
            "model": submission.request.model,
        }
        keys = [self._keys.job(job_id), self._keys.index(), self._keys.active(), self._keys.events(job_id)]
        keys += [self._keys.figures()]
        keys += [self._keys.idempotency(key)] if key else []
        older = self._keys.job(submission.resumed_from) if submission.resumed_from else ""
        flat = [text for name, value in fields.items() if value for text in (name, value)]
        with reachable():
            outcome, found = await self._submit(
                keys=keys, args=[job_id, milliseconds, EVENTS_KEPT, submission.digest, older, *flat]
            )
        if outcome == "mismatch":
            raise _mismatch(found)
        if outcome == "expired":
            raise Conflict(
                f"Job {submission.resumed_from} has no checkpoint any more; submit it anew with POST /v1/jobs."
            )
        if outcome == "written":
            log.info("job_state", project=self._project, job_id=job_id, state=JobState.QUEUED.value)
            await self._bring_worker(job_id, submission.request.waiting)
        return await self.read(found)

    async def read(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            JobNotFound: there is none with this id.
        """
        fields: dict[str, str] = {}
        if scripts.is_job_id(job_id):
            with reachable():
                fields = await self._redis.hgetall(self._keys.job(job_id))
        if not fields:
            raise JobNotFound.named("job", job_id)
        return _job(job_id, fields)

    async def show(self, job_id: str) -> Job:
        """Return a job with the last lines of its log.

        Raises:
            JobNotFound: there is none with this id.
        """
        job = await self.read(job_id)
        with reachable():
            lines: list[str] = await self._redis.lrange(self._keys.logs(job_id), -LOG_TAIL, -1)
        return job.model_copy(update={"log": lines})

    async def list(self, wanted: JobFilter, limit: int, after: str | None) -> tuple[list[Job], str | None]:
        """Return up to ``limit`` jobs, newest first, and the cursor of the rest.

        A page begins behind the job that ``after`` names, also when that has expired since.

        Raises:
            ValidationFailed: ``after`` is no cursor of this list.
        """
        found: list[Job] = []
        with reachable():
            while len(found) <= limit:
                last, jobs = await self._look_behind(after, wanted, limit + 1 - len(found))
                if not last:
                    return found, None
                found += jobs
                after = last
        return found[:limit], found[limit - 1].id

    async def active(self) -> list[Job]:
        """Return the jobs that are not final."""
        with reachable():
            ids = await self._redis.smembers(self._keys.active())
            records = [(job_id, await self._redis.hgetall(self._keys.job(job_id))) for job_id in ids]
        return [_job(job_id, fields) for job_id, fields in records if fields]

    async def cancel(self, job_id: str) -> Job:
        """End a queued job, or ask the worker of a running one to stop; asking twice is no error.

        Raises:
            JobFinished: the job ended otherwise, or its version is being published.
        """
        await self.read(job_id)
        with reachable():
            outcome = await self._cancel(keys=self._keys.transition(job_id), args=[job_id, _now(), EVENTS_KEPT])
        if outcome == "ended":
            log.info("job_state", project=self._project, job_id=job_id, state=JobState.CANCELLED.value)
        elif outcome == "publishing":
            raise JobFinished(f"Job {job_id} is being published and can no longer be cancelled.")
        elif outcome != "ok":
            raise JobFinished(f"Job {job_id} already {outcome}; only a job that has not ended can be cancelled.")
        return await self.read(job_id)

    async def figures(self, projects: Collection[str]) -> JobFigures:
        """Return the figures of the jobs of ``projects``, which need not be those of this one, all of one moment.

        Workers and the messages of the queues are those of all projects.
        """
        lists = [(queue, key) for queue in QUEUES for key in waiting_lists(queue)]
        own = [key for keys in map(JobKeys, projects) for key in (keys.figures(), keys.leases())]
        keys = [WORKERS, *(key for _, key in lists), *own]
        with reachable():
            workers, lengths, found = await self._look(keys=keys, args=[len(lists)])
        messages: dict[str, int] = dict.fromkeys(QUEUES, 0)
        for (queue, _), length in zip(lists, lengths, strict=True):
            messages[queue] += length
        return JobFigures(
            projects={project: _figures(*told) for project, told in zip(projects, found, strict=True)},
            workers=tuple(WorkerPresence.model_validate_json(worker) for worker in workers),
            messages=messages,
        )

    async def logs(self, job_id: str) -> str:
        """Return the lines that the job's trainer wrote.

        Raises:
            JobNotFound: there is none with this id.
        """
        await self.read(job_id)
        with reachable():
            lines: list[str] = await self._redis.lrange(self._keys.logs(job_id), 0, -1)
        return "".join(f"{line}\n" for line in lines)

    async def events(self, job_id: str, after: str) -> AsyncIterator[list[Event]]:
        """Yield what happened after the event ``after`` and what happens then, until the job has ended.

        An empty list is yielded about every ``FOLLOW_SECONDS`` in which nothing happens.
        """
        key = self._keys.events(job_id)
        while True:
            # Read before the events: a job that is final here has written its last event already.
            ended = (await self.read(job_id)).state.final
            with reachable():
                block = None if ended else int(FOLLOW_SECONDS * 1000)
                answer = await self._streams.xread({key: after}, count=EVENTS_PER_READ, block=block)
            entries: list[tuple[str, dict[str, str]]] = answer[0][1] if answer else []
            found = [Event(event_id, fields["event"], fields["data"]) for event_id, fields in entries]
            if not found and ended:
                return
            yield found
            if found and found[-1].last:
                return
            after = found[-1].id if found else after

    async def changes(self) -> AsyncIterator[str | None]:
        """Yield the names of models whose versions or aliases change; None at first, for what was missed."""
        prefix = f"{self._project}/"
        with reachable():
            async with self._streams.pubsub() as subscription:
                await subscription.subscribe(CHANGED_MODELS)
                yield None
                while True:
                    message = await subscription.get_message(ignore_subscribe_messages=True, timeout=LISTEN_SECONDS)
                    if message and message["data"].startswith(prefix):
                        yield message["data"].removeprefix(prefix)

    async def ping(self) -> None:
        """Return when Redis has answered."""
        with reachable():
            await self._redis.ping()

    async def announce(self, model: str) -> None:
        """Tell every gateway that versions or aliases of ``model`` changed."""
        with reachable():
            await self._redis.publish(CHANGED_MODELS, f"{self._project}/{model}")

    async def _look_behind(self, after: str | None, wanted: JobFilter, count: int) -> tuple[str, list[Job]]:
        """Return the last of the next jobs behind ``after``, and up to ``count`` of them that are wanted.

        The place is found anew each time: jobs come and go between two reads.
        """
        milliseconds = 0 if after is None else scripts.milliseconds_of(after)
        if milliseconds is None:
            raise ValidationFailed.at("/after", "is no cursor of this list; pass `next` of the page before")
        filters = [wanted.state or "", wanted.family or "", wanted.model or ""]
        arguments = [after or "", milliseconds, JOBS_PER_READ, count, self._keys.job(""), *filters]
        last, *records = orjson.loads(await self._page(keys=[self._keys.index()], args=arguments))
        return last, [_job(job_id, fields) for job_id, fields in records]

    async def _bring_worker(self, job_id: str, waiting: Waiting) -> None:
        try:
            with reachable():
                await self._redis.lpush(waiting.key, task_message(TRAIN_TASK, [self._project, job_id], waiting))
        except QueueUnavailable as error:
            # The job is written; the reaper sends the message again.
            log.warning("message_not_sent", job_id=job_id, reason=error.detail)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _mismatch(job_id: str) -> IdempotencyMismatch:
    return IdempotencyMismatch(f"This Idempotency-Key came with another body before, for job {job_id}; use a new key.")


def _job(job_id: str, fields: Mapping[str, str]) -> Job:
    request = JobRequest.model_validate_json(fields["request"])
    # Whoever wrote the record has checked it; to check again would be most of the time that a list takes.
    return Job.model_construct(
        id=job_id,
        state=JobState(fields["state"]),
        attempt=max(1, int(fields.get("attempt", "0"))),
        family=request.family,
        dataset=request.dataset,
        dataset_digest=request.dataset_digest,
        further_datasets=request.further_datasets,
        model=request.model,
        priority=request.priority,
        queue=request.waiting.queue,
        worker=fields.get("worker"),
        config=request.config,
        training=request.training,
        export=request.export,
        progress=Progress.model_validate_json(fields["progress"]) if fields.get("progress") else Progress(),
        created=datetime.fromisoformat(fields["created"]),
        started=_time(fields.get("started")),
        finished=_time(fields.get("finished")),
        error=orjson.loads(fields["error"]) if fields.get("error") else None,
        version=int(fields["version"]) if fields.get("version") else None,
        resumed_from=fields.get("resumed_from") or None,
        cancel_requested=fields.get("cancel_requested") == "1",
        checkpoint="checkpoint" in fields,
    )


def _figures(text: str, age_milliseconds: int) -> ProjectFigures:
    flat = text.split(" ") if text else []
    numbers = {name: int(number) for name, number in zip(flat[::2], flat[1::2], strict=True)}
    return ProjectFigures(numbers, max(0, age_milliseconds) / 1000)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
