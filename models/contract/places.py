"""Where in a schema a finding is, and what is there. Called by ``config`` for its findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import isclass
from types import NoneType, UnionType
from typing import Annotated, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel

Schema = type[BaseModel]

ALIKE = 0.8
"""How alike an option of another part of the request must be to be the one that was meant."""

DEEPEST = 4
"""Levels of objects within objects whose options can be meant."""


@dataclass(frozen=True)
class Place:
    """A place in a value.

    Attributes:
        steps: keys and positions that lead there, without pydantic's names for the alternatives of a union.
        names: fields that there may be beside the last step.
    """

    steps: tuple[object, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, schema: Schema, location: Iterable[object]) -> Place:
        """Return the place to which ``location``, the ``loc`` of a finding, leads from ``schema``."""
        steps: list[object] = []
        beside, here, chosen = list[object](), list[object]([schema]), True
        for step in location:
            if len(here) > 1 and not chosen:
                here, chosen = [kind for kind in here if getattr(kind, "__name__", "") == step] or here, True
                continue
            steps.append(step)
            beside, here, chosen = here, [inner for kind in here for inner in _inside(kind, step)], False
        names = {name for kind in beside if _is_schema(kind) for name in kind.model_fields}
        return cls(tuple(steps), tuple(sorted(names)))

    def unknown(self, prefix: str, request: Mapping[str, Schema]) -> str:
        """Return what to do about the last step, an option that is not there.

        Args:
            prefix: pointer of the validated value inside the request.
            request: schemas of the parts of the request by pointer, its own among them.
        """
        name = str(self.steps[-1])
        listed = f" (the options here are: {', '.join(self.names)})" if self.names else ""
        near = get_close_matches(name, self.names, n=1)
        path = _elsewhere(name, request, exactly=bool(near))
        if path is not None:
            section = (*filter(None, prefix.split("/")), *map(str, self.steps))[0]
            return f"did you mean '{path}'{'' if '.' in path else f', which stands beside {section}'}?{listed}"
        return f"did you mean '{near[0]}'?{listed}" if near else f"remove it or check its spelling{listed}"


def _elsewhere(name: str, request: Mapping[str, Schema], *, exactly: bool) -> str | None:
    """Return the shortest path in the request to an option of this name, or to one very like it."""
    paths = [path for pointer, schema in request.items() for path in _paths(schema, pointer)]
    shortest: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: path.count(".")):
        shortest.setdefault(path.rpartition(".")[2], path)
    alike = [name] if name in shortest else get_close_matches(name, () if exactly else shortest, n=1, cutoff=ALIKE)
    return shortest[alike[0]] if alike else None


def _paths(schema: Schema, pointer: str, depth: int = 1) -> Iterator[str]:
    """Yield the options of ``schema``, which stands at ``pointer``, as paths with dots."""
    for name, field in schema.model_fields.items():
        path = f"{pointer}/{name}"
        yield path.removeprefix("/").replace("/", ".")
        for kind in _alternatives(field.annotation) if depth < DEEPEST else ():
            if _is_schema(kind):
                yield from _paths(kind, path, depth + 1)


def _is_schema(kind: object) -> TypeGuard[Schema]:
    return isclass(kind) and issubclass(kind, BaseModel)


def _inside(kind: object, step: object) -> Iterator[object]:
    """Yield what may stand under a key or position of ``kind``."""
    if _is_schema(kind):
        if isinstance(step, str) and step in kind.model_fields:
            yield from _alternatives(kind.model_fields[step].annotation)
        return
    items = [item for item in get_args(kind) if item is not Ellipsis]
    if isinstance(step, int) and items:
        yield from _alternatives(items[min(step, len(items) - 1)])
    elif get_origin(kind) is dict:
        yield from _alternatives(items[-1])


def _alternatives(annotation: object) -> Iterator[object]:
    """Yield what a value may be, but for null."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for item in get_args(annotation):
            yield from _alternatives(item)
    elif annotation is not NoneType:
        yield annotation
