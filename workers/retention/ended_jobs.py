"""What goes of one job, and when: its checkpoint, the files that nothing names, its record. ``retention.py`` calls.

The order in which it happens, and why, stands there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from models.artifacts.retention import JobFile, Named
from models.artifacts.store import ArtifactStore, Stored
from workers.retention.expiry import Ended, Expiry, Records
from workers.settings import WorkerSettings

NEVER = datetime.min.replace(tzinfo=UTC)

Tell = Callable[[str, str, int], None]
"""Is told of each thing that goes: its kind, its name, its size in bytes."""


@dataclass(frozen=True)
class Cutoffs:
    """What ended (orphans: changed last) at these times or before has expired."""

    jobs: datetime
    checkpoints: datetime
    orphans: datetime

    @classmethod
    def of(cls, settings: WorkerSettings, moment: datetime) -> Cutoffs:
        """Return what the settings mean at ``moment``; a checkpoint goes with the record of its job at the latest."""
        ages = (settings.jobs_kept_seconds, settings.checkpoints_kept_seconds, settings.orphans_kept_seconds)
        jobs, checkpoints, orphans = (moment - timedelta(seconds=age) if age else NEVER for age in ages)
        return cls(jobs, max(jobs, checkpoints), orphans)


class EndedJobs:
    """The jobs of one project, as they were when the run looked."""

    def __init__(
        self,
        store: ArtifactStore,
        expiry: Expiry,
        records: Records,
        named: Named,
        cutoffs: Cutoffs,
        count: Tell,
        *,
        alone: bool,
        dry_run: bool,
    ) -> None:
        """Keep what was seen; ``alone`` says whether a job without a record is gone."""
        self._store = store
        self._expiry = expiry
        self._records = records
        self._named = named
        self._cutoffs = cutoffs
        self._count = count
        self._alone = alone
        self._dry_run = dry_run

    def tidy(self, job_id: str, files: Sequence[JobFile]) -> None:
        """Remove what has expired of one job: its checkpoint, files that nothing names, its record."""
        ended = self._records.ended.get(job_id)
        if job_id in self._named.jobs or (ended is None and job_id in self._records.known):
            return
        dropped = ended.checkpoint if ended is not None and self._drop_checkpoint(job_id, ended, files) else None
        unnamed = [file for file in files if file.stored.path != dropped and not self._held(job_id, ended, file)]
        gone = [file for file in unnamed if file.stored.modified <= self._cutoffs.orphans]
        for file in gone:
            self._remove("checkpoints" if file.is_checkpoint else "files", file.stored, known=ended is not None)
        if ended is not None and (len(gone) == len(unnamed) or self._cutoffs.orphans == NEVER):
            self._expire(job_id, ended)

    def _drop_checkpoint(self, job_id: str, ended: Ended, files: Sequence[JobFile]) -> bool:
        path, before = ended.checkpoint, self._cutoffs.checkpoints
        if path is None or ended.finished > before or not self._expiry.drop_checkpoint(job_id, path, before):
            return False
        sizes = {file.stored.path: file.stored.payload_bytes for file in files}
        if not self._dry_run:
            self._store.delete(path)
        self._count("checkpoints", path, sizes.get(path, 0))
        return True

    def _held(self, job_id: str, ended: Ended | None, file: JobFile) -> bool:
        """Return whether something names a file, or may."""
        if file.is_checkpoint and job_id in self._records.resumed:
            return True
        return file.stored.path in self._named.paths or (ended is not None and file.stored.path == ended.checkpoint)

    def _remove(self, kind: str, stored: Stored, *, known: bool) -> None:
        if not known and not self._alone:
            self._count("left", stored.path, stored.payload_bytes)
            return
        if not self._dry_run:
            self._store.delete(stored.path)
        self._count(kind, stored.path, stored.payload_bytes)

    def _expire(self, job_id: str, ended: Ended) -> None:
        if ended.finished > self._cutoffs.jobs:
            return
        payload_bytes = self._expiry.payload_bytes(job_id)
        if self._expiry.expire(job_id, self._cutoffs.jobs):
            self._count("jobs", job_id, payload_bytes)
