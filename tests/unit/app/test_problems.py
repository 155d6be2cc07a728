"""Every error of the tree has a status code of its own, and none is forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import app
from app.problems import STATUS, response
from models.contract.errors import LecternError, ModelDamaged, ValidationFailed


def _tree(error: type[LecternError] = LecternError) -> Iterator[type[LecternError]]:
    yield error
    for child in error.__subclasses__():
        yield from _tree(child)


@pytest.mark.parametrize("error", list(_tree()), ids=lambda error: error.__name__)
def test_every_error_has_a_row(error: type[LecternError]) -> None:
    """A new error without a status code fails here."""
    assert error in STATUS


def test_codes_are_unique() -> None:
    """Programs tell errors apart by code alone."""
    codes = [error.code for error in _tree()]
    assert len(codes) == len(set(codes))


def test_unavailable_says_when_to_come_again() -> None:
    """A 503 has Retry-After."""
    answer = response(ModelDamaged("It is broken."), {"path": "/v1/models"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_wrong_request_is_400_under_v2() -> None:
    """The protocol knows no 422."""
    answer = response(ValidationFailed.at("/inputs", "is wrong"), {"path": "/v2/models/m/infer"})
    assert (answer.status_code, answer.body) == (400, b'{"error":"/inputs: is wrong"}')


def test_status_codes_of_errors_stand_in_problems_alone() -> None:
    """No other file of the gateway's requests writes a number for an error."""
    folder = Path(app.__file__).parent
    number = re.compile(r"(?<![\w.])(4\d\d|5\d\d)(?![\w.])")
    files = [*folder.glob("routes/*.py"), *folder.glob("serving/*.py"), folder / "queue.py", folder / "limits.py"]
    found = [
        f"{path.name}: {line.strip()}"
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if number.search(line) and "=" not in line
    ]
    assert found == []
