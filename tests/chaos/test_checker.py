"""The checker finds what it is there for: each invariant holds for a good history and is violated by a bad one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from chaos.checker import Case, check
from chaos.evidence import Evidence, StoredEvent, StoredJob, StoredVersion, TrainerLife
from chaos.faults import KillWorker
from chaos.history import Acknowledged, CancelAcknowledged, Entry, History, Refused, Seen, Strike
from chaos.report import recoveries
from chaos.workload import Purpose
from models.contract.jobs import JobState

GOOD, CANCELLED, RESUMED = "job_good", "job_cancelled", "job_resumed"
PROBLEM = '{"type":"/problems#%s","code":"%s","detail":"…"}'

Change = Callable[[Case], Case]


def events(*items: tuple[str, int, Mapping[str, object]]) -> tuple[StoredEvent, ...]:
    return tuple(
        StoredEvent(f"{1000 + number}-0", kind, {**data, "attempt": attempt})
        for number, (kind, attempt, data) in enumerate(items)
    )


def state(name: str, attempt: int = 1) -> tuple[str, int, Mapping[str, object]]:
    return "state", attempt, {"state": name}


def step(number: int, attempt: int = 1) -> tuple[str, int, Mapping[str, object]]:
    return "progress", attempt, {"step": number}


LOST_AND_FOUND = (
    state("queued"),
    state("running"),
    step(10),
    ("epoch", 1, {"epoch": 1}),
    step(20),
    state("queued"),
    state("running", 2),
    step(10, 2),
    ("epoch", 2, {"epoch": 1}),
    ("log", 2, {"line": "…"}),
    state("exporting", 2),
    state("succeeded", 2),
)


def job(state: str, *items: tuple[str, int, Mapping[str, object]], **fields: str) -> StoredJob:
    return StoredJob({"state": state, "attempt": "1", "max_attempts": "5", **fields}, events(*items))


def seen(job_id: str, state: str, began: float, event_id: str | None = None) -> Seen:
    return Seen(began, began + 0.1, "client1", job_id, JobState(state), 1, event_id)


def acknowledged(job_id: str, purpose: Purpose = Purpose.PLAIN) -> Acknowledged:
    return Acknowledged(0.0, 0.1, "client1", job_id, f"key of {job_id}", purpose.value)


def good() -> Case:
    """Return a run in which one job was lost and found, one cancelled, and that one resumed."""
    jobs = {
        GOOD: job("succeeded", *LOST_AND_FOUND, attempt="2", version="1", idempotency_key=f"key of {GOOD}"),
        CANCELLED: job(
            "cancelled",
            state("queued"),
            state("running"),
            step(30),
            state("cancelled"),
            checkpoint="default/jobs/x/checkpoints/1-30.pt",
            idempotency_key=f"key of {CANCELLED}",
        ),
        RESUMED: job(
            "succeeded",
            state("queued"),
            state("running"),
            step(30),
            state("exporting"),
            state("succeeded"),
            version="2",
            resumed_from=CANCELLED,
            idempotency_key=f"key of {RESUMED}",
        ),
    }
    versions = (StoredVersion("m", 1, GOOD, None), StoredVersion("m", 2, RESUMED, None))
    trainers = (TrainerLife(1, GOOD, ((0.0, 3.0),)), TrainerLife(2, GOOD, ((2.0, 9.0),)))
    entries: list[Entry] = [
        *map(acknowledged, jobs),
        Refused(0.0, 0.1, "client1", "submit", "", 503, "queue_unavailable", "…"),
        CancelAcknowledged(1.0, 1.1, "client1", CANCELLED),
        seen(GOOD, "running", 1.0, "1001-0"),
        seen(GOOD, "succeeded", 5.0, "1011-0"),
        seen(GOOD, "succeeded", 6.0),
        seen(GOOD, "running", 7.0, "1001-0"),  # by a stream that was opened late
        seen(CANCELLED, "cancelled", 2.0),
        seen(RESUMED, "succeeded", 6.0),
    ]
    return Case(History(entries), Evidence(jobs, versions, trainers), lease_seconds=3.0)


def test_a_good_history_violates_nothing_and_looks_at_everything() -> None:
    verdicts = check(good())
    assert [verdict for verdict in verdicts if verdict.violations] == []
    unseen = {verdict.invariant for verdict in verdicts if not verdict.checked}
    assert unseen == {"failures have a reason"}


def with_job(job_id: str, replacement: StoredJob | None) -> Change:
    def change(case: Case) -> Case:
        jobs = {**case.evidence.jobs, job_id: replacement}
        kept = {name: job for name, job in jobs.items() if job is not None}
        return replace(case, evidence=replace(case.evidence, jobs=kept))

    return change


def with_fields(job_id: str, **fields: str) -> Change:
    def change(case: Case) -> Case:
        old = case.evidence.jobs[job_id]
        return with_job(job_id, replace(old, fields={**old.fields, **fields}))(case)

    return change


def with_events(job_id: str, *items: tuple[str, int, Mapping[str, object]]) -> Change:
    def change(case: Case) -> Case:
        return with_job(job_id, replace(case.evidence.jobs[job_id], events=events(*items)))(case)

    return change


def with_entry(entry: Entry) -> Change:
    def change(case: Case) -> Case:
        return replace(case, history=History([*case.history.entries, entry]))

    return change


def with_purpose(job_id: str, purpose: Purpose) -> Change:
    def change(case: Case) -> Case:
        return replace(case, history=History([acknowledged(job_id, purpose), *case.history.entries]))

    return change


def with_versions(*versions: StoredVersion) -> Change:
    def change(case: Case) -> Case:
        return replace(case, evidence=replace(case.evidence, versions=versions))

    return change


def with_trainers(*trainers: TrainerLife) -> Change:
    def change(case: Case) -> Case:
        return replace(case, evidence=replace(case.evidence, trainers=trainers))

    return change


OTHER = StoredVersion("m", 2, RESUMED, None)
DIVERGED = PROBLEM % ("training_diverged", "training_diverged")
LOST = PROBLEM % ("worker_lost", "worker_lost")

BAD: list[tuple[str, str, Change]] = [
    ("no acknowledged job is lost", GOOD, with_job(GOOD, None)),
    ("every job reaches one final state", GOOD, with_fields(GOOD, state="exporting")),
    ("every job reaches one final state", GOOD, with_fields(GOOD, state="cancelled")),
    ("every job reaches one final state", GOOD, with_events(GOOD, *LOST_AND_FOUND, state("succeeded", 2))),
    ("every job reaches one final state", GOOD, with_events(GOOD, *LOST_AND_FOUND, ("log", 2, {"line": "late"}))),
    ("no job leaves its final state", GOOD, with_entry(seen(GOOD, "exporting", 7.0))),
    ("no job leaves its final state", CANCELLED, with_fields(CANCELLED, state="succeeded")),
    ("what an event stream told stands", GOOD, with_entry(seen(GOOD, "running", 1.0, "1500-0"))),
    ("one writer per job: attempts never mix", GOOD, with_events(GOOD, *LOST_AND_FOUND[:-1], step(30, 1))),
    ("one writer per job: attempts never mix", GOOD, with_events(GOOD, state("queued"), step(10, 1))),
    (
        "one trainer per job",
        GOOD,
        with_trainers(TrainerLife(1, GOOD, ((0.0, 20.0),)), TrainerLife(2, GOOD, ((2.0, 30.0),))),
    ),
    (
        "no success after an acknowledged cancel",
        GOOD,
        with_entry(CancelAcknowledged(1.0, 1.1, "client1", GOOD)),
    ),
    ("no success after an acknowledged cancel", GOOD, with_fields(GOOD, state="cancelled")),
    ("steps grow within an attempt", CANCELLED, with_events(CANCELLED, state("running"), step(30), step(29))),
    (
        "steps grow within an attempt",
        CANCELLED,
        with_events(CANCELLED, state("running"), ("epoch", 1, {"epoch": 2}), ("epoch", 1, {"epoch": 2})),
    ),
    ("a success has one version, whole", GOOD, with_versions(OTHER)),
    (
        "a success has one version, whole",
        GOOD,
        with_versions(OTHER, StoredVersion("m", 1, GOOD, None), StoredVersion("m", 3, GOOD, None)),
    ),
    ("a success has one version, whole", GOOD, with_versions(OTHER, StoredVersion("m", 1, GOOD, "x is missing"))),
    ("a success has one version, whole", GOOD, with_fields(GOOD, version="7")),
    (
        "a success has one version, whole",
        CANCELLED,
        with_versions(OTHER, StoredVersion("m", 1, GOOD, None), StoredVersion("m", 3, CANCELLED, None)),
    ),
    ("a success has one version, whole", "job_unknown", with_versions(StoredVersion("m", 3, "job_unknown", None))),
    (
        "one job per idempotency key",
        CANCELLED,
        with_entry(Acknowledged(1.0, 1.1, "client1", GOOD, f"key of {CANCELLED}", "plain")),
    ),
    ("one job per idempotency key", GOOD, with_fields(GOOD, idempotency_key=f"key of {CANCELLED}")),
    ("attempts stay within their limit", GOOD, with_fields(GOOD, attempt="7", handed_back="1")),
    (
        "a resumed job goes on from the checkpoint",
        RESUMED,
        with_events(RESUMED, state("running"), step(0), state("succeeded")),
    ),
    ("failures have a reason", GOOD, with_fields(GOOD, state="failed", error=DIVERGED)),
    ("failures have a reason", GOOD, with_fields(GOOD, state="failed", error=LOST, attempt="2")),
    ("failures have a reason", GOOD, with_purpose(GOOD, Purpose.DIVERGING)),
    (
        "refusals have a reason",
        GOOD,
        with_entry(Refused(1.0, 1.1, "client1", "show", GOOD, 500, "internal_error", "…")),
    ),
]


@pytest.mark.parametrize(("invariant", "job_id", "change"), BAD, ids=[f"{n}-{row[0]}" for n, row in enumerate(BAD)])
def test_a_bad_history_violates_the_invariant(invariant: str, job_id: str, change: Change) -> None:
    verdicts = {verdict.invariant: verdict for verdict in check(change(good()))}
    assert job_id in {violation.job_id for violation in verdicts[invariant].violations}


def test_every_invariant_is_shown_to_be_able_to_fail() -> None:
    assert {row[0] for row in BAD} == {verdict.invariant for verdict in check(good())}


@pytest.mark.parametrize(
    ("code", "fields"),
    [("worker_lost", {"attempt": "5"}), ("trainer_crashed", {"attempt": "6", "handed_back": "1"})],
)
def test_a_job_may_fail_for_want_of_attempts(code: str, fields: dict[str, str]) -> None:
    case = with_fields(GOOD, state="failed", error=PROBLEM % (code, code), **fields)(good())
    verdict = next(verdict for verdict in check(case) if verdict.invariant == "failures have a reason")
    assert (verdict.checked, verdict.violations) == (1, ())


def test_a_recovery_counts_from_the_kill_to_the_next_run() -> None:
    case = good()
    offset = case.history.clock_offset
    # Events are a thousandth of a second apart, from the first second of the epoch on; the sixth is the second run.
    strike = Strike(KillWorker.name, 0.0, 1.0025 - offset, 9.0, "worker1", (GOOD,))
    case.history.add(strike)
    assert recoveries(case) == pytest.approx([0.0035], abs=1e-5)
    assert recoveries(case, JobState.QUEUED) == pytest.approx([0.0025], abs=1e-5)
