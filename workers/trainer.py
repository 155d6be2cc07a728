"""One job in one process: ``python -m workers.trainer``, started by the supervisor, which writes to its stdin.

The first line of stdin says which job, under which token; every byte after it is a beat. When the beats stop
(the supervisor is gone or stopped) or SIGTERM comes, a training writes its checkpoint and the process ends
with ``STOPPED``. Everything else that can go wrong is written into the job's record before the process ends.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

import orjson

from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from models.catalog import Catalog
from models.contract.errors import DatasetNotFound, LecternError, LeaseLost, TrainerCrashed, ValidationFailed
from models.contract.jobs import Progress
from workers.claims import Claim, JobRef, connect
from workers.settings import WorkerSettings

if TYPE_CHECKING:
    from models.family import State
    from workers.checkpoints import Checkpoints

STOPPED = 75
BEAT_TIMEOUT_SECONDS = 10.0
STOP_LIMIT_SECONDS = 5.0


class Stop:
    """Whether to stop. While nothing can be saved a signal ends the process at once."""

    def __init__(self) -> None:
        """Start out running, with nothing to save."""
        self._asked = False
        self.can_save = False

    def __call__(self) -> bool:
        """Return whether the training should write its checkpoint and end."""
        return self._asked

    def ask(self, *_: object) -> None:
        """Ask for the stop; a signal handler."""
        if not self.can_save:
            os._exit(STOPPED)
        self._asked = True


class _Reporter:
    """Tells the job's record how the training goes."""

    def __init__(self, claim: Claim, checkpoints: Checkpoints) -> None:
        self._claim = claim
        self._checkpoints = checkpoints

    def progress(self, progress: Progress) -> None:
        self._claim.progress(progress)

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._claim.epoch(epoch, metrics)
        say(f"epoch {epoch}: " + ", ".join(f"{key} {value:.4f}" for key, value in metrics.items() if key != "epoch"))

    def checkpoint(self, state: State, step: int) -> None:
        self._checkpoints.save(state, step)


def say(line: str) -> None:
    """Print a line for the job's log; a supervisor that no longer listens is no reason to stop."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - stays open for the rest of the process


def main() -> int:
    """Train the job that stdin names; return the exit status."""
    stop = Stop()
    signal.signal(signal.SIGTERM, stop.ask)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = orjson.loads(_first_line())
    threading.Thread(target=_watch_beats, args=(stop,), daemon=True).start()
    settings = WorkerSettings()
    claim = Claim(connect(settings.redis_url), JobRef(order["project"], order["job"]), order["token"], order["attempt"])
    try:
        return _train(claim, settings, stop)
    except LeaseLost as error:
        say(error.detail)
        return STOPPED
    except LecternError as error:
        return _fail(claim, error)
    except MemoryError:
        return _fail(claim, TrainerCrashed("The trainer ran out of memory; lower training.batch_size or the model's size."))
    except Exception as error:  # noqa: BLE001 - the boundary of the process: the job must learn of every failure
        say(traceback.format_exc())
        return _fail(claim, TrainerCrashed(f"{type(error).__name__}: {error}. The job's log has the traceback."))


def _train(claim: Claim, settings: WorkerSettings, stop: Stop) -> int:
    started = time.monotonic()
    request = claim.request()
    store = ArtifactStore(settings.store_url)
    versions = Versions(store, claim.ref.project)
    already = versions.published(request.model, claim.ref.job_id)
    if already is not None:
        claim.succeed(request.model, already)
        return 0
    import torch  # noqa: PLC0415 - takes a second and a half; a cancelled or published job does without

    from workers.checkpoints import Checkpoints  # noqa: PLC0415
    from workers.publishing import Finished, export, publish  # noqa: PLC0415
    from workers.training import prepare, train  # noqa: PLC0415

    catalog = Catalog(settings.families)
    spec = catalog.spec(request.family)
    options = spec.training.parse(request.training, "/training")
    datasets = Datasets(store, catalog, claim.ref.project)
    record = datasets.record(request.dataset)
    if record.digest != request.dataset_digest:
        message = f"Dataset '{request.dataset}' was replaced by other content after the job was submitted."
        raise DatasetNotFound(message)
    content = datasets.content(record)
    torch.set_num_threads(settings.threads())
    torch.set_flush_denormal(True)  # noqa: FBT003 - torch's own signature
    device = _device(options.device, cuda=torch.cuda.is_available())
    family = catalog.family(request.family)(spec.config.parse(request.config, "/config"), record.meta)
    run = prepare(family, options, content.splits, torch.device(device))
    checkpoints = Checkpoints(store, claim)
    resume = checkpoints.load(torch.device(device))
    parameters = sum(parameter.numel() for parameter in run.module.parameters())
    say(f"training {spec.name} on {device}: {parameters:,} parameters, {run.plan.steps:,} steps over {run.plan.epochs} epochs")
    seconds = {"load": time.monotonic() - started}
    stop.can_save = True
    outcome = train(
        run,
        _Reporter(claim, checkpoints),
        resume=resume,
        should_stop=stop,
        checkpoint_seconds=settings.checkpoint_seconds,
    )
    if not outcome.finished or stop():
        say("stopped; the checkpoint is kept")
        return STOPPED
    stop.can_save = False
    seconds["train"] = time.monotonic() - started - seconds["load"]
    claim.exporting()
    marked = time.monotonic()
    finished = Finished(spec, catalog.task(spec.task), request, record, content, run, outcome, seconds)
    exported = export(finished)
    seconds["export"] = time.monotonic() - marked
    if not claim.publishing():
        return STOPPED
    manifest = publish(finished, exported, claim, versions)
    say(f"published {manifest.model} version {manifest.version}: " + _summary(manifest.metrics))
    claim.succeed(request.model, manifest.version)
    return 0


def _summary(metrics: Mapping[str, Mapping[str, float]]) -> str:
    return ", ".join(f"{split} {key} {value:.4f}" for split, scores in metrics.items() for key, value in scores.items())


def _device(wanted: str, *, cuda: bool) -> str:
    if wanted == "cuda" and not cuda:
        raise ValidationFailed.at("/training/device", "this worker sees no GPU; use 'auto' or 'cpu'")
    return "cuda" if cuda and wanted != "cpu" else "cpu"


def _fail(claim: Claim, error: LecternError) -> int:
    say(f"{error.code}: {error.detail}")
    try:
        claim.fail(error)
    except LeaseLost as lost:
        say(lost.detail)
    return 1


def _first_line() -> bytes:
    """Return the first line of stdin, read byte by byte so that no beat is swallowed by a buffer."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            os._exit(STOPPED)
        line += byte
    return bytes(line)


def _watch_beats(stop: Stop) -> NoReturn:
    """Stop the training when the supervisor's beats stop, and the process if it does not stop in time."""
    while True:
        ready, _, _ = select.select([0], [], [], BEAT_TIMEOUT_SECONDS)
        if not ready or not os.read(0, 4096):
            break
    stop.ask()
    time.sleep(STOP_LIMIT_SECONDS)
    os._exit(STOPPED)


if __name__ == "__main__":
    # Taking torch down in order costs up to a second, in which the next job would wait.
    os._exit(main())
