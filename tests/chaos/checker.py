"""What must hold whatever is broken: pure functions of a history and of what is left when all is over.

Each invariant says how many times it was looked at and which jobs violate it. ``INVARIANTS`` names them all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import orjson

from chaos.evidence import Evidence, StoredEvent, StoredJob, StoredVersion, TrainerLife
from chaos.history import Acknowledged, History, Refused, Seen
from chaos.workload import Purpose
from models.contract.jobs import JobState

OVERLAP_SLACK_SECONDS = 5.0
"""What a busy machine may add to the time in which a trainer that was stopped notices that its lease lapsed."""

OUTAGES = frozenset({0, 429, 502, 503, 504})
REFUSALS = {
    "cancel": frozenset({"job_finished"}),
    "submit": frozenset({"conflict"}),
}
"""Problems that are good answers to a request: the job ended first, or there is no checkpoint to resume from."""

DISK_FAULT = "fill the disk"
DISK_CODES = frozenset({"store_full", "store_unavailable"})
LAST_ATTEMPT_CODES = frozenset({"worker_lost", "trainer_crashed"})


@dataclass(frozen=True)
class Case:
    """All that is known of a run."""

    history: History
    evidence: Evidence
    lease_seconds: float


@dataclass(frozen=True)
class Violation:
    """A job for which an invariant does not hold, and how."""

    job_id: str
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """How an invariant fared."""

    invariant: str
    checked: int
    violations: tuple[Violation, ...]


Check = Iterator[str | None]
"""One item per time that an invariant was looked at: None where it holds, else what is wrong."""


def check(case: Case) -> list[Verdict]:
    """Return a verdict per invariant."""
    verdicts: list[Verdict] = []
    for name, invariant in INVARIANTS.items():
        found = [(job_id, wrong) for job_id, items in invariant(case) for wrong in items]
        violations = tuple(Violation(job_id, wrong) for job_id, wrong in found if wrong)
        verdicts.append(Verdict(name, len(found), violations))
    return verdicts


PerJob = Iterator[tuple[str, Check]]


def no_job_is_lost(case: Case) -> PerJob:
    """Every job that was acknowledged has a record."""
    for job_id in case.history.acknowledged():
        yield job_id, iter([None if job_id in case.evidence.jobs else "was acknowledged and has no record"])


def one_final_state(case: Case) -> PerJob:
    """Every job ends: one final event, the last of all, which says what the record says."""
    for job_id, job in case.evidence.jobs.items():
        yield job_id, iter([_how_it_did_not_end(job)])


def _how_it_did_not_end(job: StoredJob) -> str | None:
    if not job.state.final:
        return f"never ended: {job.state}"
    final = [event for event in job.events if event.state is not None and event.state.final]
    told = [str(event.state) for event in final]
    if told != [job.state.value]:
        return f"its record says {job.state}, its final events {told}"
    after = len(job.events) - 1 - job.events.index(final[0])
    return f"{after} events after the final one" if after else None


def no_final_state_is_left(case: Case) -> PerJob:
    """Whoever asks after somebody was told of a final state is told the same; so says the record at the end."""
    for job_id, seen in _seen(case.history).items():
        job = case.evidence.jobs.get(job_id)
        yield job_id, _departures(sorted(seen, key=lambda item: item.ended), job)


def _departures(seen: list[Seen], job: StoredJob | None) -> Check:
    first = next((item for item in seen if item.state.final), None)
    for item in seen:
        if item.event_id and not item.state.final:  # a stream begins with what was long ago
            continue
        contradicts = first is not None and item.began > first.ended and item.state is not first.state
        yield f"was {first.state}, then {item.state}" if first and contradicts else None
    if first is not None and job is not None and job.state is not first.state:
        yield f"was {first.state}, and its record says {job.state}"


def what_was_told_stands(case: Case) -> PerJob:
    """Every event that a client was told is in the stream of its job."""
    for job_id, seen in _seen(case.history).items():
        job = case.evidence.jobs.get(job_id)
        stored = {event.id for event in job.events} if job else set[str]()
        told = [item for item in seen if item.event_id]
        yield (
            job_id,
            (
                None if item.event_id in stored else f"event {item.event_id} ({item.state}) was told and is gone"
                for item in told
            ),
        )


def one_writer(case: Case) -> PerJob:
    """Attempts follow one another in the stream: after one runs, nothing of an earlier one comes."""
    for job_id, job in case.evidence.jobs.items():
        yield job_id, _interleaved(job.events)


def _interleaved(events: tuple[StoredEvent, ...]) -> Check:
    newest = 0
    for event in events:
        if event.attempt < newest:
            yield f"{event.kind} of attempt {event.attempt} at {event.id}, after attempt {newest} began"
            continue
        if event.kind not in ("state", "log") and event.attempt > newest:
            yield f"{event.kind} of attempt {event.attempt} at {event.id}, before it began"
            continue
        newest = event.attempt if event.state is JobState.RUNNING else newest
        yield None


def one_trainer(case: Case) -> PerJob:
    """No two trainers of a job run at the same time for longer than the older one needs to notice."""
    limit = case.lease_seconds + OVERLAP_SLACK_SECONDS
    for job_id, lives in trainers_by_job(case.evidence).items():
        seconds = overlap_seconds(lives)
        yield job_id, iter([f"two trainers ran for {seconds:.1f} s" if seconds > limit else None])


def trainers_by_job(evidence: Evidence) -> dict[str, list[TrainerLife]]:
    """Return the trainers that each job had."""
    found: dict[str, list[TrainerLife]] = defaultdict(list)
    for life in evidence.trainers:
        found[life.job_id].append(life)
    return found


def overlap_seconds(lives: list[TrainerLife]) -> float:
    """Return for how long two trainers of a job ran at once, at most."""
    longest = 0.0
    for index, one in enumerate(lives):
        for other in lives[index + 1 :]:
            both = sum(_common(a, b) for a in one.runs for b in other.runs)
            longest = max(longest, both)
    return longest


def _common(one: tuple[float, float], other: tuple[float, float]) -> float:
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))


def cancelled_jobs_do_not_succeed(case: Case) -> PerJob:
    """A cancellation that was acknowledged is no success; nobody's job is cancelled unless somebody asked."""
    asked = {
        entry.job_id for entry in case.history.entries if isinstance(entry, Refused) and entry.request == "cancel"
    } | set(case.history.cancelled())
    for job_id, job in case.evidence.jobs.items():
        if job_id in case.history.cancelled():
            succeeded = job.state is JobState.SUCCEEDED
            yield job_id, iter(["its cancellation was acknowledged, and it succeeded" if succeeded else None])
        elif job.state is JobState.CANCELLED:
            yield job_id, iter([None if job_id in asked else "is cancelled, and nobody asked"])


def steps_grow(case: Case) -> PerJob:
    """Within an attempt no progress goes back, and every epoch is a later one."""
    for job_id, job in case.evidence.jobs.items():
        yield job_id, _shrinking(job.events)


def _shrinking(events: tuple[StoredEvent, ...]) -> Check:
    steps: dict[int, int] = {}
    epochs: dict[int, int] = {}
    for event in events:
        if event.kind == "progress":
            step = int(str(event.data["step"]))
            before = steps.setdefault(event.attempt, 0)
            steps[event.attempt] = step
            yield f"step {step} after {before} in attempt {event.attempt}" if step < before else None
        elif event.kind == "epoch":
            epoch = int(str(event.data["epoch"]))
            before = epochs.setdefault(event.attempt, 0)
            epochs[event.attempt] = epoch
            yield f"epoch {epoch} after {before} in attempt {event.attempt}" if epoch <= before else None


def one_version_each(case: Case) -> PerJob:
    """A job that succeeded has one version, whole, which is the one that it names; no other job has any."""
    versions: dict[str, list[StoredVersion]] = defaultdict(list)
    for version in case.evidence.versions:
        versions[version.job_id].append(version)
    for job_id, job in case.evidence.jobs.items():
        yield job_id, iter([_version_trouble(job, versions.pop(job_id, []))])
    for job_id, found in versions.items():
        yield job_id, iter([f"has no record, and {len(found)} versions"])


def _version_trouble(job: StoredJob, versions: list[StoredVersion]) -> str | None:
    wanted = 1 if job.state is JobState.SUCCEEDED else 0
    if len(versions) != wanted:
        names = ", ".join(f"{item.model} {item.number}" for item in versions) or "none"
        return f"{job.state}, and has {len(versions)} versions ({names})"
    if versions and str(versions[0].number) != job.fields.get("version"):
        return f"says version {job.fields.get('version')}, and the store has {versions[0].number}"
    return versions[0].damage if versions else None


def one_job_per_key(case: Case) -> PerJob:
    """Submitting again with the same key gives the same job, and makes no other."""
    answered: dict[str, set[str]] = defaultdict(set)
    for entry in case.history.entries:
        if isinstance(entry, Acknowledged):
            answered[entry.key].add(entry.job_id)
    for ids in answered.values():
        yield min(ids), iter([f"one key gave {sorted(ids)}" if len(ids) > 1 else None])
    recorded = Counter(job.fields.get("idempotency_key") for job in case.evidence.jobs.values())
    for job_id, job in case.evidence.jobs.items():
        count = recorded[job.fields.get("idempotency_key")]
        yield job_id, iter([f"{count} jobs have its key" if count > 1 else None])


def attempts_are_limited(case: Case) -> PerJob:
    """No job uses more attempts than it may; those handed back do not count."""
    for job_id, job in case.evidence.jobs.items():
        limit = int(job.fields["max_attempts"])
        too_many = job.attempts_used > limit
        yield job_id, iter([f"used {job.attempts_used} attempts of {limit}" if too_many else None])


def resumed_jobs_go_on(case: Case) -> PerJob:
    """A job that resumes another starts where that one's checkpoint is, or later."""
    for job_id, job in case.evidence.jobs.items():
        older = case.evidence.jobs.get(job.fields.get("resumed_from", ""))
        steps = [int(str(event.data["step"])) for event in job.events if event.kind == "progress"]
        if older is None or older.checkpoint_step is None or not steps:
            continue
        behind = steps[0] < older.checkpoint_step
        yield (
            job_id,
            iter([f"began at step {steps[0]}, the checkpoint is of step {older.checkpoint_step}" if behind else None]),
        )


def failures_fit(case: Case) -> PerJob:
    """A job fails only for a reason that there was; one that diverges does not succeed."""
    purposes = {job_id: entry.purpose for job_id, entry in case.history.acknowledged().items()}
    full = any(strike.fault == DISK_FAULT for strike in case.history.strikes)
    for job_id, job in case.evidence.jobs.items():
        diverging = purposes.get(job_id) == Purpose.DIVERGING.value
        if job.state is JobState.FAILED:
            yield job_id, iter([_misfit(job, diverging=diverging, disk_was_full=full)])
        elif diverging:
            yield job_id, iter(["diverges, and succeeded" if job.state is JobState.SUCCEEDED else None])


def _misfit(job: StoredJob, *, diverging: bool, disk_was_full: bool) -> str | None:
    code = failure_code(job.fields)
    used_up = job.attempts_used >= int(job.fields["max_attempts"])
    fits = (
        (diverging and code == "training_diverged")
        or (disk_was_full and code in DISK_CODES)
        or (used_up and code in LAST_ATTEMPT_CODES)
    )
    return None if fits else f"failed with {code} at attempt {job.attempts_used}: {job.fields.get('error')}"


def failure_code(fields: Mapping[str, str]) -> str:
    """Return the code of the problem that a job failed with."""
    return str(orjson.loads(fields["error"])["code"]) if "error" in fields else "no problem"


def refusals_fit(case: Case) -> PerJob:
    """The gateway refuses nothing that is right: it only cannot answer, or the job has ended."""
    for entry in case.history.entries:
        if isinstance(entry, Refused):
            fine = entry.status in OUTAGES or entry.code in REFUSALS.get(entry.request, ())
            said = f"{entry.request} was answered {entry.status} {entry.code}: {entry.detail}"
            yield entry.job_id, iter([None if fine else said])


def _seen(history: History) -> dict[str, list[Seen]]:
    found: dict[str, list[Seen]] = defaultdict(list)
    for entry in history.entries:
        if isinstance(entry, Seen):
            found[entry.job_id].append(entry)
    return found


INVARIANTS: Mapping[str, Callable[[Case], PerJob]] = {
    "no acknowledged job is lost": no_job_is_lost,
    "every job reaches one final state": one_final_state,
    "no job leaves its final state": no_final_state_is_left,
    "what an event stream told stands": what_was_told_stands,
    "one writer per job: attempts never mix": one_writer,
    "one trainer per job": one_trainer,
    "no success after an acknowledged cancel": cancelled_jobs_do_not_succeed,
    "steps grow within an attempt": steps_grow,
    "a success has one version, whole": one_version_each,
    "one job per idempotency key": one_job_per_key,
    "attempts stay within their limit": attempts_are_limited,
    "a resumed job goes on from the checkpoint": resumed_jobs_go_on,
    "failures have a reason": failures_fit,
    "refusals have a reason": refusals_fit,
}
