"""Bodies with one long list of numbers: read fast, and to the same values as any other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.serving.oip import numbers

PADDING = "x" * numbers.SHORTEST
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)


def body(data: str, key: str = '"data": ', more: str = "") -> bytes:
    """Return a body that is long enough."""
    return f'{{"id": "{PADDING}", "inputs": [{{"name": "images", {key}{data}{more}}}]}}'.encode()


@given(st.lists(NUMBER, min_size=1))
def test_values_are_those_of_a_list(values: list[float]) -> None:
    """Bit for bit, whatever stands around them."""
    text = body(orjson.dumps(values).decode())
    found, expected = numbers.read(text), orjson.loads(text)
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
    assert numbers.read(text) is None


def test_threads_read_at_the_same_time() -> None:
    """Each with a parser of its own."""
    text = body(str(list(range(20_000))))
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(numbers.read, [text] * 200))
    assert all(one is not None for one in found)
