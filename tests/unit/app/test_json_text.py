"""JSON is parsed at once, and the garbage collector is left as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from app import json_text
from models.contract.errors import MalformedBody


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Leave the garbage collector on, whatever a test does."""
    yield
    gc.enable()


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("body", [b"[[1], [2.5]]", b"["])
def test_collector_is_left_as_it_was(body: bytes, *, on: bool) -> None:
    """Also by a body that is not JSON."""
    (gc.enable if on else gc.disable)()
    try:
        assert json_text.parse(body) == [[1], [2.5]]
    except MalformedBody:
        assert body == b"["
    assert gc.isenabled() is on


def test_many_lists_cost_no_collections() -> None:
    """They made one after the other, each looking at all lists so far."""
    body = b"[" + b",".join([b"[1]"] * 200_000) + b"]"
    runs: list[str] = []

    def count(phase: str, _: dict[str, int]) -> None:
        runs.append(phase)

    gc.callbacks.append(count)
    try:
        parsed = json_text.parse(body)
    finally:
        gc.callbacks.remove(count)
    assert isinstance(parsed, list)
    assert len(parsed) == 200_000
    assert len(runs) <= 4
