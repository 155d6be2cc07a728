"""The base of every options model: frozen, bounded, unknown keys refused. Used by request, job and manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Self, cast

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, StringConstraints, ValidationError
from pydantic_core import CoreSchema

from models.contract.findings import validation_error
from models.contract.wording import NAME_PATTERN

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Name of a dataset or model: 1 to 64 letters, digits, ``_``, ``.`` or ``-``, starting with a letter or digit."""

SEQUENCES = frozenset({"list", "tuple", "set", "frozenset"})


def is_name(text: str) -> bool:
    """Return whether ``text`` is a :data:`Name`, and so can be a folder of the artifact store."""
    return re.fullmatch(NAME_PATTERN.removeprefix("^").removesuffix("$"), text) is not None


def _fail_fast(schema: object) -> None:
    if isinstance(schema, dict):
        found = cast("dict[str, object]", schema)
        if found.get("type") in SEQUENCES:
            found["fail_fast"] = True
        for name, value in found.items():
            if name not in ("metadata", "serialization"):
                _fail_fast(value)
    elif isinstance(schema, list | tuple):
        for value in cast("Sequence[object]", schema):
            _fail_fast(value)


class Options(BaseModel):
    """A frozen record whose unknown keys are errors and whose numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let each list end at its first error: a million of them would take seconds to tell, and nobody reads them."""
        schema = handler(source)
        _fail_fast(schema)
        return schema

    @classmethod
    def parse(cls, value: object, prefix: str = "", request: Mapping[str, type[BaseModel]] | None = None) -> Self:
        """Return the validated options.

        Args:
            value: what is validated.
            prefix: its pointer inside the request, such as ``/config``.
            request: schemas of the other parts of the request by pointer; unknown options may be meant for these.

        Raises:
            ValidationFailed: a field is missing, unknown or out of its bounds; names each by JSON pointer.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise validation_error(error.errors(include_url=False), prefix, cls, request) from error
