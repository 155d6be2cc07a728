"""What the nemesis does, a class per fault. A fault looks for something to hit, hits it, and repairs what it broke."""

from __future__ import annotations

import os
import random
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import ClassVar

from redis import RedisError

from chaos.cluster import GATEWAY, REDIS, WORKERS, Cluster
from chaos.crash_points import ALONE, WITH_PARENT, CrashPoints
from chaos.disk import SmallDisk
from chaos.evidence import active_jobs
from chaos.processes import Process, signal_all
from models.contract.jobs import JobState

PATIENCE_SECONDS = 25.0
POLL_SECONDS = 0.05
AT_WORK = (JobState.RUNNING, JobState.EXPORTING)


@dataclass(frozen=True)
class Scene:
    """What a fault may touch."""

    cluster: Cluster
    crash_points: CrashPoints
    disk: SmallDisk | None
    chance: random.Random


@dataclass(frozen=True)
class Held:
    """A job at work, its trainer, and the worker that the trainer belongs to."""

    job_id: str
    trainer: Process


@dataclass(frozen=True)
class Struck:
    """What was hit, and the jobs in its way."""

    target: str
    jobs: tuple[str, ...]
    at: float | None = None
    """When, where that is not when it was over."""


class NothingToHit(Exception):
    """No target came by for as long as the fault waited."""


class Fault(ABC):
    """One kind of fault. Without state: everything is on the scene."""

    name: ClassVar[str]
    needs_disk: ClassVar[bool] = False

    @abstractmethod
    def strike(self, scene: Scene) -> Struck:
        """Break something, and return once it is repaired as far as this fault repairs it.

        Raises:
            NothingToHit: there was no target.
        """


class KillTrainer(Fault):
    """Kill -9 the process that trains."""

    name = "kill -9 the trainer"

    def strike(self, scene: Scene) -> Struck:
        """See above."""
        held = _someone_at_work(scene)
        signal_all([held.trainer], signal.SIGKILL)
        return Struck(f"{held.trainer.piece} pid {held.trainer.pid}", (held.job_id,))


class KillCeleryChild(Fault):
    """Kill -9 the process that supervises the trainer."""

    name = "kill -9 the Celery child"

    def strike(self, scene: Scene) -> Struck:
        """See above."""
        held = _someone_at_work(scene)
        with suppress(ProcessLookupError):
            os.kill(held.trainer.parent, signal.SIGKILL)
        return Struck(f"{held.trainer.piece} pid {held.trainer.parent}", (held.job_id,))


class KillWorker(Fault):
    """Kill -9 a whole worker, its trainers included."""

    name = "kill -9 the whole worker"

    def strike(self, scene: Scene) -> Struck:
        """See above."""
        held = _someone_at_work(scene)
        jobs, moment = _jobs_of(scene, held.trainer.piece), time.monotonic()
        scene.cluster.kill(held.trainer.piece)
        time.sleep(scene.chance.uniform(0.5, 2.0))
        scene.cluster.start(held.trainer.piece)
        return Struck(held.trainer.piece, jobs, moment)


class KillWorkerMain(Fault):
    """Kill -9 the process that takes messages, and nothing of what it started."""

    name = "kill -9 the worker's main process"

    def strike(self, scene: Scene) -> Struck:
        """See above."""
        held = _someone_at_work(scene)
        jobs = _jobs_of(scene, held.trainer.piece)
        scene.cluster.kill_main(held.trainer.piece)
        time.sleep(scene.chance.uniform(0.5, 2.0))
        scene.cluster.start(held.trainer.piece)
        return Struck(held.trainer.piece, jobs)


class EndWorker(Fault):
    """SIGTERM to a worker, which hands its job back."""

    name = "SIGTERM to the worker"

    def strike(self, scene: Scene) -> Struck:
        """See above."""
        held = _someone_at_work(scene)
        jobs = _jobs_of(scene, held.trainer.piece)
        seconds = scene.cluster.stop(held.trainer.piece)
        scene.cluster.start(held.trainer.piece)
        return Struck(f"{held.trainer.piece}, ended in {seconds:.1f} s", jobs)


class KillGateway(Fault):
    """Kill -9 the gateway."""

    name = "kill -9 the gateway"

    def strike(self, scene: Scene) -> Struck:
        """See above."""
        jobs = tuple(_active(scene))
        scene.cluster.kill(GATEWAY)
        time.sleep(scene.chance.uniform(0.2, 1.5))
        scene.cluster.start(GATEWAY)
        return Struck(GATEWAY, jobs)


class KillRedis(Fault):
    """Kill -9 Redis; it comes back with what its append-only file holds."""

    name = "kill -9 Redis"

    def strike(self, scene: Scene) -> Struck:
        """See above."""
        jobs = tuple(_active(scene))
        scene.cluster.kill(REDIS)
        time.sleep(scene.chance.uniform(1.0, 3.0))
        scene.cluster.start(REDIS)
        scene.cluster.wait_for_redis()
        return Struck(REDIS, jobs)


class PauseWorker(Fault):
    """SIGSTOP a worker without its trainer, for longer than its lease."""

    name = "SIGSTOP the worker beyond its lease"
    trainer_too: ClassVar[bool] = False

    def strike(self, scene: Scene) -> Struck:
        """See above."""
        held = _someone_at_work(scene)
        piece = held.trainer.piece
        jobs = _jobs_of(scene, piece)
        targets = [process for process in scene.cluster.processes(piece) if self.trainer_too or not process.is_trainer]
        signal_all(targets, signal.SIGSTOP)
        time.sleep(scene.cluster.options.lease_seconds + scene.chance.uniform(1.0, 6.0))
        signal_all(targets, signal.SIGCONT)
        return Struck(piece, jobs)


class PauseWorkerAndTrainer(PauseWorker):
    """SIGSTOP a worker and its trainer, which wakes up when another has its job."""

    name = "SIGSTOP worker and trainer"
    trainer_too = True


class FillDisk(Fault):
    """Leave no byte free in the store for a few seconds."""

    name = "fill the disk"
    needs_disk = True

    def strike(self, scene: Scene) -> Struck:
        """See above."""
        _someone_at_work(scene)
        assert scene.disk is not None
        jobs = tuple(_active(scene))
        scene.disk.fill()
        try:
            time.sleep(scene.chance.uniform(2.0, 5.0))
        finally:
            scene.disk.free()
        return Struck("store", jobs)


class CrashAt(Fault):
    """End a process at an exact point of its code."""

    point: ClassVar[str]
    how: ClassVar[str] = ALONE

    def strike(self, scene: Scene) -> Struck:
        """See above."""
        job_id = scene.crash_points.spring(self.point, self.how, PATIENCE_SECONDS)
        if job_id is None:
            raise NothingToHit
        return Struck(self.point, (job_id,))


class CrashBeforeManifest(CrashAt):
    """Kill -9 a trainer that has put its by-job marker and not its manifest."""

    name = "between marker and manifest"
    point = "marker_manifest"


class CrashBeforeManifestWithSupervisor(CrashAt):
    """The same with its supervisor, so that the reaper has to find out."""

    name = "between marker and manifest, supervisor too"
    point = "marker_manifest"
    how = WITH_PARENT


class CrashBeforeEnd(CrashAt):
    """Kill -9 a trainer and its supervisor between the manifest and the end of the job."""

    name = "between manifest and end"
    point = "manifest_end"
    how = WITH_PARENT


class CrashBeforeMessage(CrashAt):
    """Kill -9 the gateway between the record of a job and its message."""

    name = "between record and message"
    point = "record_message"


class CrashBeforeCheckpointRecord(CrashAt):
    """Kill -9 a trainer between a checkpoint and its record."""

    name = "between checkpoint and record"
    point = "checkpoint_record"


class CrashAfterClaim(CrashAt):
    """Kill -9 a Celery child that has claimed a job and started nothing."""

    name = "between claim and trainer"
    point = "claim_trainer"


FAULTS: tuple[type[Fault], ...] = (
    KillTrainer,
    KillCeleryChild,
    KillWorker,
    KillWorkerMain,
    EndWorker,
    KillGateway,
    KillRedis,
    PauseWorker,
    PauseWorkerAndTrainer,
    FillDisk,
    CrashBeforeManifest,
    CrashBeforeManifestWithSupervisor,
    CrashBeforeEnd,
    CrashBeforeMessage,
    CrashBeforeCheckpointRecord,
    CrashAfterClaim,
)


def _active(scene: Scene) -> dict[str, dict[str, str]]:
    """Return the records of the jobs that have not ended."""
    with closing(scene.cluster.redis()) as redis:
        try:
            return active_jobs(redis)
        except RedisError as error:
            raise NothingToHit from error


def _at_work(scene: Scene) -> Iterator[Held]:
    """Yield the jobs at work whose trainer lives and is not stopped."""
    trainers = {process.pid: process for process in scene.cluster.processes() if process.is_trainer}
    for job_id, fields in _active(scene).items():
        pid = int(fields.get("worker", ":0").rpartition(":")[2])
        if JobState(fields["state"]) in AT_WORK and pid in trainers and trainers[pid].piece in WORKERS:
            yield Held(job_id, trainers[pid])


def _someone_at_work(scene: Scene) -> Held:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(NothingToHit):
            if found := list(_at_work(scene)):
                return scene.chance.choice(found)
        time.sleep(POLL_SECONDS)
    raise NothingToHit


def _jobs_of(scene: Scene, piece: str) -> tuple[str, ...]:
    return tuple(held.job_id for held in _at_work(scene) if held.trainer.piece == piece)
