"""What came out, for people: a row per fault, a row per invariant, and how long things took."""

from __future__ import annotations

import os
import platform
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from chaos.checker import Case, Verdict, failure_code, overlap_seconds, trainers_by_job
from chaos.evidence import StoredJob
from chaos.faults import KillWorker
from chaos.history import Refused, Strike
from models.contract.jobs import JobState


@dataclass(frozen=True)
class Summary:
    """What else the report tells of a run."""

    seed: int
    seconds: float
    left_out: Sequence[str] = ()
    ended_by_themselves: Mapping[str, int] = field(default_factory=dict[str, int])


def report(case: Case, verdicts: Sequence[Verdict], summary: Summary) -> str:
    """Return the whole report."""
    return "\n".join(
        [
            *_heading(case, summary),
            "",
            *_faults(case),
            "",
            *_invariants(verdicts),
            "",
            *_times(case),
            *_remarks(case, summary),
        ]
    )


def outcome(job: StoredJob) -> str:
    """Return how a job ended; a failure says why."""
    return f"failed ({failure_code(job.fields)})" if job.state is JobState.FAILED else job.state.value


def recoveries(case: Case, state: JobState = JobState.RUNNING) -> list[float]:
    """Return the seconds from each kill -9 of a worker until the job that it held was in ``state``."""
    found: list[float] = []
    for strike in case.history.strikes:
        if strike.fault != KillWorker.name:
            continue
        hit = strike.hit + case.history.clock_offset
        for job in (case.evidence.jobs[job_id] for job_id in strike.jobs if job_id in case.evidence.jobs):
            moments = (event.at for event in job.events if event.at > hit and event.state is state)
            found += [moment - hit for moment in islice(moments, 1)]
    return found


def cancellations(case: Case) -> list[float]:
    """Return how long it took from each request to cancel until the job had ended, in seconds."""
    found: list[float] = []
    for job_id, entry in case.history.cancelled().items():
        job = case.evidence.jobs.get(job_id)
        if job and job.state is JobState.CANCELLED:
            found.append(max(0.0, job.events[-1].at - entry.began - case.history.clock_offset))
    return found


def _heading(case: Case, summary: Summary) -> Iterator[str]:
    jobs = case.evidence.jobs.values()
    endings = ", ".join(f"{count} {name}" for name, count in Counter(map(outcome, jobs)).most_common())
    yield f"{len(jobs)} jobs, {case.history.happened} faults, seed {summary.seed}, {summary.seconds:.0f} s"
    yield f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, lease {case.lease_seconds:g} s"
    yield f"jobs: {endings}"


def _faults(case: Case) -> Iterator[str]:
    yield f"{'fault':<46}{'times':>6}{'jobs':>6}  what became of the jobs in its way"
    by_kind: dict[str, list[Strike]] = {}
    for strike in case.history.strikes:
        by_kind.setdefault(strike.fault, []).append(strike)
    for name, strikes in sorted(by_kind.items()):
        jobs = [job_id for strike in strikes for job_id in strike.jobs]
        endings = Counter(outcome(case.evidence.jobs[job_id]) for job_id in jobs if job_id in case.evidence.jobs)
        endings["no job"] = sum(job_id not in case.evidence.jobs for job_id in jobs)
        told = ", ".join(f"{count} {ending}" for ending, count in endings.most_common() if count)
        yield f"{name:<46}{sum(strike.happened for strike in strikes):>6}{len(jobs):>6}  {told}"


def _invariants(verdicts: Sequence[Verdict]) -> Iterator[str]:
    yield f"{'invariant':<46}{'checked':>9}{'violations':>12}"
    for verdict in verdicts:
        yield f"{verdict.invariant:<46}{verdict.checked:>9}{len(verdict.violations):>12}"


def _times(case: Case) -> Iterator[str]:
    overlaps = [overlap_seconds(lives) for lives in trainers_by_job(case.evidence).values()]
    for what, seconds in (
        ("after kill -9 of a worker, until its job waits again", recoveries(case, JobState.QUEUED)),
        ("after kill -9 of a worker, until it runs again, behind those before it", recoveries(case)),
        ("from cancel to the end of the job", cancellations(case)),
        ("two trainers of one job at once", overlaps),
    ):
        if seconds:
            yield f"{what}: median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s of {len(seconds)}"


def _remarks(case: Case, summary: Summary) -> Iterator[str]:
    missed = Counter(strike.fault for strike in case.history.strikes if not strike.happened)
    unanswered = Counter(entry.code for entry in case.history.entries if isinstance(entry, Refused))
    for what, counted in (
        ("found nothing to hit", missed),
        ("ended and were started again, crash points included", summary.ended_by_themselves),
        ("requests refused or not answered", unanswered),
    ):
        if counted:
            yield f"{what}: " + ", ".join(f"{name} ({count})" for name, count in counted.items())
    for reason in summary.left_out:
        yield f"left out: {reason}"
