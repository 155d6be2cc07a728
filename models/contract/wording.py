"""What a finding of pydantic's means for whoever sent the value: JSON's words instead of Python's.

A table by the finding's type; what is not in it keeps pydantic's sentence, which then begins with "must". Called by
``findings``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import cast

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"

PATTERNS = {
    NAME_PATTERN: "must have 1 to 64 characters: letters, digits, _ . and - only, beginning with a letter or digit"
}
"""What patterns mean that are not told as they are."""

LIST = "must be a list, in brackets"
OBJECT = "must be an object, in braces"
BOOLEAN = "must be a boolean: true or false"
LONGEST_EXAMPLE = 60

BEGINNING = re.compile(r"^(?:Input|[A-Z]\w*) should (?=be|have|match)")
BETWEEN_COMMAS = re.compile(r"[^\s,]+(?:,[^\s,]+)+")

Issue = Mapping[str, object]


def worded(issue: Issue) -> str:
    """Return a sentence about one of the findings that ``pydantic.ValidationError.errors()`` returns."""
    told = WORDS.get(str(issue.get("type")))
    if told is not None:
        return told(issue) if callable(told) else told
    sentence = BEGINNING.sub("must ", str(issue.get("msg", "is invalid")))
    return sentence.replace("be True", "be true").replace("be False", "be false")


def _context(issue: Issue) -> Mapping[str, object]:
    return cast("Mapping[str, object]", issue.get("ctx") or {})


def _list(issue: Issue) -> str:
    """Show what was sent as the list that it may be meant as, if it is short."""
    given = issue.get("input")
    if isinstance(given, str) and BETWEEN_COMMAS.fullmatch(given):
        meant = [_number(item) for item in given.split(",")]
    elif isinstance(given, str | int | float) and not isinstance(given, bool) and not str(given).startswith("["):
        meant = [given]
    else:
        return LIST
    example = json.dumps(meant, ensure_ascii=False)
    return f"{LIST}, such as {example}" if len(example) <= LONGEST_EXAMPLE else LIST


def _number(text: str) -> object:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text


def _length(least: str, bound: str) -> Callable[[Issue], str]:
    def told(issue: Issue) -> str:
        context = _context(issue)
        limit, actual = context.get(bound), context.get("actual_length")
        items = "item" if limit == 1 else "items"
        counted = f", and has {actual}" if isinstance(actual, int) else ""
        return f"must have {least} {limit} {items}{counted}"

    return told


def _pattern(issue: Issue) -> str:
    pattern = str(_context(issue).get("pattern"))
    return PATTERNS.get(pattern, f"must match the pattern {pattern}")


WORDS: Mapping[str, str | Callable[[Issue], str]] = {
    "missing": "is required and missing",
    "tuple_type": _list,
    "list_type": _list,
    "set_type": _list,
    "frozen_set_type": _list,
    "too_short": _length("at least", "min_length"),
    "too_long": _length("at most", "max_length"),
    "dict_type": OBJECT,
    "model_type": OBJECT,
    "model_attributes_type": OBJECT,
    "mapping_type": OBJECT,
    "string_type": "must be a string",
    "string_pattern_mismatch": _pattern,
    "bool_type": BOOLEAN,
    "bool_parsing": BOOLEAN,
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer, without a fraction",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "none_required": "must be null",
}
