"""What nobody needs any more goes: ``python -m workers.retention``, by hand or started by the reaper.

A job that ended loses its checkpoint after ``LECTERN_CHECKPOINTS_KEPT_SECONDS`` and its record in Redis after
``LECTERN_JOBS_KEPT_SECONDS``. Files of jobs and contents of datasets that nothing names go once they are older than
``LECTERN_ORPHANS_KEPT_SECONDS``. A version, a dataset with a record, and anything of a job that is not final stay,
whatever their age; so does everything of a record or manifest that cannot be read.

A run can end or be killed anywhere, and two can run at a time, because of the order:

- A checkpoint: first the field that names it, in a step which makes sure that no job goes on from it (``expiry.py``),
  then the file. In between the file is one that nothing names, which the next run removes. A job that is submitted to
  go on from it finds the field, and then the file stays, or is refused.
- A record: after the files of its job that nothing names. So the jobs that Redis does not know have no such files
  unless Redis lost them, or never had them because they are another's: those are left alone unless this Redis has
  always been the only one of the store (``models/artifacts/retention.py``).
- To see whether a file is named: the files are listed, then Redis is asked which jobs have ended, then the names are
  read. A job of which there is a file had been submitted before, and one that has ended gets no version any more.
- A content goes by the protocol of ``models/artifacts/datasets.py``.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError
from redis import Redis
from redis.exceptions import RedisError

from models.artifacts.datasets import release, unnamed_contents
from models.artifacts.retention import adopt, job_files, named_files, only_queue
from models.artifacts.store import ArtifactStore, ObjectMissing
from models.contract.errors import LecternError
from workers.claims import START_RETRIES, connect
from workers.logs import configure
from workers.retention.ended_jobs import Cutoffs, EndedJobs, Tell
from workers.retention.expiry import QUEUE_ID, Expiry, projects
from workers.settings import WorkerSettings, complaints

NICE = 10
"""Predictions and trainings on the same machine go first."""

log = structlog.get_logger()


@dataclass
class Tally:
    """How much of a kind there was."""

    count: int = 0
    payload_bytes: int = 0


class Account:
    """What a run removed, by kind: ``jobs``, ``checkpoints``, ``files`` and ``contents``, as far as it came.

    ``left`` are the files of jobs that Redis does not know where that proves nothing.
    """

    def __init__(self, *, printing: bool = False) -> None:
        """Begin with nothing; ``printing`` says whether each thing is printed, too."""
        self.tallies: dict[str, Tally] = {}
        self._printing = printing

    def __call__(self, kind: str, name: str, payload_bytes: int) -> None:
        """Count one thing."""
        tally = self.tallies.setdefault(kind, Tally())
        tally.count += 1
        tally.payload_bytes += payload_bytes
        if self._printing:
            sys.stdout.write(f"{kind:<12} {payload_bytes:>14,} bytes  {name}\n")


def retain(redis: Redis, store: ArtifactStore, cutoffs: Cutoffs, count: Tell, *, dry_run: bool = False) -> None:
    """Remove what has expired, or only tell it if ``dry_run``; each thing is counted when it is gone."""
    files = {project: job_files(store, project) for project in store.folders("")}
    expiries = {project: Expiry(redis, project, dry_run=dry_run) for project in sorted({*files, *projects(redis)})}
    records = {project: expiry.records(files.get(project, ())) for project, expiry in expiries.items()}
    knows_all = all(of_jobs.keys() <= records[project].known for project, of_jobs in files.items())
    alone = only_queue(store, queue_id(redis, dry_run=dry_run), knows_all=knows_all, dry_run=dry_run)
    for project, expiry in expiries.items():
        named = named_files(store, project)
        if named is None:
            log.warning("retention_unreadable", project=project, detail="A version's record cannot be read; all stays.")
            continue
        jobs = EndedJobs(store, expiry, records[project], named, cutoffs, count, alone=alone, dry_run=dry_run)
        for job_id in sorted({*files.get(project, ()), *records[project].ended}):
            jobs.tidy(job_id, files.get(project, {}).get(job_id, []))
    for digest, stored in unnamed_contents(store).items():
        if stored.modified <= cutoffs.orphans and (dry_run or release(store, digest)):
            count("contents", stored.path, stored.payload_bytes)


def queue_id(redis: Redis, *, dry_run: bool = False) -> str:
    """Return what tells this Redis from every other; a Redis that is emptied is another one."""
    if not dry_run:
        redis.set(QUEUE_ID, secrets.token_hex(16), nx=True)
    return str(redis.get(QUEUE_ID) or "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run once; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m workers.retention", description="Remove what has expired.")
    parser.add_argument("--dry-run", action="store_true", help="remove nothing, and say what would go")
    parser.add_argument("--adopt", action="store_true", help="take the jobs that this Redis does not know for gone")
    parser.add_argument("--with-reaper", action="store_true", help="end when stdin does, and print no names")
    chosen = parser.parse_args(arguments)
    try:
        settings = WorkerSettings()
    except ValidationError as error:
        sys.stderr.writelines(complaints(error))
        return 1
    configure(settings.log_level)
    if chosen.with_reaper:
        os.nice(NICE)
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    account = Account(printing=not chosen.with_reaper)
    try:
        redis, store = connect(settings.redis_url, START_RETRIES), ArtifactStore(settings.store_url)
        if chosen.adopt and not chosen.dry_run:
            adopt(store, queue_id(redis))
        retain(redis, store, Cutoffs.of(settings, datetime.now(UTC)), account, dry_run=chosen.dry_run)
    except (RedisError, LecternError, ObjectMissing, ValueError) as error:
        log.warning("retention_interrupted", error=str(error) or type(error).__name__)
        return 1
    finally:
        _report(account.tallies, dry_run=chosen.dry_run)
    return 0


def _report(tallies: Mapping[str, Tally], *, dry_run: bool) -> None:
    for kind, tally in tallies.items():
        facts = {"kind": kind, "count": tally.count, "payload_bytes": tally.payload_bytes}
        if kind == "left":
            log.warning("retention_unsure", **facts, detail="Of jobs that this Redis does not know: docs/settings.md.")
        else:
            log.info("retention_would_remove" if dry_run else "retention_removed", **facts)


def _end_with_stdin() -> None:
    """End this process with the reaper, whose pipe stdin is; it may end anywhere."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
