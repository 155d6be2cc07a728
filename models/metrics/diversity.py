"""How varied what is said is: distinct-n of Li et al. (2016), A Diversity-Promoting Objective Function, §5."""

from __future__ import annotations

from collections.abc import Sequence


def distinct(sentences: Sequence[Sequence[str]], length: int) -> float:
    """Return the number of different n-grams of ``length`` over that of all n-grams of all ``sentences``; 0 of none."""
    grams = [tuple(words[begin : begin + length]) for words in sentences for begin in range(len(words) - length + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0
