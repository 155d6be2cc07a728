"""Errors as HTTP: the only place with their status codes.

Problem documents (RFC 9457) everywhere but under ``/v2``, where the protocol wants ``{"error": …}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from app.schemas import OipError, Problem
from models.contract import errors
from models.contract.errors import LecternError
from models.contract.findings import validation_error

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "5"
OVERLOAD_SECONDS = "1"
VERB = "{verb}"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
CLIENT_LEFT = 499
"""What logs and metrics show for a request whose client left; nobody receives it."""

STATUS: dict[type[LecternError], int] = {
    errors.LecternError: 500,
    errors.MalformedBody: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.BodyTooSlow: 408,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.NotAcceptable: 406,
    errors.ValidationFailed: 422,
    errors.InvalidDataset: 422,
    errors.WrongDatasetKind: 422,
    errors.NotFound: 404,
    errors.FamilyNotFound: 404,
    errors.DatasetNotFound: 404,
    errors.JobNotFound: 404,
    errors.ModelNotFound: 404,
    errors.VersionNotFound: 404,
    errors.AliasNotFound: 404,
    errors.VerbNotFound: 404,
    errors.RouteNotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.Conflict: 409,
    errors.DatasetExists: 409,
    errors.DatasetInUse: 409,
    errors.JobFinished: 409,
    errors.IdempotencyMismatch: 409,
    errors.VersionInUse: 409,
    errors.RateLimited: 429,
    errors.Unavailable: 503,
    errors.QueueUnavailable: 503,
    errors.StoreUnavailable: 503,
    errors.StoreFull: 503,
    errors.ModelDamaged: 503,
    errors.RuntimeUnavailable: 503,
    errors.Draining: 503,
    errors.DeadlineExceeded: 504,
    errors.Overloaded: 429,
    errors.ModelUnloaded: 503,
    # The rest ends jobs and stands in their records; no request is answered with it.
    errors.JobFailure: 500,
    errors.TrainingDiverged: 500,
    errors.ExportFailed: 500,
    errors.ParityFailed: 500,
    errors.OutOfMemory: 500,
    errors.TrainerCrashed: 500,
    errors.WorkerLost: 500,
    errors.LeaseLost: 500,
}


def status_of(error: type[LecternError]) -> int:
    """Return the status code of an error or of the nearest error above it."""
    return next(STATUS[cls] for cls in error.__mro__ if cls in STATUS)


def response(error: LecternError, scope: Scope, headers: Mapping[str, str] | None = None) -> Response:
    """Return ``error`` in the form that the path of the request speaks."""
    extra = {**_headers(error), **(headers or {})}
    if str(scope["path"]).startswith("/v2"):
        content = orjson.dumps({"error": error.detail})
        return Response(content, _oip_status(type(error)), extra, "application/json")
    return Response(orjson.dumps(document(error, scope)), status_of(type(error)), extra, MEDIA_TYPE)


def document(error: LecternError, scope: Scope) -> dict[str, object]:
    """Return the problem document of ``error``."""
    return {
        "type": f"urn:lectern:problem:{error.code}",
        "status": status_of(type(error)),
        **error.problem(),
        "request_id": scope.get("request_id", ""),
    }


def _headers(error: LecternError) -> dict[str, str]:
    """Return the headers that belong to an error wherever it comes from."""
    match error:
        case errors.Unauthorized():
            return {"WWW-Authenticate": "Bearer"}
        case errors.Unavailable():
            return {"Retry-After": RETRY_AFTER_SECONDS}
        case errors.Overloaded():
            return {"Retry-After": OVERLOAD_SECONDS}
        case errors.BodyTooSlow():  # the rest of the body is not waited for
            return {"Connection": "close"}
        case _:
            return {}


def unexpected(scope: Scope) -> Response:
    """Return the answer to a request that failed through a mistake of ours."""
    return response(LecternError("Something went wrong in Lectern; its log names this request's id."), scope)


def cut_off(scope: Scope) -> Response:
    """Return the answer to a request that is not done when the gateway has waited for it as long as it does."""
    return response(errors.Draining("The gateway is shutting down and ended this request before it was done."), scope)


def documented(*raised: type[LecternError]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of an operation that raises these errors, and those that any can raise."""
    found: dict[int | str, list[str]] = {}
    for error in (*raised, errors.ValidationFailed, errors.Unavailable):
        titles = found.setdefault(status_of(error), [])
        if error.title not in titles:
            titles.append(error.title)
    return {
        status: {
            "description": "; ".join(titles),
            "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}},
        }
        for status, titles in found.items()
    }


def documented_oip(*raised: type[LecternError]) -> dict[int | str, dict[str, Any]]:
    """Return the same for an operation under ``/v2``."""
    any_error: dict[str, Any] = {"model": OipError, "description": "The request failed; `error` says why."}
    return {"default": any_error} | {_oip_status(error): any_error for error in raised}


def install(app: FastAPI) -> None:
    """Answer every error of ours and of the framework as described above."""
    app.add_exception_handler(LecternError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(ClientDisconnect, _left)
    app.add_exception_handler(Exception, _unexpected)


async def _ours(request: Request, error: Exception) -> Response:
    return response(cast("LecternError", error), request.scope)


async def _invalid(request: Request, error: Exception) -> Response:
    """Answer FastAPI's findings; ``query``, ``path`` and ``header`` stay out of the pointers."""
    findings = cast("Sequence[Mapping[str, Any]]", cast("RequestValidationError", error).errors())
    issues = [{**finding, "loc": tuple(finding["loc"])[1:]} for finding in findings]
    return response(validation_error(issues), request.scope)


async def _framework(request: Request, error: Exception) -> Response:
    raised = cast("HTTPException", error)
    named: dict[int, LecternError] = {
        404: errors.RouteNotFound(f"There is no endpoint {request.url.path}; /docs lists those there are."),
        405: errors.MethodNotAllowed(f"{request.url.path} does not take {request.method}."),
        413: errors.PayloadTooLarge(str(raised.detail)),
    }
    found = named.get(raised.status_code, errors.MalformedBody(str(raised.detail)))
    headers = {"Allow": _allowed(request)} if isinstance(found, errors.MethodNotAllowed) else raised.headers
    return response(found, request.scope, headers)


def _allowed(request: Request) -> str:
    """Return the methods that the path takes; the router's own list has those of one route, and several share it."""
    routes = request.app.router.routes
    # '…/artifact' fits '…/{verb}' as well, which is for what no other route is.
    named = [route for route in routes if VERB not in getattr(route, "path", "")]
    return ", ".join(_taken(named, request) or _taken(routes, request))


def _taken(routes: Sequence[BaseRoute], request: Request) -> list[str]:
    scopes = {method: {**request.scope, "method": method} for method in METHODS}
    return [method for method in METHODS if any(route.matches(scopes[method])[0] is Match.FULL for route in routes)]


async def _unexpected(request: Request, __: Exception) -> Response:
    return unexpected(request.scope)


async def _left(_: Request, __: Exception) -> Response:
    return client_left()


def client_left() -> Response:
    """Return what ends a request whose client is gone."""
    return Response(status_code=CLIENT_LEFT)


def _oip_status(error: type[LecternError]) -> int:
    """Return the status under ``/v2``, where one status stands for every kind of wrong request."""
    return status_of(errors.MalformedBody if issubclass(error, errors.ValidationFailed) else error)
