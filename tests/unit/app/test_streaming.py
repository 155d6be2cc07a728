"""Answers piece by piece: the same text as at once, refusals with their status, and an end for clients that leave."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from onnx import TensorProto, helper, numpy_helper
from starlette.types import Message

from app.dependencies import Services
from models.contract.manifest import DatasetReference, Manifest, Part, Probe
from models.contract.tensors import PartSignature, TensorSignature
from models.data.vocabulary import RESERVED

LETTERS = "\nabcdefgh"
READER = PartSignature(
    inputs=(
        TensorSignature(name="tokens", dtype="int64", shape=("batch", "time")),
        TensorSignature(name="lengths", dtype="int64", shape=("batch",)),
        TensorSignature(name="state", shape=("batch", 1)),
    ),
    outputs=(
        TensorSignature(name="logits", shape=("batch", len(LETTERS) + RESERVED), quantity="logits"),
        TensorSignature(name="next_state", shape=("batch", 1)),
    ),
)


def _graph() -> bytes:
    """Return a reader whose logits are a row per last token: the next letter of the alphabet is the likeliest."""
    size = len(LETTERS) + RESERVED
    table = np.zeros((size, size), np.float32)
    for index in range(len(LETTERS)):
        table[RESERVED + index, RESERVED + (index + 1) % len(LETTERS)] = 5
    nodes = [
        helper.make_node("Sub", ["lengths", "one"], ["last"]),
        helper.make_node("Unsqueeze", ["last", "axis"], ["places"]),
        helper.make_node("GatherElements", ["tokens", "places"], ["ends"], axis=1),
        helper.make_node("Squeeze", ["ends", "axis"], ["letters"]),
        helper.make_node("Gather", ["table", "letters"], ["logits"], axis=0),
        helper.make_node("Identity", ["state"], ["next_state"]),
    ]
    constants = [
        numpy_helper.from_array(array, name)
        for name, array in (("one", np.array(1)), ("axis", np.array([1])), ("table", table))
    ]
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "time"]),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
        helper.make_tensor_value_info("state", TensorProto.FLOAT, ["batch", 1]),
    ]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", size]),
        helper.make_tensor_value_info("next_state", TensorProto.FLOAT, ["batch", 1]),
    ]
    graph = helper.make_graph(nodes, "reader", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


@pytest.fixture(autouse=True)
def published(services: Services) -> None:
    """Publish the reader as the model ``plays``."""
    files = {"reader.onnx": _graph(), "probe.npz": _probe()}
    for name, data in files.items():
        services.store.put(services.versions.part_path("job_1", 1, name), data)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    paths = {name: services.versions.part_path("job_1", 1, name) for name in files}
    part = Part(
        path=paths["reader.onnx"],
        sha256=hashes["reader.onnx"],
        payload_bytes=len(files["reader.onnx"]),
        signature=READER,
    )
    services.versions.publish(
        Manifest(
            model="plays",
            version=1,
            job="job_1",
            family="recurrent_lm",
            task="language",
            verbs=("complete", "score"),
            headline="perplexity",
            config={},
            training={},
            dataset=DatasetReference(name="plays", kind="text", digest=f"sha256:{'0' * 64}", counts={"train": 2}),
            seed=0,
            code_version="0",
            created=datetime(2026, 1, 1, tzinfo=UTC),
            duration_seconds={},
            metrics={},
            curves=[],
            parity={},
            parts={"reader": part},
            probe=Probe(path=paths["probe.npz"], sha256=hashes["probe.npz"]),
            meta={"lowercase": False},
            assets={"level": "character", "lowercase": False, "vocabulary": list(LETTERS)},
            value_range=None,
            insides=(),
        )
    )


def _probe() -> bytes:
    logits = np.zeros((1, len(LETTERS) + RESERVED), np.float32)
    logits[0, RESERVED + 2] = 5
    cases = {
        "reader/0/in/tokens": np.array([[RESERVED + 1]]),
        "reader/0/in/lengths": np.array([1]),
        "reader/0/in/state": np.zeros((1, 1), np.float32),
        "reader/0/out/logits": logits,
        "reader/0/out/next_state": np.zeros((1, 1), np.float32),
    }
    buffer = io.BytesIO()
    np.savez(buffer, **cases)  # type: ignore[arg-type]
    return buffer.getvalue()


def _events(text: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for block in text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_pieces_and_the_prediction_are_the_answer_that_comes_at_once(client: httpx.AsyncClient) -> None:
    body = {"prompt": "ab", "tokens": 40, "seed": 3}
    whole = (await client.post("/v1/models/plays/complete", json=body)).json()
    answer = await client.post("/v1/models/plays/complete", json={**body, "stream": True})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "content-length" not in answer.headers
    *pieces, (last, told) = _events(answer.text)
    assert {name for name, _ in pieces} == {"piece"}
    assert last == "prediction"
    assert told == whole
    assert len(pieces) == 40
    assert "".join(data["text"] for _, data in pieces) == whole["predictions"][0]["text"]


async def test_greedy_stream_follows_the_alphabet(client: httpx.AsyncClient) -> None:
    body = {"prompt": "a", "tokens": 9, "temperature": 0, "stream": True, "stop": "gh"}
    answer = await client.post("/v1/models/plays/complete", json=body)
    events = _events(answer.text)
    assert "".join(data["text"] for name, data in events if name == "piece") == "bcdef"
    assert events[-1][1]["predictions"][0]["ended"] == "stop"


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"prompt": "日本", "stream": True}, 422, "/prompt"),
        ({"prompt": "a", "stream": True, "temperature": -1}, 422, "/temperature"),
        ({"prompt": "a", "stream": "maybe"}, 422, "/stream"),
    ],
)
async def test_a_refused_request_has_the_status_that_says_why(
    client: httpx.AsyncClient, body: dict[str, object], status: int, pointer: str
) -> None:
    """Nothing is sent before the first piece is there."""
    answer = await client.post("/v1/models/plays/complete", json=body)
    assert answer.status_code == status
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_prompt_as_a_bare_body(client: httpx.AsyncClient) -> None:
    """Text is the prompt itself; what is not UTF-8 is refused with the byte, in JSON as well."""
    headers = {"content-type": "text/plain; charset=utf-8"}
    answer = await client.post("/v1/models/plays/complete", content=b"ab", headers=headers)
    assert answer.status_code == 200, answer.text
    wrong = await client.post("/v1/models/plays/complete", content=b"ab\xff", headers=headers)
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/prompt")
    assert (await client.post("/v1/models/plays/complete", content=b'{"prompt": "\xff"}')).status_code == 400


async def _raw(app: FastAPI, body: dict[str, object], messages: AsyncIterator[Message]) -> list[Message]:
    """Return what the gateway sends; ``messages`` come after the body, one each time it looks."""
    sent: list[Message] = []
    first = True

    async def receive() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": json.dumps(body).encode()}
        return await anext(messages)

    async def send(message: Message) -> None:
        sent.append(message)
        await asyncio.sleep(0)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/models/plays/complete",
        "raw_path": b"/v1/models/plays/complete",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
        "scheme": "http",
        "http_version": "1.1",
        "app": app,
    }
    await app(scope, receive, send)
    return sent


async def test_nothing_is_computed_for_a_client_that_has_left(gateway: FastAPI) -> None:
    """The connection closes after some pieces: the stream ends there, and the codec with it."""
    body: dict[str, object] = {"prompt": "a", "tokens": 5_000, "stream": True}
    sent = await asyncio.wait_for(_raw(gateway, body, _Looks(20)), timeout=30)
    pieces = [message for message in sent if message.get("body", b"").startswith(b"event: piece")]
    assert 0 < len(pieces) < 50
    assert not any(b"event: prediction" in message.get("body", b"") for message in sent)


class _Looks:
    """Has the client leave at the n-th look at whether it has."""

    def __init__(self, count: int) -> None:
        self._left = count

    def __aiter__(self) -> AsyncIterator[Message]:
        return cast("AsyncIterator[Message]", self)

    async def __anext__(self) -> Message:
        self._left -= 1
        if self._left > 0:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}


@pytest.mark.parametrize("overrides", [{"default_timeout_microseconds": 300_000}])
async def test_deadline_that_passes_on_the_way_is_an_event(client: httpx.AsyncClient) -> None:
    """The status is sent by then; the problem has the form that it would have had as an answer."""
    body = {"prompt": "a", "tokens": 10_000, "stream": True}
    answer = await client.post("/v1/models/plays/complete", json=body)
    events = _events(answer.text)
    assert events[0][0] == "piece"
    name, problem = events[-1]
    assert name == "problem"
    assert (problem["code"], problem["status"]) == ("deadline_exceeded", 504)


async def test_document_says_that_answers_may_stream(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    content = document["paths"]["/v1/models/{model}/complete"]["post"]["responses"]["200"]["content"]
    assert "text/event-stream" in content
    assert "application/json" in content
