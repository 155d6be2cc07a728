"""Open Inference Protocol v2: what is said of server, models and versions. ``inference.py`` answers ``infer``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request

from app.dependencies import ModelName, Services, Serving, json_body
from app.openapi import json_request
from app.problems import documented_oip
from app.schemas import (
    OipConfiguration,
    OipIndexEntry,
    OipIndexRequest,
    OipLive,
    OipModel,
    OipModelReady,
    OipReady,
    OipServer,
    OipStatistics,
)
from app.serving.endpoints import Endpoint
from app.serving.oip import description, words
from models.contract.errors import (
    Draining,
    LecternError,
    MalformedBody,
    ModelDamaged,
    ModelNotFound,
    ModelUnloaded,
    PayloadTooLarge,
    RuntimeUnavailable,
    StoreUnavailable,
    UnsupportedMedia,
    ValidationFailed,
    VersionNotFound,
)

MODEL = "/v2/models/{model}"
VERSION = "/v2/models/{model}/versions/{version}"
REPOSITORY = "/v2/repository"
MODEL_ERRORS = (ModelNotFound, VersionNotFound, ModelDamaged, ModelUnloaded, RuntimeUnavailable, StoreUnavailable)
BODY_ERRORS = (MalformedBody, PayloadTooLarge, UnsupportedMedia, ValidationFailed)
EXTENSIONS = [
    "binary_tensor_data",
    words.CLASSES,
    "model_configuration",
    "model_repository",
    "schedule_policy",
    "statistics",
]

router = APIRouter(tags=["open inference protocol"])


@router.get("/v2", summary="Describe the server")
async def server(request: Request) -> OipServer:
    """Return name, version and extensions of the server."""
    return OipServer(name="lectern", version=request.app.version, extensions=EXTENSIONS)


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


@router.get("/v2/models/stats", summary="Statistics of all models in memory")
async def all_statistics(services: Serving) -> OipStatistics:
    """Return what every version in memory has done since it was loaded, in the process that answers.

    `/metrics` tells what all processes of the gateway did.
    """
    return OipStatistics(model_stats=[_statistics(endpoint) for endpoint in services.registry.endpoints()])


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
    endpoint = await services.registry.find(model, version)
    return description.metadata(endpoint.loaded, listing.versions)


@router.get(f"{MODEL}/config", summary="Configuration of a model", responses=documented_oip(*MODEL_ERRORS))
@router.get(f"{VERSION}/config", summary="Configuration of a version", responses=documented_oip(*MODEL_ERRORS))
async def configuration(services: Serving, model: ModelName, version: str | None = None) -> OipConfiguration:
    """Return the configuration in Triton's terms."""
    endpoint = await services.registry.find(model, version)
    timeout = services.settings.default_timeout_microseconds
    return OipConfiguration.model_validate(description.configuration(endpoint.loaded, endpoint.limits, timeout))


@router.get(f"{MODEL}/stats", summary="Statistics of a model", responses=documented_oip(*MODEL_ERRORS))
@router.get(f"{VERSION}/stats", summary="Statistics of a version", responses=documented_oip(*MODEL_ERRORS))
async def statistics(services: Serving, model: ModelName, version: str | None = None) -> OipStatistics:
    """Return what the version, or each version in memory, has done since it was loaded, in the process that answers.

    `/metrics` tells what all processes of the gateway did.
    """
    wanted = await services.registry.find(model, version)
    found = [endpoint for endpoint in services.registry.endpoints() if endpoint.manifest.model == model]
    return OipStatistics(model_stats=[_statistics(endpoint) for endpoint in (found if version is None else [wanted])])


@router.post(
    f"{REPOSITORY}/index",
    summary="List models and versions",
    openapi_extra=json_request(OipIndexRequest, required=False),
    responses=documented_oip(*BODY_ERRORS, StoreUnavailable),
)
async def index(
    services: Serving, request: Annotated[OipIndexRequest, Depends(json_body(OipIndexRequest, optional=True))]
) -> list[OipIndexEntry]:
    """Return every version of every model, and whether it is in memory; with ``ready`` only those that are.

    What is unloaded is so in every process of the gateway; what is in memory, in the one that answers.
    """
    found: list[OipIndexEntry] = []
    for model in await services.registry.models():
        found += await _entries(services, model)
    return [entry for entry in found if entry.state == "READY" or not request.ready]


@router.post(f"{REPOSITORY}/models/{{model}}/load", summary="Load a model", responses=documented_oip(*MODEL_ERRORS))
async def load(services: Serving, model: ModelName) -> OipModelReady:
    """Load the version that is answered with by default, checked and warm, and say so once it answers.

    Every process of the gateway begins to load it; the one that was asked has when this is answered.
    """
    await services.change(model, "load")
    await services.registry.find(model, None)
    return OipModelReady(name=model, ready=True)


@router.post(f"{REPOSITORY}/models/{{model}}/unload", summary="Unload a model", responses=documented_oip(*MODEL_ERRORS))
async def unload(services: Serving, model: ModelName) -> OipModelReady:
    """Take every version out of memory; until the model is loaded again it does not answer.

    In every process of the gateway, also in those that start later; other gateways and a restarted one have it.
    """
    await services.registry.listing(model)
    await services.change(model, "unload")
    return OipModelReady(name=model, ready=False)


async def _entries(services: Services, model: str) -> list[OipIndexEntry]:
    try:
        versions = (await services.registry.listing(model)).versions
    except LecternError as error:
        return [OipIndexEntry(name=model, version="", state="UNAVAILABLE", reason=error.detail)]
    ready = {
        endpoint.manifest.version for endpoint in services.registry.endpoints() if endpoint.manifest.model == model
    }
    reason = "unloaded" if services.registry.is_unloaded(model) else "not in memory; the first request loads it"
    return [
        OipIndexEntry(name=model, version=str(number), state="READY", reason="")
        if number in ready
        else OipIndexEntry(name=model, version=str(number), state="UNAVAILABLE", reason=reason)
        for number in versions
    ]


def _statistics(endpoint: Endpoint) -> dict[str, object]:
    return endpoint.statistics.sent(endpoint.manifest.model, endpoint.manifest.version)
