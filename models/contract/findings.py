"""Errors made of what others found: pydantic's findings, and problems of other processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import cast

from pydantic import BaseModel

from models.contract.errors import FieldError, LecternError, ValidationFailed
from models.contract.places import Place
from models.contract.wording import worded

MOST_ERRORS = 50
"""Errors of one request that are told; whoever mends these sees the next."""


class FieldMisfit(ValueError):
    """What a validator of a whole record says of the one ``field`` that does not go with the others."""

    def __init__(self, field: str, detail: str) -> None:
        """Keep the name of the field, and the sentence about it."""
        super().__init__(detail)
        self.field = field


def validation_error(
    issues: Iterable[Mapping[str, object]],
    prefix: str = "",
    schema: type[BaseModel] | None = None,
    request: Mapping[str, type[BaseModel]] | None = None,
) -> ValidationFailed:
    """Return pydantic's findings as one error with JSON pointers.

    Args:
        issues: what ``pydantic.ValidationError.errors()`` returns.
        prefix: pointer of the validated value inside the request, such as ``/config``.
        schema: what the value was validated by, where it is one.
        request: schemas of the other parts of the request by pointer, in which an unknown option may be meant.
    """
    errors: list[FieldError] = []
    known = {**(request or {}), **({} if schema is None else {prefix: schema})}
    found = [(_steps(issue), issue) for issue in islice(issues, MOST_ERRORS)]
    for steps, issue in found:
        # Of a list with wrong elements pydantic counts the right ones only, and says that it is too short.
        if issue.get("type") == "too_short" and any(steps == inner[: len(steps)] != inner for inner, _ in found):
            continue
        place = Place(steps, ()) if schema is None else Place.of(schema, steps)
        pointer = prefix + "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in place.steps)
        cause = cast("Mapping[str, object]", issue.get("ctx") or {}).get("error")
        if isinstance(cause, FieldMisfit):
            pointer += f"/{cause.field}"
        if isinstance(cause, ValueError):
            message = str(cause)
        elif issue.get("type") == "extra_forbidden":
            message = f"this option does not exist here; {place.unknown(prefix, known)}"
        else:
            message = worded(issue)
        errors.append(FieldError(pointer, message))
    detail = "; ".join(f"{item.pointer or '/'}: {item.detail}" for item in errors[:5])
    return ValidationFailed(detail, errors)


def _steps(issue: Mapping[str, object]) -> tuple[object, ...]:
    """Return where in a value an issue is."""
    location = issue.get("loc", ())
    return cast("tuple[object, ...]", location) if isinstance(location, tuple) else ()


def error_of(problem: Mapping[str, object]) -> LecternError:
    """Return the error that another process wrote as ``problem``; of an unknown code, a plain ``LecternError``."""
    known = [LecternError]
    for error in known:
        known += error.__subclasses__()
    kind = next((error for error in known if error.code == problem.get("code")), LecternError)
    fields = cast("Sequence[Mapping[str, object]]", problem.get("errors") or ())
    errors = [FieldError(str(field.get("pointer", "")), str(field.get("detail", ""))) for field in fields]
    return kind(str(problem.get("detail", "")), errors)
