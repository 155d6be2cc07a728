"""The life of a job as gateway and workers agree on it: request, states, Redis keys and fields.

The gateway submits, reads and asks for cancellation (``app/queue.py``); workers claim, renew, report and
finish (``workers/claims.py``). Both use the keys and hash fields named here and nothing else.

Hash ``job`` of one job, all values strings:

``request`` JSON of :class:`JobRequest` with every default filled in · ``state`` · ``attempt`` (0 before the
first claim) · ``max_attempts`` · ``token`` of the present holder · ``lease_expires_ms`` (Redis clock) ·
``checkpoint`` path of the newest one in the store · ``created`` ``started`` ``finished`` (RFC 3339) ·
``progress`` JSON · ``error`` JSON problem · ``failure`` the same, of a trainer for which the job cannot be done ·
``last_problem`` the same, of an attempt that another may follow · ``version`` · ``worker`` host and process id of the
newest trainer · ``last_token`` of the last holder, whose late log lines are kept · ``handed_back`` number of attempts
that ended because their worker was told to stop, which do not count · ``cancel_requested`` "1" once asked ·
``publishing`` "1" past the point of no return · ``resumed_from`` job id · ``idempotency_key`` · ``queue`` ``family``
``model`` out of the request · ``created_ms`` ``started_ms`` of submission and first claim (Redis clock; for figures).

Of all jobs together: the hash of figures (``figures.py``) and the sorted set ``leases`` of the keys of jobs that are
held, by the time of their claim or newest renewal in milliseconds (Redis clock).

Events: ``state`` ``{"state", "attempt"}`` (a final one adds ``model``, ``version`` or ``error``) ·
``progress`` :class:`Progress` · ``epoch`` ``{"epoch", "metrics"}`` · ``log`` ``{"line"}``; all with their ``attempt``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field, JsonValue, ValidationInfo, field_validator

from models.contract.config import Name, Options
from models.contract.formats import Format

TRAIN_TASK = "lectern.train"
"""Name of the Celery task that brings a worker to a job; arguments: project, job id."""

CPU_QUEUE = "train.cpu"
GPU_QUEUE = "train.gpu"
QUEUES = (CPU_QUEUE, GPU_QUEUE)
"""Where messages wait. A job that asks for a GPU waits in the second until a worker that takes from it is there."""

PRIORITY_SEPARATOR = "\x06\x16"
"""Kombu's: a queue is a Redis list per priority, called by the queue, this and the step; the first has no suffix."""

WARNING = "warning: "
"""How a line of a job's log begins that its owner should see while it trains."""

CHANGED_MODELS = "lectern:models-changed"
"""Channel on which ``{project}/{model}`` is published when versions or aliases change."""


class JobState(StrEnum):
    """``queued → running → exporting → succeeded | failed | cancelled``; back to queued when the worker is lost."""

    QUEUED = "queued"
    RUNNING = "running"
    EXPORTING = "exporting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the job can never change again."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class Priority(StrEnum):
    """Which of the queued jobs a free worker takes first; a running one is never interrupted for another."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def step(self) -> int:
        """The number that kombu's Redis transport knows it by; the lowest is taken first."""
        return PRIORITY_STEPS[self]


PRIORITY_STEPS = {Priority.HIGH: 0, Priority.NORMAL: 3, Priority.LOW: 6}


class ExportOptions(Options):
    """What to export."""

    formats: tuple[Format, ...] = Field(
        default=("onnx",),
        min_length=1,
        description="Formats of the exported parts, each at most once; the first is scored and served.",
        json_schema_extra={"uniqueItems": True},
    )
    quantize: bool = Field(
        default=False,
        description="Whether to compute large matrix products of the exported parts in eight bits: smaller and faster. "
        "The job fails if the headline metric suffers by more than 1 %. With the format `onnx` alone.",
    )

    @field_validator("formats")
    @classmethod
    def _no_format_twice(cls, formats: tuple[Format, ...]) -> tuple[Format, ...]:
        if len(set(formats)) < len(formats):
            message = "names a format twice"
            raise ValueError(message)
        return formats

    @field_validator("quantize")
    @classmethod
    def _onnx_alone(cls, quantize: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's signature
        if quantize and info.data.get("formats", ("onnx",)) != ("onnx",):
            message = (
                'needs "formats": ["onnx"], the one that can be quantised; leave the others out or set it to false'
            )
            raise ValueError(message)
        return quantize


class JobSubmission(Options):
    """Body of ``POST /v1/jobs``; ``config`` and ``training`` are validated by the family's own schemas."""

    family: str
    dataset: Name
    model: Name
    config: dict[str, JsonValue] = Field(default_factory=dict)
    training: dict[str, JsonValue] = Field(default_factory=dict)
    export: ExportOptions = ExportOptions()
    priority: Priority = Field(
        default=Priority.NORMAL, description="Queued jobs of a higher priority are taken first: high, normal or low."
    )

    @property
    def waiting(self) -> Waiting:
        """Where its message waits for a worker."""
        queue = GPU_QUEUE if self.training.get("device") == "cuda" else CPU_QUEUE
        return Waiting(queue, self.priority)


class NamedContent(Options):
    """A dataset beside the job's own, fixed by its digest."""

    name: Name
    digest: str


class JobRequest(JobSubmission):
    """A validated submission: every default filled in, the datasets fixed by their digests.

    ``further_datasets`` are those that the configuration names, by option.
    """

    project: str
    dataset_digest: str
    further_datasets: dict[str, NamedContent] = Field(default_factory=dict[str, NamedContent])


@dataclass(frozen=True)
class Waiting:
    """Where the message of a job waits: the queue, ``train.gpu`` if it asks for a GPU by name, and the priority."""

    queue: str
    priority: Priority

    @property
    def key(self) -> str:
        """The Redis list."""
        return f"{self.queue}{PRIORITY_SEPARATOR}{self.priority.step}" if self.priority.step else self.queue


def waiting_lists(queue: str) -> list[str]:
    """Return the Redis lists of a queue, the one taken from first before the others."""
    return [Waiting(queue, priority).key for priority in Priority]


class Progress(Options):
    """How far a job is. ``step`` counts from 0 over all epochs; ``metrics`` are the newest means."""

    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    eta_seconds: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)


@dataclass(frozen=True)
class JobKeys:
    """Redis keys of one project."""

    project: str

    def job(self, job_id: str) -> str:
        """Hash with the fields of the module docstring."""
        return f"lectern:{self.project}:job:{job_id}"

    def events(self, job_id: str) -> str:
        """Stream of the job's events: fields ``event`` (state, progress, epoch, log) and ``data`` (JSON)."""
        return f"lectern:{self.project}:job:{job_id}:events"

    def logs(self, job_id: str) -> str:
        """List of log lines, oldest first, at most ``LOG_LINES``."""
        return f"lectern:{self.project}:job:{job_id}:logs"

    def transition(self, job_id: str) -> list[str]:
        """Return what every script takes that changes a job: job, events, active jobs, log, figures, leases."""
        own = (self.job(job_id), self.events(job_id), self.active(), self.logs(job_id))
        return [*own, self.figures(), self.leases()]

    def index(self) -> str:
        """Sorted set of job ids by time of submission in milliseconds."""
        return f"lectern:{self.project}:jobs"

    def active(self) -> str:
        """Set of the ids of jobs that are not final."""
        return f"lectern:{self.project}:jobs:active"

    def figures(self) -> str:
        """Hash of numbers that ``figures.py`` describes."""
        return f"lectern:{self.project}:jobs:figures"

    def leases(self) -> str:
        """Sorted set of the keys of held jobs by the time of their newest renewal."""
        return f"lectern:{self.project}:jobs:leases"

    def idempotency(self, key: str) -> str:
        """String ``{digest of the body} {job id}`` of an idempotency key."""
        return f"lectern:{self.project}:idempotency:{key}"


LOG_LINES = 10_000
LOG_TAIL = 100
"""Lines of the log that the job itself shows."""

EVENTS_KEPT = 20_000


def broker_url(redis_url: str) -> str:
    """Return ``redis_url`` as Celery writes it: ``unix:///path?db=0`` becomes ``redis+socket:///path?virtual_host=0``."""
    if redis_url.startswith("unix://"):
        path, _, query = redis_url.removeprefix("unix://").partition("?")
        return f"redis+socket://{path}" + (f"?{query.replace('db=', 'virtual_host=')}" if query else "")
    return redis_url
