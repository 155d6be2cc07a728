"""The measurements of one row: closed loops, open loops, overload and poisoned batches, against a running server."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.serving.answers import Answer
from benchmarks.serving.figures import percentile, poisson_seconds
from benchmarks.serving.findings import Closed, Finding, Opened, Overloaded, Poisoned
from benchmarks.serving.forms import Form
from benchmarks.serving.load import Load, Sample
from benchmarks.serving.servers import HOST, Running

CONNECTIONS = 32
WARM_UP_SECONDS = 0.3
OPEN_SHARE = 0.6
OVERLOAD = 2.0
STRAGGLING_SECONDS = 0.25
"""What was due during overload and found no free connection by its end is still sent for as long; then it is lost."""

RECOVERY_SECONDS = 10.0
PROBE_EVERY_SECONDS = 0.01
PROBES_BEFORE = 200
CALM_PROBES = 10
"""So many single requests in a row must be as fast as before overload to say that it is over: each within twice the
99th percentile of those that were sent in the same way, one now and then, before."""

GOOD, BAD = 248, 8


@dataclass
class Row:
    """A server that runs, the form in which it is asked, and what was found out so far."""

    finding: Finding
    running: Running
    form: Form

    def refusal(self) -> str:
        """Return why the row cannot be measured, empty if the server answers as it should."""
        with self._load() as load:
            answer = load.ask(self.form.good())
        if self.form.right(answer):
            return ""
        return f"not answered: {answer.status}" if answer.status != 200 else "answered something else"

    def closed(self, seconds: float) -> None:
        """Add a round with one client, and one with ``CONNECTIONS``."""
        self.finding.one.append(self._closed(1, seconds))
        self.finding.many.append(self._closed(CONNECTIONS, seconds))

    def opened(self, whose: str, rate: float, seconds: float, seed: int) -> None:
        """Add a run at ``rate``, which is a share of the saturation of the row called ``whose``."""
        due = poisson_seconds(rate, seconds, seed)
        with self._load() as load:
            load.closed(self.form.good(), CONNECTIONS, WARM_UP_SECONDS)  # connections are open, as a service's are
            sample = load.scheduled(self.form.good(), due)
        self.finding.opened.setdefault(whose, []).append(_opened(sample, rate))

    def overload(self, seconds: float, closed_seconds: float, connections: int, seed: int) -> None:
        """Add a run in which twice as much is asked as can be answered; look how long single requests stay slow then.

        What can be answered is measured right before, and again after: minutes later a machine may be another. Memory
        is compared with that when all connections are open and have asked once.
        """
        before = self._closed(CONNECTIONS, closed_seconds).rate
        rate = OVERLOAD * before
        due = poisson_seconds(rate, seconds, seed)
        probes = int(RECOVERY_SECONDS / PROBE_EVERY_SECONDS)
        after = [seconds + number * PROBE_EVERY_SECONDS for number in range(probes)]
        with self._load() as load:
            alike = load.scheduled(self.form.good(), [number * PROBE_EVERY_SECONDS for number in range(PROBES_BEFORE)])
        with self._load(connections) as load:
            load.together([self.form.good()] * connections)
            opened = self.running.tree.resident_bytes()
            sample = load.scheduled(self.form.good(), due + after, drop_after=seconds + STRAGGLING_SECONDS)
        resident = self.running.tree.resident_bytes()
        saturation = max(before, self._closed(CONNECTIONS, closed_seconds).rate)
        during, probing = _split(sample, len(due))
        found = Overloaded(
            opened=_opened(during, rate),
            saturation=saturation,
            connections=connections,
            seconds=seconds,
            accepted_in_time=sum(
                status == 200 and ended <= seconds for status, ended in zip(during.statuses, during.ended, strict=True)
            ),
            retry_after=sum(during.retry_after),
            resident_before=opened,
            resident_after=resident,
            recovered_seconds=recovery_seconds(probing, seconds, 2 * percentile(alike.good(), 0.99)),
        )
        self.finding.overloaded.append(found)

    def poison(self, repetitions: int) -> None:
        """Send bad requests among good ones at the same moment, ``repetitions`` times."""
        requests, bad = mixed([self.form.good()] * GOOD, self.form.bad())
        good_failed = 0
        statuses: Counter[int] = Counter()
        with self._load() as load:
            for _ in range(repetitions):
                answers = load.together(requests)
                good_failed += sum(
                    not self._right(answers[number]) for number in range(len(requests)) if number not in bad
                )
                statuses.update(answers[number].status for number in bad)
        good = repetitions * (len(requests) - len(bad))
        self.finding.poisoned = Poisoned(repetitions, good, good_failed, dict(sorted(statuses.items())))

    def _right(self, answer: Answer) -> bool:
        return self.form.right(answer)

    def _closed(self, connections: int, seconds: float) -> Closed:
        tree = self.running.tree
        with self._load() as load:
            load.closed(self.form.good(), connections, WARM_UP_SECONDS)
            cpu = tree.cpu_seconds()
            sample = load.closed(self.form.good(), connections, seconds)
            cpu = tree.cpu_seconds() - cpu
        good = sample.good()
        asked = max(1, len(sample.statuses))
        return Closed(
            rate=len(good) / seconds,
            p50=percentile(good, 0.5),
            p99=percentile(good, 0.99),
            cpu_per_thousand=cpu / asked * 1000,
            client_per_request=sample.client_seconds / asked,
            failed=sample.other_statuses(),
        )

    def _load(self, connections: int = 1024) -> Load:
        return Load(HOST, self.running.port, connections)


def mixed(good: Sequence[bytes], bad: Sequence[bytes]) -> tuple[list[bytes], frozenset[int]]:
    """Return all requests with the bad ones evenly among the good ones, and where the bad ones are."""
    every = math.ceil((len(good) + len(bad)) / len(bad))
    places = frozenset(number * every + every // 2 for number in range(len(bad)))
    left_good, left_bad = iter(good), iter(bad)
    return [next(left_bad if number in places else left_good) for number in range(len(good) + len(bad))], places


def recovery_seconds(probing: Sample, begin_seconds: float, calm_seconds: float) -> float | None:
    """Return how long after ``begin_seconds`` the first of ``CALM_PROBES`` answers in a row was due; None if never.

    A calm answer is a good one within ``calm_seconds``.
    """
    asked = sorted(zip(probing.numbers, probing.ended, probing.latencies, probing.statuses, strict=True))
    row: list[float] = []
    for _, ended, latency, status in asked:
        row = [*row, ended - latency] if status == 200 and latency <= calm_seconds else []
        if len(row) == CALM_PROBES:
            return max(0.0, row[0] - begin_seconds)
    return None


def _split(sample: Sample, count: int) -> tuple[Sample, Sample]:
    """Return what belongs to the first ``count`` requests, and what to those after them."""
    first, rest = Sample(unsent=sample.unsent, unanswered=sample.unanswered), Sample()
    for number, status, retry_after, latency, ended in zip(
        sample.numbers, sample.statuses, sample.retry_after, sample.latencies, sample.ended, strict=True
    ):
        part = first if number < count else rest
        part.numbers.append(number)
        part.statuses.append(status)
        part.retry_after.append(retry_after)
        part.latencies.append(latency)
        part.ended.append(ended)
    return first, rest


def _opened(sample: Sample, rate: float) -> Opened:
    good = sample.good()
    return Opened(
        rate=rate,
        sent=len(sample.statuses),
        good=len(good),
        p50=percentile(good, 0.5),
        p99=percentile(good, 0.99),
        failed=sample.other_statuses(),
        lost=sample.unsent + sample.unanswered,
    )
