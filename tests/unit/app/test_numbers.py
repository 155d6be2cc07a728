"""Bodies with one long list of numbers: read fast, and to the same values as any other."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import cast

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.serving.oip import numbers
from app.serving.oip.requests import Reader
from app.serving.sessions import LoadedModel
from models.contract.errors import ValidationFailed
from models.contract.tensors import PartSignature, TensorSignature

PADDING = "x" * numbers.SHORTEST
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)


def body(data: str, key: str = '"data": ', more: str = "") -> bytes:
    """Return a body that is long enough."""
    return f'{{"id": "{PADDING}", "inputs": [{{"name": "images", {key}{data}{more}}}]}}'.encode()


def read(text: bytes) -> Mapping[str, object] | None:
    """Split a body and join it again."""
    found = numbers.split(text)
    return None if found is None else numbers.joined(*found)


@given(st.lists(NUMBER, min_size=1))
def test_values_are_those_of_a_list(values: list[float]) -> None:
    """Bit for bit, whatever stands around them."""
    text = body(orjson.dumps(values).decode())
    found, expected = read(text), orjson.loads(text)
    assert found is not None
    given = found["inputs"][0].pop("data")  # type: ignore[index] - as it was sent
    assert given.tobytes() == np.array(expected["inputs"][0].pop("data"), np.float64).tobytes()
    assert found == expected


@pytest.mark.parametrize(
    "text",
    [
        body("[1, 2"),
        body("[[1, 2], [3, 4]]"),
        body("[1, true]"),
        body("[1, null]"),
        body('["1"]'),
        body("[]"),
        body("null"),
        body("[1, NaN]"),
        body("[1e400]"),
        body("[18446744073709551616]"),
        body("[-9223372036854775809]"),
        body("[1" + "1" * 400 + "]"),
        body("[" * 3000 + "]"),
        body("[1, 2]", more=', "data": [3]'),
        body("[1, 2]", key='"other": '),
        body("[1, 2]", key='"parameters": {"data": ', more="}"),
        body("[1]").replace(b"}]", b"}, {}]"),
        body("[1]")[:-1],
        body("[1, 2]", more=r', "d\u0061ta": [3]'),
        body("[1]", more=', "deep": ' + "[" * 100 + "]" * 100),
        b'{"inputs": [{"data": [1]}]}',
        b"",
    ],
)
def test_whatever_else_a_body_is_is_left_to_others(text: bytes) -> None:
    """Who find what is wrong with it, if anything is."""
    assert read(text) is None


def test_threads_read_at_the_same_time() -> None:
    """Each with a parser of its own."""
    text = body(str(list(range(20_000))))
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(read, [text] * 200))
    assert all(one is not None for one in found)


PICTURE = TensorSignature(name="images", dtype="float32", shape=("batch", 2))
SCORES = TensorSignature(name="scores", dtype="float32", shape=("batch", 3))


def reader() -> Reader:
    """Return what reads the requests to a model of pictures with two pixels."""
    served = SimpleNamespace(signatures={"classifier": PartSignature(inputs=(PICTURE,), outputs=(SCORES,))})
    return Reader(cast("LoadedModel", SimpleNamespace(served=served)), 1000)


def asking(data: str, shape: str = "[1, 2]", more: str = "") -> bytes:
    """Return a request for a picture, long enough."""
    return body(data, more=f', "shape": {shape}, "datatype": "FP32"{more}')


def test_what_is_kept_of_a_request_is_not_its_values() -> None:
    """Those that come in the same words have values of their own, and are refused for their own."""
    asked = reader()
    for pixels in ([1.0, 2.0], [3.0, 4.5], [0.0, -1.0]):
        found = asked.read(asking(str(pixels)), None, 0.0)
        assert (found.part, found.id, found.arrays["images"].tolist()) == ("classifier", PADDING, [pixels])
    with pytest.raises(ValidationFailed, match="/inputs/0/data: has the shape"):
        asked.read(asking("[1, 2, 3]"), None, 0.0)
    with pytest.raises(ValidationFailed, match="too large for float32"):
        asked.read(asking("[1, 1e39]"), None, 0.0)
    with pytest.raises(ValidationFailed, match="must be a list"):
        asked.read(asking("null"), None, 0.0)
    with pytest.raises(ValidationFailed, match="must be a list"):
        asked.read(asking("null"), len(asking("null")), 0.0)
    assert asked.read(asking("[[1, 2]]"), None, 0.0).arrays["images"].tolist() == [[1, 2]]


@pytest.mark.parametrize("again", [1, 2])
def test_a_wrong_request_is_refused_each_time(again: int) -> None:
    """By its name, shape or the bytes it announces; nothing of it is kept."""
    asked = reader()
    for _ in range(again):
        with pytest.raises(ValidationFailed, match="axis 1"):
            asked.read(asking("[1, 2]", "[1, 3]"), None, 0.0)
        with pytest.raises(ValidationFailed, match="comes beside"):
            asked.read(asking("[1, 2]", more=', "parameters": {"binary_data_size": 8}'), None, 0.0)
