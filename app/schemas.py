"""Answers of the REST interface as pydantic models: what the OpenAPI document promises."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictInt, TypeAdapter
from typing_extensions import TypedDict

from app.serving.oip import words
from models.contract.config import Name, Options
from models.contract.jobs import ExportOptions, JobState, NamedContent, Priority, Progress
from models.contract.manifest import Manifest
from models.contract.tensors import PartSignature

Item = TypeVar("Item")


class Answer(BaseModel):
    """What routes answer; its validator is built when a route first answers it, not while the gateway is loaded."""

    model_config = ConfigDict(defer_build=True)


class FieldProblem(Answer):
    """One wrong field."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the request.")
    detail: str


class Problem(Answer):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable name of the kind of problem.")
    request_id: str
    errors: list[FieldProblem]


class Page(Answer, Generic[Item]):
    """Part of a list."""

    items: list[Item]
    next: str | None = Field(description="Pass it as `after` to read on; null at the end.")


class Health(Answer):
    """Whether the process lives or takes requests, and what it depends on."""

    status: str
    queue: str | None = Field(default=None, description="Whether Redis answers: up or down.")
    store: str | None = Field(default=None, description="Whether the artifact store answers: up or down.")


class FamilyDescription(Answer):
    """What a model family is and takes."""

    id: str
    task: str
    title: str
    paper: str
    dataset_kind: str = Field(description="The usual kind of dataset it learns from.")
    dataset_kinds: tuple[str, ...] = Field(description="All kinds of dataset it learns from.")
    config: dict[str, Any] = Field(description="JSON Schema of a job's `config`, with defaults.")
    training: dict[str, Any] = Field(description="JSON Schema of a job's `training`, with defaults.")
    parts: dict[str, PartSignature]
    parts_by_kind: dict[str, dict[str, PartSignature]] = Field(
        description="The parts for kinds of dataset that give other inputs than the usual one."
    )
    further_datasets: dict[str, str] = Field(
        description="Kinds of further datasets that options of `config` name, by option."
    )
    insides: list[str]
    verbs: list[str]


class Preview(Answer):
    """The first examples of a split."""

    dataset: str
    split: str
    items: list[dict[str, JsonValue]]


class Job(Answer):
    """A training job."""

    id: str
    state: JobState
    attempt: int
    family: str
    dataset: str
    dataset_digest: str
    further_datasets: dict[str, NamedContent] = Field(description="Those that the configuration names, by option.")
    model: str
    priority: Priority
    queue: str = Field(description="Queue in which it waits: train.gpu if it asks for a GPU by name, else train.cpu.")
    worker: str | None = Field(description="Host and process id of the newest trainer; null before the first.")
    config: dict[str, JsonValue]
    training: dict[str, JsonValue]
    export: ExportOptions
    progress: Progress
    created: datetime
    started: datetime | None
    finished: datetime | None
    error: dict[str, JsonValue] | None = Field(description="The problem that a failed job ended with.")
    version: int | None = Field(description="Published version, once succeeded.")
    resumed_from: str | None
    cancel_requested: bool
    checkpoint: bool = Field(description="Whether there is a checkpoint to resume from.")
    log: list[str] | None = Field(default=None, description="The last lines of its log; null in lists of jobs.")

    @property
    def datasets(self) -> frozenset[str]:
        """The names of all datasets that the job needs."""
        return frozenset({self.dataset, *(item.name for item in self.further_datasets.values())})


class ResumeRequest(Options):
    """What to change when a job is taken up again."""

    training: dict[str, JsonValue] = Field(
        default_factory=dict, description="Training options that replace those of the old job."
    )


class VersionSummary(Answer):
    """One version in the list of a model."""

    version: int
    family: str
    job: str
    created: datetime
    dataset: str
    headline: str
    metrics: dict[str, dict[str, float]]


class ModelSummary(Answer):
    """A model with its versions and aliases; task and family are those of the newest version."""

    name: str
    task: str
    family: str
    versions: list[VersionSummary]
    aliases: dict[str, int]


class ModelCard(Manifest):
    """Everything about one version."""

    aliases: list[str]
    problem: str | None = Field(
        description="What is wrong with its files, so that it cannot be loaded; one in memory goes on answering."
    )


class AliasRequest(Options):
    """What an alias shall mean."""

    version: int = Field(ge=1, strict=True)


class AliasName(Options):
    """The name of an alias."""

    alias: Name


class AliasAnswer(Answer):
    """What an alias means now."""

    model: str
    alias: str
    version: int


class OipError(Answer):
    """Why a request under /v2 was refused."""

    error: str


class OipServer(Answer):
    """The server as the Open Inference Protocol describes it."""

    name: str
    version: str
    extensions: list[str]


class OipLive(Answer):
    """The process lives."""

    live: bool


class OipReady(Answer):
    """Requests are taken."""

    ready: bool


class OipIndexRequest(Options):
    """Which versions to list."""

    ready: bool = Field(default=False, description="Only those in memory.")


class OipIndexEntry(Answer):
    """One version, and whether it is in memory."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class OipStatistics(Answer):
    """What versions have done since they were loaded."""

    model_stats: list[dict[str, Any]]


class OipConfiguration(Answer):
    """A version in the terms of Triton's model configuration."""

    name: str
    platform: str
    backend: str
    version_policy: dict[str, Any]
    max_batch_size: int
    input: list[dict[str, Any]]
    output: list[dict[str, Any]]
    instance_group: list[dict[str, Any]]
    dynamic_batching: dict[str, Any]


class OipModelReady(Answer):
    """A model answers."""

    name: str
    ready: bool


class OipTensor(Answer):
    """Name, datatype and shape of an input or output; -1 is an axis that may vary."""

    name: str
    datatype: str
    shape: list[int]


class OipModel(Answer):
    """A version as the protocol describes it: inputs and outputs of its first part."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[OipTensor]
    outputs: list[OipTensor]
    parameters: dict[str, list[str]] = Field(description="`parts`: what the parameter `part` can name.")


MOST_AXES = 32
MOST_TENSORS = 1000
SIZE = {"type": "integer", "minimum": 0}
FLAG = {"type": "boolean"}


def _documented(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a dictionary may hold, in JSON Schema; ``oip/requests.py`` checks it and names what is wrong."""
    return {"properties": properties}


class OipInput(TypedDict):
    """One input tensor."""

    name: str
    shape: Annotated[list[StrictInt], Field(max_length=MOST_AXES)]
    datatype: str
    data: NotRequired[Annotated[Any, Field(description="Values in row-major order, flat or nested.")]]
    parameters: NotRequired[
        Annotated[
            dict[str, Any],
            Field(
                description="`binary_data_size`: that many bytes behind the JSON are the values.",
                json_schema_extra=_documented(binary_data_size=SIZE),
            ),
        ]
    ]


class OipOutput(TypedDict):
    """One output that is asked for."""

    name: str
    parameters: NotRequired[
        Annotated[
            dict[str, Any],
            Field(
                description=f"`binary_data`: as bytes behind the JSON; `{words.CLASSES}`: so many of the largest, by "
                "name.",
                json_schema_extra=_documented(binary_data=FLAG, **{words.CLASSES: SIZE | {"maximum": 10**6}}),
            ),
        ]
    ]


class OipRequest(TypedDict):
    """One run of a part. A dictionary, as it is checked for every prediction."""

    id: NotRequired[str | None]
    parameters: NotRequired[
        Annotated[
            dict[str, Any],
            Field(
                description="`part` names the part to run (default: the first), `timeout` is in microseconds, "
                "`priority` from 1 (goes first) to 3, `binary_data_output` asks for every output as bytes.",
                json_schema_extra=_documented(
                    part={"type": ["string", "null"]},
                    timeout=SIZE | {"maximum": 10**12},
                    priority=SIZE | {"maximum": 3},
                    binary_data_output=FLAG,
                ),
            ),
        ]
    ]
    inputs: Annotated[list[OipInput], Field(max_length=MOST_TENSORS)]
    outputs: NotRequired[
        Annotated[list[OipOutput] | None, Field(max_length=MOST_TENSORS, description="Default is all of them.")]
    ]


OIP_REQUEST = TypeAdapter(OipRequest)


class OipResult(OipTensor):
    """One output tensor, its values flat, or in the bytes behind the JSON."""

    data: list[float] | list[int] | list[bool] | list[str] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)


class OipAnswer(Answer):
    """The outputs of one run."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OipResult]
