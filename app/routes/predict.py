"""Predictions: any verb of any model, by one route. ``openapi.py`` documents each verb with its own schema."""

from __future__ import annotations

import asyncio

import orjson
from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from app import problems
from app.dependencies import JSON_TYPES, media_type, model_name, parse_json, services
from app.openapi import PNG, PREDICT_PATHS
from app.serving import inference
from app.serving.inference import ClientLeft
from models.contract.errors import LecternError, NotAcceptable, UnsupportedMedia
from models.contract.task import Picture, Verb

VERSION_HEADER = "Lectern-Model-Version"


async def predict(request: Request) -> Response:
    """Answer a verb with the version meant by the path."""
    serving = services(request)
    parameters = request.path_params
    model, name = model_name(parameters["model"]), parameters["verb"]
    loaded = await serving.registry.find(model, parameters.get("version"))
    verb = inference.find_verb(loaded, name)
    number = loaded.manifest.version
    threads = serving.threads_for(loaded)
    outcome = "failed"
    try:
        picture = _picture(verb, request)
        asked = _read(verb, media_type(request), await request.body())
        if picture:
            asked = picture.complete(loaded.served, asked)
        predictions = await inference.predict(loaded, verb, asked, threads, request.is_disconnected)
        if picture:
            loop = asyncio.get_running_loop()
            content = await loop.run_in_executor(threads, picture.draw, loaded.served, asked, predictions)
        else:
            answer = {"model": model, "version": number, "predictions": predictions}
            content = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        outcome = "ok"
    except LecternError as error:
        outcome = error.code
        raise
    except (ClientLeft, ClientDisconnect):
        outcome = "client_left"
        return problems.client_left()
    finally:
        serving.metrics.prediction(model, number, name, outcome)
    form = PNG if picture else "application/json"
    return Response(content, media_type=form, headers={VERSION_HEADER: str(number)})


class _VerbRoute(Route):
    """A route outside FastAPI's parsing that telemetry can still name."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self} if match is not Match.NONE else found


routes = [_VerbRoute(path, predict, methods=["POST"], include_in_schema=False) for path in PREDICT_PATHS]


def _picture(verb: Verb, request: Request) -> Picture | None:
    """Return how to draw the answer if the client accepts PNG and not JSON."""
    accepted = {item.split(";")[0].strip().lower() for item in request.headers.get("accept", "").split(",")}
    if PNG not in accepted or "application/json" in accepted:
        return None
    if verb.picture is None:
        raise NotAcceptable("This verb has no picture to answer with; accept application/json.")
    return verb.picture


def _read(verb: Verb, given: str, body: bytes) -> BaseModel:
    """Return the request of a JSON or a bare body; without a media type it is taken for JSON."""
    if given in verb.media:
        return verb.media[given](body)
    if given and not JSON_TYPES.fullmatch(given):
        known = ", ".join(["application/json", *verb.media])
        raise UnsupportedMedia(f"'{given}' is not read here; send one of: {known}.")
    return inference.parse_request(verb.request, parse_json(body))
