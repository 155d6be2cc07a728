"""JSON bodies as Python values. Whoever reads a body parses it here; what is in it is checked elsewhere."""

from __future__ import annotations

import gc

import numpy as np
import orjson
from numpy.typing import NDArray

from models.contract.errors import MalformedBody

DEEPEST = 64
"""Levels of lists and objects. No tensor has so many axes, and whatever walks recursively survives it."""

STEP_IN, STEP_OUT, QUOTE = 1, 255, 2
_STEP_OF = {**dict.fromkeys(b"[{", STEP_IN), **dict.fromkeys(b"]}", STEP_OUT), ord('"'): QUOTE}
STEPS = bytes(_STEP_OF.get(byte, 0) for byte in range(256))
PLAIN = bytes(byte for byte, step in enumerate(STEPS) if not step)
CURLY_BIT = np.uint8(ord("[") ^ ord("{"))
PIECE = 2**18


def parse(body: bytes) -> object:
    """Return the parsed body; NaN and infinity are no JSON.

    Raises:
        MalformedBody: it cannot be parsed; says where. Or it is nested deeper than anything that is read.
    """
    if _is_too_deep(body):
        raise MalformedBody(f"The body is nested deeper than the {DEEPEST} levels that are read.")
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


def _is_too_deep(body: bytes) -> bool:
    """Return whether lists and objects are nested too deeply, in a time that grows with the length alone.

    Nothing is looked at twice unless there are more brackets than levels; then brackets and quotes are all that is.
    """
    if len(body) <= DEEPEST or not _has_many_brackets(np.frombuffer(body, np.uint8)):
        return False
    if b"\\" in body:  # pairs first, so that what is left before a quote escapes it
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    steps = np.frombuffer(body.translate(STEPS, PLAIN), np.int8)
    depth = quotes = 0
    for start in range(0, len(steps), PIECE):
        piece = steps[start : start + PIECE]
        # What stands after an odd number of quotes is text.
        seen = np.cumsum(piece == QUOTE, dtype=np.int32) + quotes
        depths = np.cumsum(np.where((seen & 1) | (piece == QUOTE), 0, piece), dtype=np.int32) + depth
        if depths.max() > DEEPEST:
            return True
        depth, quotes = int(depths[-1]), int(seen[-1]) & 1
    return False


def _has_many_brackets(text: NDArray[np.uint8]) -> bool:
    """Return whether there are more opening brackets than levels; a bit tells one kind from the other."""
    count = 0
    for start in range(0, len(text), PIECE):
        count += int(np.count_nonzero((text[start : start + PIECE] | CURLY_BIT) == ord("{")))
        if count > DEEPEST:
            return True
    return False
