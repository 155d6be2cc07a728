"""From a validated request to predictions: drives the codec, each step in a worker thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from app.serving.sessions import LoadedModel
from models.contract.config import Options
from models.contract.errors import VerbNotFound
from models.contract.findings import validation_error
from models.contract.task import Arrays, Codec, Prediction, Verb


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True)
class _Done:
    predictions: Sequence[Prediction]


def find_verb(loaded: LoadedModel, name: str) -> Verb:
    """Return what the model answers under ``name``.

    Raises:
        VerbNotFound: the model does not answer it; lists what it does.
    """
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
        raise validation_error(error.errors(include_url=False, include_input=False)) from error


async def predict(
    loaded: LoadedModel, verb: Verb, request: BaseModel, executor: Executor, left: Callable[[], Awaitable[bool]]
) -> Sequence[Prediction]:
    """Return the predictions of one request.

    Args:
        loaded: the version that answers.
        verb: what is asked.
        request: the validated request.
        executor: threads that compute.
        left: tells, between two runs of a part, whether the client has gone.

    Raises:
        ValidationFailed: the codec or a part refuses what is in the request.
        ClientLeft: the client has gone; the codec was closed.
    """
    loop = asyncio.get_running_loop()
    codec = verb.codec(loaded.served, request)
    outputs: Arrays | None = None
    try:
        while True:
            step = await loop.run_in_executor(executor, _advance, loaded, codec, outputs)
            if isinstance(step, _Done):
                return step.predictions
            if await left():
                raise ClientLeft
            outputs = step
    finally:
        _close(codec)


def _advance(loaded: LoadedModel, codec: Codec, outputs: Arrays | None) -> Arrays | _Done:
    """Let the codec think until it wants a part run, and run it; a thread hop costs more than both."""
    try:
        call = next(codec) if outputs is None else codec.send(outputs)
    except StopIteration as stop:
        return _Done(stop.value)
    return loaded.run(call.part, call.arrays)


def _close(codec: Codec) -> None:
    try:
        codec.close()
    except ValueError:
        # Cancelled while a thread computes: the generator cannot be closed now, and goes when the thread is done.
        return
