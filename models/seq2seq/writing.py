"""From hypotheses to text: unknown words spelt or copied, attention turned to the source as it was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from models.contract.task import Array
from models.data.vocabulary import UNKNOWN
from models.seq2seq.beam import Hypothesis
from models.seq2seq.languages import LONGEST_WORD, Languages
from models.seq2seq.running import Running, Source, spelt


@dataclass(frozen=True)
class Sentence:
    """A source as it is cut and read."""

    tokens: Sequence[str]
    source: Source

    @classmethod
    def of(cls, languages: Languages, tokens: Sequence[str]) -> Sentence:
        """Return ``tokens`` as the encoder reads them."""
        letters = None if languages.letters is None else languages.read_letters(tokens)
        return cls(tokens, Source(languages.read(tokens), letters))

    @property
    def unknown(self) -> int:
        """How many of its tokens have no index of their own."""
        return int((self.source.indices == UNKNOWN).sum())


@dataclass(frozen=True)
class Written:
    """A target as people read it.

    Attributes:
        text: of its tokens.
        tokens: as they are joined.
        copied: which tokens were unknown and taken from the source.
        spelt: which were unknown and spelt letter by letter.
    """

    text: str
    tokens: Sequence[str]
    copied: Sequence[int]
    spelt: Sequence[int]


Words = Mapping[int, str]
"""Spelt words by their place in a target."""


def words_of(languages: Languages, hypotheses: Sequence[Hypothesis]) -> Running[list[Words]]:
    """Return how the unknown words of each of ``hypotheses`` are spelt, all of them together; none are otherwise."""
    found: list[dict[int, str]] = [{} for _ in hypotheses]
    if languages.letters is None:
        return [*found]
    places = [
        (number, place)
        for number, hypothesis in enumerate(hypotheses)
        for place in np.flatnonzero(hypothesis.indices == UNKNOWN).tolist()
    ]
    if places:
        states = np.concatenate([cast("Array", hypothesis.spelling) for hypothesis in hypotheses])
        words = yield from spelt(states, LONGEST_WORD)
        for (number, place), letters in zip(places, words, strict=True):
            found[number][place] = languages.word(letters)
    return [*found]


def written(
    languages: Languages,
    sentence: Sentence,
    indices: Array,
    looked: Array | None,
    words: Words,
    *,
    copies: bool,
) -> Written:
    """Return the text of a target (target,) int64, each of which ``looked`` (target,) most at a place as it was read.

    Unknown tokens are spelt as ``words`` say, else copied from where they looked most if ``copies``.
    """
    tokens = [languages.target.token(index) for index in cast("list[int]", indices.tolist())]
    copied: list[int] = []
    for place, word in words.items():
        tokens[place] = word
    if copies and looked is not None:
        copied = [place for place in np.flatnonzero(indices == UNKNOWN).tolist() if place not in words]
        for place in copied:
            read = int(looked[place])
            tokens[place] = sentence.tokens[-1 - read if languages.reverse_source else read]
    return Written(languages.target.text(tokens), tokens, copied, sorted(words))


def turned(languages: Languages, attention: Array | None) -> Array | None:
    """Return attention (target, source) in the order of reading with the source as it was written."""
    if attention is None:
        return None
    return np.ascontiguousarray(attention[:, ::-1] if languages.reverse_source else attention, np.float32)
