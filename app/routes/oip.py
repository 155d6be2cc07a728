"""Open Inference Protocol v2: the exported parts as they are, tensors in and tensors out, as JSON."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.dependencies import ModelName, Serving, media_type, model_name, services
from app.openapi import json_request
from app.problems import documented_oip
from app.schemas import OipAnswer, OipLive, OipModel, OipModelReady, OipReady, OipRequest, OipServer
from app.serving import oip
from models.contract.errors import (
    DeadlineExceeded,
    Draining,
    LecternError,
    MalformedBody,
    ModelDamaged,
    ModelNotFound,
    PayloadTooLarge,
    RuntimeUnavailable,
    UnsupportedMedia,
    VersionNotFound,
)

MODEL = "/v2/models/{model}"
VERSION = "/v2/models/{model}/versions/{version}"
BODY_ERRORS = (MalformedBody, PayloadTooLarge, UnsupportedMedia)
MODEL_ERRORS = (ModelNotFound, VersionNotFound, ModelDamaged, RuntimeUnavailable)

INFER: dict[str, Any] = {
    "summary": "Run a part on tensors",
    "openapi_extra": json_request(OipRequest),
    "responses": {200: {"model": OipAnswer}, **documented_oip(*BODY_ERRORS, *MODEL_ERRORS, DeadlineExceeded)},
}

router = APIRouter(tags=["open inference protocol"])


@router.get("/v2", summary="Describe the server")
async def server(request: Request) -> OipServer:
    """Return name, version and extensions of the server."""
    return OipServer(name="lectern", version=request.app.version, extensions=[])


@router.get("/v2/health/live", summary="Whether the process lives")
async def live() -> OipLive:
    """Answer at once."""
    return OipLive(live=True)


@router.get("/v2/health/ready", summary="Whether requests are taken", responses=documented_oip(Draining))
async def ready(services: Serving) -> OipReady:
    """Say whether requests are taken."""
    if services.draining.is_set():
        raise Draining("The gateway is shutting down.")
    return OipReady(ready=True)


@router.get(f"{MODEL}/ready", summary="Whether a model answers", responses=documented_oip(*MODEL_ERRORS))
@router.get(f"{VERSION}/ready", summary="Whether a version answers", responses=documented_oip(*MODEL_ERRORS))
async def model_ready(services: Serving, model: ModelName, version: str | None = None) -> OipModelReady:
    """Load the version if need be, and say that it answers."""
    await services.registry.find(model, version)
    return OipModelReady(name=model, ready=True)


@router.get(MODEL, summary="Describe a model", responses=documented_oip(*MODEL_ERRORS))
@router.get(VERSION, summary="Describe a version", responses=documented_oip(*MODEL_ERRORS))
async def model_metadata(services: Serving, model: ModelName, version: str | None = None) -> OipModel:
    """Return the inputs and outputs of the version's first part, and the names of all parts."""
    listing = await services.registry.listing(model)
    loaded = await services.registry.find(model, version)
    return oip.metadata(loaded, listing.versions)


@router.post(f"{MODEL}/infer", **INFER)
@router.post(f"{VERSION}/infer", **INFER)
async def infer(request: Request) -> Response:
    """Run one part on the tensors of the body."""
    serving = services(request)
    media_type(request)  # refuses a compressed body; the rest is taken for JSON whatever it is called
    model = model_name(request.path_params["model"])
    loaded = await serving.registry.find(model, request.path_params.get("version"))
    outcome = "failed"
    try:
        answer = await asyncio.get_running_loop().run_in_executor(
            serving.threads_for(loaded), oip.infer, loaded, await request.body(), serving.settings.tensor_limit_elements
        )
        outcome = "ok"
    except LecternError as error:
        outcome = error.code
        raise
    finally:
        serving.metrics.prediction(model, loaded.manifest.version, "infer", outcome)
    return Response(answer, media_type="application/json")
