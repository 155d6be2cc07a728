"""Predictions: every verb of every model, and ``infer`` of the Open Inference Protocol, by one raw ASGI route.

No framework reads these requests: that would cost several times what the prediction does. ``openapi.py`` documents
them; what is read here is held to those documents by tests.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from pydantic import BaseModel
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app import bodies, openapi, problems
from app.dependencies import JSON_TYPES, Services, model_name, parse_json, services_in
from app.limits import Bound, Timely
from app.negotiation import ranked
from app.openapi import INFER_PATHS, PNG, PREDICT_PATHS
from app.serving import inference, streaming
from app.serving.endpoints import Endpoint
from app.serving.oip import answers, requests
from app.serving.runs import Outputs
from app.serving.streaming import Events
from app.serving.tickets import ClientLeft, Ticket
from models.contract.errors import (
    Draining,
    LecternError,
    MalformedBody,
    NotAcceptable,
    UnsupportedMedia,
    ValidationFailed,
)
from models.contract.task import Picture, Prediction, Verb

JSON = b"application/json"
OCTETS = b"application/octet-stream"
JSON_LENGTH = openapi.JSON_LENGTH.lower().encode()
PARSED_INLINE_BYTES = 2**18
"""Larger bodies are made into arrays in a thread."""

WRITTEN_INLINE_BYTES = 2**16
"""Tensors with more bytes are written in a thread: as JSON they become four times as many, in a millisecond."""

WRITTEN_SECONDS = 0.005
"""How long an answer is written at a time."""

JSON_FORMS = frozenset({"application/json", "application/*", "*/*"})
PACKED_BYTES = 1024
"""Smaller answers are not worth compressing."""

NO_VERB = "other"
"""What metrics call everything that a model does not answer: what a path says is the client's, and has no end."""

TRACE = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
ONCE = (b"content-length", b"content-encoding", b"content-type", JSON_LENGTH)


@dataclass(frozen=True, slots=True)
class Path:
    """What a path names, under the template that metrics show."""

    path: str
    given: str
    model: str
    version: str | None
    verb: str | None
    """None is ``infer`` of the protocol."""


class InferenceRoute:
    """ASGI layer that answers predictions and passes everything else on."""

    def __init__(self, app: ASGIApp, bound: Bound) -> None:
        """Wrap ``app``; bodies are read within ``bound``."""
        self._app = app
        self._bound = bound

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        found = path_of(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await self._app(scope, receive, send)
        else:
            await answer(found, self._bound, scope, receive, send)


async def answer(path: Path, bound: Bound, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a prediction whose body is within ``bound``."""
    started = time.perf_counter()
    scope["route"] = path
    serving, verb, outcome = services_in(scope), path.verb or "infer", "failed"
    endpoint: Endpoint | None = None
    ticket: Ticket | None = None
    try:
        headers = _headers(scope)
        bodies.check_announced(headers, bound.payload_bytes)
        model = model_name(path.model)
        endpoint = serving.registry.at_hand(model, path.version) or await serving.registry.find(model, path.version)
        endpoint.admit()
        ticket = Ticket(left=bodies.has_left(receive))
        if serving.default_timeout:
            ticket.deadline = started + serving.default_timeout
        body = await bodies.read(Timely(receive, bound.seconds), headers, bound.payload_bytes)
        endpoint.begin(ticket)
        if path.verb is None:
            content, extra = await _infer(serving, endpoint, headers, body, ticket)
        else:
            content, extra = await _predict(serving, endpoint, path.verb, headers, body, ticket)
        outcome = "ok"
    except LecternError as error:
        outcome = error.code
        await problems.response(error, scope)(scope, receive, send)
    except ClientLeft:
        outcome = "client_left"
        await problems.client_left()(scope, receive, send)
    except asyncio.CancelledError:
        outcome = Draining.code
        raise
    else:
        if isinstance(content, Events):
            outcome = await content.send(extra, send, lambda error: problems.document(error, scope))
            return
        extra.append((b"content-length", str(len(content)).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": extra})
        await send({"type": "http.response.body", "body": content})
    finally:
        if endpoint is not None:
            counted = verb if path.verb is None or verb in endpoint.manifest.verbs else NO_VERB
            endpoint.answered(ticket, counted, outcome, time.perf_counter() - started)


async def _infer(
    serving: Services, endpoint: Endpoint, headers: bodies.Headers, body: bytes, ticket: Ticket
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Run one part on the tensors of the body."""
    if len(body) <= PARSED_INLINE_BYTES:
        asked = read(endpoint, headers, body, ticket)
    else:
        asked = await endpoint.in_thread(serving.executor, ticket, read, endpoint, headers, body, ticket)
    outputs = await endpoint.run_checked(asked.part, asked.arrays, ticket)
    if not is_long(outputs):
        return written(endpoint, asked, outputs, headers, ticket)
    return await endpoint.in_thread(serving.executor, ticket, written, endpoint, asked, outputs, headers, ticket)


def read(endpoint: Endpoint, headers: bodies.Headers, body: bytes, ticket: Ticket) -> requests.Asked:
    """Return what the body of an ``infer`` asks for, and put its priority and its deadline on the ticket.

    Raises:
        MalformedBody: the body, or the header that says where its JSON ends, cannot be read.
        ValidationFailed: it asks for what the model does not take or give; says what.
    """
    given = headers.get(JSON_LENGTH)
    if given is not None and not (given.isdigit() and len(given) <= bodies.LONGEST_LENGTH):
        raise MalformedBody("Inference-Header-Content-Length is not a number.")
    json_bytes = None if given is None else int(given)
    asked = endpoint.reader.read(body, json_bytes, ticket.begun)
    ticket.priority = asked.priority
    if asked.deadline is not None:
        ticket.deadline = asked.deadline
    return asked


def is_long(outputs: Outputs) -> bool:
    """Return whether writing the answer takes so long that it is a thread's work."""
    return any(array.nbytes > WRITTEN_INLINE_BYTES for array in outputs.values())


def written(
    endpoint: Endpoint, asked: requests.Asked, outputs: Outputs, headers: bodies.Headers, ticket: Ticket
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return the answer to an ``infer`` and all its headers but the length."""
    content, json_bytes = answers.write(endpoint.manifest, asked, outputs)
    extra = _extras(endpoint, headers, ticket)
    if json_bytes is None:
        extra.append((b"content-type", JSON))
    else:
        extra += ((b"content-type", OCTETS), (JSON_LENGTH, b"%d" % json_bytes))
    accepted = headers.get(b"accept-encoding")
    if accepted is not None:
        content, encoding = bodies.packed(content, accepted, PACKED_BYTES)
        if encoding is not None:
            extra.append((b"content-encoding", encoding))
    return content, extra


async def _predict(
    serving: Services, endpoint: Endpoint, name: str, headers: bodies.Headers, body: bytes, ticket: Ticket
) -> tuple[bytes | Events, list[tuple[bytes, bytes]]]:
    """Answer a verb."""
    verb = inference.find_verb(endpoint, name)
    picture, form = _picture(verb, headers.get(b"accept", b"").decode("latin-1"))
    given = headers.get(b"content-type", b"").decode("latin-1").split(";")[0].strip().lower()
    if len(body) <= PARSED_INLINE_BYTES:
        asked = _read(verb, given, body)
    else:
        asked = await endpoint.in_thread(serving.executor, ticket, _read, verb, given, body)
    if verb.stream and verb.stream.wanted(asked):
        if picture:
            raise ValidationFailed.at("/stream", "is answered as events, which no picture is; leave out one of the two")
        return await Events.begin(endpoint, verb.stream, asked, ticket, serving.executor), [
            *_extras(endpoint, headers, ticket),
            *streaming.HEADERS,
        ]
    served = endpoint.loaded.served
    if picture:
        asked = picture.complete(served, asked)
    predictions = await inference.predict(endpoint, verb, asked, ticket, serving.executor)
    if picture:
        draw = picture.further.get(form, picture.draw)
        content = await endpoint.in_thread(serving.executor, ticket, draw, served, asked, predictions)
        return content, [*_extras(endpoint, headers, ticket), (b"content-type", form.encode())]
    content = await _predicted(endpoint, predictions)
    return content, [*_extras(endpoint, headers, ticket), (b"content-type", JSON)]


async def _predicted(endpoint: Endpoint, predictions: Sequence[Prediction]) -> bytes:
    """Return the answer to a verb; a long one is written in pieces, between which others are served."""
    pieces: list[bytes] = []
    since = time.perf_counter()
    for prediction in predictions:
        pieces.append(orjson.dumps(prediction, option=orjson.OPT_SERIALIZE_NUMPY))
        if time.perf_counter() - since > WRITTEN_SECONDS:
            await asyncio.sleep(0)
            since = time.perf_counter()
    names = orjson.dumps({"model": endpoint.manifest.model, "version": endpoint.manifest.version})
    return b'%b,"predictions":[%b]}' % (names[:-1], b",".join(pieces))


def path_of(path: str) -> Path | None:
    """Return what a path names if it is that of a prediction."""
    if not path.startswith(("/v1/models/", "/v2/models/")):
        return None
    api = path[:3]
    match path[len("/v1/models/") :].split("/"):
        case [model, verb]:
            version = None
        case [model, "versions", version, verb] if version:
            pass
        case _:
            return None
    if not model or not verb or (api == "/v2" and verb != "infer"):
        return None
    templates, named = (INFER_PATHS, None) if api == "/v2" else (PREDICT_PATHS, verb)
    return Path(templates[version is not None], path, model, version, named)


def _headers(scope: Scope) -> bodies.Headers:
    """Return the headers by name.

    Raises:
        MalformedBody: one that says what the body is comes twice.
    """
    given = scope["headers"]
    headers = dict(given)
    if len(headers) != len(given):
        headers[b"accept"] = b",".join(value for name, value in given if name == b"accept")
        names = [name for name, _ in given]
        for name in ONCE:
            if names.count(name) > 1:
                raise MalformedBody(f"The header {name.decode()} comes more than once.")
    return headers


def _extras(endpoint: Endpoint, headers: bodies.Headers, ticket: Ticket) -> list[tuple[bytes, bytes]]:
    """Return the headers that say which version answered, how long what took, and to which trace it belongs."""
    timing = f"queue;dur={ticket.queue_seconds * 1e3:.3f}, infer;dur={ticket.infer_seconds * 1e3:.3f}"
    extra = [*endpoint.headers, (b"server-timing", timing.encode())]
    given = headers.get(b"traceparent")
    if given and (trace := TRACE.fullmatch(given)):
        extra.append((b"traceparent", b"00-%b-%b-%b" % (trace[1], secrets.token_hex(8).encode(), trace[3])))
    return extra


def _picture(verb: Verb, accept: str) -> tuple[Picture | None, str]:
    """Return how to draw the answer, and in which form, if the client accepts a picture and not JSON.

    Raises:
        NotAcceptable: the verb has no picture, or none in a form that the client takes; names those it has.
    """
    accepted = ranked(accept)
    if not any(form.startswith("image/") for form in accepted):
        return None, ""  # as most clients want it, whatever they say
    forms = (PNG, *verb.picture.further) if verb.picture else ()
    for form in accepted:
        if form in JSON_FORMS:
            return None, ""
        if form in forms or (form == "image/*" and forms):
            return verb.picture, form if form in forms else PNG
    if verb.picture is None:
        raise NotAcceptable("This verb has no picture to answer with; accept application/json.")
    raise NotAcceptable(f"The picture of this verb comes as {' or '.join(forms)}; accept that, or application/json.")


def _read(verb: Verb, given: str, body: bytes) -> BaseModel:
    """Return the request of a JSON or a bare body; without a media type it is taken for JSON."""
    if given in verb.media:
        return verb.media[given](body)
    if given and not JSON_TYPES.fullmatch(given):
        known = ", ".join(["application/json", *verb.media])
        raise UnsupportedMedia(f"'{given}' is not read here; send one of: {known}.")
    return inference.parse_request(verb.request, parse_json(body))


class _Answered:
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        raise AssertionError(scope["path"])  # the layer before the framework has answered it


routes = [
    Route(path, _Answered(), methods=["POST"], include_in_schema=False) for path in (*PREDICT_PATHS, *INFER_PATHS)
]
"""The same for the router, which says of every path which methods it takes."""
