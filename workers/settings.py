"""Settings of a worker and its trainers, from ``LECTERN_…`` environment variables."""

from __future__ import annotations

import os
import sys
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from workers.gpus import Queue, queues_of_this_machine

TEN_YEARS = 10 * 366 * 86_400.0


def complaints(error: ValidationError) -> list[str]:
    """Return a line for each variable that cannot be what it is set to."""
    return [f"LECTERN_{str(issue['loc'][0]).upper()}: {issue['msg']}\n" for issue in error.errors()]


class WorkerSettings(BaseSettings):
    """One worker's settings; read once at start and passed down."""

    model_config = SettingsConfigDict(env_prefix="LECTERN_", frozen=True, extra="ignore")

    redis_url: str = Field(default="redis://127.0.0.1:6379/0", description="Redis with job state and the queue.")
    store_url: str = Field(
        default_factory=lambda: f"file://{Path.cwd() / '.lectern' / 'store'}", description="Artifact store."
    )
    families: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("models",), description="Packages in which families are looked up, separated by commas."
    )
    queues: Annotated[tuple[Queue, ...] | None, NoDecode] = Field(
        default=None,
        min_length=1,
        description="Queues that the worker takes jobs from; by default those of its machine.",
    )
    worker_slots: int = Field(default=1, ge=1, le=64, description="Jobs that one worker trains at a time.")
    trainer_threads: int = Field(
        default=0, ge=0, le=1024, description="Threads of a trainer; 0 takes every core it may use."
    )
    lease_seconds: float = Field(
        default=15.0, gt=0, le=600, description="How long a claim holds without being renewed."
    )
    checkpoint_seconds: float = Field(default=30.0, gt=0, le=86_400, description="Time between checkpoints.")
    stop_grace_seconds: float = Field(
        default=0.7, gt=0, le=600, description="Time the trainer of a cancelled job has to write its checkpoint."
    )
    worker_grace_seconds: float = Field(
        default=6.0, gt=0, le=600, description="Time the trainers of a worker that is stopped have for that."
    )
    warm_trainers: bool = Field(
        default=True, description="Whether a free slot keeps a trainer that has imported torch."
    )
    retention_seconds: float = Field(
        default=3600.0, ge=0, le=31 * 86_400, description="Time between looks for what has expired; 0 never looks."
    )
    jobs_kept_seconds: float = Field(
        default=30 * 86_400.0, ge=0, le=TEN_YEARS, description="Age at which an ended job leaves Redis; 0 for ever."
    )
    checkpoints_kept_seconds: float = Field(
        default=7 * 86_400.0, ge=0, le=TEN_YEARS, description="Age at which an ended job has no checkpoint any more."
    )
    orphans_kept_seconds: float = Field(
        default=86_400.0, ge=0, le=TEN_YEARS, description="Age at which files go that nothing names."
    )
    log_level: str = Field(default="INFO", description="DEBUG, INFO, WARNING or ERROR.")

    @field_validator("families", "queues", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value

    @cached_property
    def taken_queues(self) -> tuple[Queue, ...]:
        """The queues that the worker takes from. Only it asks: what the driver says takes its time."""
        return self.queues or queues_of_this_machine()

    def beat_timeout_seconds(self) -> float:
        """Return how long a trainer goes on without a beat: it has stopped before its lease can lapse."""
        return self.lease_seconds * 2 / 3

    def stop_limit_seconds(self) -> float:
        """Return how long a trainer without beats may take to write its checkpoint."""
        return self.lease_seconds / 3

    def threads(self) -> int:
        """Return how many threads a trainer uses."""
        if self.trainer_threads:
            return self.trainer_threads
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, available // self.worker_slots)


def main() -> int:
    """Say what is wrong with the settings of the environment; return 1 if anything is."""
    try:
        WorkerSettings()
    except ValidationError as error:
        sys.stderr.writelines(complaints(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
