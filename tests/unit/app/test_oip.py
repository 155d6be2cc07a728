"""Open Inference Protocol: what is described can be asked for, and every wrong tensor is named."""

from __future__ import annotations

import tracemalloc
from typing import Any

import httpx
import numpy as np
import pytest

from unit.app.publishing import WEIGHTS, Publisher

INFER = "/v2/models/tiny/infer"
IMAGES = {"name": "images", "shape": [1, 2, 2], "datatype": "FP32", "data": [[[0, 1], [2, 3]]]}
TOKENS = {"name": "tokens", "shape": [1, 3], "datatype": "INT64", "data": [4, 5, 6]}
MASK = {"name": "mask", "shape": [1, 3], "datatype": "BOOL", "data": [True, False, True]}
PAIR = {"parameters": {"part": "pair"}}


@pytest.fixture(autouse=True)
def published(publisher: Publisher) -> None:
    """Publish the model that every test asks."""
    publisher.publish()


async def test_server_and_model_describe_themselves(client: httpx.AsyncClient) -> None:
    """As the protocol says."""
    assert (await client.get("/v2")).json()["name"] == "lectern"
    assert (await client.get("/v2/health/live")).json() == {"live": True}
    assert (await client.get("/v2/health/ready")).json() == {"ready": True}
    for path in ("/v2/models/tiny", "/v2/models/tiny/versions/1"):
        model = (await client.get(path)).json()
        assert (model["name"], model["versions"]) == ("tiny", ["1"])
        assert model["inputs"] == [{"name": "images", "datatype": "FP32", "shape": [-1, 2, 2]}]
        assert [output["name"] for output in model["outputs"]] == ["logits", "probabilities"]
        assert (await client.get(f"{path}/ready")).json() == {"name": "tiny", "ready": True}


@pytest.mark.parametrize("path", ["/v2/models/none", "/v2/models/none/ready", "/v2/models/tiny/versions/7"])
async def test_unknown_model_is_an_error_string(client: httpx.AsyncClient, path: str) -> None:
    """Only status 200 is success."""
    answer = await client.get(path)
    assert (answer.status_code, list(answer.json())) == (404, ["error"])


async def test_tensors_come_back_as_the_part_computes_them(client: httpx.AsyncClient) -> None:
    """Flat and nested data mean the same; outputs come in the order asked."""
    flat = {**IMAGES, "data": [0, 1, 2, 3]}
    for tensor in (IMAGES, flat):
        answer = await client.post(INFER, json={"id": "a", "inputs": [tensor]})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["id"], found["model_name"], found["model_version"]) == ("a", "tiny", "1")
        logits, probabilities = found["outputs"]
        assert (logits["name"], logits["datatype"], logits["shape"]) == ("logits", "FP32", [1, 3])
        np.testing.assert_allclose(logits["data"], np.arange(4, dtype=np.float32) @ WEIGHTS, rtol=1e-6)
        assert sum(probabilities["data"]) == pytest.approx(1)
    asked = {"inputs": [IMAGES], "outputs": [{"name": "probabilities"}]}
    outputs = (await client.post("/v2/models/tiny/versions/1/infer", json=asked)).json()["outputs"]
    assert [output["name"] for output in outputs] == ["probabilities"]


async def test_part_is_chosen_by_parameter(client: httpx.AsyncClient) -> None:
    """A model may have several graphs."""
    answer = await client.post(INFER, json={**PAIR, "inputs": [MASK, TOKENS]})
    assert answer.json()["outputs"] == [{"name": "kept", "datatype": "INT64", "shape": [1, 3], "data": [4, 0, 6]}]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "/inputs"),
        ({"inputs": []}, "'images' is missing"),
        ({"inputs": {}}, "/inputs"),
        ({"inputs": [{"name": "images"}]}, "/inputs/0/shape"),
        ({"inputs": [{**IMAGES, "name": "pictures"}]}, "there are: images"),
        ({"inputs": [IMAGES, IMAGES]}, "comes twice"),
        ({"inputs": [IMAGES], "outputs": [{"name": "scores"}]}, "there are: logits, probabilities"),
        ({"inputs": [IMAGES], "outputs": [{"name": "logits"}] * 2}, "asked for twice"),
        ({"inputs": [{**IMAGES, "datatype": "FP64"}]}, "takes FP32"),
        ({"inputs": [{**IMAGES, "datatype": "BYTES"}]}, "takes FP32"),
        ({"inputs": [{**IMAGES, "shape": [1, 4]}]}, "2 axes"),
        ({"inputs": [{**IMAGES, "shape": [1, 2, 3]}]}, "axis 2 is 3"),
        ({"inputs": [{**IMAGES, "shape": [-1, 2, 2]}]}, "at least 1"),
        ({"inputs": [{**IMAGES, "shape": [0, 2, 2], "data": []}]}, "at least 1"),
        ({"inputs": [{**IMAGES, "shape": [1.5, 2, 2]}]}, "/inputs/0/shape"),
        ({"inputs": [{**IMAGES, "shape": [10**9, 2, 2]}]}, "more than"),
        ({"inputs": [{**IMAGES, "shape": [2, 2, 2]}]}, "was announced"),
        ({"inputs": [{**IMAGES, "data": [0, 1, 2]}]}, "was announced"),
        ({"inputs": [{**IMAGES, "data": [[0, 1], [2, 3]]}]}, "was announced"),
        ({"inputs": [{**IMAGES, "data": [[0, 1], [2]]}]}, "ragged"),
        ({"inputs": [{**IMAGES, "data": [0, 1, 2, "x"]}]}, "not FP32"),
        ({"inputs": [{**IMAGES, "data": [0, 1, 2, None]}]}, "not FP32"),
        ({"inputs": [{**IMAGES, "data": [0, 1, 2, 1e39]}]}, "too large"),
        ({"inputs": [{**IMAGES, "data": 3}]}, "list"),
        ({"inputs": [{**IMAGES, "data": None}]}, "list"),
        ({"inputs": [IMAGES], "parameters": {"part": "decoder"}}, "it has: classifier, pair"),
        ({"inputs": [IMAGES], "parameters": {"part": []}}, "it has: classifier, pair"),
        ({**PAIR, "inputs": [TOKENS]}, "'mask' is missing"),
        ({**PAIR, "inputs": [TOKENS, {**MASK, "shape": [1, 2], "data": [True, True]}]}, "('time') is 2, but 3"),
        ({**PAIR, "inputs": [{**TOKENS, "data": [1, 2, 2.5]}, MASK]}, "not INT64"),
        ({**PAIR, "inputs": [{**TOKENS, "data": [2**63] * 3}, MASK]}, "outside"),
        ({**PAIR, "inputs": [TOKENS, {**MASK, "data": [1, 0, 1]}]}, "not BOOL"),
    ],
)
async def test_wrong_request_is_named(client: httpx.AsyncClient, request_: dict[str, Any], words: str) -> None:
    """Always 400 with a string, whatever is wrong."""
    answer = await client.post(INFER, json=request_)
    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[" * 9999, b"\xff", b'{"inputs": [NaN]}', b"[]", b'{"inputs":' + b"[" * 900 + b"]" * 900 + b"}"],
)
async def test_body_that_is_no_request_is_refused(client: httpx.AsyncClient, content: bytes) -> None:
    """Also what cannot be parsed."""
    answer = await client.post(INFER, content=content)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


async def test_nested_beyond_numpy_is_refused(client: httpx.AsyncClient) -> None:
    """Nesting deeper than an array can have axes."""
    data: list[Any] = [1.0]
    for _ in range(200):
        data = [data]
    answer = await client.post(INFER, json={"inputs": [{**IMAGES, "data": data}]})
    assert answer.status_code == 400


@pytest.mark.parametrize("nest", [0, 1, 3])
async def test_long_text_among_the_values_costs_no_memory(client: httpx.AsyncClient, nest: int) -> None:
    """An array of text is as wide as its longest: this one would take 80 MB."""
    data: list[Any] = ["x" * 100_000, *[1] * 200]
    for _ in range(nest):
        data = [data]
    tracemalloc.start()
    answer = await client.post(INFER, json={"inputs": [{**IMAGES, "data": data}]})
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 400
    assert peak_bytes < 10_000_000
