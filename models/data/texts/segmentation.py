"""Sentences as tokens that give the very sentence back: words, byte-pair pieces or characters, and their vocabulary.

A token begins with ``▁`` where a space, or the sentence's begin, stands before it, so that joining tokens restores a
text without rules of any language (Kudo and Richardson 2018, §3.2). Byte-pair merges (Sennrich, Haddow, Birch 2016,
§3.2) are learnt and applied by the library ``tokenizers``, within words. Trainer and gateway cut by the same rules.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np

from models.contract.task import Array
from models.data.texts.composition import composed
from models.data.vocabulary import RESERVED, UNKNOWN, Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Unit = Literal["bpe", "word", "character", "hybrid"]

SPACE = "▁"
END = "</s>"
END_INDEX = RESERVED
"""Index of the token that ends, and on the target side also begins, a sentence."""

UNKNOWN_PIECE = "<unk>"
WORD = re.compile(r" ?(?:\w+(?:['\u2019]\w+)*|[^\w ])")
"""Letters and digits with apostrophes between them, or one mark; each with the space before it."""


def one_line(text: str, *, lowercase: bool) -> str:
    """Return ``text`` with accents composed (NFC), single spaces and none at the ends; in small letters if asked."""
    joined = " ".join(composed(text).replace(SPACE, "_").split())
    return joined.lower() if lowercase else joined


def words_of(line: str) -> list[str]:
    """Return the words of a line, each with the space before it if there is one."""
    return cast("list[str]", WORD.findall(line))


class Segmentation:
    """Cuts sentences into tokens, numbers them, and makes sentences of tokens again."""

    def __init__(self, unit: Unit, vocabulary: Vocabulary, *, lowercase: bool, merges: str | None = None) -> None:
        """Keep how texts are cut and which tokens are known, the end first; ``merges`` is a tokenizer's JSON."""
        self.unit: Unit = unit
        self.vocabulary = vocabulary
        self.lowercase = lowercase
        self._merges = merges

    @classmethod
    def study(cls, lines: Iterable[str], unit: Unit, *, most: int, least: int, lowercase: bool) -> Self:
        """Return a segmentation with at most ``most`` tokens, each of which ``lines`` have ``least`` times.

        ``most`` counts the characters and the merges of byte pairs; the end and reserved indices are beside it.
        """
        if unit == "bpe":
            merges = _learnt(lines, most, least)
            pieces = cast("Any", _tokenizer(merges)).get_vocab()
            ordered = sorted(pieces.keys() - {UNKNOWN_PIECE}, key=lambda piece: pieces[piece])
            return cls(unit, Vocabulary([END, *ordered]), lowercase=lowercase, merges=merges)
        counts: Counter[str] = Counter()
        for line in lines:
            counts.update(_cut(line, unit))
        ranked = Vocabulary.of_counts(counts, most=most, least=least)
        return cls(unit, Vocabulary([END, *ranked.symbols]), lowercase=lowercase)

    @classmethod
    def of(cls, assets: Mapping[str, object]) -> Self:
        """Return the segmentation that a version keeps among its assets."""
        found = cast("Mapping[str, Any]", assets)
        vocabulary = Vocabulary(found["vocabulary"])
        return cls(found["unit"], vocabulary, lowercase=found["lowercase"], merges=found["merges"])

    def assets(self) -> dict[str, object]:
        """Return what :meth:`of` takes, as JSON."""
        return {
            "unit": self.unit,
            "lowercase": self.lowercase,
            "vocabulary": list(self.vocabulary.symbols),
            "merges": self._merges,
        }

    def __len__(self) -> int:
        """Return the number of indices, those of padding and of unknown tokens included."""
        return len(self.vocabulary)

    def normalized(self, text: str) -> str:
        """Return the text as it is cut."""
        return one_line(text, lowercase=self.lowercase)

    def cut(self, text: str) -> list[str]:
        """Return the tokens of a text as it comes; what the vocabulary lacks stands as the text has it."""
        line = self.normalized(text)
        if self.unit != "bpe":
            return _cut(line, self.unit)
        found = cast("Any", self._tokenizer.encode(line))
        pieces = zip(found.tokens, found.offsets, strict=True)
        return [line[begin:end] if piece == UNKNOWN_PIECE else piece for piece, (begin, end) in pieces]

    def indices(self, tokens: Sequence[str]) -> Array:
        """Return the indices (tokens,) int64 of tokens."""
        return np.array(self.vocabulary.indices(tokens), np.int64)

    def encode(self, text: str) -> Array:
        """Return the indices (tokens,) int64 of a text as it comes."""
        return self.indices(self.cut(text))

    def token(self, index: int) -> str:
        """Return the token of an index; those of padding and of the unknown have no text of their own."""
        return self.vocabulary.symbols[index - RESERVED] if index > UNKNOWN else UNKNOWN_PIECE

    def text(self, tokens: Iterable[str]) -> str:
        """Return the text that ``tokens`` make."""
        return "".join(tokens).replace(SPACE, " ").strip()

    def shown(self, token: str) -> str:
        """Return a token as people read it: words without the mark of the space before them."""
        return token.removeprefix(SPACE) if self.unit in ("word", "hybrid") and token != SPACE else token

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        assert self._merges is not None
        return _tokenizer(self._merges)


def _cut(line: str, unit: Unit) -> list[str]:
    """Return the tokens of a normalized line, by words or characters."""
    if not line:
        return []
    if unit == "character":
        return list(line.replace(" ", SPACE))
    return [word.replace(" ", SPACE) for word in words_of(f" {line}")]


def _learnt(lines: Iterable[str], most: int, least: int) -> str:
    """Return a tokenizer's JSON: merges of pairs that occur ``least`` times, in words of ``lines``."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # noqa: PLC0415 - keeps the gateway's start fast

    library = cast("Any", (models, pre_tokenizers, trainers))
    kinds, cutting, teaching = library
    tokenizer = cast("Any", Tokenizer)(kinds.BPE(unk_token=UNKNOWN_PIECE))
    tokenizer.pre_tokenizer = cutting.Sequence(
        [cutting.Metaspace(replacement=SPACE, prepend_scheme="always"), cutting.Punctuation("isolated")]
    )
    teacher = teaching.BpeTrainer(
        vocab_size=most + 1, min_frequency=least, special_tokens=[UNKNOWN_PIECE], show_progress=False
    )
    tokenizer.train_from_iterator(lines, teacher)
    return cast("str", tokenizer.to_str())


def _tokenizer(merges: str) -> Tokenizer:
    from tokenizers import Tokenizer  # noqa: PLC0415 - as above

    return Tokenizer.from_str(merges)
