"""Sparse features of a token and its neighbours, as numbers: the templates of CRF++ for chunking, and spelling.

A feature is a set of values at places around a token, such as the word before and this one. It is named by a hash of 64
bits, so that neither model nor request carries its text; that two of a
million features share one has a probability of 3e-8. All tokens of a batch are done at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from models.contract.task import Array
from models.tagging.sentences import Sentence
from models.tagging.words import spelling

Places = tuple[int, ...]

WORD_TEMPLATES: tuple[Places, ...] = ((-2,), (-1,), (0,), (1,), (2,), (-1, 0), (0, 1), (-1, 0, 1))
"""Uni-, bi- and trigrams of words (Huang et al. 2015, §4.3; U00 to U06 of CRF++)."""

COLUMN_TEMPLATES: tuple[Places, ...] = (
    *((-2,), (-1,), (0,), (1,), (2,), (-2, -1), (-1, 0), (0, 1), (1, 2)),
    *((-2, -1, 0), (-1, 0, 1), (0, 1, 2)),
)
"""The same of a further column, such as parts of speech (U10 to U22 of CRF++)."""

REACH = 2
"""Tokens to the left and right that a template looks at."""

SPELLING_VALUES = 14
"""Most features that :func:`spelling` gives one word."""

MIX = np.uint64(0x9E3779B97F4A7C15)
OUTSIDE_TEXT = "\n"
"""Stands in the places before and behind a sentence; no token has a line feed."""


def values_of(word: str) -> tuple[int, tuple[int, ...]]:
    """Return the hash of a word, and those of its spelling features."""
    return _hash(word), tuple(_hash(feature) for feature in spelling(word))


def hashes(
    sentences: Sequence[Sentence], sets: Sequence[str], values: Callable[[str], tuple[int, tuple[int, ...]]]
) -> list[Array]:
    """Return the features (tokens, templates) uint64 of each sentence; 0 where a word has fewer spelling features.

    Args:
        sentences: with their further columns.
        sets: ``context``: words and further columns around a token; ``spelling``: of the token itself.
        values: :func:`values_of`, remembered by the caller.
    """
    lengths = [len(sentence.tokens) for sentence in sentences]
    looked = [[values(token) for token in sentence.tokens] for sentence in sentences]
    found: list[Array] = []
    if "context" in sets:
        words = _spaced([[look[0] for look in row] for row in looked])
        found += _templates(words, WORD_TEMPLATES, 0)
        for column in range(len(sentences[0].columns)):
            texts = [[values(text)[0] for text in sentence.columns[column]] for sentence in sentences]
            found += _templates(_spaced(texts), COLUMN_TEMPLATES, column + 1)
    if "spelling" in sets:
        spelt = np.zeros((sum(lengths), SPELLING_VALUES), dtype=np.uint64)
        for index, (_, features) in enumerate(look for row in looked for look in row):
            spelt[index, : len(features)] = features
        found += list(spelt.T)
    table = np.stack(found, axis=1)  # (tokens of all sentences, templates)
    return np.split(table, np.cumsum(lengths)[:-1])


def templates(sets: Sequence[str], columns: int) -> int:
    """Return how many features a token has."""
    context = len(WORD_TEMPLATES) + columns * len(COLUMN_TEMPLATES)
    return ("context" in sets) * context + ("spelling" in sets) * SPELLING_VALUES


def _spaced(rows: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    """Return the values of all sentences in a row, with places outside around each, and where the tokens stand."""
    outside = [_hash(OUTSIDE_TEXT)] * REACH
    flat: list[int] = [*outside]
    places: list[int] = []
    for row in rows:
        places += range(len(flat), len(flat) + len(row))
        flat += row
        flat += outside
    return np.array(flat, dtype=np.uint64), np.array(places, dtype=np.int64)


def _templates(spaced: tuple[Array, Array], wanted: Sequence[Places], source: int) -> list[Array]:
    values, places = spaced
    found: list[Array] = []
    with np.errstate(over="ignore"):
        for number, offsets in enumerate(wanted):
            mixed = np.full(len(places), source * 100 + number + 1, dtype=np.uint64) * MIX
            for offset in offsets:
                mixed = (mixed ^ values[places + offset]) * MIX
                mixed ^= mixed >> np.uint64(29)
            found.append(mixed)
    return found


def _hash(text: str) -> int:
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little") or 1
