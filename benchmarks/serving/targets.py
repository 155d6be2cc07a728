"""What Lectern is to reach, each with what was found; what was not measured is neither reached nor not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.serving.figures import Spread
from benchmarks.serving.findings import Finding, Overloaded, longest_recovery

JSON, BINARY = "Lectern, JSON", "Lectern, binary"
BARE = "uvicorn alone"
TWO = "Lectern, 2 processes, JSON"

LEAST_OF_BARE = {JSON: 0.27, BINARY: 0.38}
LEAST_OF_PEERS = {JSON: 5.0, BINARY: 7.0}
MOST_P50_OF_BARE = {JSON: 2.8, BINARY: 2.3}
MOST_P99_OF_P50 = 3.0
MOST_CPU_OF_ONE_PROCESS = 1.1
MOST_OPEN_P99_OF_P50 = 10.0
LEAST_ACCEPTED = 0.6
MOST_ACCEPTED_P99_SECONDS = 0.5
MOST_MEMORY = 1.1
MOST_RECOVERY_SECONDS = 1.0
TOO_MANY = 429


@dataclass(frozen=True)
class Target:
    """A sentence, what was found, and whether that is enough; None where it was not measured."""

    sentence: str
    found: str
    reached: bool | None


def targets(findings: Mapping[str, Finding]) -> Sequence[Target]:
    """Return every target, in the order of the measurements; ``findings`` are by title."""
    return [*_closed(findings), *_processes(findings), *_open(findings), *_overload(findings)]


def _closed(findings: Mapping[str, Finding]) -> Iterator[Target]:
    bare = findings.get(BARE)
    bare = bare if bare and bare.measured else None
    peers = [finding for finding in findings.values() if finding.peer and finding.measured]
    for title in (JSON, BINARY):
        own = findings.get(title)
        measured = own is not None and own.measured
        of_bare = own.rate_against(bare) if own and measured and bare else None
        yield _least(f"{title}: saturation against uvicorn alone", of_bare, LEAST_OF_BARE[title], own)
        best = min(own.rate_against(peer) for peer in peers) if own and measured and peers else None
        yield _least(f"{title}: saturation against the best peer", best, LEAST_OF_PEERS[title], own)
        slower = own.one_p50_against(bare) if own and measured and bare else None
        yield _most(f"{title}: p50 at one client against uvicorn alone", slower, MOST_P50_OF_BARE[title], own)
        tail = None
        if own and measured:
            tail = Spread.of([closed.p99 / closed.p50 for closed in own.many]).median
        yield _most(f"{title}: p99 at 32 connections against its p50", tail, MOST_P99_OF_P50, own)


def _processes(findings: Mapping[str, Finding]) -> Iterator[Target]:
    one, two = findings.get(JSON), findings.get(TWO)
    ratio = two.cpu_against(one) if one and two and one.measured and two.measured else None
    yield _most("two processes: processor time of a request against one process", ratio, MOST_CPU_OF_ONE_PROCESS)


def _open(findings: Mapping[str, Finding]) -> Iterator[Target]:
    for title in (JSON, BINARY):
        own = findings.get(title)
        runs = own.opened.get(title) if own else None
        ratio = Spread.of([run.p99 / run.p50 for run in runs]).median if runs else None
        yield _most(f"{title}: p99 at 60 % of its saturation against its p50", ratio, MOST_OPEN_P99_OF_P50)
    own = findings.get(JSON)
    for title, peer in findings.items():
        if not peer.peer:
            continue
        sentence = f"{JSON}: p99 at 60 % of the saturation of {title}, against the p99 of that one"
        ours, theirs = own.opened.get(title) if own else None, peer.opened.get(title)
        ratio = None
        if ours and theirs:
            ratio = Spread.of([mine.p99 / other.p99 for mine, other in zip(ours, theirs, strict=True)]).median
        yield _most(sentence, ratio, 1.0)


def _overload(findings: Mapping[str, Finding]) -> Iterator[Target]:
    for title in (JSON, BINARY):
        own = findings.get(title)
        runs = own.overloaded if own else []
        name = f"{title}, at twice its saturation"
        share = Spread.of([run.share for run in runs]).median if runs else None
        yield _least(f"{name}: answers served, of the saturation", share, LEAST_ACCEPTED)
        seconds = max((run.opened.p99 for run in runs), default=None)
        yield _most(f"{name}: p99 of the accepted", seconds, MOST_ACCEPTED_P99_SECONDS, unit=" s")
        yield _refusals(name, runs)
        memory = max((run.resident_after / run.resident_before for run in runs), default=None)
        yield _most(f"{name}: memory after, of that before", memory, MOST_MEMORY)
        recovered = longest_recovery(runs) if runs else None
        if runs and recovered is None:
            yield Target(
                f"{name}: as fast as before within {MOST_RECOVERY_SECONDS:g} s", "not within 10 s", reached=False
            )
        else:
            yield _most(f"{name}: as fast as before", recovered, MOST_RECOVERY_SECONDS, unit=" s")


def _refusals(name: str, runs: Sequence[Overloaded]) -> Target:
    sentence = f"{name}: what is refused gets 429 with Retry-After, and nothing is lost"
    if not runs:
        return Target(sentence, "not measured", reached=None)
    refused = sum(run.opened.failed.get(TOO_MANY, 0) for run in runs)
    others = sum(sum(run.opened.failed.values()) + run.opened.lost for run in runs) - refused
    told = sum(run.retry_after for run in runs)
    said = f"{refused} refused, {min(refused, told)} with Retry-After; {others} otherwise or lost"
    return Target(sentence, said, reached=refused > 0 and others == 0 and told >= refused)


def _least(sentence: str, found: float | None, least: float, own: Finding | None = None) -> Target:
    sentence = f"{sentence}, at least {least:g}×"
    if found is None:
        return _unmeasured(sentence, own)
    return Target(sentence, f"{found:.2f}×", found >= least)


def _most(sentence: str, found: float | None, most: float, own: Finding | None = None, unit: str = "×") -> Target:
    sentence = f"{sentence}, at most {most:g}{unit}"
    if found is None:
        return _unmeasured(sentence, own)
    return Target(sentence, f"{found:.2f}{unit}", found <= most)


def _unmeasured(sentence: str, own: Finding | None) -> Target:
    """What does not answer has not reached anything; what was left out or is not there says nothing."""
    if own is not None and own.missing:
        return Target(sentence, own.missing, reached=False)
    return Target(sentence, "not measured", reached=None)
