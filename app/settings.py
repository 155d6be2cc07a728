"""Settings of the gateway, from ``LECTERN_…`` environment variables. Nothing else reads the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.listening import is_loopback
from models.contract.config import Name


def _store_here() -> str:
    return (Path.cwd() / ".lectern" / "store").as_uri()


def complaints(error: ValidationError) -> list[str]:
    """Return a sentence for each variable that cannot be what it is set to."""
    return [f"LECTERN_{'_'.join(map(str, issue['loc'])).upper()}: {issue['msg']}" for issue in error.errors()]


class GatewaySettings(BaseSettings):
    """One gateway's settings; read once at start and passed down."""

    model_config = SettingsConfigDict(env_prefix="LECTERN_", frozen=True, extra="ignore")

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    processes: int = Field(default=1, ge=1, le=64, description="Processes that serve on the one port.")
    insecure: bool = Field(default=False, description="Listen beyond this machine also while there are no keys.")
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", description="Redis with job state and the queue.")
    store_url: str = Field(default_factory=_store_here, description="Artifact store.")
    families: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("models",), description="Packages in which families are looked up, separated by commas."
    )
    project: Name = Field(default="default", description="Project of requests while there are no keys.")
    max_attempts: int = Field(
        default=5, ge=1, le=1000, description="How often a job is tried whose trainers or workers vanish."
    )
    json_limit_bytes: int = Field(default=64 * 2**20, ge=1024, description="Largest body of a request, uploads aside.")
    upload_limit_bytes: int = Field(default=2 * 2**30, ge=1024, description="Largest upload of a dataset.")
    body_seconds: float = Field(
        default=120.0, gt=0, le=86_400, description="Time that the body of a request has to arrive, uploads aside."
    )
    upload_seconds: float = Field(default=3600.0, gt=0, le=86_400, description="Time that an upload has to arrive.")
    rate_per_second: float = Field(
        default=0.0, ge=0, le=1e6, description="Requests per second taken with one key; 0 sets no limit."
    )
    rate_burst: int = Field(default=20, ge=1, le=1_000_000, description="Requests with one key taken at once.")
    trusted_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Names under which a gateway without keys is asked, beside those of this machine."
    )
    tensor_limit_elements: int = Field(default=2**26, ge=1, description="Largest number of elements of one tensor.")
    loaded_models_limit: int = Field(default=16, ge=1, description="Versions kept in memory at a time.")
    loaded_models_limit_bytes: int = Field(
        default=2 * 2**30, ge=1, description="Size of the exported parts kept in memory at a time."
    )
    max_batch_size: int = Field(
        default=64,
        ge=1,
        le=65_536,
        description="Most rows that a part computes at a time; requests are joined up to it.",
    )
    max_queue_delay_microseconds: int = Field(
        default=0, ge=0, le=1_000_000, description="How long a request waits for others to be computed with it."
    )
    max_queue_size: int = Field(
        default=512, ge=1, le=100_000, description="Requests to one version that are on their way; more are refused."
    )
    max_queue_wait_microseconds: int = Field(
        default=50_000,
        ge=0,
        le=3_600_000_000,
        description="While requests wait longer, those beyond four full runs are refused; 0 is any time.",
    )
    default_timeout_microseconds: int = Field(
        default=0, ge=0, le=3_600_000_000, description="Time for a prediction that names none; 0 is any time."
    )
    inference_threads: int = Field(
        default=0, ge=0, le=1024, description="Predictions computed at a time; 0 takes its share of the cores."
    )
    torchscript_limit_seconds: float = Field(
        default=30.0, gt=0, le=3600, description="Longest run of a TorchScript part; a longer one is stopped."
    )
    reading_slots: int = Field(default=2, ge=1, le=64, description="Uploads read at a time; others wait.")
    reading_memory_bytes: int = Field(
        default=4 * 2**30, ge=2**28, description="Address space of the process that reads an upload."
    )
    reading_cpu_seconds: float = Field(
        default=600.0, ge=1, le=86_400, description="Processor time that the reading of an upload may take."
    )
    reading_seconds: float = Field(
        default=1800.0, ge=0.1, le=86_400, description="Time that the reading of an upload may take."
    )
    shutdown_grace_seconds: int = Field(
        default=10, ge=0, le=3600, description="Time that requests in flight have to end when the gateway is stopped."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")
    log_format: Literal["console", "json"] = Field(default="console", description="Logs for people or for machines.")

    @field_validator("families", "trusted_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(item.strip() for item in value.split(",") if item.strip())

    def threads(self) -> int:
        """Return how many predictions one process computes at a time."""
        if self.inference_threads:
            return self.inference_threads
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, cores // self.processes)

    def listens_beyond_this_machine(self) -> bool:
        """Return whether others than processes of this machine can connect."""
        return not is_loopback(self.host)


def main() -> int:
    """Say what is wrong with the settings of the environment; return 1 if anything is."""
    try:
        GatewaySettings()
    except ValidationError as error:
        sys.stderr.writelines(f"{line}\n" for line in complaints(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
