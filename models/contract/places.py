"""Where in a schema a finding is, and what is there. Called by ``config`` for its findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import isclass
from types import NoneType, UnionType
from typing import Annotated, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel

Schema = type[BaseModel]


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

    def unknown(self) -> str:
        """Return what to do about the last step, an option that is not there."""
        near = get_close_matches(str(self.steps[-1]), self.names, n=1)
        remedy = f"did you mean '{near[0]}'?" if near else "remove it or check its spelling"
        return f"{remedy} (the options here are: {', '.join(self.names)})" if self.names else remedy


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
