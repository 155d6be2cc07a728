"""Published models: versions, model cards, aliases, artifacts."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import structlog
from anyio import to_thread
from fastapi import APIRouter, Depends, status
from starlette.responses import StreamingResponse

from app.dependencies import After, Limit, ModelName, Services, Serving, json_body, page_of
from app.openapi import json_request
from app.problems import documented
from app.schemas import AliasAnswer, AliasName, AliasRequest, ModelCard, ModelSummary, Page, VersionSummary
from app.serving.archive import Archive
from app.serving.damage import damage
from models.artifacts.store import ObjectMissing
from models.artifacts.versions import ModelListing
from models.contract.errors import (
    AliasNotFound,
    MalformedBody,
    ModelDamaged,
    ModelNotFound,
    PayloadTooLarge,
    QueueUnavailable,
    UnsupportedMedia,
    ValidationFailed,
    VersionInUse,
    VersionNotFound,
)
from models.contract.manifest import Manifest

TAR = {
    "description": "The manifest, every part and the probe.",
    "content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}},
}

log = structlog.get_logger()

router = APIRouter(tags=["models"])


@router.get("/v1/models", summary="List the models", responses=documented())
def models(services: Serving, limit: Limit = 100, after: After = None) -> Page[ModelSummary]:
    """Return the models by name."""
    names, following = page_of(services.versions.models(), limit, after)
    items: list[ModelSummary] = []
    for name in names:
        try:
            items.append(_summary(services, name))
        except ModelNotFound:
            continue  # every version was deleted
    return Page(items=items, next=following)


@router.get("/v1/models/{model}", summary="Show a model", responses=documented(ModelNotFound))
def model(services: Serving, model: ModelName) -> ModelSummary:
    """Return a model with its versions and aliases."""
    return _summary(services, model)


@router.get(
    "/v1/models/{model}/versions/{version}",
    summary="Show a model card",
    responses=documented(ModelNotFound, VersionNotFound),
)
def card(services: Serving, model: ModelName, version: str) -> ModelCard:
    """Return everything about a version, named by number or alias."""
    listing = services.versions.listing(model)
    manifest = services.versions.manifest(model, listing.resolve(model, version))
    aliases = [name for name, number in listing.aliases.items() if number == manifest.version]
    return ModelCard(**dict(manifest), aliases=aliases, problem=damage(services.store, manifest))


@router.get(
    "/v1/models/{model}/versions/{version}/artifact",
    summary="Download a version",
    response_class=StreamingResponse,
    responses={200: TAR, **documented(ModelNotFound, VersionNotFound, ModelDamaged)},
)
def artifact(services: Serving, model: ModelName, version: str) -> StreamingResponse:
    """Return a version as a tar file: the manifest, the exported parts and the probe."""
    manifest = _manifest(services, model, version)
    try:
        archive = Archive(services.store, manifest)
    except ObjectMissing as error:
        detail = f"{error.args[0]} of version {manifest.version} is missing from the artifact store."
        raise ModelDamaged(detail) from error
    headers = {
        "Content-Length": str(archive.payload_bytes),
        "Content-Disposition": f'attachment; filename="{model}-{manifest.version}.tar"',
    }
    return StreamingResponse(archive.stream(), media_type="application/x-tar", headers=headers)


@router.delete(
    "/v1/models/{model}/versions/{version}",
    summary="Delete a version",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=documented(ModelNotFound, VersionNotFound, VersionInUse),
)
async def delete_version(services: Serving, model: ModelName, version: str) -> None:
    """Delete a version that no alias points at; its number is never used again.

    Every process of the gateway has followed when this is answered, as with aliases.
    """
    if not (version.isascii() and version.isdigit()):
        raise VersionNotFound.named(f"version of '{model}' called", version)
    manifest = await to_thread.run_sync(_manifest, services, model, version)
    await to_thread.run_sync(services.versions.delete, model, manifest.version)
    await _changed(services, model)


@router.put(
    "/v1/models/{model}/aliases/{alias}",
    summary="Set an alias",
    openapi_extra=json_request(AliasRequest),
    responses=documented(MalformedBody, UnsupportedMedia, PayloadTooLarge, ModelNotFound),
)
async def set_alias(
    services: Serving,
    model: ModelName,
    alias: str,
    wanted: Annotated[AliasRequest, Depends(json_body(AliasRequest))],
) -> AliasAnswer:
    """Point an alias at a version; requests that begin after the answer follow.

    In every process of the gateway; one that does not react for a second is not waited for. Other gateways with the
    same store follow within a second.
    """
    name = AliasName.parse({"alias": alias}).alias
    try:
        await to_thread.run_sync(services.versions.set_alias, model, name, wanted.version)
    except VersionNotFound as error:
        raise ValidationFailed.at("/version", error.detail) from error
    await _changed(services, model)
    return AliasAnswer(model=model, alias=name, version=wanted.version)


@router.delete(
    "/v1/models/{model}/aliases/{alias}",
    summary="Remove an alias",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=documented(ModelNotFound, AliasNotFound),
)
async def delete_alias(services: Serving, model: ModelName, alias: str) -> None:
    """Remove an alias; the version it pointed at stays. Requests follow as when one is set."""
    name = AliasName.parse({"alias": alias}).alias
    await to_thread.run_sync(services.versions.set_alias, model, name, None)
    await _changed(services, model)


def _manifest(services: Services, model: str, version: str) -> Manifest:
    listing = services.versions.listing(model)
    return services.versions.manifest(model, listing.resolve(model, version))


def _summary(services: Services, name: str) -> ModelSummary:
    listing: ModelListing = services.versions.listing(name)
    manifests: list[Manifest] = []
    for number in listing.versions:
        with suppress(VersionNotFound):  # deleted just now
            manifests.append(services.versions.manifest(name, number))
    if not manifests:
        raise ModelNotFound.named("model", name)
    return ModelSummary(
        name=name,
        task=manifests[-1].task,
        family=manifests[-1].family,
        versions=[
            VersionSummary(
                version=manifest.version,
                family=manifest.family,
                job=manifest.job,
                created=manifest.created,
                dataset=manifest.dataset.name,
                headline=manifest.headline,
                metrics=manifest.metrics,
            )
            for manifest in manifests
        ],
        aliases=dict(listing.aliases),
    )


async def _changed(services: Services, model: str) -> None:
    """Let all processes look afresh; other gateways are told by Redis, or do so within a second."""
    await services.change(model, "forget")
    try:
        await services.queue.announce(model)
    except QueueUnavailable as error:
        log.warning("change_not_announced", model=model, reason=error.detail)
