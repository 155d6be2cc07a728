"""The figures of jobs as Prometheus reads them: what Redis said at the moment of the scrape, and nothing from before.

``queue.py`` fetches them in one round trip (``LOOK`` in ``scripts.py``), ``telemetry.py`` has them told. How they come
about is in ``models/contract/figures.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from models.contract.figures import BOUNDS_SECONDS
from models.contract.jobs import QUEUES, JobState
from models.contract.workers import WorkerPresence

DURATION_HELP = "Seconds from the first start of a job to its end, of jobs that began."
WAIT_HELP = "Seconds from the submission of a job to its first start."


@dataclass(frozen=True)
class JobFigures:
    """What Redis said: the numbers of the hash, seconds since the oldest renewal, workers, and messages by queue."""

    numbers: Mapping[str, int]
    lease_age_seconds: float
    workers: tuple[WorkerPresence, ...]
    messages: Mapping[str, int]


class JobCollector(Collector):
    """Tells ``figures`` when the registry is read; without them only that Redis does not answer."""

    def __init__(self) -> None:
        """Have nothing to tell yet."""
        self.figures: JobFigures | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of jobs."""
        figures = self.figures
        yield GaugeMetricFamily("lectern_queue_up", "Whether Redis answers.", value=int(figures is not None))
        if figures is None:
            return
        yield _jobs(figures)
        yield _by_queue("lectern_queue_messages", "Messages that wait for a worker.", figures.messages)
        yield from _counters(figures)
        yield _histogram("lectern_job_duration_seconds", DURATION_HELP, ("state", "family"), "duration", figures)
        yield _histogram("lectern_job_wait_seconds", WAIT_HELP, ("queue",), "wait", figures)
        age = "Seconds since the oldest renewal of a lease that is held, 0 if none is."
        yield GaugeMetricFamily("lectern_lease_age_seconds", age, value=figures.lease_age_seconds)
        takers = {queue: [each.slots for each in figures.workers if queue in each.queues] for queue in QUEUES}
        workers = {queue: len(slots) for queue, slots in takers.items()}
        yield _by_queue("lectern_workers", "Workers that take jobs from the queue; one can take from both.", workers)
        slots = {queue: sum(slots) for queue, slots in takers.items()}
        yield _by_queue("lectern_worker_slots", "Jobs that these workers train at a time.", slots)


def _jobs(figures: JobFigures) -> Metric:
    metric = GaugeMetricFamily("lectern_jobs", "Jobs by state and queue.", labels=("state", "queue"))
    for state, queue in product(JobState, QUEUES):
        metric.add_metric((state.value, queue), figures.numbers.get(f"jobs:{queue}:{state.value}", 0))
    return metric


def _by_queue(name: str, documentation: str, values: Mapping[str, int]) -> Metric:
    metric = GaugeMetricFamily(name, documentation, labels=("queue",))
    for queue in QUEUES:
        metric.add_metric((queue,), values[queue])
    return metric


def _counters(figures: JobFigures) -> Iterator[Metric]:
    lost = "Leases that lapsed: the worker vanished, and the job was taken back."
    retried = "Returns of jobs from running or exporting to queued, whatever the reason."
    for kind, documentation in (("lost", lost), ("retried", retried)):
        metric = CounterMetricFamily(f"lectern_jobs_{kind}", documentation, labels=("queue",))
        for queue in QUEUES:
            metric.add_metric((queue,), figures.numbers.get(f"{kind}:{queue}", 0))
        yield metric


def _histogram(name: str, documentation: str, labels: tuple[str, ...], kind: str, figures: JobFigures) -> Metric:
    """Return the histogram of the fields ``{kind}:{label}:…:{bound}``, one of each combination that occurred."""
    metric = HistogramMetricFamily(name, documentation, labels=labels)
    found: dict[tuple[str, ...], dict[str, int]] = {}
    for field, number in figures.numbers.items():
        first, *values, bound = field.split(":")
        if first == kind:
            found.setdefault(tuple(values), {})[bound] = number
    for values, numbers in sorted(found.items()):
        milliseconds = numbers.pop("sum")
        metric.add_metric(values, _cumulated(numbers), milliseconds / 1000)
    return metric


def _cumulated(numbers: Mapping[str, int]) -> list[tuple[str, float]]:
    """Return how many there are up to each bound; bounds of before, which are no more, count at the next."""
    return [(bound, _up_to(float(bound), numbers.items())) for bound in (*BOUNDS_SECONDS, "+Inf")]


def _up_to(seconds: float, numbers: Iterable[tuple[str, int]]) -> int:
    return sum(number for bound, number in numbers if float(bound) <= seconds)
