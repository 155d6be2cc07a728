"""What pydantic finds, as a client reads it: the field that is wrong, and nothing that is not."""

from __future__ import annotations

from typing import Self

import pytest
from pydantic import Field, model_validator

from models.contract.config import Options
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
