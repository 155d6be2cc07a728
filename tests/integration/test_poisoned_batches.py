"""Bad requests among good ones, all at the same moment: each gets its own answer, and no good one suffers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from benchmarks.serving.load import Load
from benchmarks.serving.measuring import mixed
from gateways import Gateway, publisher
from unit.app.asking import IMAGES, binary, request
from unit.app.publishing import WEIGHTS

GOOD, TIMES = 248, 100
ROWS = len(WEIGHTS)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: the load client uses epoll"),
]


def looked_up(*ids: object, shape: tuple[int, ...] = (1, 2)) -> bytes:
    """Return a request to the part ``table``, whose graph refuses ids that it has no row for."""
    tensor = {"name": "ids", "shape": shape, "datatype": "INT64", "data": ids}
    return request(orjson.dumps({"inputs": [tensor], "parameters": {"part": "table"}}))


def classified(number: int) -> bytes:
    return request(orjson.dumps({"inputs": [{**IMAGES, "data": [number % 7, 1, 2, 3]}]}))


BAD = {
    request(orjson.dumps({"inputs": [{**IMAGES, "shape": [1, 2, 3], "data": [0] * 6}]})): b"'images' takes",
    looked_up(0, shape=(1, 1)): b"'ids' takes",
    request(orjson.dumps({"inputs": [{**IMAGES, "datatype": "INT64", "data": [0, 1, 2, 3]}]})): b"FP32",
    looked_up("first", 1): b"INT64",
    binary(np.full(4, np.nan, np.float32).tobytes()): b"NaN",
    binary(np.array([0, np.inf, 0, 0], np.float32).tobytes()): b"NaN",
    looked_up(0, ROWS): b"refused these values",
    looked_up(-ROWS - 1, 0): b"refused these values",
}
"""Wrong shapes, types, values and ids, and a part of what is said of each."""


def test_bad_requests_fail_alone(tmp_path: Path) -> None:
    """256 at a time on as many connections, runs of two parts of one model, a hundred times."""
    publisher(tmp_path).publish(table=True)
    good = [classified(n) if n % 2 else looked_up(n % ROWS, (n + 1) % ROWS) for n in range(GOOD)]
    requests, bad = mixed(good, list(BAD))
    reasons, numbers = iter(BAD.values()), iter(range(GOOD))
    expected = [next(reasons) if place in bad else _data(next(numbers)) for place in range(len(requests))]
    with Gateway(tmp_path, LECTERN_PROCESSES="1") as gateway, Load("127.0.0.1", gateway.port) as load:
        for _ in range(TIMES):
            answers = load.together(requests)
            for place, (answer, wanted) in enumerate(zip(answers, expected, strict=True)):
                assert answer.status == (400 if place in bad else 200), answer
                if isinstance(wanted, bytes):
                    assert wanted in answer.body, answer
                else:
                    found = orjson.loads(answer.body)["outputs"][0]["data"]
                    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def _data(number: int) -> NDArray[np.floating]:
    """Return what the first output of a good request must hold."""
    if number % 2:
        return np.array([number % 7, 1, 2, 3], np.float32) @ WEIGHTS
    return np.concatenate([WEIGHTS[number % ROWS], WEIGHTS[(number + 1) % ROWS]])
