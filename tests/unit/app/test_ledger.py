"""Metrics of several processes: what travels is what the library says, and sums never go back, whoever is killed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import orjson
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.process_collector import ProcessCollector

from app.processes import snapshots
from app.processes.ledger import Ledger

BOUNDS = (1.0, 2.5, 5.0)
CHILDREN = st.integers(0, 2)
NUMBERS = st.integers(0, 8)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Process:
    """A process that counts requests and how long they took, and has some gauges."""

    def __init__(self, number: int = 0, bounds: tuple[float, ...] = BOUNDS) -> None:
        self.number = number
        self.registry = CollectorRegistry()
        self.requests = Counter("requests", "All.", ("route",), registry=self.registry)
        self.seconds = Histogram("seconds", "Time.", ("route",), buckets=bounds, registry=self.registry)
        self.plain = Counter("plain", "Without labels.", registry=self.registry)
        self.plain_seconds = Histogram("plain_seconds", "Without labels.", buckets=bounds, registry=self.registry)
        self.loaded = Gauge("loaded", "Versions.", registry=self.registry)
        self.started = Gauge("process_started", "When.", registry=self.registry)

    def handle(self, route: str, seconds: float) -> None:
        self.requests.labels(route).inc()
        self.seconds.labels(route).observe(seconds)
        self.plain.inc(seconds)
        self.plain_seconds.observe(seconds)

    def report(self, ledger: Ledger) -> None:
        ledger.record(self.number, travelled(self.registry))


def travelled(registry: CollectorRegistry) -> list[snapshots.Series]:
    return orjson.loads(orjson.dumps(snapshots.take(registry)))


def told(ledger: Ledger) -> Samples:
    return samples(snapshots.registry_of(orjson.loads(orjson.dumps(ledger.merged()))))


def samples(registry: CollectorRegistry) -> Samples:
    """Return what Prometheus reads, without when it began."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    found = [sample for family in families for sample in family.samples if not sample.name.endswith("_created")]
    read = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in found}
    assert len(read) == len(found)
    return read


def test_snapshot_of_one_process_is_its_exposition() -> None:
    """Names, labels, bounds and numbers, of what is read directly and of what is collected."""
    process = Process()
    process.handle('a "quoted"\n\\ route', 0.5)
    process.handle("b", 7)
    process.loaded.set(2)
    alone = samples(process.registry)
    ledger = Ledger()
    process.report(ledger)
    merged = told(ledger)
    assert merged.pop(("process_started", (("process", "0"),))) == alone.pop(("process_started", ()))
    assert merged == alone


def test_figures_of_the_process_itself_have_its_number_and_its_counters_are_added() -> None:
    """A sum of times of start says nothing, one of processor time does."""
    ledger = Ledger()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    for number in (1, 2):
        ledger.record(number, travelled(registry))
    merged = told(ledger)
    assert ("process_start_time_seconds", (("process", "2"),)) in merged
    assert ("process_cpu_seconds_total", ()) in merged
    assert ("python_gc_collections_total", (("generation", "0"),)) in merged


def test_gauges_are_the_livings_and_counters_everybodys() -> None:
    """A dead process holds no versions, but it did answer requests."""
    ledger, processes = Ledger(), [Process(number) for number in (1, 2)]
    for process in processes:
        process.loaded.set(3)
        process.handle("a", 2)
        process.report(ledger)
    ledger.bury(1)
    merged = told(ledger)
    assert merged["loaded", ()] == 3
    assert merged["requests_total", (("route", "a"),)] == 2
    assert [labels for name, labels in merged if name == "process_started"] == [(("process", "2"),)]
    ledger.bury(2)
    assert told(ledger)["seconds_sum", (("route", "a"),)] == 4


def test_burying_who_said_nothing_changes_nothing() -> None:
    """A process may end before its first snapshot."""
    ledger = Ledger()
    ledger.bury(1)
    assert told(ledger) == {}


def test_histograms_of_two_programs_come_together_in_the_newer_bounds() -> None:
    """As in a rolling restart after an upgrade."""
    ledger = Ledger()
    for number, bounds in ((1, (1.0, 2.0)), (2, (1.5, 5.0))):
        process = Process(number, bounds)
        process.handle("a", 0.5)
        process.handle("a", 1.8)
        process.report(ledger)
    merged = told(ledger)
    buckets = {dict(labels)["le"]: value for (name, labels), value in merged.items() if name == "seconds_bucket"}
    assert buckets == {"1.5": 2, "5.0": 4, "+Inf": 4}
    assert merged["seconds_count", (("route", "a"),)] == 4


def test_what_is_no_number_is_left_out() -> None:
    """It could not travel, nor be added."""
    process = Process()
    process.loaded.set(float("nan"))
    assert "loaded" not in {series["name"] for series in travelled(process.registry)}


ACTIONS = st.one_of(
    st.tuples(st.just("handle"), CHILDREN, NUMBERS),
    st.tuples(st.just("report"), CHILDREN, NUMBERS),
    st.tuples(st.just("kill"), CHILDREN, NUMBERS),
    st.tuples(st.just("leave"), CHILDREN, NUMBERS),
    st.tuples(st.just("scrape"), CHILDREN, NUMBERS),
)


@given(st.lists(ACTIONS, max_size=40))
def test_no_counter_goes_back_and_only_what_was_never_reported_is_missing(actions: list[tuple[str, int, int]]) -> None:
    """Whoever is killed, asked or late; and a scrape that reaches everybody tells everything but what kills took."""
    ledger = Ledger()
    numbers = itertools.count(1)
    children = [Process(next(numbers)) for _ in range(3)]
    unreported = [0, 0, 0]
    handled, before = 0, Samples()
    for action, child, number in [*actions, ("scrape", 0, 0)]:
        process = children[child]
        if action == "handle":
            process.handle(str(number % 2), number)
            unreported[child] += 1
            handled += 1
        elif action == "scrape":
            late = {number % 4} - {child}  # one of the others, or nobody
            for other in {0, 1, 2} - late:
                children[other].report(ledger)
                unreported[other] = 0
            now = told(ledger)
            counters = {key: value for key, value in now.items() if not key[0].endswith(("loaded", "started"))}
            assert all(counters.get(key, -1) >= value for key, value in before.items())
            assert sum(_values(counters, "requests_total")) == handled - sum(unreported)
            assert sum(_values(counters, "seconds_count")) == handled - sum(unreported)
            before = counters
        else:
            if action != "kill":
                process.report(ledger)
                unreported[child] = 0
            if action != "report":
                ledger.bury(process.number)
                handled -= unreported[child]
                unreported[child] = 0
                children[child] = Process(next(numbers))


def _values(found: Samples, name: str) -> Iterator[float]:
    return (value for (each, _), value in found.items() if each == name)
