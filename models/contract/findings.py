"""Errors made of what others found: pydantic's findings, and problems of other processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import cast

from models.contract.errors import FieldError, LecternError, ValidationFailed

MOST_ERRORS = 50
"""Errors of one request that are told; whoever mends these sees the next."""


def validation_error(issues: Iterable[Mapping[str, object]], prefix: str = "") -> ValidationFailed:
    """Return pydantic's findings as one error with JSON pointers.

    Args:
        issues: what ``pydantic.ValidationError.errors()`` returns.
        prefix: pointer of the validated value inside the request, such as ``/config``.
    """
    errors: list[FieldError] = []
    for issue in islice(issues, MOST_ERRORS):
        location = issue.get("loc", ())
        steps = cast("tuple[object, ...]", location) if isinstance(location, tuple) else ()
        pointer = prefix + "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)
        message = str(issue.get("msg", "invalid"))
        if issue.get("type") == "extra_forbidden":
            message = "this option does not exist here; remove it or check its spelling"
        errors.append(FieldError(pointer, message))
    detail = "; ".join(f"{item.pointer or '/'}: {item.detail}" for item in errors[:5])
    return ValidationFailed(detail, errors)


def error_of(problem: Mapping[str, object]) -> LecternError:
    """Return the error that another process wrote as ``problem``; of an unknown code, a plain ``LecternError``."""
    known = [LecternError]
    for error in known:
        known += error.__subclasses__()
    kind = next((error for error in known if error.code == problem.get("code")), LecternError)
    fields = cast("Sequence[Mapping[str, object]]", problem.get("errors") or ())
    errors = [FieldError(str(field.get("pointer", "")), str(field.get("detail", ""))) for field in fields]
    return kind(str(problem.get("detail", "")), errors)
