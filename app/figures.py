"""The figures of jobs as Prometheus reads them: what Redis said at the moment of the scrape, and nothing from before.

They are those of every project, whichever asks. ``queue.py`` fetches them in one round trip (``LOOK`` in
``scripts.py``), ``telemetry.py`` has them told. How they come about is in ``models/contract/figures.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
class ProjectFigures:
    """Of the jobs of one project: the numbers of the hash, and seconds since the oldest renewal."""

    numbers: Mapping[str, int]
    lease_age_seconds: float


@dataclass(frozen=True)
class JobFigures:
    """What Redis said: the figures of each project, workers, and messages by queue."""

    projects: Mapping[str, ProjectFigures]
    workers: tuple[WorkerPresence, ...]
    messages: Mapping[str, int]


class JobCollector(Collector):
    """Tells the figures of one scrape."""

    def __init__(self, figures: JobFigures | None) -> None:
        """Keep the figures; without them only that Redis does not answer is told."""
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of jobs."""
        figures = self._figures
        yield GaugeMetricFamily("lectern_queue_up", "Whether Redis answers.", value=int(figures is not None))
        if figures is None:
            return
        yield _jobs(figures)
        yield _by_queue("lectern_queue_messages", "Messages that wait for a worker.", figures.messages)
        yield from _counters(figures)
        yield _histogram("lectern_job_duration_seconds", DURATION_HELP, ("state", "family"), "duration", figures)
        yield _histogram("lectern_job_wait_seconds", WAIT_HELP, ("queue",), "wait", figures)
        yield _lease_ages(figures)
        takers = {queue: [each.slots for each in figures.workers if queue in each.queues] for queue in QUEUES}
        workers = {queue: len(slots) for queue, slots in takers.items()}
        yield _by_queue("lectern_workers", "Workers that take jobs from the queue; one can take from both.", workers)
        slots = {queue: sum(slots) for queue, slots in takers.items()}
        yield _by_queue("lectern_worker_slots", "Jobs that these workers train at a time.", slots)


def _jobs(figures: JobFigures) -> Metric:
    labels = ("project", "state", "queue")
    metric = GaugeMetricFamily("lectern_jobs", "Jobs by project, state and queue.", labels=labels)
    for (project, own), state, queue in product(figures.projects.items(), JobState, QUEUES):
        metric.add_metric((project, state.value, queue), own.numbers.get(f"jobs:{queue}:{state.value}", 0))
    return metric


def _lease_ages(figures: JobFigures) -> Metric:
    age = "Seconds since the oldest renewal of a lease that is held in the project, 0 if none is."
    metric = GaugeMetricFamily("lectern_lease_age_seconds", age, labels=("project",))
    for project, own in figures.projects.items():
        metric.add_metric((project,), own.lease_age_seconds)
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
        metric = CounterMetricFamily(f"lectern_jobs_{kind}", documentation, labels=("project", "queue"))
        for (project, own), queue in product(figures.projects.items(), QUEUES):
            metric.add_metric((project, queue), own.numbers.get(f"{kind}:{queue}", 0))
        yield metric


def _histogram(name: str, documentation: str, labels: tuple[str, ...], kind: str, figures: JobFigures) -> Metric:
    """Return the histogram of the fields ``{kind}:{label}:…:{bound}``, one of each combination that occurred."""
    metric = HistogramMetricFamily(name, documentation, labels=("project", *labels))
    found: dict[tuple[str, ...], dict[str, int]] = {}
    for project, own in figures.projects.items():
        for field, number in own.numbers.items():
            first, *values, bound = field.split(":")
            if first == kind:
                found.setdefault((project, *values), {})[bound] = number
    for values, numbers in sorted(found.items()):
        milliseconds = numbers.pop("sum")
        metric.add_metric(values, _cumulated(numbers), milliseconds / 1000)
    return metric


def _cumulated(numbers: Mapping[str, int]) -> list[tuple[str, float]]:
    """Return how many there are up to each bound; bounds of before, which are no more, count at the next."""
    left = sorted((float(bound), number) for bound, number in numbers.items())
    cumulated: list[tuple[str, float]] = []
    total, reached = 0, 0
    for bound in (*BOUNDS_SECONDS, "+Inf"):
        while reached < len(left) and left[reached][0] <= float(bound):
            total += left[reached][1]
            reached += 1
        cumulated.append((bound, total))
    return cumulated
