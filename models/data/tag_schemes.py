"""Schemes of tags for spans: IOB1, IOB2 (also called BIO) and BIOES; conversion, legality, and the spans themselves.

A tag is ``O`` or a letter, a hyphen and the span's label. IOB1 (Ramshaw and Marcus 1995) begins a span with ``I``
unless it follows one of the same label; IOB2 (Ratnaparkhi 1998) always with ``B``; BIOES marks ends (``E``) and spans
of one token (``S``) as well. Datasets keep IOB2 whatever they were uploaded in; a model may learn in BIOES.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.contract.task import Array

Scheme = Literal["bio", "bioes", "none"]
"""``none``: every token has a label of its own, as parts of speech are, and any sequence is legal."""

WrittenScheme = Literal["bio", "iob1", "bioes", "none"]

OUTSIDE = "O"
LETTERS: dict[WrittenScheme, str] = {"bio": "BI", "iob1": "BI", "bioes": "BIES"}
FOLLOWED = "BI"
"""Letters of BIOES after which the span goes on."""

CONTINUING = "IE"
"""Letters before which a span must have begun."""


@dataclass(frozen=True, order=True)
class Span:
    """A labelled span of tokens; ``end`` is exclusive."""

    start: int
    end: int
    label: str


def parts_of(tag: str) -> tuple[str, str]:
    """Return letter and label: ``("B", "PER")`` of ``B-PER``, ``("O", "")`` of ``O``."""
    letter, _, label = tag.partition("-")
    return letter, label


def spans_of(tags: Sequence[str]) -> list[Span]:
    """Return the spans of any sequence of IOB1, IOB2 or BIOES tags, illegal ones read as ``conlleval`` reads them.

    A span begins at ``B`` and ``S``, where the label changes, and at ``I`` and ``E`` behind anything that ended.
    """
    found: list[Span] = []
    start, last_letter, last_label = 0, OUTSIDE, ""
    for index, tag in enumerate([*tags, OUTSIDE]):
        letter, label = parts_of(tag)
        begins = letter in "BS" or label != last_label or last_letter in "OES"
        if last_letter != OUTSIDE and (letter == OUTSIDE or begins):
            found.append(Span(start, index, last_label))
        if letter != OUTSIDE and begins:
            start = index
        last_letter, last_label = letter, label
    return found


def tags_of(spans: Iterable[Span], tokens: int, scheme: Scheme) -> list[str]:
    """Return the tags of ``tokens`` tokens that spans without overlap have in ``bio`` or ``bioes``."""
    tags = [OUTSIDE] * tokens
    for span in spans:
        letters = ["B", *"I" * (span.end - span.start - 1)]
        if scheme == "bioes":
            letters[-1] = "S" if len(letters) == 1 else "E"
        tags[span.start : span.end] = [f"{letter}-{span.label}" for letter in letters]
    return tags


def converted(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """Return the tags of the same spans in ``bio`` or ``bioes``; as they are for ``none``."""
    return [*tags] if scheme == "none" else tags_of(spans_of(tags), len(tags), scheme)


def illegal_at(tags: Sequence[str], scheme: WrittenScheme) -> int | None:
    """Return the first index at which ``tags`` break the rules of ``scheme``, None if nowhere; its length: the end."""
    if scheme in ("none", "iob1"):
        return None
    before = OUTSIDE
    for index, tag in enumerate(tags):
        if not may_follow(before, tag, scheme):
            return index
        before = tag
    return None if may_follow(before, OUTSIDE, scheme) else len(tags)


def may_follow(before: str, tag: str, scheme: WrittenScheme) -> bool:
    """Return whether ``tag`` may come behind ``before``; beginning and end of a sentence count as ``O``."""
    letter, label = parts_of(tag)
    last_letter, last_label = parts_of(before)
    if scheme == "bio":
        return letter != "I" or label == last_label
    if scheme == "bioes":
        inside = last_letter in FOLLOWED
        return inside == (letter in CONTINUING) and (not inside or label == last_label)
    return True


def scheme_of(sentences: Iterable[Sequence[str]]) -> WrittenScheme:
    """Return the scheme that all tags of ``sentences`` are written in.

    Tags other than ``O`` and letters with a label make it ``none``; ``E`` or ``S`` make it ``bioes``. Of the rest,
    IOB1 is what begins spans with ``I`` and has ``B`` only right behind a span of the same label.
    """
    letters: set[str] = set()
    loose = needless = False
    for tags in sentences:
        before = OUTSIDE
        for tag in tags:
            letter, label = parts_of(tag)
            if tag != OUTSIDE and (letter not in {"B", "I", "E", "S"} or not label):
                return "none"
            letters.add(letter)
            loose |= letter == "I" and not may_follow(before, tag, "bio")
            needless |= letter == "B" and parts_of(before)[1] != label
            before = tag
    if not letters - {OUTSIDE}:
        return "none"
    if letters & {"E", "S"}:
        return "bioes"
    return "iob1" if loose and not needless else "bio"


def tag_set(tags: Iterable[str], scheme: Scheme) -> tuple[str, ...]:
    """Return the tags of a model that learns from ``tags``: with spans, ``O`` and every letter with every label.

    So there is a legal sequence for a sentence of any length.
    """
    if scheme == "none":
        return tuple(sorted(set(tags)))
    labels = sorted({parts_of(tag)[1] for tag in tags} - {""})
    return (OUTSIDE, *(f"{letter}-{label}" for label in labels for letter in LETTERS[scheme]))


@dataclass(frozen=True)
class Legal:
    """What may be: first tags (tags,), pairs (tags before, tags) and last tags (tags,), all bool."""

    start: Array
    pairs: Array
    end: Array


def legal(tags: Sequence[str], scheme: Scheme) -> Legal:
    """Return which of ``tags`` may begin a sentence, follow one another, and end it."""
    start = np.array([may_follow(OUTSIDE, tag, scheme) for tag in tags])
    pairs = np.array([[may_follow(before, tag, scheme) for tag in tags] for before in tags])
    end = np.array([may_follow(tag, OUTSIDE, scheme) for tag in tags])
    return Legal(start, pairs, end)
