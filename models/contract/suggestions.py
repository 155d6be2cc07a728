"""What is said beside a name that does not exist: the nearest one, or those there are."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MOST_NAMES = 20


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a sentence with a leading space, empty if nothing is known."""
    candidates = sorted(known)
    near = get_close_matches(name, candidates, n=1, cutoff=0.5)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" Known: {', '.join(candidates[:MOST_NAMES])}." if candidates else ""
