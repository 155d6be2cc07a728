"""What Redis, the store and the machine hold of the jobs, read past the gateway when all is over."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

from app.redis_client import TextRedis
from models.artifacts.store import ArtifactStore, ObjectMissing
from models.artifacts.versions import Versions
from models.contract.jobs import JobKeys, JobState
from models.contract.manifest import Manifest

PROJECT = "default"


@dataclass(frozen=True)
class StoredEvent:
    """One event as it stands in the stream of its job."""

    id: str
    kind: str
    data: Mapping[str, object]

    @property
    def at(self) -> float:
        """When Redis took it, in seconds of the wall clock."""
        return int(self.id.partition("-")[0]) / 1000

    @property
    def attempt(self) -> int:
        """The attempt that it belongs to."""
        return int(str(self.data["attempt"]))

    @property
    def state(self) -> JobState | None:
        """The state that it tells, if that is what it tells."""
        return JobState(str(self.data["state"])) if self.kind == "state" else None


@dataclass(frozen=True)
class StoredJob:
    """A job's record and all of its events."""

    fields: Mapping[str, str]
    events: tuple[StoredEvent, ...]

    @property
    def state(self) -> JobState:
        """The state of its record."""
        return JobState(self.fields["state"])

    @property
    def attempts_used(self) -> int:
        """The attempts that count: those handed back by a worker that was told to stop do not."""
        return int(self.fields.get("attempt", "0")) - int(self.fields.get("handed_back", "0"))

    @property
    def checkpoint_step(self) -> int | None:
        """The step of its newest checkpoint, which ends the name of the file."""
        path = self.fields.get("checkpoint")
        return int(path.rpartition("-")[2].removesuffix(".pt")) if path else None


@dataclass(frozen=True)
class StoredVersion:
    """A version that exists, and what is wrong with its files."""

    model: str
    number: int
    job_id: str
    damage: str | None


@dataclass(frozen=True)
class TrainerLife:
    """A trainer that had a job, and when it was seen to run, in seconds of the monotonic clock.

    ``runs`` are the intervals between looks at which it ran, rather than was stopped.
    """

    pid: int
    job_id: str
    runs: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Evidence:
    """All that there is."""

    jobs: Mapping[str, StoredJob]
    versions: tuple[StoredVersion, ...]
    trainers: tuple[TrainerLife, ...]


def collect(redis: TextRedis, store: ArtifactStore, trainers: tuple[TrainerLife, ...]) -> Evidence:
    """Read everything."""
    ids = redis.zrange(JobKeys(PROJECT).index(), 0, -1)
    return Evidence({job_id: stored_job(redis, job_id) for job_id in ids}, tuple(_versions(store)), trainers)


def stored_job(redis: TextRedis, job_id: str) -> StoredJob:
    """Return one job as it stands in Redis."""
    keys = JobKeys(PROJECT)
    entries = redis.xrange(keys.events(job_id))
    events = (StoredEvent(entry, fields["event"], orjson.loads(fields["data"])) for entry, fields in entries)
    return StoredJob(redis.hgetall(keys.job(job_id)), tuple(events))


def active_jobs(redis: TextRedis) -> dict[str, dict[str, str]]:
    """Return the records of the jobs that have not ended."""
    keys = JobKeys(PROJECT)
    ids = sorted(redis.smembers(keys.active()))
    records = ((job_id, redis.hgetall(keys.job(job_id))) for job_id in ids)
    return {job_id: fields for job_id, fields in records if fields}


def _versions(store: ArtifactStore) -> Iterator[StoredVersion]:
    versions = Versions(store, PROJECT)
    for model in versions.models():
        for number in versions.listing(model).versions:
            manifest = versions.manifest(model, number)
            yield StoredVersion(model, number, manifest.job, _damage(store, manifest))


def _damage(store: ArtifactStore, manifest: Manifest) -> str | None:
    """Return what is wrong with the files of a version, None if each is there and is what the manifest says."""
    wanted = {file.path: file.sha256 for file in manifest.files().values()}
    for path, digest in {**wanted, manifest.probe.path: manifest.probe.sha256}.items():
        try:
            data = store.get(path)
        except ObjectMissing:
            return f"{path} is missing"
        if hashlib.sha256(data).hexdigest() != digest:
            return f"{path} has another hash than the manifest says"
    return None
