"""The metrics of predictions. Labels are bound once for each version: looking them up costs more than counting.

Triton's names for the same:

- ``nv_inference_request_duration_us``: ``lectern_prediction_seconds``
- ``nv_inference_queue_duration_us``: ``lectern_queue_seconds``
- ``nv_inference_compute_input_duration_us`` and its two sisters: ``lectern_compute_seconds`` by ``stage``
- ``nv_inference_exec_count``, ``nv_inference_count``: count and sum of ``lectern_batch_rows``
- ``nv_inference_pending_request_count``: ``lectern_pending_runs``
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.serving.runs import Timing
from app.tally import Tally
from models.contract.errors import LecternError

Pending = tuple[str, str, int, int]
"""Project, model, version and number of waiting runs of a version in memory."""

REQUEST_SECONDS = tuple(float(f"{10 ** (tenth / 10):.2g}") for tenth in range(-36, 11))
"""From 0.25 ms to 10 s, ten to a decade, each a quarter above the one before.

Prometheus takes latencies to be spread evenly in a bucket, and behind any queue they thin out: at the 99th percentile
of exponential ones that errs by up to 3 %; with buckets of twice the one before it would be 29 %.
"""

STAGE_SECONDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
OVERRUN_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
VERSION = ("project", "model", "version")


class ServingMetrics:
    """What is told of predictions, by project, model and version."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register every metric."""
        self.seconds = Histogram(
            "lectern_prediction_seconds",
            "Time from the request's headers to its answer, by verb and by what became of it.",
            (*VERSION, "verb", "outcome"),
            buckets=REQUEST_SECONDS,
            registry=registry,
        )
        self.queue = Histogram(
            "lectern_queue_seconds", "Time that a run waited.", VERSION, buckets=STAGE_SECONDS, registry=registry
        )
        self.compute = Histogram(
            "lectern_compute_seconds",
            "Time of one joint run: input (joining), infer (computing), output (dividing).",
            (*VERSION, "stage"),
            buckets=STAGE_SECONDS,
            registry=registry,
        )
        self.rows = Histogram("lectern_batch_rows", "Rows of one joint run.", VERSION, buckets=ROWS, registry=registry)
        self.rejections = Counter(
            "lectern_rejected_runs", "Runs refused or given up, by reason.", (*VERSION, "reason"), registry=registry
        )
        self.overruns = Histogram(
            "lectern_deadline_overrun_seconds",
            "Time from a run's deadline to when it was given up.",
            VERSION,
            buckets=OVERRUN_SECONDS,
            registry=registry,
        )
        self._loads = Histogram(
            "lectern_model_load_seconds",
            "Time to load, check and warm up a version, by what became of it.",
            ("project", "model", "outcome"),
            buckets=(0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0),
            registry=registry,
        )
        self._loaded = Gauge("lectern_models_loaded", "Versions in memory.", registry=registry)
        self._pending = Gauge("lectern_pending_runs", "Runs that wait now.", VERSION, registry=registry)

        self._tallies: list[Tally] = []
        self._versions: dict[tuple[str, str, int], VersionMetrics] = {}

    def of(self, project: str, model: str, version: int) -> VersionMetrics:
        """Return the metrics of one version, the same however often it is loaded."""
        found = self._versions.get((project, model, version))
        if found is None:
            found = self._versions[project, model, version] = VersionMetrics(self, (project, model, str(version)))
        return found

    @contextmanager
    def loading(self, project: str, model: str) -> Generator[None]:
        """Observe how long the block takes to load a version, and what becomes of it; in any thread."""
        started, outcome = time.perf_counter(), "internal_error"
        try:
            yield
            outcome = "ok"
        except LecternError as error:
            outcome = error.code
            raise
        finally:
            self._loads.labels(project, model, outcome).observe(time.perf_counter() - started)

    def tally(self, histogram: Histogram) -> Tally:
        """Return what feeds a histogram whose labels are bound."""
        tally = Tally(histogram)
        self._tallies.append(tally)
        return tally

    def now(self, pending: Iterable[Pending]) -> None:
        """Take what is true at this moment of all versions in memory."""
        for tally in self._tallies:
            tally.count()
        self._pending.clear()
        loaded = 0
        for project, model, version, waiting in pending:
            self._pending.labels(project, model, str(version)).set(waiting)
            loaded += 1
        self._loaded.set(loaded)


class VersionMetrics:
    """The metrics of one version, labels bound."""

    def __init__(self, metrics: ServingMetrics, labels: tuple[str, str, str]) -> None:
        """Bind the labels: project, model and version."""
        self._metrics = metrics
        self._labels = labels
        self._queue = metrics.tally(metrics.queue.labels(*labels))
        self._input, self._infer, self._output = (
            metrics.tally(metrics.compute.labels(*labels, stage)) for stage in ("input", "infer", "output")
        )
        self._rows = metrics.tally(metrics.rows.labels(*labels))
        self._overruns = metrics.tally(metrics.overruns.labels(*labels))
        self._seconds: dict[tuple[str, str], Tally] = {}
        self._rejections: dict[str, Counter] = {}

    def answered(self, verb: str, outcome: str, seconds: float, count: int = 1) -> None:
        """Count requests that took ``seconds`` each; ``outcome`` is ``ok`` or the code of their problem."""
        bound = self._seconds.get((verb, outcome))
        if bound is None:
            histogram = self._metrics.seconds.labels(*self._labels, verb, outcome)
            bound = self._seconds[verb, outcome] = self._metrics.tally(histogram)
        bound.observe(seconds, count)

    def ran(self, timing: Timing) -> None:
        """Observe one joint run."""
        self._queue.extend(timing.waited)
        self._input.observe(timing.input)
        self._infer.observe(timing.infer)
        self._output.observe(timing.output)
        self._rows.observe(timing.rows)

    def rejected(self, reason: str, count: int = 1) -> None:
        """Count runs that were refused or given up."""
        counter = self._rejections.get(reason)
        if counter is None:
            counter = self._rejections[reason] = self._metrics.rejections.labels(*self._labels, reason)
        counter.inc(count)

    def overran(self, seconds: float) -> None:
        """Observe how long after its deadline a run was given up."""
        self._overruns.observe(seconds)
