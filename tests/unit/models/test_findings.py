"""What pydantic finds, as a client reads it: the field that is wrong, and nothing that is not."""

from __future__ import annotations

from typing import Literal, Self

import pytest
from pydantic import Field, model_validator

from models.contract.config import Name, Options
from models.contract.errors import ValidationFailed
from models.contract.findings import FieldMisfit


class Inner(Options):
    """Two fields that must be in order."""

    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise FieldMisfit("low", f"is {self.low}, above high; lower it")
        if self.low == self.high:
            message = "low and high are the same; take two numbers"
            raise ValueError(message)
        return self


class Outer(Options):
    """Lists, and a record further in."""

    numbers: tuple[int, ...] = Field(default=(1,), min_length=1)
    lists: tuple[tuple[int, ...], ...] = Field(default=((1,),), min_length=1)
    inner: Inner = Inner()
    either: bool | Inner | tuple[Inner, ...] = False
    name: Name = "a"
    letter: str = Field(default="a", pattern="^[a-z]$")
    pair: tuple[float, float] = (0, 1)
    by_name: dict[str, Inner] = Field(default_factory=dict[str, Inner])
    choice: Literal["a", "b"] = "a"


def _found(value: object) -> list[tuple[str, str]]:
    with pytest.raises(ValidationFailed) as refused:
        Outer.parse(value, "/config")
    return [(item.pointer, item.detail) for item in refused.value.errors]


def test_a_validator_names_its_field() -> None:
    """Wherever its record stands; without a name the record is named, and no word of pydantic's is told."""
    assert _found({"inner": {"low": 3}}) == [("/config/inner/low", "is 3, above high; lower it")]
    assert _found({"inner": {"low": 1}}) == [("/config/inner", "low and high are the same; take two numbers")]


def test_wrong_elements_do_not_make_a_list_too_short() -> None:
    """Only what is wrong with each is told; an empty list still is too short."""
    pointers = [pointer for pointer, _ in _found({"numbers": ["x", "y"]})]
    assert pointers
    assert set(pointers) <= {"/config/numbers/0", "/config/numbers/1"}
    assert [pointer for pointer, _ in _found({"lists": [["x"]]})] == ["/config/lists/0/0"]
    ((pointer, detail),) = _found({"numbers": []})
    assert pointer == "/config/numbers"
    assert "at least 1 item" in detail
    both = {pointer for pointer, _ in _found({"numbers": [], "lists": [["x"]]})}
    assert both == {"/config/numbers", "/config/lists/0/0"}


@pytest.mark.parametrize(
    ("value", "pointer", "detail"),
    [
        ({"numbers": 3}, "/numbers", "must be a list, in brackets, such as [3]"),
        ({"numbers": "a"}, "/numbers", 'must be a list, in brackets, such as ["a"]'),
        ({"numbers": "128,64"}, "/numbers", "must be a list, in brackets, such as [128, 64]"),
        ({"numbers": "[128"}, "/numbers", "must be a list, in brackets"),
        ({"numbers": "a" * 99}, "/numbers", "must be a list, in brackets"),
        ({"numbers": {}}, "/numbers", "must be a list, in brackets"),
        ({"numbers": True}, "/numbers", "must be a list, in brackets"),
        ({"numbers": []}, "/numbers", "must have at least 1 item, and has 0"),
        ({"numbers": [1.5]}, "/numbers/0", "must be an integer, without a fraction"),
        ({"pair": [1]}, "/pair/1", "is required and missing"),
        ({"pair": [1, 2, 3]}, "/pair", "must have at most 2 items, and has 3"),
        ({"pair": ["x", 1]}, "/pair/0", "must be a number"),
        ({"inner": []}, "/inner", "must be an object, in braces"),
        ({"by_name": []}, "/by_name", "must be an object, in braces"),
        ([], "", "must be an object, in braces"),
        ({"choice": "c"}, "/choice", "must be 'a' or 'b'"),
        ({"letter": "A"}, "/letter", "must match the pattern ^[a-z]$"),
        (
            {"name": "my flowers"},
            "/name",
            "must have 1 to 64 characters: letters, digits, _ . and - only, beginning with a letter or digit",
        ),
    ],
)
def test_findings_speak_of_json(value: object, pointer: str, detail: str) -> None:
    """Of lists and objects, with what was sent as the list that it may be meant as; a pattern only where it must be."""
    assert _found(value) == [(f"/config{pointer}", detail)]


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ({"inner": {"lo": 1}}, "/inner/lo"),
        ({"either": {"lo": 1}}, "/either/lo"),
        ({"either": [{"lo": 1}]}, "/either/0/lo"),
        ({"by_name": {"x": {"lo": 1}}}, "/by_name/x/lo"),
    ],
)
def test_unknown_options_come_with_those_there_are(value: object, pointer: str) -> None:
    """Wherever they are; the pointer has no words of Python's for what else there may be."""
    found = dict(_found(value))
    assert f"/config{pointer}" in found
    assert "did you mean 'low'? (the options here are: high, low)" in found[f"/config{pointer}"]
    assert set(found) <= {f"/config{pointer}", "/config/either"}


def test_an_unknown_option_like_none_is_to_be_removed() -> None:
    ((_, detail),) = _found({"inner": {"gradcam": 1}})
    assert detail == (
        "this option does not exist here; remove it or check its spelling (the options here are: high, low)"
    )
