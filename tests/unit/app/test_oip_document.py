"""Requests to ``infer`` are read by hand: exactly those are taken that the OpenAPI document and the signature allow.

A validator of JSON Schema reads the document; ``fits`` reads the signature and shares no code with the parser. One
thing JSON Schema cannot say: an axis is written 2 and not 2.0.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from app.main import create_app
from app.serving import sessions
from app.serving.oip import requests
from app.serving.runtimes.onnx import OnnxRuntime
from app.settings import GatewaySettings
from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from models.catalog import Catalog
from models.contract.errors import MalformedBody, ValidationFailed
from models.contract.tensors import PartSignature
from unit.app.publishing import PAIR, SIGNATURE, Publisher

MOST_ELEMENTS = 64
PARTS = {"classifier": SIGNATURE, "pair": PAIR}
DATATYPES = {"float32": "FP32", "int64": "INT64", "bool": "BOOL"}

IMAGES = {"name": "images", "datatype": "FP32", "shape": [1, 2, 2], "data": [0.5, 1, 2, 3]}
NESTED = {**IMAGES, "shape": [2, 2, 2], "data": [[[0, 1], [2, 3]], [[4, 5], [6, 7.5]]]}
TOKENS = {"name": "tokens", "datatype": "INT64", "shape": [1, 3], "data": [1, 2, 3]}
MASK = {"name": "mask", "datatype": "BOOL", "shape": [1, 3], "data": [[True, False, True]]}
BINARY = {"name": "probabilities", "parameters": {"binary_data": True}}
REQUESTS = [
    {"id": "7", "inputs": [IMAGES], "parameters": {"priority": 1, "timeout": 10**9, "binary_data_output": False}},
    {
        "inputs": [NESTED],
        "outputs": [{"name": "logits"}, {"name": "probabilities", "parameters": {"binary_data": True}}],
    },
    {"inputs": [IMAGES], "outputs": [{"name": "logits", "parameters": {"classification": 2}}], "more": {}},
    {"inputs": [TOKENS, MASK], "parameters": {"part": "pair"}, "outputs": []},
]
SOMETHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 5),
    st.sampled_from([10**12, 10**12 + 1, 2**63 - 1, -(2**63), 1e39, 3.5e38, -0.5]),
    st.sampled_from(["", "FP32", "INT64", "BOOL", "images", "logits", "tokens", "pair", "7"]),
    st.lists(st.one_of(st.integers(0, 3), st.floats(-4, 4, width=16), st.booleans()), max_size=8),
    st.sampled_from([IMAGES, NESTED, TOKENS, MASK, {}, {"name": "logits"}, {"binary_data_size": 16}]),
)
EDGES = {
    "": {
        "part": [None, "classifier", "pair", "", 1],
        "timeout": [-1, 0, 10**12, 10**12 + 1, True, 1.5, None],
        "priority": [-1, 0, 3, 4, "1", True, None],
        "binary_data_output": [True, 0, None],
    },
    "inputs": {"binary_data_size": [-1, 0, 16, None]},
    "outputs": {"binary_data": [False, 1, None], "classification": [-1, 0, 10**6, 10**6 + 1, True, None]},
}
"""Values of parameters on both sides of what is allowed: of the request, of an input, of an output."""

NAMES = ["id", "parameters", "outputs", "data", "shape", "part", "timeout", "priority", "binary_data", "classification"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> sessions.LoadedModel:
    """Return a version with a part of floats and one of integers and flags."""
    store = ArtifactStore((tmp_path_factory.mktemp("document") / "store").as_uri())
    versions = Versions(store)
    Publisher(store, versions).publish()
    return sessions.load(versions, Catalog(("models",)), {"onnx": OnnxRuntime()}, 4, "tiny", 1)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> jsonschema_rs.Validator:
    """Return the validator of what the OpenAPI document says of a body."""
    store = (tmp_path_factory.mktemp("openapi") / "store").as_uri()
    whole = create_app(GatewaySettings(store_url=store)).openapi()
    body = whole["paths"]["/v2/models/{model}/infer"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return jsonschema_rs.validator_for({**body, "components": whole["components"]})


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_parser_takes_what_the_document_and_the_signature_say(
    loaded: sessions.LoadedModel, document: jsonschema_rs.Validator, data: st.DataObject
) -> None:
    """Requests that are right, and the same after some of their values were changed, left out or put elsewhere."""
    body = copy.deepcopy(data.draw(st.sampled_from(REQUESTS)))
    for _ in range(data.draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        body = changed(body, data)
    text = json.dumps(body)
    wanted = document.is_valid(body) and fits(body)
    event("taken" if wanted else "refused by the signature" if document.is_valid(body) else "refused by the document")
    assert (problem(loaded, text) is None) == wanted, (text, problem(loaded, text))


@pytest.mark.parametrize("body", REQUESTS, ids=["one", "nested", "classes", "pair"])
def test_requests_that_are_changed_are_right_at_first(document: jsonschema_rs.Validator, body: dict[str, Any]) -> None:
    assert document.is_valid(body)
    assert fits(body)


def problem(loaded: sessions.LoadedModel, text: str) -> str | None:
    """Return what the parser finds wrong."""
    try:
        requests.Reader(loaded, MOST_ELEMENTS).read(text.encode(), None, 0.0)
    except (MalformedBody, ValidationFailed) as error:
        return error.detail
    return None


def changed(body: Any, data: st.DataObject) -> Any:  # noqa: ANN401 - any JSON
    """Return the body with a parameter set, or one value anywhere replaced, left out, doubled or added."""
    if data.draw(st.booleans()):
        return with_a_parameter(body, data)
    places = list(places_in(body))
    if not places:
        return data.draw(SOMETHING)
    holder, key = data.draw(st.sampled_from(places))
    match data.draw(st.sampled_from(["replace", "leave out", "double", "add"])):
        case "leave out":
            del holder[key]
        case "double" if isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        case "add" if isinstance(holder, dict):
            holder[data.draw(st.sampled_from(NAMES))] = copy.deepcopy(data.draw(SOMETHING))
        case _:
            holder[key] = copy.deepcopy(data.draw(SOMETHING))
    return body


def with_a_parameter(body: Any, data: st.DataObject) -> Any:  # noqa: ANN401 - any JSON
    """Return the body with a parameter of it, of its first input or of its first output set."""
    where = data.draw(st.sampled_from(sorted(EDGES)))
    try:
        holder = body[where][0] if where else body
        name = data.draw(st.sampled_from(sorted(EDGES[where])))
        holder.setdefault("parameters", {})[name] = data.draw(st.sampled_from(EDGES[where][name]))
    except (AttributeError, IndexError, KeyError, TypeError):
        return body  # there is no such place any more
    return body


def places_in(node: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - any JSON
    """Yield every value below ``node`` by what holds it and its key."""
    for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield node, key
        yield from places_in(node[key])


def fits(body: dict[str, Any]) -> bool:
    """Return whether a body that the document allows fits the model's signature."""
    signature = PARTS.get((body.get("parameters") or {}).get("part") or "classifier")
    if signature is None or (body.get("parameters") or {}).get("part") == "":
        return False
    inputs = {entry["name"]: entry for entry in body["inputs"]}
    if len(inputs) < len(body["inputs"]) or set(inputs) != {tensor.name for tensor in signature.inputs}:
        return False
    names = [output["name"] for output in body.get("outputs") or []]
    if len(set(names)) < len(names) or not set(names) <= {tensor.name for tensor in signature.outputs}:
        return False
    return inputs_fit(inputs, signature)


def inputs_fit(inputs: dict[str, Any], signature: PartSignature) -> bool:
    """Return whether each input has its datatype, a shape that agrees with the others, and as many values."""
    sizes: dict[str, int] = {}
    for tensor in signature.inputs:
        entry = inputs[tensor.name]
        shape = entry["shape"]
        if entry["datatype"] != DATATYPES[tensor.dtype] or len(shape) != len(tensor.shape) or min(shape) < 1:
            return False
        for size, axis in zip(shape, tensor.shape, strict=True):
            if size != (sizes.setdefault(axis, size) if isinstance(axis, str) else axis):
                return False
        if math.prod(shape) > MOST_ELEMENTS or "binary_data_size" in (entry.get("parameters") or {}):
            return False  # there is nothing behind the JSON
        if not values_fit(entry.get("data"), shape, tensor.dtype):
            return False
    return True


def values_fit(data: Any, shape: list[int], dtype: str) -> bool:  # noqa: ANN401 - any JSON
    """Return whether ``data`` are values of ``dtype``, flat or nested as ``shape``."""
    if not isinstance(data, list):
        return False
    flat = all(not isinstance(value, list) for value in data)
    leaves = data if flat else list(leaves_of(data, shape))
    if len(leaves) != math.prod(shape) or None in leaves:
        return False
    flags = [isinstance(value, bool) for value in leaves]
    if dtype == "bool":
        return all(flags)
    if all(flags) or any(isinstance(value, str | dict) for value in leaves):
        return False  # among numbers true is 1
    if dtype == "int64":
        return all(isinstance(value, int) and -(2**63) <= value < 2**63 for value in leaves)
    return all(abs(value) < 3.4028235677973366e38 for value in leaves)


def leaves_of(node: Any, shape: list[int]) -> Iterator[Any]:  # noqa: ANN401 - any JSON
    """Yield the values of a list that is nested as ``shape``; None where it is not."""
    if not shape:
        yield None if isinstance(node, list) else node
    elif not isinstance(node, list) or len(node) != shape[0]:
        yield None
    else:
        for child in node:
            yield from leaves_of(child, shape[1:])
