"""A long list of numbers in a JSON body, made an array without a Python float for each.

A small picture is a thousand numbers. Made a list and then an array, they take three times as long as the model does.
Whole numbers beyond 2**53 are rounded to float64 before they become float32, and may differ in its last bit.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import cast

import numpy as np
import simdjson

from app import json_text
from models.contract.errors import LecternError
from models.contract.task import Array

KEY, ESCAPE = b'"data"', b"\\u"
LIST = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*\[')
SHORTEST, LONGEST = 256, 2**18
"""Bytes of a body that is read so: shorter ones gain nothing."""

_own = threading.local()
"""A parser of each thread: one may not read again before what it read is gone."""


def split(text: bytes) -> tuple[bytes, Array] | None:
    """Return a JSON text with null for its one flat list ``data``, and the list as float64; None if it has none such.

    Whatever is wrong with the text is found by whoever reads it when this has returned None.
    """
    if not SHORTEST <= len(text) <= LONGEST:
        return None
    # Only what is around the list is searched: in it there are numbers, or it is no list of numbers.
    found = LIST.match(text, max(0, text.find(KEY)))
    end = text.find(b"]", found.end()) if found else -1
    if found is None or end < 0:
        return None
    start = found.end() - 1
    envelope = b"%bnull%b" % (text[:start], text[end + 1 :])
    if envelope.count(KEY) != 1 or ESCAPE in envelope:
        return None
    try:
        values = np.frombuffer(_numbers(text[start : end + 1]))
    except ValueError:
        return None
    return (envelope, values) if len(values) else None


def joined(envelope: bytes, values: Array) -> Mapping[str, object] | None:
    """Return the object whose text was split; None if the list is not the data of its one input, or it is no JSON."""
    try:
        rest = json_text.parse(envelope)
    except LecternError:
        return None
    match rest:
        case {"inputs": [{"data": None}]}:
            body = cast("dict[str, list[dict[str, Array]]]", rest)
            body["inputs"][0]["data"] = values
            return body
        case _:
            return None


def _numbers(text: bytes) -> bytes:
    """Return the numbers of a JSON list as float64.

    Raises:
        ValueError: it is no list of numbers alone.
    """
    if not hasattr(_own, "parser"):
        _own.parser = simdjson.Parser()
    try:
        return cast("simdjson.Array", _own.parser.parse(text)).as_buffer(of_type="d")
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: a number of too many digits, or too deep
        raise ValueError("not only numbers") from error
