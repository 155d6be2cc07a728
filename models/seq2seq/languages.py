"""Both sides of a network's pairs: how sources and targets are cut and numbered, in trainer and gateway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np

from models.contract.task import Array, ServedModel
from models.data.texts.segmentation import END, END_INDEX, SPACE, Segmentation
from models.data.vocabulary import RESERVED, UNKNOWN, Vocabulary
from models.seq2seq.options import Seq2SeqConfig

LONGEST_WORD = 40
"""Letters that are read, or written, of an unknown word."""

MOST_LETTERS = 2_000


@dataclass(frozen=True)
class Languages:
    """A segmentation per side; the same one where both share a vocabulary.

    Attributes:
        source: of what is read.
        target: of what is written.
        reverse_source: whether a source is read from its end.
        letters: of unknown words, its first symbol the end of a word; None where words are not spelt.
    """

    source: Segmentation
    target: Segmentation
    reverse_source: bool
    letters: Vocabulary | None = None

    @classmethod
    def study(cls, config: Seq2SeqConfig, sources: Sequence[str], targets: Sequence[str], *, lowercase: bool) -> Self:
        """Return what the training pairs have, as ``config`` asks."""

        def studied(lines: Sequence[str]) -> Segmentation:
            return Segmentation.study(
                lines, config.vocabulary, most=config.vocabulary_size, least=config.least_count, lowercase=lowercase
            )

        letters: Vocabulary | None = None
        if config.vocabulary == "hybrid":
            counts = Counter(letter for lines in (sources, targets) for line in lines for letter in line)
            counts[SPACE] = counts.total()
            letters = Vocabulary([END, *Vocabulary.of_counts(counts, most=MOST_LETTERS).symbols])
        if config.joint:
            both = studied([*sources, *targets])
            return cls(both, both, config.reverse_source, letters)
        return cls(studied(sources), studied(targets), config.reverse_source, letters)

    @classmethod
    def of(cls, model: ServedModel) -> Self:
        """Return those that a version keeps among its assets; asked once for a loaded version."""
        found = cast("Mapping[str, Mapping[str, object]]", model.assets)
        source = Segmentation.of(found["source"])
        target = Segmentation.of(found["target"]) if "target" in found else source
        letters = Vocabulary(cast("Any", found["letters"])) if "letters" in found else None
        return cls(source, target, bool(model.config["reverse_source"]), letters)

    def assets(self) -> dict[str, object]:
        """Return what :meth:`of` takes."""
        found: dict[str, object] = {"source": self.source.assets()}
        if self.target is not self.source:
            found["target"] = self.target.assets()
        if self.letters is not None:
            found["letters"] = list(self.letters.symbols)
        return found

    def read(self, tokens: Sequence[str]) -> Array:
        """Return the indices (tokens,) int64 of a source's tokens in the order in which the encoder reads them."""
        indices = self.source.indices(tokens)
        return indices[::-1].copy() if self.reverse_source else indices

    def written(self, text: str) -> Array:
        """Return the indices (tokens,) int64 of a target, its end included."""
        return np.append(self.target.encode(text), END_INDEX)

    def spelling(self, tokens: Sequence[str], indices: Array) -> list[Array]:
        """Return the letters (letters,) int64 of each unknown token, none of the known ones; ``indices`` are theirs."""
        assert self.letters is not None
        return [
            np.array(self.letters.indices(token[:LONGEST_WORD]) if index == UNKNOWN else [], np.int64)
            for token, index in zip(tokens, indices.tolist(), strict=True)
        ]

    def read_letters(self, tokens: Sequence[str]) -> list[Array]:
        """Return the spelling of a source's tokens in the order in which the encoder reads them."""
        found = self.spelling(tokens, self.source.indices(tokens))
        return found[::-1] if self.reverse_source else found

    def word(self, letters: Sequence[int]) -> str:
        """Return the token that ``letters`` spell."""
        assert self.letters is not None
        return "".join(self.letters.symbols[index - RESERVED] for index in letters if index > UNKNOWN)
