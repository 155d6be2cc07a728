"""Ends processes of the cluster at exact points of their code; Python imports this at the start of each of them.

The product has no hooks for that: a few of its functions are wrapped when their module is imported. A wrapper does
nothing unless ``crash_points`` armed its point by a file, which one process takes by renaming it. That process writes
which job it was about, and is gone.
"""

from __future__ import annotations

import importlib.abc
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

WITH_PARENT = "with parent"

Claim = Any
"""What is wrapped cannot be imported here: every process that does not need it would load it."""

folder = Path(os.environ.get("CHAOS_CRASH_FOLDER", "/nonexistent"))


def crash(point: str, job_id: str) -> None:
    """End this process, and its parent where the point is armed so, if ``point`` is armed."""
    taken = folder / f"{point}.{os.getpid()}"
    try:
        (folder / f"{point}.armed").rename(taken)
    except FileNotFoundError:
        return
    how = taken.read_text()
    taken.write_text(job_id)
    taken.rename(folder / f"{point}.fired")
    if how == WITH_PARENT:
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def in_trainer() -> bool:
    """Return whether this process trains: others call the same functions, and are not meant."""
    return Path(sys.argv[0]).name == "trainer.py"


def wrap_store(module: ModuleType) -> None:
    """Between by-job marker and manifest, and between manifest and the end of the job."""
    original: Callable[..., bool] = module.ArtifactStore.put_if_absent

    def put_if_absent(self: object, path: str, data: bytes) -> bool:
        written = original(self, path, data)
        if written and in_trainer():
            if "/by-job/" in path:
                crash("marker_manifest", json.loads(data)["manifest"]["job"])
            elif "/versions/" in path:
                crash("manifest_end", json.loads(data)["job"])
        return written

    module.ArtifactStore.put_if_absent = put_if_absent


def wrap_queue(module: ModuleType) -> None:
    """Between the record of a job and its message."""
    original = module.JobQueue._bring_worker

    async def bring_worker(self: object, job_id: str, *rest: object) -> None:
        crash("record_message", job_id)
        await original(self, job_id, *rest)

    module.JobQueue._bring_worker = bring_worker


def wrap_claims(module: ModuleType) -> None:
    """Between a checkpoint and its record, and between a claim and the start of its training."""
    checkpoint = module.Claim.checkpoint
    take: Any = module.Claim.take.__func__

    def record(self: Claim, path: str) -> None:
        crash("checkpoint_record", self.ref.job_id)
        checkpoint(self, path)

    def taken(cls: type, *arguments: Any, **options: Any) -> Claim | None:
        claim = take(cls, *arguments, **options)
        if claim is not None:
            crash("claim_trainer", claim.ref.job_id)
        return claim

    module.Claim.checkpoint = record
    module.Claim.take = classmethod(taken)


WRAPPERS: dict[str, Callable[[ModuleType], None]] = {
    "models.artifacts.store": wrap_store,
    "app.queue": wrap_queue,
    "workers.claims": wrap_claims,
}


class Wrapping(importlib.abc.MetaPathFinder):
    """Lets the other finders find a module, and wraps what is in it once it was executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's own spec with another way to execute it."""
        if fullname not in WRAPPERS:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            WRAPPERS[fullname](module)

        spec.loader.exec_module = exec_module
        return spec


if folder.is_dir():
    sys.meta_path.insert(0, Wrapping())
