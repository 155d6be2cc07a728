"""Tokens of a text, words or characters, and text made of them again.

A line end is a token of its own in both. Reader, trainer and codec cut by the same rules, so a model is asked about
exactly what it learnt from.
"""

from __future__ import annotations

import re
from typing import Literal

from models.contract.errors import ValidationFailed
from models.data.texts.composition import composed

Level = Literal["word", "character"]

LINE_END = "\n"
WORD = re.compile(r"\n|\w+(?:['\u2019]\w+)*|[^\w\s]")
"""A line end, letters and digits with apostrophes between them, or one mark."""

CLOSING = frozenset(".,!?;:)]}%…'\u2019")
OPENING = frozenset("([{$#")


def normalized(text: str, *, lowercase: bool) -> str:
    """Return ``text`` with accents composed (Unicode NFC) and lines ended by LF alone, in small letters if asked."""
    text = text.replace("\r\n", LINE_END).replace("\r", LINE_END)
    text = composed(text)
    return text.lower() if lowercase else text


def decoded(data: bytes, pointer: str) -> str:
    """Return the text of a body that is nothing else.

    Raises:
        ValidationFailed: it is not UTF-8; says at which byte.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        detail = f"is not UTF-8: byte 0x{data[error.start]:02x} at position {error.start + 1}; send UTF-8"
        raise ValidationFailed.at(pointer, detail) from error


def tokens(text: str, level: Level) -> list[str]:
    """Return the tokens of a normalized text; white space between words is none."""
    return list(text) if level == "character" else WORD.findall(text)


def space_before(token: str, previous: str, level: Level) -> str:
    """Return what stands between two tokens in a text: a space between words, nothing beside most marks."""
    if level == "character" or LINE_END in (token, previous):
        return ""
    return "" if token in CLOSING or previous in OPENING else " "
