"""Errors made of what others found: pydantic's findings, and problems of other processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import cast

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
    issues: Iterable[Mapping[str, object]], prefix: str = "", placed: Callable[[Sequence[object]], Place] | None = None
) -> ValidationFailed:
    """Return pydantic's findings as one error with JSON pointers.

    Args:
        issues: what ``pydantic.ValidationError.errors()`` returns.
        prefix: pointer of the validated value inside the request, such as ``/config``.
        placed: finds the place of a ``loc`` in the schema, where there is one.
    """
    errors: list[FieldError] = []
    found = [(_steps(issue), issue) for issue in islice(issues, MOST_ERRORS)]
    for steps, issue in found:
        # Of a list with wrong elements pydantic counts the right ones only, and says that it is too short.
        if issue.get("type") == "too_short" and any(steps == inner[: len(steps)] != inner for inner, _ in found):
            continue
        place = Place(steps, ()) if placed is None else placed(steps)
        pointer = prefix + "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in place.steps)
        cause = cast("Mapping[str, object]", issue.get("ctx") or {}).get("error")
        if isinstance(cause, FieldMisfit):
            pointer += f"/{cause.field}"
        errors.append(FieldError(pointer, _message(issue, cause, place)))
    detail = "; ".join(f"{item.pointer or '/'}: {item.detail}" for item in errors[:5])
    return ValidationFailed(detail, errors)


def _message(issue: Mapping[str, object], cause: object, place: Place) -> str:
    if isinstance(cause, ValueError):
        return str(cause)
    if issue.get("type") == "extra_forbidden":
        return f"this option does not exist here; {place.unknown()}"
    return worded(issue)


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
