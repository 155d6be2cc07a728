"""What the gateway answers, as its client sees it. ``client`` makes these; nothing here sends anything.

Frozen records: the fields that callers rely on are typed, every other field is kept as it came.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from models.contract.errors import FieldError
from models.contract.jobs import JobState, Progress

Json = dict[str, Any]
"""A JSON object whose shape the caller knows."""


class Reply(BaseModel):
    """A JSON object that the gateway sent."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def sent(self) -> Json:
        """Return the object as the gateway sent it."""
        return self.model_dump(mode="json", exclude_unset=True)


class Family(Reply):
    """What can be trained."""

    id: str
    title: str = ""
    task: str = ""
    paper: str = ""
    dataset_kinds: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    config: Json = Field(default_factory=dict)
    training: Json = Field(default_factory=dict)


class Dataset(Reply):
    """Summary of a dataset."""

    name: str
    kind: str = ""
    counts: dict[str, int] = Field(default_factory=dict)
    split_rule: str = ""
    digest: str = ""
    built_in: bool = False
    created: str | None = None
    meta: Json = Field(default_factory=dict)


class Problem(Reply):
    """Why a job failed."""

    code: str = ""
    detail: str = ""
    errors: tuple[dict[str, str], ...] = ()

    def fields(self) -> tuple[FieldError, ...]:
        """Return the fields that it speaks of."""
        return tuple(FieldError(item.get("pointer", ""), item.get("detail", "")) for item in self.errors)


class Job(Reply):
    """A training job."""

    id: str
    state: JobState
    family: str = ""
    dataset: str = ""
    model: str = ""
    attempt: int = 0
    progress: Progress = Progress()
    created: str | None = None
    started: str | None = None
    finished: str | None = None
    error: Problem | None = None
    version: int | None = None
    resumed_from: str | None = None
    priority: str = ""
    queue: str = ""
    worker: str | None = None
    checkpoint: bool = False
    log: tuple[str, ...] | None = None


class Version(Reply):
    """One line of a model's list of versions."""

    version: int
    family: str = ""
    dataset: str = ""
    created: str | None = None
    metrics: dict[str, dict[str, float]] = Field(default_factory=dict)


class Model(Reply):
    """A model with its versions and aliases."""

    name: str
    task: str = ""
    family: str = ""
    versions: tuple[Version, ...] = ()
    aliases: dict[str, int] = Field(default_factory=dict)


class ModelCard(Reply):
    """Everything there is to know of one version."""

    version: int
    headline: str = ""
    metrics: dict[str, dict[str, float]] = Field(default_factory=dict)
    duration_seconds: dict[str, float] = Field(default_factory=dict)


class Event(BaseModel):
    """One event of a job: its id in the stream, its kind and its data."""

    model_config = ConfigDict(frozen=True)

    id: str
    event: str
    data: Json

    @property
    def final(self) -> bool:
        """Whether it says that the job ended."""
        return self.event == "state" and JobState(str(self.data.get("state"))).final

    def progress(self) -> Progress:
        """Return how far the job is; of events ``progress`` and ``epoch``."""
        return Progress.model_validate({name: self.data[name] for name in Progress.model_fields if name in self.data})
