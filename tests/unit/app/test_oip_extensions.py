"""Open Inference Protocol: binary tensors, compression, classification, statistics, configuration, repository."""

from __future__ import annotations

import gzip
import struct
import zlib
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from app.dependencies import Services
from app.serving.tickets import Ticket
from unit.app.publishing import WEIGHTS, Publisher

INFER = "/v2/models/tiny/infer"
JSON_LENGTH = "Inference-Header-Content-Length"
VALUES = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
IMAGES: dict[str, Any] = {"name": "images", "shape": [2, 2, 2], "datatype": "FP32"}
BINARY = {**IMAGES, "parameters": {"binary_data_size": 32}}


@pytest.fixture(autouse=True)
def published(publisher: Publisher) -> None:
    """Publish the model that every test asks."""
    publisher.publish()


async def send(
    client: httpx.AsyncClient, request: object, tail: bytes = b"", length: int | None = None, **headers: str
) -> httpx.Response:
    """Send a request with bytes behind it."""
    text = orjson.dumps(request)
    own = {JSON_LENGTH: str(len(text) if length is None else length), "Content-Type": "application/octet-stream"}
    return await client.post(INFER, content=text + tail, headers=own | headers)


def tensors(answer: httpx.Response) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Return the outputs of an answer, from its JSON or its bytes."""
    assert answer.status_code == 200, answer.text
    size = int(answer.headers.get(JSON_LENGTH, len(answer.content)))
    parsed, start = orjson.loads(answer.content[:size]), size
    found: dict[str, np.ndarray[Any, np.dtype[np.float32]]] = {}
    for output in parsed["outputs"]:
        if "data" in output:
            values = np.array(output["data"], np.float32)
        else:
            end = start + output["parameters"]["binary_data_size"]
            values, start = np.frombuffer(answer.content[start:end], "<f4"), end
        found[output["name"]] = values.reshape(output["shape"])
    assert start == len(answer.content)
    return found


@pytest.mark.parametrize("asked", [{}, {"parameters": {"binary_data_output": True}}])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
async def test_bytes_go_in_and_come_out(client: httpx.AsyncClient, asked: dict[str, Any], packed: str | None) -> None:
    """In every combination, and the numbers are the same."""
    text = orjson.dumps({**asked, "inputs": [BINARY]})
    body, headers = text + VALUES.tobytes(), {JSON_LENGTH: str(len(text))}
    if packed:
        body = {"gzip": gzip.compress, "deflate": zlib.compress}[packed](body)
        headers["Content-Encoding"] = packed
    answer = await client.post(INFER, content=body, headers=headers)
    assert (JSON_LENGTH in answer.headers) is bool(asked)
    np.testing.assert_allclose(tensors(answer)["logits"], VALUES.reshape(2, 4) @ WEIGHTS, rtol=1e-6)
    assert answer.headers["lectern-model-version"] == "1"
    assert answer.headers["lectern-artifact-digest"].startswith("sha256:")
    assert answer.headers["server-timing"].startswith("queue;dur=")


async def test_one_output_may_be_bytes_and_another_json(client: httpx.AsyncClient) -> None:
    outputs = [{"name": "logits", "parameters": {"binary_data": True}}, {"name": "probabilities"}]
    found = tensors(await send(client, {"inputs": [BINARY], "outputs": outputs}, VALUES.tobytes()))
    assert list(found) == ["logits", "probabilities"]
    np.testing.assert_allclose(found["probabilities"].sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("binary", [False, True])
async def test_classes_come_with_their_names(client: httpx.AsyncClient, *, binary: bool) -> None:
    """``score:index:label``, the largest first."""
    outputs = [{"name": "logits", "parameters": {"classification": 2, "binary_data": binary}}]
    answer = await send(client, {"inputs": [BINARY], "outputs": outputs}, VALUES.tobytes())
    size = int(answer.headers.get(JSON_LENGTH, len(answer.content)))
    (output,) = orjson.loads(answer.content[:size])["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [2, 2])
    texts, tail = output.get("data", []), answer.content[size:]
    while tail:
        (count,) = struct.unpack("<I", tail[:4])
        texts.append(tail[4 : 4 + count].decode())
        tail = tail[4 + count :]
    logits = VALUES.reshape(2, 4) @ WEIGHTS
    assert texts == [f"{row[index]:f}:{index}:{'abc'[index]}" for row in logits for index in (2, 1)]


@pytest.mark.parametrize(
    ("tensor", "tail", "length", "words"),
    [
        (BINARY, VALUES.tobytes()[:-1], None, "31 bytes are left"),
        (BINARY, VALUES.tobytes() + b"x", None, "33 came"),
        ({**BINARY, "shape": [1, 2, 2]}, VALUES.tobytes(), None, "are 16 bytes"),
        ({**BINARY, "data": [1]}, VALUES.tobytes(), None, "beside binary_data_size"),
        ({**IMAGES, "parameters": {"binary_data_size": -1}}, b"", None, "from 0 to"),
        ({**IMAGES, "parameters": {"binary_data_size": "32"}}, VALUES.tobytes(), None, "whole number"),
        ({**BINARY, "shape": [2, -2, -2]}, VALUES.tobytes(), None, "at least 1"),
        ({**BINARY, "shape": [2**62, 2, 2]}, VALUES.tobytes(), None, "elements"),
        ({**BINARY, "datatype": "BYTES"}, VALUES.tobytes(), None, "takes FP32"),
        (BINARY, VALUES.tobytes(), 10**6, "10"),
        (BINARY, np.full(8, np.nan, np.float32).tobytes(), None, "NaN"),
        (BINARY, np.full(8, np.inf, np.float32).tobytes(), None, "infinity"),
    ],
)
async def test_wrong_bytes_are_named(
    client: httpx.AsyncClient, tensor: dict[str, Any], tail: bytes, length: int | None, words: str
) -> None:
    answer = await send(client, {"inputs": [tensor]}, tail, length)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert words in answer.json()["error"]


@pytest.mark.parametrize("length", ["x", "-1", "", "1" * 30])
async def test_a_length_that_is_none_is_named(client: httpx.AsyncClient, length: str) -> None:
    answer = await client.post(INFER, content=b"{}", headers={JSON_LENGTH: length})
    assert (answer.status_code, "Inference-Header" in answer.json()["error"]) == (400, True)


async def test_a_header_that_comes_twice_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(INFER, content=b"{}", headers=[(JSON_LENGTH, "2"), (JSON_LENGTH, "1")])
    assert (answer.status_code, "more than once" in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize("overrides", [{"json_limit_bytes": 10_000}])
@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
async def test_a_bomb_is_not_unpacked(client: httpx.AsyncClient, pack: Any) -> None:  # noqa: ANN401 - either of two
    encoding = "gzip" if pack is gzip.compress else "deflate"
    bomb = pack(b" " * 2**22)
    answer = await client.post(INFER, content=bomb, headers={"Content-Encoding": encoding})
    assert (len(bomb) < 10_000, answer.status_code) == (True, 413)


@pytest.mark.parametrize(
    ("content", "words"), [(b"not packed at all", "not gzip"), (gzip.compress(b"{}", mtime=0)[:-4], "ends before")]
)
async def test_what_is_not_packed_is_said(client: httpx.AsyncClient, content: bytes, words: str) -> None:
    answer = await client.post(INFER, content=content, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, words in answer.json()["error"]) == (400, True)


async def test_large_answers_are_packed_for_who_accepts_it(client: httpx.AsyncClient) -> None:
    many = {**IMAGES, "shape": [500, 2, 2], "data": [1] * 2000}
    answer = await client.post(INFER, json={"inputs": [many]}, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert tensors(answer)["logits"].shape == (500, 3)
    small = await client.post(INFER, json={"inputs": [{**IMAGES, "data": [1] * 8}]})
    assert "content-encoding" not in small.headers


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip;q=0", None),
        ("identity, gzip;q=0, deflate;q=0", None),
        ("br;q=1.0, *;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("x-gzip-like", None),
        ("gzip;q=0.2, deflate;q=0.7", "deflate"),
        ("br, GZIP;q=0.5", "gzip"),
        ("gzip, deflate", "gzip"),
    ],
)
async def test_the_weights_of_encodings_are_read(
    client: httpx.AsyncClient, accepted: str, encoding: str | None
) -> None:
    """What is refused with ``q=0`` is not sent, and of the others the one with the largest weight."""
    many = {**IMAGES, "shape": [500, 2, 2], "data": [1] * 2000}
    answer = await client.post(INFER, json={"inputs": [many]}, headers={"Accept-Encoding": accepted})
    assert answer.headers.get("content-encoding") == encoding
    assert tensors(answer)["logits"].shape == (500, 3)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"priority": 4}, "/parameters/priority"),
        ({"priority": -1}, "/parameters/priority"),
        ({"timeout": "soon"}, "/parameters/timeout"),
        ({"timeout": True}, "/parameters/timeout"),
        ({"binary_data_output": 1}, "true or false"),
    ],
)
async def test_wrong_parameters_are_named(client: httpx.AsyncClient, parameters: dict[str, Any], words: str) -> None:
    answer = await send(client, {"parameters": parameters, "inputs": [BINARY]}, VALUES.tobytes())
    assert (answer.status_code, words in answer.json()["error"]) == (400, True)


async def test_a_time_that_is_over_is_a_504(client: httpx.AsyncClient) -> None:
    answer = await send(client, {"parameters": {"timeout": 1}, "inputs": [BINARY]}, VALUES.tobytes())
    assert (answer.status_code, "deadline" in answer.json()["error"]) == (504, True)
    fine = await send(client, {"parameters": {"timeout": 10**7, "priority": 1}, "inputs": [BINARY]}, VALUES.tobytes())
    assert fine.status_code == 200


async def test_statistics_count_every_run_once(client: httpx.AsyncClient) -> None:
    """Success, queue and the three compute counts are equal; what was refused counts as failed."""
    for _ in range(3):
        await send(client, {"inputs": [BINARY]}, VALUES.tobytes())
    await send(client, {"inputs": []})
    (found,) = (await client.get("/v2/models/tiny/versions/1/stats")).json()["model_stats"]
    stats = found["inference_stats"]
    stages = ("success", "queue", "compute_input", "compute_infer", "compute_output")
    assert {stats[stage]["count"] for stage in stages} == {3}
    assert stats["success"]["ns"] >= stats["compute_infer"]["ns"] > 0
    assert (stats["fail"]["count"], found["inference_count"], found["execution_count"]) == (1, 6, 3)
    assert [(batch["batch_size"], batch["compute_infer"]["count"]) for batch in found["batch_stats"]] == [(2, 3)]
    assert (await client.get("/v2/models/stats")).json() == {"model_stats": [found]}
    text = (await client.get("/metrics")).text
    assert 'lectern_batch_rows_sum{model="tiny",project="default",version="1"} 6.0' in text
    assert 'lectern_compute_seconds_count{model="tiny",project="default",stage="infer",version="1"} 3.0' in text


async def test_configuration_is_in_tritons_terms(client: httpx.AsyncClient) -> None:
    found = (await client.get("/v2/models/tiny/config")).json()
    assert (found["name"], found["backend"], found["max_batch_size"]) == ("tiny", "onnxruntime", 64)
    assert found["input"] == [{"name": "images", "data_type": "TYPE_FP32", "dims": [2, 2]}]


async def test_models_are_listed_loaded_and_unloaded(client: httpx.AsyncClient, publisher: Publisher) -> None:
    """What was unloaded stays so until somebody loads it; others go on answering."""
    publisher.publish(model="other", job="job_2")
    entries = (await client.post("/v2/repository/index")).json()
    assert [(entry["name"], entry["version"], entry["state"]) for entry in entries] == [
        ("other", "1", "UNAVAILABLE"),
        ("tiny", "1", "UNAVAILABLE"),
    ]
    assert (await client.post("/v2/repository/models/tiny/load")).json() == {"name": "tiny", "ready": True}
    ready = (await client.post("/v2/repository/index", json={"ready": True})).json()
    assert [entry["name"] for entry in ready] == ["tiny"]
    assert (await client.post("/v2/repository/models/tiny/unload")).status_code == 200
    refused = await client.post(INFER, json={"inputs": [{**IMAGES, "data": [1] * 8}]})
    assert (refused.status_code, "/load" in refused.json()["error"]) == (503, True)
    assert (await client.get("/v2/models/tiny/ready")).status_code == 503
    assert (await client.get("/v2/models/other/ready")).status_code == 200
    assert (await client.post("/v2/repository/models/tiny/load")).status_code == 200
    assert (await client.post(INFER, json={"inputs": [{**IMAGES, "data": [1] * 8}]})).status_code == 200
    assert (await client.post("/v2/repository/models/none/load")).status_code == 404


async def test_a_trace_goes_on(client: httpx.AsyncClient) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await client.post(INFER, json={"inputs": []}, headers={"traceparent": parent})
    assert answer.status_code == 400
    body = {"inputs": [{**IMAGES, "data": [1] * 8}]}
    found = (await client.post(INFER, json=body, headers={"traceparent": parent})).headers["traceparent"]
    assert (found[:36], found[-3:], found == parent) == (parent[:36], "-01", False)
    assert "traceparent" not in (await client.post(INFER, json=body, headers={"traceparent": "nonsense"})).headers


async def test_more_than_may_be_on_their_way_are_refused(
    client: httpx.AsyncClient, services: Services, publisher: Publisher
) -> None:
    """Before the body is read, with the time to come again; and those answered count no more."""
    del publisher
    body = {"inputs": [{**IMAGES, "data": [1] * 8}]}
    assert (await client.post(INFER, json=body)).status_code == 200
    (endpoint,) = services.registry.endpoints()
    assert endpoint.in_flight == 0
    others = [Ticket() for _ in range(services.settings.max_queue_size)]
    for other in others:
        endpoint.begin(other)
    refused = await client.post(INFER, json=body)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    for other in others:
        endpoint.answered(other, "infer", "ok", 0.0)
    assert (await client.post(INFER, json=body)).status_code == 200
    assert 'reason="overloaded",version="1"} 1.0' in (await client.get("/metrics")).text
