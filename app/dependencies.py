"""What a request handler can ask for: the services of its project, parsed bodies, and checked names."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Protocol, TypeVar, cast

from fastapi import Depends, Query
from starlette.requests import Request
from starlette.types import Scope

from app import json_text
from app.access.keyring import Grant, Keyring
from app.bodies import PLAIN_ENCODINGS
from app.peers import Change, Peers, What
from app.queue import JobQueue
from app.reading import Readings
from app.serving.registry import Registry
from app.serving.runtimes.runtime import Runtime
from app.settings import GatewaySettings
from app.store_probe import StoreProbe
from app.telemetry import Metrics
from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from models.catalog import Catalog
from models.contract.config import Options
from models.contract.errors import (
    DatasetNotFound,
    ModelNotFound,
    NotFound,
    PayloadTooLarge,
    UnsupportedMedia,
    ValidationFailed,
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
JSON_TYPES = re.compile(r"application/([a-z0-9.-]+\+)?json")
LARGEST_DOCUMENT_BYTES = 2**20
"""Of bodies without tensors. What is wrong in one is listed field by field, which takes far longer than to read it."""

MOST_FIELDS = 1000
"""Of one object, so that a body as large as tensors may be cannot be as many unknown fields."""

NESTED = frozenset({list, dict})

Body = TypeVar("Body", bound=Options)


@dataclass(frozen=True)
class Services:
    """What requests of one project use; ``app/projects.py`` says what of it all projects share."""

    project: str
    settings: GatewaySettings
    catalog: Catalog
    store: ArtifactStore
    store_probe: StoreProbe
    datasets: Datasets
    readings: Readings
    versions: Versions
    queue: JobQueue
    registry: Registry
    metrics: Metrics
    runtimes: Mapping[str, Runtime]
    executor: ThreadPoolExecutor
    """Threads in which requests are read, codecs think and answers are written; no run of a part keeps them."""
    computing: ThreadPoolExecutor
    """Threads in which parts run."""
    waiting: ThreadPoolExecutor
    """Threads that wait while another process computes."""
    draining: asyncio.Event
    peers: Peers | None
    """The other processes of the gateway; None if there are none."""

    @property
    def default_timeout(self) -> float:
        """Seconds within which a prediction is answered that names no time of its own; 0 is any time."""
        return self.settings.default_timeout_microseconds / 1e6

    async def change(self, model: str, what: What) -> None:
        """Do to a model in every process of the gateway what one was asked for."""
        change = Change(self.project, model, what)
        self.registry.apply(change)
        if self.peers is not None:
            await self.peers.pass_on(change)


class ServicesByProject(Protocol):
    """Where the services of a project are found."""

    def of(self, project: str | None) -> Services:
        """Return the services of ``project``; of the gateway's own if it is None."""
        ...


def services(request: Request) -> Services:
    """Return the services of the project that the request's key belongs to, else of the gateway's own."""
    return services_in(request.scope)


def services_in(scope: Scope) -> Services:
    """Return the same from the scope of the request."""
    projects: ServicesByProject = scope["app"].state.projects
    grant: Grant | None = scope.get("grant")
    return projects.of(grant.project if grant else None)


async def _services(request: Request) -> Services:
    # A coroutine, as FastAPI runs plain functions in a thread.
    return services(request)


async def _project_names(request: Request) -> Collection[str]:
    keyring: Keyring = request.app.state.keyring
    return keyring.projects


Serving = Annotated[Services, Depends(_services)]
ProjectNames = Annotated[Collection[str], Depends(_project_names)]
"""Of every project that there is, for requests that are about all of them."""

Limit = Annotated[int, Query(ge=1, le=1000, description="Most items of one page.")]
After = Annotated[str | None, Query(max_length=200, description="`next` of the page before.")]


def media_type(request: Request) -> str:
    """Return the media type of the body without its parameters, empty if none is given.

    Raises:
        UnsupportedMedia: the body is compressed.
    """
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in PLAIN_ENCODINGS:
        raise UnsupportedMedia(f"A body with the Content-Encoding '{encoding[:50]}' is not read; send it as it is.")
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


def parse_json(body: bytes) -> object:
    """Return the parsed body; NaN and infinity are no JSON.

    Raises:
        MalformedBody: it cannot be parsed; says where.
        ValidationFailed: an object has more than ``MOST_FIELDS``.
    """
    parsed = json_text.parse(body)
    if body.count(b":") <= MOST_FIELDS:
        return parsed
    unseen = [parsed]
    while unseen:
        value = unseen.pop()
        if isinstance(value, list):
            items = cast("list[object]", value)
            if not NESTED.isdisjoint(map(type, items)):
                unseen.extend(items)
        elif isinstance(value, dict):
            fields = cast("dict[str, object]", value)
            if len(fields) > MOST_FIELDS:
                raise ValidationFailed(
                    f"An object of {len(fields)} fields is read nowhere; {MOST_FIELDS} are the most."
                )
            unseen.extend(fields.values())
    return parsed


def json_body(model: type[Body], *, optional: bool = False) -> Callable[[Request], object]:
    """Return a dependency that reads the body as ``model``; nothing at all is ``{}`` where ``optional``."""

    async def read(request: Request) -> Body:
        given = media_type(request)
        body = await request.body()
        if len(body) > LARGEST_DOCUMENT_BYTES:
            raise PayloadTooLarge(f"The body is larger than the {LARGEST_DOCUMENT_BYTES} bytes that are read here.")
        if optional and not body:
            return model.parse({})
        if given and not JSON_TYPES.fullmatch(given):
            raise UnsupportedMedia(f"The body is read as application/json, not as {given}.")
        return model.parse(parse_json(body))

    return read


def _checked(value: str, noun: str, error: type[NotFound]) -> str:
    # Names become paths in the store; what is no name is nowhere.
    if not NAME.fullmatch(value):
        raise error.named(noun, value)
    return value


def model_name(model: str) -> str:
    """Return the model of the path if it can be the name of one."""
    return _checked(model, "model", ModelNotFound)


async def _model_name(model: str) -> str:
    return model_name(model)


async def _dataset_name(name: str) -> str:
    return _checked(name, "dataset", DatasetNotFound)


ModelName = Annotated[str, Depends(_model_name)]
DatasetName = Annotated[str, Depends(_dataset_name)]


def page_of(names: list[str], limit: int, after: str | None) -> tuple[list[str], str | None]:
    """Return the names after the cursor ``after``, at most ``limit``, and the next cursor; ``names`` are sorted."""
    rest = [name for name in names if after is None or name > after]
    return rest[:limit], rest[limit - 1] if len(rest) > limit else None
