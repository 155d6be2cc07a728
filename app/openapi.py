"""The OpenAPI document: FastAPI's, with bodies that are read by hand and one operation per verb of any task."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter

from app.access.scopes import ADMIN, OPEN, Permissions
from app.problems import documented, documented_oip
from app.schemas import OIP_REQUEST, OipAnswer, OipError, Problem
from models.catalog import Catalog
from models.contract.errors import (
    BodyTooSlow,
    DeadlineExceeded,
    Forbidden,
    MalformedBody,
    ModelDamaged,
    ModelNotFound,
    NotAcceptable,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    RuntimeUnavailable,
    Unauthorized,
    UnsupportedMedia,
    VerbNotFound,
    VersionNotFound,
)
from models.contract.task import Verb

Json = dict[str, Any]

PREDICT_PATHS = ("/v1/models/{model}/{verb}", "/v1/models/{model}/versions/{version}/{verb}")
INFER_PATHS = ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer")
PREDICT_ERRORS = (
    MalformedBody,
    UnsupportedMedia,
    NotAcceptable,
    PayloadTooLarge,
    ModelNotFound,
    VersionNotFound,
    VerbNotFound,
    ModelDamaged,
    RuntimeUnavailable,
    Overloaded,
    DeadlineExceeded,
)
JSON_LENGTH = "Inference-Header-Content-Length"
PNG = "image/png"
SVG = "image/svg+xml"
"""The forms of pictures, for clients that accept them."""

EVENTS = "text/event-stream"
"""The form of answers that come piece by piece, for requests that ask for it."""

KEY = "key"
KEY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key from `lectern keys create`. While there are none, this machine alone is answered.",
}
REFUSALS = (Unauthorized, Forbidden, RateLimited)

SCHEMAS = "#/components/schemas/"


def json_request(model: type[BaseModel], *, required: bool = True) -> Json:
    """Return the ``openapi_extra`` of a route that reads its body as ``model``."""
    schema = model.model_json_schema(ref_template=f"{SCHEMAS}{{model}}")
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def install(app: FastAPI, catalog: Catalog) -> None:
    """Make ``app`` describe itself as above, once somebody asks."""
    app.openapi = partial(_document, app, catalog)


def _document(app: FastAPI, catalog: Catalog) -> Json:
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas: Json = document.setdefault("components", {}).setdefault("schemas", {})
        schemas[Problem.__name__] = Problem.model_json_schema(ref_template=f"{SCHEMAS}{{model}}")
        for task in catalog.tasks():
            for name, verb in catalog.task(task).verbs.items():
                _describe(document["paths"], task, name, verb)
        for path in INFER_PATHS:
            document["paths"].setdefault(path, {})["post"] = _infer(path)
        _protect(document)
        _hoist(document["paths"], schemas)
        _hoist(schemas[Problem.__name__], schemas)
        app.openapi_schema = document
    return app.openapi_schema


def _describe(paths: Json, task: str, name: str, verb: Verb) -> None:
    """Add the operations of one verb; a verb that several tasks know takes and gives either."""
    request = _named_schema(task, verb.request)
    answer = _named_schema(task, verb.prediction)
    for template in PREDICT_PATHS:
        path = template.replace("{verb}", name)
        operation = paths.setdefault(path, {}).setdefault("post", _operation(path, name))
        content = operation["requestBody"]["content"]
        content["application/json"]["schema"]["anyOf"].append(request)
        for media in verb.media:
            content[media] = {"schema": {"type": "string", "format": "binary"}}
        answers = operation["responses"]["200"]["content"]
        for form in (PNG, *verb.picture.further) if verb.picture else ():
            answers[form] = {"schema": {"type": "string", "format": "binary"}}
        if verb.stream:
            answers[EVENTS] = {"schema": {"type": "string"}}
        schema = answers["application/json"]["schema"]
        schema["properties"]["predictions"]["items"]["anyOf"].append(answer)


def _infer(path: str) -> Json:
    """Return the operation that runs a part on tensors."""
    schema, answer = (
        {"schema": model.json_schema(ref_template=f"{SCHEMAS}{{model}}")}
        for model in (OIP_REQUEST, TypeAdapter(OipAnswer))
    )
    binary = {"schema": {"type": "string", "format": "binary"}}
    header = {"schema": {"type": "integer"}, "description": "Bytes of the JSON, where those of tensors follow it."}
    error = {"content": {"application/json": {"schema": OipError.model_json_schema()}}}
    return {
        "tags": ["open inference protocol"],
        "summary": "Run a part on tensors",
        "operationId": "infer_version" if "{version}" in path else "infer",
        "parameters": [
            *_path_parameters(path),
            {"name": JSON_LENGTH, "in": "header", "required": False, **header},
        ],
        "requestBody": {"required": True, "content": {"application/json": schema, "application/octet-stream": binary}},
        "responses": {
            "200": {
                "description": "The outputs.",
                "content": {"application/json": answer, "application/octet-stream": binary},
                "headers": {JSON_LENGTH: header},
            },
            **{
                str(status): {**error, "description": "The request failed; `error` says why."}
                for status in documented_oip(*PREDICT_ERRORS)
            },
        },
    }


def _path_parameters(path: str) -> list[Json]:
    return [
        {"name": part.strip("{}"), "in": "path", "required": True, "schema": {"type": "string"}}
        for part in path.split("/")
        if part.startswith("{")
    ]


def _protect(document: Json) -> None:
    """Say of each operation which key it needs, and how it is refused without."""
    document["components"]["securitySchemes"] = {KEY: KEY_SCHEME}
    permissions = Permissions()
    for path, operations in document["paths"].items():
        if path in OPEN:
            continue
        for method, operation in cast("Json", operations).items():
            needed = permissions.needed(method.upper(), path) or ADMIN
            operation["security"] = [{KEY: [scope.value]} for scope in sorted(needed)]
            refusals = (*REFUSALS, BodyTooSlow) if "requestBody" in operation else REFUSALS
            for status, described in documented(*refusals).items():
                told = operation["responses"].get("default", described)
                operation["responses"].setdefault(str(status), told)


def _operation(path: str, name: str) -> Json:
    answer: Json = {
        "type": "object",
        "required": ["model", "version", "predictions"],
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "integer"},
            "predictions": {"type": "array", "items": {"anyOf": []}},
        },
    }
    versioned = "_version" if "{version}" in path else ""
    return {
        "tags": ["predictions"],
        "summary": name.capitalize(),
        "operationId": f"{name}{versioned}",
        "parameters": _path_parameters(path),
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"anyOf": []}}}},
        "responses": {
            "200": {
                "description": "One prediction per input, in order.",
                "content": {"application/json": {"schema": answer}},
            },
            **{str(status): described for status, described in documented(*PREDICT_ERRORS).items()},
        },
    }


def _named_schema(task: str, model: type[BaseModel]) -> Json:
    """Return the schema, its definitions under names that no other task has."""
    schema = model.model_json_schema(ref_template=f"{SCHEMAS}{task}.{{model}}")
    definitions = cast("Mapping[str, Json]", schema.pop("$defs", {}))
    return {**schema, "$defs": {f"{task}.{name}": value for name, value in definitions.items()}}


def _hoist(node: object, schemas: Json) -> None:
    """Move every ``$defs`` below ``node`` to where the references point."""
    if isinstance(node, dict):
        entry = cast("Json", node)
        schemas.update(entry.pop("$defs", {}))
        for value in list(entry.values()):
            _hoist(value, schemas)
    elif isinstance(node, list):
        for value in cast("list[object]", node):
            _hoist(value, schemas)
