"""From a validated request to predictions: drives the codec, whose runs go through the queues of the parts."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from app.serving.endpoints import Endpoint
from app.serving.tickets import ClientLeft, Ticket
from models.contract.config import Options
from models.contract.errors import VerbNotFound
from models.contract.findings import validation_error
from models.contract.task import Arrays, Call, Prediction, Verb

StepT = TypeVar("StepT")
ResultT = TypeVar("ResultT")


def find_verb(endpoint: Endpoint, name: str) -> Verb:
    """Return what the model answers under ``name``.

    Raises:
        VerbNotFound: the model does not answer it; lists what it does.
    """
    loaded = endpoint.loaded
    answered = [verb for verb in loaded.manifest.verbs if verb in loaded.task.verbs]
    if name not in answered:
        listing = ", ".join(answered)
        raise VerbNotFound(f"'{loaded.served.name}' does not answer '{name}'; it answers: {listing}.")
    return loaded.task.verbs[name]


def parse_request(schema: type[BaseModel], value: object) -> BaseModel:
    """Return the request validated by the verb's schema.

    Raises:
        ValidationFailed: names each wrong field.
    """
    if issubclass(schema, Options):
        return schema.parse(value)
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        raise validation_error(error.errors(include_url=False)) from error


async def predict(
    endpoint: Endpoint, verb: Verb, request: BaseModel, ticket: Ticket, executor: Executor
) -> Sequence[Prediction]:
    """Return the predictions of one request.

    Args:
        endpoint: the version that answers.
        verb: what is asked.
        request: the validated request.
        ticket: the request on its way; between two runs of a part it is asked whether the client has gone.
        executor: threads in which the codec thinks.

    Raises:
        ValidationFailed: the codec or a part refuses what is in the request.
        Overloaded: too much waits already.
        DeadlineExceeded: the deadline passed first.
        ClientLeft: the client has gone; the codec was closed.
    """
    codec = verb.codec(endpoint.loaded.served, request)
    outputs: Arrays | None = None
    try:
        while True:
            step = await endpoint.in_thread(executor, ticket, advance, codec, outputs)
            if not isinstance(step, Call):
                return step
            if ticket.left():
                raise ClientLeft
            outputs = await endpoint.run(step.part, step.arrays, ticket)
    finally:
        close(codec)


def advance(codec: Generator[StepT, Arrays, ResultT], outputs: Arrays | None) -> StepT | ResultT:
    """Let a codec think until it wants a part run, has something to tell, or returns; called in a thread."""
    try:
        return next(codec) if outputs is None else codec.send(outputs)
    except StopIteration as stop:
        return stop.value


def close(codec: Generator[object, Arrays, object]) -> None:
    """Abandon a codec. Cancelled while a thread computes, it cannot be closed now, and goes when the thread is done."""
    with suppress(ValueError):
        codec.close()
