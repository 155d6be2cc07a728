"""The options of a family as people read them, from their JSON Schema: name, default, what is taken, meaning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

Json = dict[str, Any]

BELOW = "options below"
KINDS = {"boolean": "true or false", "string": "text"}


@dataclass(frozen=True)
class OptionRow:
    """One option; ``taken`` are its bounds or choices."""

    name: str
    default: object
    taken: str
    meaning: str


def option_rows(section: str, schema: Json) -> Iterator[OptionRow]:
    """Yield the options of ``schema`` under names that ``--set`` takes, each before those within it.

    Options of the elements of a list are called ``list[].option``; ``--set`` takes such a list as JSON.
    """
    yield from _within(section, schema, schema.get("$defs", {}))


def _within(prefix: str, schema: Json, definitions: Json) -> Iterator[OptionRow]:
    for name, option in cast("dict[str, Json]", schema.get("properties", {})).items():
        path = f"{prefix}.{name}"
        taken = _taken(option, definitions)
        yield OptionRow(path, option.get("default", "needed"), taken, str(option.get("description", "")))
        for suffix, inner in _objects(option, definitions):
            yield from _within(f"{path}{suffix}", inner, definitions)


def _objects(option: Json, definitions: Json) -> Iterator[tuple[str, Json]]:
    """Yield the schemas with options of their own that a value may have, each with what its path adds."""
    option = _resolved(option, definitions)
    if "properties" in option:
        yield "", option
    for choice in option.get("anyOf", ()):
        yield from _objects(choice, definitions)
    if isinstance(option.get("items"), dict):
        for suffix, inner in _objects(option["items"], definitions):
            yield f"[]{suffix}", inner


def _taken(option: Json, definitions: Json) -> str:
    """Return which values are taken, as a phrase."""
    option = _resolved(option, definitions)
    if "anyOf" in option:
        return " or ".join(_taken(choice, definitions) for choice in option["anyOf"])
    if "const" in option or "enum" in option:
        return ", ".join(map(_word, option.get("enum") or [option["const"]]))
    kind = str(option.get("type", ""))
    if kind == "array":
        return _list(option, definitions)
    if "properties" in option:
        return BELOW
    return " ".join((KINDS.get(kind, kind), *_bounds(option)))


def _bounds(option: Json) -> Iterator[str]:
    names = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    yield from (f"{word} {option[name]}" for name, word in names.items() if name in option)


def _list(option: Json, definitions: Json) -> str:
    items = _taken(option["items"], definitions) if isinstance(option.get("items"), dict) else "…"
    least, most = option.get("minItems", 0), option.get("maxItems")
    if most is None:
        count = f"at least {least} of" if least else "list of"
    elif least == most:
        count = f"list of {most}:"
    else:
        count = f"list of {least} to {most}:"
    return f"{count} {items}"


def _resolved(option: Json, definitions: Json) -> Json:
    reference = option.get("$ref")
    return option if reference is None else cast("Json", definitions[str(reference).rpartition("/")[2]])


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
