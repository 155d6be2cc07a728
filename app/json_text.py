"""JSON bodies as Python values. Whoever reads a body parses it here; what is in it is checked elsewhere."""

from __future__ import annotations

import gc

import numpy as np
import orjson

from models.contract.errors import MalformedBody, ValidationFailed

DEEPEST = 64
"""Levels of lists and objects. No tensor has so many axes, and whatever walks recursively survives it."""

STEP_IN, STEP_OUT, QUOTE = 1, 255, 2
_STEP_OF = {**dict.fromkeys(b"[{", STEP_IN), **dict.fromkeys(b"]}", STEP_OUT), ord('"'): QUOTE}
STEPS = bytes(_STEP_OF.get(byte, 0) for byte in range(256))
PLAIN = bytes(byte for byte, step in enumerate(STEPS) if not step)
PIECE = 2**18


def parse(body: bytes) -> object:
    """Return the parsed body; NaN and infinity are no JSON.

    Raises:
        MalformedBody: it cannot be parsed; says where.
        ValidationFailed: it is nested deeper than anything that is read; nothing of it is made into values then.
    """
    deepest, last = _levels(body)
    if deepest > DEEPEST:
        if last:
            raise MalformedBody("The body is not JSON: not every bracket is closed.")
        raise ValidationFailed(f"The body is nested deeper than the {DEEPEST} levels that are read.")
    # Millions of new lists make the garbage collector look again and again at what cannot be garbage yet: 55 MB of
    # nested numbers take 0.8 s instead of 4.6, in which no other thread runs.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"The body is not JSON: {error}.") from error
    finally:
        if collecting:
            gc.enable()


def _levels(body: bytes) -> tuple[int, int]:
    """Return the deepest level of lists and objects, and the level at the end; 0 if there cannot be too many.

    Takes a time that grows with the length alone. Nothing is looked at twice unless there are more brackets than
    levels; then brackets and quotes are all that is.
    """
    if len(body) <= DEEPEST or not _has_many_brackets(body):
        return 0, 0
    if b"\\" in body:  # pairs first, so that what is left before a quote escapes it
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    steps = np.frombuffer(body.translate(STEPS, PLAIN), np.int8)
    deepest = level = quotes = 0
    for start in range(0, len(steps), PIECE):
        piece = steps[start : start + PIECE]
        # What stands after an odd number of quotes is text.
        seen = np.cumsum(piece == QUOTE, dtype=np.int32) + quotes
        levels = np.cumsum(np.where((seen & 1) | (piece == QUOTE), 0, piece), dtype=np.int32) + level
        deepest = max(deepest, int(levels.max()))
        level, quotes = int(levels[-1]), int(seen[-1]) & 1
    return deepest, level


def _has_many_brackets(body: bytes) -> bool:
    """Return whether there are more opening brackets than levels. Looks for one after the other, as most have few."""
    count = 0
    for bracket in (b"[", b"{"):
        place = body.find(bracket)
        while place >= 0:
            count += 1
            if count > DEEPEST:
                return True
            place = body.find(bracket, place + 1)
    return False
