"""Training jobs: submitted, listed, followed as events, cancelled, resumed."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import Annotated

import structlog
from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query, status
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from app.dependencies import After, Limit, Services, Serving, json_body
from app.openapi import json_request
from app.problems import documented
from app.queue import Event, JobFilter, Submission
from app.schemas import Job, Page, ResumeRequest
from app.submission import checked_key, digest, resumed, validated
from models.contract.errors import (
    Conflict,
    IdempotencyMismatch,
    JobFinished,
    JobNotFound,
    MalformedBody,
    PayloadTooLarge,
    QueueUnavailable,
    UnsupportedMedia,
    ValidationFailed,
    WrongDatasetKind,
)
from models.contract.jobs import JobState, JobSubmission

EVENT_ID = re.compile(r"[0-9]{1,19}(-[0-9]{1,19})?")
FROM_THE_START = "0-0"
HEARTBEAT_SECONDS = 15.0
BODY_ERRORS = (MalformedBody, UnsupportedMedia, PayloadTooLarge)

EVENT = {
    "description": "One event; `data` is JSON.",
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
}
EVENT_STREAM = {
    "description": "Events `state`, `progress`, `epoch` and `log`; ends after the last state.",
    "content": {"text/event-stream": {"schema": EVENT}},
}

IdempotencyKey = Annotated[str | None, Header(description="Sending the same key and body again returns the same job.")]

log = structlog.get_logger()

router = APIRouter(tags=["jobs"])


@router.post(
    "/v1/jobs",
    summary="Submit a training job",
    status_code=status.HTTP_202_ACCEPTED,
    openapi_extra=json_request(JobSubmission),
    responses=documented(*BODY_ERRORS, Conflict, IdempotencyMismatch, WrongDatasetKind),
)
async def submit(
    response: Response,
    services: Serving,
    submission: Annotated[JobSubmission, Depends(json_body(JobSubmission))],
    idempotency_key: IdempotencyKey = None,
) -> Job:
    """Check a job against its family and dataset and queue it."""
    key, body = checked_key(idempotency_key), digest(submission)
    job = await services.queue.earlier(key, body)
    if job is None:
        request = await to_thread.run_sync(validated, services, submission)
        job = await services.queue.submit(Submission(request, key, body))
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job


@router.get("/v1/jobs", summary="List the jobs", responses=documented())
async def jobs(
    services: Serving,
    state: JobState | None = None,
    family: str | None = None,
    model: str | None = None,
    limit: Limit = 100,
    after: After = None,
) -> Page[Job]:
    """Return jobs, newest first."""
    items, following = await services.queue.list(JobFilter(state, family, model), limit, after)
    return Page(items=items, next=following)


@router.get("/v1/jobs/{job_id}", summary="Show a job", responses=documented(JobNotFound))
async def job(services: Serving, job_id: str) -> Job:
    """Return one job."""
    return await services.queue.show(job_id)


@router.get(
    "/v1/jobs/{job_id}/events",
    summary="Follow a job",
    response_class=StreamingResponse,
    responses={200: EVENT_STREAM, **documented(JobNotFound)},
)
async def events(
    services: Serving,
    job_id: str,
    last_event_id: Annotated[str | None, Header(description="Id of the last event received.")] = None,
    last_event: Annotated[
        str | None, Query(alias="last_event_id", description="As the header, for clients that cannot set it.")
    ] = None,
) -> StreamingResponse:
    """Return the job's events as they happen, from the first or from the one after ``Last-Event-ID``."""
    after = last_event_id or last_event or FROM_THE_START
    if not EVENT_ID.fullmatch(after):
        raise ValidationFailed.at("/Last-Event-ID", f"'{after[:50]}' is no id of an event; send one as received")
    await services.queue.read(job_id)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(services, job_id, after), media_type="text/event-stream", headers=headers)


@router.get(
    "/v1/jobs/{job_id}/logs",
    summary="Read a job's log",
    response_class=PlainTextResponse,
    responses=documented(JobNotFound),
)
async def logs(services: Serving, job_id: str) -> PlainTextResponse:
    """Return what the job's trainer wrote, oldest line first."""
    return PlainTextResponse(await services.queue.logs(job_id))


@router.post(
    "/v1/jobs/{job_id}/cancel",
    summary="Cancel a job",
    status_code=status.HTTP_202_ACCEPTED,
    responses=documented(JobNotFound, JobFinished),
)
async def cancel(services: Serving, job_id: str) -> Job:
    """End a queued job at once, or ask a running one to stop; asking twice is no error."""
    return await services.queue.cancel(job_id)


@router.post(
    "/v1/jobs/{job_id}/resume",
    summary="Resume a job",
    status_code=status.HTTP_202_ACCEPTED,
    openapi_extra=json_request(ResumeRequest, required=False),
    responses=documented(*BODY_ERRORS, JobNotFound, Conflict, IdempotencyMismatch),
)
async def resume(
    response: Response,
    services: Serving,
    job_id: str,
    changes: Annotated[ResumeRequest, Depends(json_body(ResumeRequest, optional=True))],
    idempotency_key: IdempotencyKey = None,
) -> Job:
    """Queue a new job that goes on from the last checkpoint of one that has ended."""
    old = await services.queue.read(job_id)
    key, body = checked_key(idempotency_key), digest(changes, job_id)
    new = await services.queue.earlier(key, body)
    if new is None:
        request = await to_thread.run_sync(resumed, services, old, changes.training)
        new = await services.queue.submit(Submission(request, key, body, resumed_from=job_id))
    response.headers["Location"] = f"/v1/jobs/{new.id}"
    return new


async def _stream(services: Services, job_id: str, after: str) -> AsyncIterator[bytes]:
    """Yield server-sent events until the job ends, the gateway stops or Redis fails; clients then come again."""
    sent = time.monotonic()
    try:
        async for found in services.queue.events(job_id, after):
            if found:
                yield b"".join(map(_line, found))
            elif time.monotonic() - sent >= HEARTBEAT_SECONDS:
                yield b": heartbeat\n\n"
            else:
                if services.draining.is_set():
                    return
                continue
            sent = time.monotonic()
            if services.draining.is_set():
                return
    except QueueUnavailable as error:
        log.warning("event_stream_broken", job_id=job_id, reason=error.detail)


def _line(event: Event) -> bytes:
    return f"id: {event.id}\nevent: {event.kind}\ndata: {event.data}\n\n".encode()
