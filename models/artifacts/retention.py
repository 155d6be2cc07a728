"""What of jobs lies in the store, and what of it is named. ``workers/retention/`` decides what goes; it asks Redis.

A file of an attempt is named by the manifest of a version, or by the marker of a job that is about to publish
(``versions.py``): the version file may not be there yet, and may never come if nobody takes the job up again. The
marker of a deleted version names nothing. Whoever wants to know whether a file is named lists the files first, makes
sure that its job has ended then, and reads the names last: an ended job gets no new name, so what is not named then
never will be.

A manifest that cannot be read is of another Lectern: the whole job is named then, or the whole project if it does not
even say which job. What is called otherwise than a worker calls its files is nobody's business here.

A store also keeps which Redis has its jobs, ``queues/{id}.json``, so that one which has just been made or serves other
jobs in the same store takes none of them for jobs that are gone. Each registers itself; only one that is alone, and
knew every job of the store when it came, can say that a job is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson
from pydantic import ValidationError

from models.artifacts.store import ArtifactStore, Stored
from models.contract.config import is_name
from models.contract.manifest import Manifest

CHECKPOINTS = "checkpoints"
KNEW_ALL = orjson.dumps({"knew_all_jobs": True})
CAME_LATER = orjson.dumps({"knew_all_jobs": False})


@dataclass(frozen=True)
class JobFile:
    """A file of a job: a checkpoint, or what an attempt exported."""

    stored: Stored
    is_checkpoint: bool


@dataclass(frozen=True)
class Named:
    """What the versions of a project are made of: files by path, and jobs of which every file counts."""

    paths: frozenset[str]
    jobs: frozenset[str]


def job_files(store: ArtifactStore, project: str) -> dict[str, list[JobFile]]:
    """Return the files below ``{project}/jobs`` by job."""
    found: dict[str, list[JobFile]] = {}
    for stored in store.below(f"{project}/jobs"):
        match stored.path.split("/"):
            case [_, _, job, folder, _] if folder == CHECKPOINTS or (folder.isascii() and folder.isdigit()):
                found.setdefault(job, []).append(JobFile(stored, folder == CHECKPOINTS))
            case _:
                continue
    return found


def named_files(store: ArtifactStore, project: str) -> Named | None:
    """Return what the versions of a project are made of; None if a record does not even say of which job it is."""
    paths: set[str] = set()
    jobs: set[str] = set()
    deleted: set[tuple[str, str]] = set()
    markers: list[tuple[str, str, object]] = []
    try:
        for model, folder, stem, raw in _documents(store, project):
            if folder == "by-job":
                markers.append((model, stem, raw["manifest"]))
            elif "deleted" in raw:
                deleted.add((model, _job_of(raw)))
            else:
                _add(_job_of(raw), raw, paths, jobs)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    for model, job, manifest in markers:
        if manifest is not None and (model, job) not in deleted:
            _add(job, manifest, paths, jobs)
    return Named(frozenset(paths), frozenset(jobs))


def only_queue(store: ArtifactStore, queue: str, *, knows_all: bool, dry_run: bool = False) -> bool:
    """Return whether a job that the Redis of this id does not know is gone; registers it in the store.

    Args:
        store: the store.
        queue: id of the Redis.
        knows_all: whether it knows every job that has a file in the store; counts when it comes for the first time.
        dry_run: whether to leave the store as it is.
    """
    if dry_run and not store.exists(_queue_path(queue)):
        return knows_all and not store.names("queues")
    store.put_if_absent(_queue_path(queue), KNEW_ALL if knows_all else CAME_LATER)
    return store.names("queues") == [f"{queue}.json"] and store.get(_queue_path(queue)) == KNEW_ALL


def adopt(store: ArtifactStore, queue: str) -> None:
    """Make the Redis of this id the one that has the jobs of the store: whatever it does not know is gone."""
    store.put(_queue_path(queue), KNEW_ALL)
    for name in store.names("queues"):
        if name != f"{queue}.json":
            store.delete(f"queues/{name}")


def _add(job: str, manifest: object, paths: set[str], jobs: set[str]) -> None:
    try:
        paths |= Manifest.model_validate(manifest).paths()
    except ValidationError:
        jobs.add(job)


def _job_of(version: dict[str, object]) -> str:
    job = version["job"]
    if not isinstance(job, str):
        raise TypeError(job)
    return job


def _documents(store: ArtifactStore, project: str) -> Iterator[tuple[str, str, str, dict[str, object]]]:
    """Yield model, folder, name without suffix and content of every marker and version file."""
    for stored in store.below(f"{project}/models"):
        match stored.path.split("/"):
            case [_, _, model, ("by-job" | "versions") as folder, name] if name.endswith(".json") and is_name(name):
                yield model, folder, name.removesuffix(".json"), orjson.loads(store.get(stored.path))
            case _:
                continue


def _queue_path(queue: str) -> str:
    return f"queues/{queue}.json"
