"""JSON is parsed at once, never too deep, and the garbage collector is left as it was."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator

import orjson
import pytest

from app import json_text
from models.contract.errors import MalformedBody, ValidationFailed


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


FILLED = b"[" + b"[1]," * 70 + b"%s]"
"""Brackets enough that levels are counted."""


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"]": '])
@pytest.mark.parametrize("more", [0, 1])
def test_what_is_nested_too_deep_is_refused(opening: bytes, more: int) -> None:
    """As lists, objects or both; one level less is read."""
    levels = sum(byte in b"[{" for byte in opening)
    count = json_text.DEEPEST // levels + more
    closing = b"".join(
        b"}" if byte == ord("{") else b"]" for byte in reversed(opening.replace(b'"]"', b"")) if byte in b"[{"
    )
    body = opening * count + b"1" + closing * count
    assert orjson.loads(body)
    if more:
        with pytest.raises(ValidationFailed, match="64 levels"):
            json_text.parse(body)
    else:
        assert json_text.parse(body) == orjson.loads(body)


@pytest.mark.parametrize(
    "text",
    ["[" * 100, "]" * 100, '\\"' + "[" * 100, "\\\\", "\\\\\\" + '"' + "{" * 100, "]" * 100 + '\\"', "\u005b[" * 70],
)
def test_brackets_in_texts_are_text(text: str) -> None:
    """Whatever escapes stand before them; neither do they hide levels that there are."""
    value = orjson.dumps(text)
    assert json_text.parse(FILLED % value) == [*[[1]] * 70, text]
    deep = b"[" * 65 + b"]" * 65
    with pytest.raises(ValidationFailed):
        json_text.parse(FILLED % (value + b"," + deep + b"," + value))


@pytest.mark.parametrize(
    "body", [b"", b"[" * 65, b"[" * 100_000, b"[" * 70 + b"]" * 69, b'"' + b"[" * 70, b"]" * 70 + b"[" * 70]
)
def test_what_is_not_closed_is_not_json(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        json_text.parse(body)


def test_levels_are_those_of_the_parsed_value() -> None:
    """Random values, whose texts are made of what could confuse; across pieces, too."""
    chance = random.Random(0)  # noqa: S311 - the same every time

    def value(level: int) -> object:
        kind = chance.randrange(4) if level else 0
        if kind == 0:
            return "".join(chance.choices('[]{}\\",:a', k=chance.randrange(9)))
        if kind == 1:
            return {str(value(0)): value(level - 1) for _ in range(chance.randrange(4))}
        return [value(level - 1) for _ in range(chance.randrange(1, 5))]

    def depth(found: object) -> int:
        inner = found.values() if isinstance(found, dict) else found if isinstance(found, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    for _ in range(300):
        made = [value(chance.randrange(1, 9)), [[]] * 70]
        assert json_text._levels(orjson.dumps(made)) == (depth(made), 0)
    long = [['["]' * 3] * 100_000, [[[[]]]]]
    assert json_text._levels(orjson.dumps(long)) == (5, 0)
