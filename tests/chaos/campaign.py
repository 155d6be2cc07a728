"""One run: a cluster, its clients and its nemesis, to the end of every job, then the check."""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson
from redis import RedisError

from chaos import report
from chaos.checker import Case, Verdict, check
from chaos.clients import JobClient
from chaos.cluster import Cluster, ClusterOptions
from chaos.crash_points import CrashPoints
from chaos.disk import SmallDisk, is_possible
from chaos.evidence import active_jobs, collect
from chaos.faults import FAULTS, Fault, Scene
from chaos.history import History
from chaos.nemesis import Nemesis
from chaos.witness import Witness
from chaos.workload import Desk, plans
from models.artifacts.store import ArtifactStore

SETTLE_SECONDS = 180.0
"""How long jobs may take to end once nothing is broken any more."""

POLL_SECONDS = 0.2
TELL_SECONDS = 60.0


@dataclass(frozen=True)
class CampaignOptions:
    """How much of what.

    Attributes:
        jobs: least number of submissions.
        faults: number of faults.
        seed: of jobs and faults.
        limit_seconds: after it no job is submitted and nothing is broken any more.
        lease_seconds: of the workers.
        clients: threads that see jobs through.
        kinds: the faults to choose from.
        pause_seconds: shortest and longest time between faults.
        epochs_factor: makes the jobs longer or shorter.
        tell: takes a line now and then that says how far the run is.
    """

    jobs: int = 200
    faults: int = 64
    seed: int = 1
    limit_seconds: float = 2400.0
    lease_seconds: float = 3.0
    clients: int = 6
    kinds: Sequence[type[Fault]] = FAULTS
    pause_seconds: tuple[float, float] = (1.0, 6.0)
    epochs_factor: float = 1.0
    tell: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class Result:
    """What came out, and where its files are."""

    case: Case
    options: CampaignOptions
    verdicts: Sequence[Verdict]
    report: str
    home: Path

    @property
    def violations(self) -> int:
        """How often an invariant was violated."""
        return sum(len(verdict.violations) for verdict in self.verdicts)

    @property
    def shortfall(self) -> str | None:
        """What the run was to have and has not, because its time was up; None if it is whole."""
        jobs, faults = len(self.case.evidence.jobs), self.case.history.happened
        if jobs >= self.options.jobs and faults >= self.options.faults:
            return None
        return f"time was up: {jobs} of {self.options.jobs} jobs, {faults} of {self.options.faults} faults"

    def complaints(self) -> Iterator[str]:
        """Write down everything about each job that violates something; yield a sentence and the file's path."""
        for verdict in self.verdicts:
            for violation in verdict.violations:
                path = self.home / f"history-{violation.job_id or 'requests'}.json"
                path.write_bytes(_told(self.case, violation.job_id))
                yield f"{verdict.invariant}: {violation.job_id} {violation.sentence}\n  {path}"


def campaign(options: CampaignOptions) -> Result:
    """Run it. The folder of the run stays; the caller removes it when there is nothing to look at."""
    began = time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="lectern-chaos-"))
    options, left_out = _possible(options)
    history, over = History(), threading.Event()
    with _disk(home / "store", wanted=any(kind.needs_disk for kind in options.kinds)) as disk:
        cluster_options = ClusterOptions(home, home / "store", options.lease_seconds)
        with Cluster(cluster_options) as cluster, Witness(cluster) as witness:
            chance = random.Random(options.seed)  # noqa: S311 - reproducible, not secret
            scene = Scene(cluster, CrashPoints(cluster.crash_folder), disk, chance)
            try:
                _act(scene, history, options, over)
                _settle(cluster, cluster.base_url, history)
            finally:
                over.set()
            with closing(cluster.redis()) as redis:
                evidence = collect(redis, ArtifactStore(cluster_options.store.as_uri()), witness.trainers())
    case = Case(history, evidence, options.lease_seconds)
    verdicts = check(case)
    summary = report.Summary(options.seed, time.monotonic() - began, left_out, cluster.ended_by_themselves)
    return Result(case, options, verdicts, report.report(case, verdicts, summary), home)


def discard(result: Result) -> None:
    """Remove the files of a run."""
    shutil.rmtree(result.home)


def _possible(options: CampaignOptions) -> tuple[CampaignOptions, Sequence[str]]:
    """Leave out the faults that this machine cannot have, and say so."""
    if is_possible():
        return options, ()
    kinds = tuple(kind for kind in options.kinds if not kind.needs_disk)
    gone = [f"'{kind.name}' needs root on Linux, to mount a small disk" for kind in options.kinds if kind.needs_disk]
    return replace(options, kinds=kinds), gone


@contextmanager
def _disk(folder: Path, *, wanted: bool) -> Generator[SmallDisk | None]:
    with SmallDisk(folder) if wanted else nullcontext() as disk:
        yield disk


@dataclass(frozen=True)
class _Ends:
    """How the threads of a run are told to come to an end: at once, or with what they are at."""

    over: threading.Event
    time_is_up: threading.Event


def _act(scene: Scene, history: History, options: CampaignOptions, over: threading.Event) -> None:
    """Let clients and nemesis do their work, until both are through or time is up."""
    url, ends, audited = scene.cluster.base_url, _Ends(over, threading.Event()), threading.Event()
    nemesis = Nemesis(scene, history, ends.time_is_up)
    desk = Desk(plans(options.seed, options.epochs_factor), options.jobs, lambda: not nemesis.done)
    names = [f"client{number}" for number in range(1, options.clients + 1)]
    with ThreadPoolExecutor(options.clients + 2) as threads:
        audit = threads.submit(JobClient("auditor", url, history, audited).audit)
        working: list[Future[None]] = [
            threads.submit(nemesis.run, options.kinds, options.faults, options.pause_seconds, lambda: desk.share),
            *(threads.submit(JobClient(name, url, history, over).run, desk) for name in names),
        ]
        try:
            _see_to_the_end(working, desk, ends, options, history)
        finally:
            for event in (over, ends.time_is_up, audited):
                event.set()
    for future in (audit, *working):
        future.result()


def _see_to_the_end(
    working: Sequence[Future[None]], desk: Desk, ends: _Ends, options: CampaignOptions, history: History
) -> None:
    """Return when all threads are done; hurry them when time is up or one of them fails."""
    began = told = time.monotonic()
    deadline = began + options.limit_seconds
    while any(not future.done() for future in working):
        moment = time.monotonic()
        if moment - told > TELL_SECONDS:
            told = moment
            options.tell(f"{moment - began:.0f} s: {history.figures()}")
        if moment > deadline + SETTLE_SECONDS or any(future.done() and future.exception() for future in working):
            ends.over.set()
        if moment > deadline or ends.over.is_set():
            ends.time_is_up.set()
            desk.closed = True
        time.sleep(POLL_SECONDS)


def _settle(cluster: Cluster, url: str, history: History) -> None:
    """Return when no job is active any more, or it has been waited for long enough; everybody looks once again."""
    deadline = time.monotonic() + SETTLE_SECONDS
    with closing(cluster.redis()) as redis:
        while time.monotonic() < deadline:
            try:
                if not active_jobs(redis):
                    break
            except RedisError:
                pass
            time.sleep(POLL_SECONDS)
    JobClient("auditor", url, history, threading.Event()).audit_once()


def _told(case: Case, job_id: str) -> bytes:
    job = case.evidence.jobs.get(job_id)
    whole = {
        "entries": [{"what": type(entry).__name__} | asdict(entry) for entry in case.history.of(job_id)],
        "strikes": [asdict(strike) for strike in case.history.strikes if not job_id or job_id in strike.jobs],
        "clock_offset": case.history.clock_offset,
        "fields": dict(job.fields) if job else None,
        "events": [{"id": event.id, "kind": event.kind, "data": event.data} for event in job.events] if job else None,
        "versions": [asdict(version) for version in case.evidence.versions if version.job_id == job_id],
        "trainers": [asdict(life) for life in case.evidence.trainers if life.job_id == job_id],
    }
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2)
