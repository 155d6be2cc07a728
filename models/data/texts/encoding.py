"""From texts to indices and back, the same in trainer and gateway: how a text is cut, and the vocabulary of a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Self, cast

import numpy as np

from models.contract.task import Array
from models.data.texts.tokens import LINE_END, Level, normalized, tokens
from models.data.vocabulary import RESERVED, UNKNOWN, Vocabulary

LINE_END_INDEX = RESERVED
"""Index of the line end, which every vocabulary of texts has first."""


class TextEncoding:
    """Cuts texts into tokens and numbers them."""

    def __init__(self, level: Level, vocabulary: Vocabulary, *, lowercase: bool) -> None:
        """Keep how texts are cut and which tokens are known; the first is the line end."""
        self.level: Level = level
        self.vocabulary = vocabulary
        self.lowercase = lowercase

    @classmethod
    def study(cls, texts: Iterable[str], level: Level, *, most: int, least: int, lowercase: bool) -> Self:
        """Return an encoding with the ``most`` frequent tokens of normalized ``texts``, each there ``least`` times."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(tokens(text, level))
        del counts[LINE_END]
        ranked = Vocabulary.of_counts(counts, most=most, least=least)
        return cls(level, Vocabulary([LINE_END, *ranked.symbols]), lowercase=lowercase)

    @classmethod
    def of(cls, assets: Mapping[str, object]) -> Self:
        """Return the encoding that a version keeps among its assets."""
        found = cast("Mapping[str, Any]", assets)
        return cls(found["level"], Vocabulary(found["vocabulary"]), lowercase=found["lowercase"])

    def assets(self) -> dict[str, object]:
        """Return what :meth:`of` takes."""
        return {"level": self.level, "lowercase": self.lowercase, "vocabulary": list(self.vocabulary.symbols)}

    def __len__(self) -> int:
        """Return the number of indices, those of padding and of unknown tokens included."""
        return len(self.vocabulary)

    def cut(self, text: str) -> list[str]:
        """Return the tokens of a text as it comes."""
        return tokens(normalized(text, lowercase=self.lowercase), self.level)

    def encode(self, text: str) -> Array:
        """Return the indices (tokens,) int64 of a text as it comes."""
        return np.array(self.vocabulary.indices(self.cut(text)), np.int64)

    def token(self, index: int) -> str:
        """Return the token of an index; padding and the unknown token have no text."""
        return self.vocabulary.symbols[index - RESERVED] if index > UNKNOWN else ""
