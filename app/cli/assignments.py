"""``key=value`` words of the command line as JSON: values are read as JSON when they are JSON, else as text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, cast

import typer

if TYPE_CHECKING:
    from app.client import Json

Section = Literal["config", "training", "export"]
SECTIONS: tuple[Section, ...] = ("config", "training", "export")


def parse_value(text: str) -> object:
    """Return ``text`` as the JSON it is, else as a string."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        return text


def split(word: str) -> tuple[str, str]:
    """Return key and value of ``key=value``.

    Raises:
        typer.BadParameter: there is no ``=``, or nothing before it.
    """
    key, equals, value = word.partition("=")
    if not equals or not key:
        message = f"'{word}' is not of the form key=value"
        raise typer.BadParameter(message)
    return key, value


def parse_options(words: Iterable[str]) -> Json:
    """Return ``key=value`` words as one object."""
    return {key: parse_value(value) for key, value in map(split, words)}


def parse_settings(words: Iterable[str], default: Section = "config") -> dict[Section, Json]:
    """Return words such as ``config.key=value`` as the objects of a job, by section; those that are given.

    A key without a section belongs to ``default``; further dots lead into nested objects.

    Raises:
        typer.BadParameter: a word is no assignment, or assigns below a value that is no object.
    """
    settings: dict[Section, Json] = {section: {} for section in SECTIONS}
    for word in words:
        key, value = split(word)
        section, dot, rest = key.partition(".")
        if dot and section in SECTIONS:
            _assign(settings[section], rest, value)
        else:
            _assign(settings[default], key, value)
    return {section: given for section, given in settings.items() if given}


def _assign(target: Json, key: str, value: str) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        inner: object = target.setdefault(parent, {})
        if not isinstance(inner, dict):
            message = f"'{key}' assigns into '{parent}', which was given a value already"
            raise typer.BadParameter(message)
        target = cast("Json", inner)
    target[last] = parse_value(value)


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are no JSON
