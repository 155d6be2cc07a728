"""What can be trained: every family with the schemas of its options."""

from __future__ import annotations

from fastapi import APIRouter

from app.dependencies import After, Limit, Serving, page_of
from app.problems import documented
from app.schemas import FamilyDescription, Page
from models.catalog import Catalog
from models.contract.errors import FamilyNotFound

router = APIRouter(tags=["catalogue"])


@router.get("/v1/families", summary="List the model families", responses=documented())
def families(services: Serving, limit: Limit = 100, after: After = None) -> Page[FamilyDescription]:
    """Return what can be trained, by name."""
    names, following = page_of(list(services.catalog.names()), limit, after)
    return Page(items=[_describe(services.catalog, name) for name in names], next=following)


@router.get("/v1/families/{family}", summary="Describe a family", responses=documented(FamilyNotFound))
def family(services: Serving, family: str) -> FamilyDescription:
    """Return one family."""
    return _describe(services.catalog, family)


def _describe(catalog: Catalog, name: str) -> FamilyDescription:
    spec = catalog.spec(name)
    return FamilyDescription(
        id=spec.name,
        task=spec.task,
        title=spec.title,
        paper=spec.paper,
        dataset_kind=spec.dataset_kinds[0],
        dataset_kinds=spec.dataset_kinds,
        config=spec.config.model_json_schema(),
        training=spec.training.model_json_schema(),
        parts=dict(spec.parts),
        parts_by_kind={kind: dict(parts) for kind, parts in spec.parts_by_kind.items()},
        further_datasets=dict(spec.further_datasets),
        insides=list(spec.insides),
        verbs=list(spec.verbs or catalog.task(spec.task).verbs),
    )
