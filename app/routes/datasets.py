"""Datasets: uploaded, listed, looked into, deleted."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Annotated

import orjson
import structlog
from anyio import CancelScope, to_thread
from fastapi import APIRouter, Query, status
from pydantic import Field, JsonValue
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.dependencies import After, DatasetName, Limit, Services, Serving, media_type, page_of
from app.forms import Form, read_form
from app.problems import documented
from app.schemas import Page, Preview
from models.contract.config import Name, Options
from models.contract.datasets import DatasetRecord
from models.contract.errors import (
    DatasetExists,
    DatasetInUse,
    DatasetNotFound,
    Draining,
    InvalidDataset,
    MalformedBody,
    PayloadTooLarge,
    StoreFull,
    UnsupportedMedia,
    ValidationFailed,
)
from models.data.kind import UploadedFile
from models.data.reading import CONTENT_NAME, Order

UPLOADS = frozenset({"/v1/datasets"})
"""Paths whose bodies may be as large as an upload."""

LARGEST_PREVIEW = 100
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["name", "kind", "train"],
                    "properties": {
                        "name": {"type": "string"},
                        "kind": {"type": "string"},
                        "options": {"type": "string", "description": "JSON object with options of the kind."},
                        "train": {"type": "string", "format": "binary"},
                    },
                    "additionalProperties": {
                        "type": "string",
                        "format": "binary",
                        "description": "Other parts, such as `validation`, `test`, `train_images`, `train_labels`.",
                    },
                }
            }
        },
    }
}

router = APIRouter(tags=["datasets"])
log = structlog.get_logger()


class _Fields(Options):
    name: Name
    kind: str
    options: dict[str, JsonValue] = Field(default_factory=dict)


@router.post(
    "/v1/datasets",
    summary="Upload a dataset",
    status_code=status.HTTP_201_CREATED,
    openapi_extra=UPLOAD,
    responses=documented(MalformedBody, UnsupportedMedia, PayloadTooLarge, DatasetExists, InvalidDataset),
)
async def upload(request: Request, response: Response, services: Serving) -> DatasetRecord:
    """Read the file parts as the kind says, split them, and return the summary."""
    given = media_type(request)
    if given != "multipart/form-data":
        raise UnsupportedMedia(f"A dataset is uploaded as multipart/form-data, not as '{given}'.")
    with _room_for_files():
        async with _folder() as folder:
            form = await read_form(request, folder)
            order = await to_thread.run_sync(_order, services, form)
            record = await _while_wanted(request, services, services.readings.read(order, folder))
            kept = await to_thread.run_sync(services.datasets.keep, record, folder / CONTENT_NAME)
    log.info("dataset_added", dataset=kept.name, kind=kept.kind, digest=kept.digest, payload_bytes=kept.payload_bytes)
    response.headers["Location"] = f"/v1/datasets/{kept.name}"
    return kept


@router.get("/v1/datasets", summary="List the datasets", responses=documented())
def datasets(services: Serving, limit: Limit = 100, after: After = None) -> Page[DatasetRecord]:
    """Return the datasets by name."""
    names, following = page_of(sorted(services.datasets.names()), limit, after)
    items: list[DatasetRecord] = []
    for name in names:
        with suppress(DatasetNotFound):  # deleted just now
            items.append(services.datasets.record(name))
    return Page(items=items, next=following)


@router.get("/v1/datasets/{name}", summary="Show a dataset", responses=documented(DatasetNotFound))
def dataset(services: Serving, name: DatasetName) -> DatasetRecord:
    """Return one dataset's summary."""
    return services.datasets.record(name)


@router.get("/v1/datasets/{name}/preview", summary="Look into a dataset", responses=documented(DatasetNotFound))
def preview(
    services: Serving,
    name: DatasetName,
    split: Annotated[str, Query(description="Which split to look into.")] = "train",
    count: Annotated[int, Query(ge=1, le=LARGEST_PREVIEW, description="How many examples.")] = 10,
) -> Preview:
    """Return the first examples of a split, in a form to look at."""
    record = services.datasets.record(name)
    if split not in record.counts:
        known = ", ".join(record.counts)
        raise ValidationFailed.at("/split", f"'{name}' has no split '{split}'; it has: {known}")
    content = services.datasets.head(record, split, count)
    items = services.catalog.kind(record.kind).preview(content, split, count)
    return Preview(dataset=name, split=split, items=items)


@router.delete(
    "/v1/datasets/{name}",
    summary="Delete a dataset",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=documented(DatasetNotFound, DatasetInUse, DatasetExists),
)
async def delete(services: Serving, name: DatasetName) -> None:
    """Delete a dataset that no unfinished job needs."""
    await to_thread.run_sync(services.datasets.record, name)
    needing = [job.id for job in await services.queue.active() if name in job.datasets]
    if needing:
        raise DatasetInUse(f"Job {needing[0]} still needs '{name}'; cancel it or wait until it has ended.")
    await to_thread.run_sync(services.datasets.delete, name)


def _order(services: Services, form: Form) -> Order:
    """Return what is to be read, everything checked that can be without reading it."""
    fields = _fields(form)
    services.datasets.check_name(fields.name)
    services.catalog.kind(fields.kind).options.parse(fields.options, "/options")
    return Order(name=fields.name, kind=fields.kind, options=fields.options, files=_files(form))


def _fields(form: Form) -> _Fields:
    found: dict[str, object] = {}
    for name, value in form.fields:
        if name in found:
            raise ValidationFailed.at(f"/{name}", "comes more than once")
        found[name] = value
    options = found.get("options")
    if isinstance(options, str):
        try:
            found["options"] = orjson.loads(options)
        except orjson.JSONDecodeError as error:
            raise ValidationFailed.at("/options", f"is not JSON: {error}") from error
    return _Fields.parse(found)


def _files(form: Form) -> dict[str, UploadedFile]:
    found: dict[str, UploadedFile] = {}
    for item in form.files:
        if item.part in found:
            raise ValidationFailed.at(f"/{item.part}", "comes more than once; send one file per part")
        if not item.payload_bytes:
            raise InvalidDataset.at(f"/{item.part}", "is empty; was the right file sent?")
        found[item.part] = item.file
    return found


async def _while_wanted(
    request: Request, services: Services, reading: Coroutine[None, None, DatasetRecord]
) -> DatasetRecord:
    """Return what ``reading`` does; end it when its client leaves, or when the gateway can wait no longer.

    Raises:
        ClientDisconnect: nobody waits for it any more.
        Draining: the gateway stops, and half of the time that requests have to end is over.
    """
    task = asyncio.create_task(reading)
    left = asyncio.create_task(_left(request))
    stopping = asyncio.create_task(_stopping(services))
    try:
        await asyncio.wait({task, left, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if left.done():
            raise ClientDisconnect
        raise Draining("The gateway is shutting down and cannot finish reading the upload; send it again.")
    finally:
        for other in (task, left, stopping):
            other.cancel()
        await asyncio.gather(task, left, stopping, return_exceptions=True)


async def _left(request: Request) -> None:
    """Return when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stopping(services: Services) -> None:
    await services.draining.wait()
    await asyncio.sleep(services.settings.shutdown_grace_seconds / 2)


@asynccontextmanager
async def _folder() -> AsyncGenerator[Path]:
    """Make a temporary folder for one upload, and remove it with all that is in it, however the upload ends."""
    folder = await to_thread.run_sync(partial(TemporaryDirectory, prefix="lectern-upload-"))
    try:
        yield Path(folder.name)
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(folder.cleanup)


@contextmanager
def _room_for_files() -> Generator[None]:
    """Turn a full temporary folder into the error of a full store: the remedy is the same."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise StoreFull(f"No space left for the upload in {gettempdir()}; free some and try again.") from error
