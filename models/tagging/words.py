"""What a word looks like: the spelling features of Huang, Xu and Yu (2015), §4.3, and how a word is looked up.

Torch-free; trainer and gateway see words through the same functions.
"""

from __future__ import annotations

import re

DIGIT = re.compile(r"\d")
RUNS = re.compile(r"(.)\1+")

CAPITALS = ("lower", "capital", "upper", "mixed", "digits", "letters_and_digits", "punctuation", "other")
"""Kinds of word by its capitals and digits; their indices begin at 1."""


def normalized(word: str, *, lower_case: bool, digits: bool) -> str:
    """Return the word as it is looked up: in small letters and with 0 for every digit, as asked."""
    text = word.lower() if lower_case else word
    return DIGIT.sub("0", text) if digits else text


def capitals(word: str) -> str:
    """Return which of ``CAPITALS`` the word is."""
    letters = sum(letter.isalpha() for letter in word)
    figures = sum(letter.isdigit() for letter in word)
    if letters == 0:
        return "digits" if figures else "punctuation"
    if figures:
        return "letters_and_digits"
    if word.islower():
        return "lower"
    if word.isupper() and letters > 1:
        return "upper"
    if word[0].isupper():
        return "capital" if word[1:].islower() or letters == 1 else "mixed"
    return "mixed" if any(letter.isupper() for letter in word) else "other"


def pattern(word: str) -> str:
    """Return the word with ``A`` for capitals, ``a`` for other letters, ``0`` for digits, ``-`` for the rest."""
    return "".join(
        "A" if letter.isupper() else "a" if letter.isalpha() else "0" if letter.isdigit() else "-" for letter in word
    )


def pattern_summary(word: str) -> str:
    """Return :func:`pattern` with runs of the same kind as one: ``Aa-0`` of ``Boeing-747``."""
    return RUNS.sub(r"\1", pattern(word))


def affix(word: str, length: int) -> str:
    """Return the first ``length`` letters, or the last −``length`` of a negative one; shorter words whole, marked."""
    if len(word) < abs(length):
        return f"^{word}$"
    return word[:length] if length > 0 else word[length:]


def spelling(word: str) -> list[str]:
    """Return what the paper names: capitals, affixes of 2 to 5 letters, apostrophe, letters alone, patterns."""
    small = word.lower()
    affixes = [f"{length}:{affix(small, length)}" for length in (2, 3, 4, 5, -2, -3, -4, -5) if len(word) > abs(length)]
    return [
        f"capitals:{capitals(word)}",
        f"pattern:{pattern(word)[:20]}",
        f"summary:{pattern_summary(word)[:20]}",
        f"apostrophe:{int(small.endswith(chr(39) + 's'))}",
        f"letters:{''.join(letter for letter in small if letter.isalpha())[:20]}",
        f"others:{''.join(letter for letter in word if not letter.isalpha())[:20]}",
        *affixes,
    ]
