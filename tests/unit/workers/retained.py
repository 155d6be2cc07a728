"""Jobs, versions and datasets as workers leave them, in a real Redis and a store, and runs of retention over them."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlparse

from redis import Redis

from models.artifacts import retention as names
from models.artifacts.retention import Named
from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from models.contract.datasets import DatasetRecord
from models.contract.jobs import JobKeys
from unit.workers.manifests import START, manifest_of
from workers.retention.__main__ import queue_id, retain
from workers.retention.ended_jobs import Cutoffs
from workers.settings import WorkerSettings

NOW = timedelta(0)


class World:
    """A Redis and a store, in which everything is of a stated time."""

    def __init__(self, redis: Redis, store: ArtifactStore) -> None:
        """Begin with what is there."""
        self.redis = redis
        self.store = store
        url = urlparse(store.url)
        self._folder = Path(url.path) if url.scheme == "file" else None

    def run(
        self, after: timedelta, *, dry_run: bool = False, settings: WorkerSettings | None = None
    ) -> list[tuple[str, str]]:
        """Let retention run so long after the start; return what went, as kind and name."""
        told: list[tuple[str, str]] = []
        moment = START + after
        if self._folder is None:  # the clock of such a store is the real one
            moment = datetime.now(UTC) + after
        cutoffs = Cutoffs.of(settings or WorkerSettings(), moment)
        retain(self.redis, self.store, cutoffs, lambda kind, name, _: told.append((kind, name)), dry_run=dry_run)
        return told

    def knows_all(self) -> None:
        """Let this Redis be the one that has always been there."""
        names.adopt(self.store, queue_id(self.redis))

    def put(self, path: str, *, at: timedelta = NOW, data: bytes = b"data") -> None:
        """Write an object that was changed last at that time."""
        self.store.put(path, data)
        if self._folder is not None:
            seconds = (START + at).timestamp()
            os.utime(self._folder / path, (seconds, seconds))

    def ended(
        self,
        job_id: str,
        *,
        at: timedelta = NOW,
        state: str = "cancelled",
        project: str = "default",
        checkpoint: str | None = None,
        **fields: str,
    ) -> None:
        """Write the record of a job that ended at that time, with events and log, and its checkpoint."""
        keys = JobKeys(project)
        moment = (START + at).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields |= {"state": state, "finished": moment, "request": "{}", "queue": "train.cpu"}
        if checkpoint is not None:
            fields["checkpoint"] = checkpoint
            self.put(checkpoint, at=at)
        self.redis.hset(keys.job(job_id), mapping={**fields})
        self.redis.zadd(keys.index(), {job_id: 1})
        self.redis.hincrby(keys.figures(), f"jobs:train.cpu:{state}", 1)
        self.redis.xadd(keys.events(job_id), {"event": "state", "data": "{}"})
        self.redis.rpush(keys.logs(job_id), "line")

    def publish(self, job_id: str, attempt: int = 1, model: str = "digits") -> list[str]:
        """Publish a version of a job; return the paths of its files."""
        manifest = manifest_of(job_id, attempt).model_copy(update={"model": model})
        paths = [f"default/jobs/{job_id}/{attempt}/{file}" for file in ("net.onnx", "probe.npz", "events.jsonl")]
        for path in paths:
            self.put(path)
        Versions(self.store).publish(manifest)
        return paths

    def content(self, digest: str, named_in: str | None = None, *, at: timedelta = NOW) -> None:
        """Write the content of a dataset, and a record of it."""
        self.put(f"blobs/sha256/{digest}.safetensors", at=at)
        if named_in is not None:
            record = DatasetRecord(
                name=f"of-{digest[:5]}",
                kind="images",
                digest=f"sha256:{digest}",
                payload_bytes=1,
                counts={},
                split_rule="",
                created=START,
            )
            self.store.put(f"{named_in}/datasets/of-{digest[:5]}.json", record.model_dump_json().encode())

    def files(self) -> list[str]:
        """Return the paths of the files of jobs."""
        return sorted(stored.path for stored in self.store.below("default/jobs"))

    def job_keys(self) -> set[str]:
        """Return the keys of jobs."""
        return {str(key) for key in self.redis.scan_iter("lectern:default:*")}

    def everything(self) -> tuple[set[str], dict[str, bytes | None]]:
        """Return what is in the store and in Redis."""
        stored = {stored.path for stored in self.store.below("")}
        with self.redis.__class__.from_pool(self.redis.connection_pool) as raw:
            return stored, {str(key): raw.dump(key) for key in raw.scan_iter()}

    def before_names(self, happen: Callable[[], object]) -> Callable[[ArtifactStore, str], Named | None]:
        """Return what reads the names after something happened."""

        def named(store: ArtifactStore, project: str) -> Named | None:
            happen()
            return names.named_files(store, project)

        return named
