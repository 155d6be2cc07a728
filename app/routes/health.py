"""Whether the gateway lives, whether it takes requests, and its metrics."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from app.dependencies import ProjectNames, Services, Serving
from app.problems import documented
from app.schemas import Health
from models.contract.errors import Draining, QueueUnavailable

CHECK_SECONDS = 0.5

router = APIRouter(tags=["operations"])


@router.get("/livez", summary="Whether the process lives")
async def livez() -> Health:
    """Answer at once, whatever else is wrong."""
    return Health(status="alive")


@router.get("/readyz", summary="Whether requests are taken", responses=documented(Draining))
async def readyz(services: Serving) -> Health:
    """Say whether requests are taken, and what of their needs is met; predictions need no queue."""
    if services.draining.is_set():
        raise Draining("The gateway is shutting down.")
    queue, store = await asyncio.gather(_queue(services), services.store_probe.answers(CHECK_SECONDS))
    return Health(status="ready", queue=queue, store="up" if store else "down")


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def metrics(services: Serving, projects: ProjectNames) -> Response:
    """Return every metric of all projects; the figures of jobs are read from Redis now."""
    try:
        jobs = await asyncio.wait_for(services.queue.figures(projects), CHECK_SECONDS)
    except (QueueUnavailable, TimeoutError):
        jobs = None
    content = await services.metrics.exposition(jobs, services.registry.pending())
    return Response(content, media_type=CONTENT_TYPE_LATEST)


async def _queue(services: Services) -> str:
    try:
        await asyncio.wait_for(services.queue.ping(), CHECK_SECONDS)
    except (QueueUnavailable, TimeoutError):
        return "down"
    return "up"
