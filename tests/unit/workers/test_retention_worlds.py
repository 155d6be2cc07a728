"""Retention over random worlds: what can be reached never goes, the rest does, and a second run finds nothing more.

What can be reached is told here from how the world was made, not from what the code reads.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from models.artifacts.store import ArtifactStore
from models.contract.jobs import JobKeys
from unit.workers.retained import World

DAY = timedelta(days=1)
NOW = 100 * DAY
OLD, MIDDLE, YOUNG = timedelta(0), 90 * DAY, NOW - timedelta(hours=1)
"""Beyond every limit · beyond that of checkpoints and orphans alone · within all limits."""

AGES = st.sampled_from([OLD, MIDDLE, YOUNG])
JOBS = ("job_1", "job_2", "job_3")
FILES = ("1/net.onnx", "1/other.onnx", "2/net.onnx", "2/probe.npz", "checkpoints/1-1.pt", "checkpoints/2-9.pt")
CHECKPOINT = "checkpoints/2-9.pt"
KEYS = JobKeys("default")


@dataclass(frozen=True)
class Job:
    """A job: its record (None: Redis has none), its files with their ages, and how far publishing came."""

    state: str | None
    finished: timedelta
    names_checkpoint: bool
    resumed_from: str
    files: dict[str, timedelta]
    published: str
    attempt: int

    @property
    def final(self) -> bool:
        return self.state in ("succeeded", "failed", "cancelled")

    def named(self) -> set[str]:
        """Return the files that a version is made of, or may be; a whole job where that cannot be read."""
        if self.published in ("marker", "version"):
            return {f"{self.attempt}/{file}" for file in ("net.onnx", "probe.npz", "events.jsonl")}
        return set(self.files) | {"*"} if self.published == "foreign" else set()


@dataclass(frozen=True)
class Described:
    """A world: jobs, whether this Redis has always been the only one, and contents by digest with who names them."""

    jobs: dict[str, Job]
    alone: bool
    contents: dict[str, tuple[timedelta, str]]

    def resumed(self) -> set[str]:
        return {job.resumed_from for job in self.jobs.values() if job.state is not None and not job.final}

    def files(self, *, kept: bool) -> set[str]:
        """Return the files that have to be there after a run, or those that must not."""
        found: set[str] = set()
        for job_id, job in self.jobs.items():
            for file, age in job.files.items():
                if self._stays(job_id, job, file, age) == kept:
                    found.add(f"default/jobs/{job_id}/{file}")
        return found

    def _stays(self, job_id: str, job: Job, file: str, age: timedelta) -> bool:
        alive = job.state is not None and not job.final
        unsure = job.state is None and not self.alone
        if alive or unsure or file in job.named() or (file.startswith("checkpoints/") and job_id in self.resumed()):
            return True
        if job.final and job.names_checkpoint and file == CHECKPOINT:
            return job.finished == YOUNG
        return age == YOUNG


jobs = st.builds(
    Job,
    state=st.sampled_from([None, "queued", "running", "succeeded", "failed", "cancelled", "from another Lectern"]),
    finished=AGES,
    names_checkpoint=st.booleans(),
    resumed_from=st.sampled_from(["", *JOBS]),
    files=st.dictionaries(st.sampled_from(FILES), AGES),
    published=st.sampled_from(["no", "given up", "marker", "version", "deleted", "foreign"]),
    attempt=st.sampled_from([1, 2]),
)
worlds = st.builds(
    Described,
    jobs=st.fixed_dictionaries(dict.fromkeys(JOBS, jobs)),
    alone=st.booleans(),
    contents=st.dictionaries(
        st.sampled_from(["1" * 64, "2" * 64]), st.tuples(AGES, st.sampled_from(["", "default", "theirs"]))
    ),
)


def make(world: World, described: Described) -> None:
    """Let the world be as described."""
    if described.alone:
        world.knows_all()
    else:
        world.store.put("queues/another.json", b"{}")
    for job_id, job in described.jobs.items():
        if job.published in ("marker", "version", "deleted", "foreign"):
            world.publish(job_id, job.attempt, model=f"of-{job_id}")
            _unpublish(world, job_id, job)
        elif job.published == "given up":
            world.store.put(f"default/models/of-{job_id}/by-job/{job_id}.json", b'{"manifest":null}')
        for file, age in job.files.items():
            world.put(f"default/jobs/{job_id}/{file}", at=age)
        if job.state is not None:
            _record(world, job_id, job)
    for digest, (age, project) in described.contents.items():
        world.content(digest, named_in=project or None, at=age)


def _unpublish(world: World, job_id: str, job: Job) -> None:
    version = f"default/models/of-{job_id}/versions/1.json"
    for file in ("net.onnx", "probe.npz", "events.jsonl"):
        world.store.delete(f"default/jobs/{job_id}/{job.attempt}/{file}")
    if job.published == "marker":
        world.store.delete(version)
    elif job.published == "deleted":
        world.store.put(version, orjson.dumps({"job": job_id, "version": 1, "deleted": True}))
    elif job.published == "foreign":
        world.store.put(version, orjson.dumps({"job": job_id, "files": {}}))


def _record(world: World, job_id: str, job: Job) -> None:
    world.ended(job_id, at=job.finished, state=job.state or "", resumed_from=job.resumed_from)
    if job.names_checkpoint:
        world.redis.hset(KEYS.job(job_id), "checkpoint", f"default/jobs/{job_id}/{CHECKPOINT}")
    if not job.final:
        world.redis.sadd(KEYS.active(), job_id)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(described=worlds)
def test_what_can_be_reached_stays_and_a_second_run_finds_nothing_more(redis: Redis, described: Described) -> None:
    """Also: a dry run tells exactly what the run then does."""
    redis.flushall()
    with tempfile.TemporaryDirectory() as folder:
        world = World(redis, ArtifactStore(Path(folder).as_uri()))
        make(world, described)
        foretold = world.run(after=NOW, dry_run=True)
        gone = world.run(after=NOW)
        assert foretold == gone
        assert set(world.files()) == described.files(kept=True)
        assert {name for kind, name in gone if kind in ("files", "checkpoints")} >= described.files(kept=False)
        assert [name for kind, name in world.run(after=NOW) if kind != "left"] == []
        _check_records(world, described)
        contents = {stored.path for stored in world.store.below("blobs")}
        reached = {digest for digest, (age, project) in described.contents.items() if project or age == YOUNG}
        assert contents == {f"blobs/sha256/{digest}.safetensors" for digest in reached}


def _check_records(world: World, described: Described) -> None:
    for job_id, job in described.jobs.items():
        if job.state is None:
            continue
        resumed = job_id in described.resumed()
        leftover = any(
            described._stays(job_id, job, file, age) and file not in job.named() for file, age in job.files.items()
        )
        expired = job.final and job.finished == OLD and not (resumed or leftover or job.published == "foreign")
        assert bool(world.redis.exists(KEYS.job(job_id))) != expired
        if not expired and job.names_checkpoint:
            names = world.redis.hexists(KEYS.job(job_id), "checkpoint")
            stays = not job.final or job.finished == YOUNG or resumed or job.published == "foreign"
            assert names == stays
