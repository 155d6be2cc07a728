"""Both sides of a network's pairs: how sources and targets are cut and numbered, in trainer and gateway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self, cast

import numpy as np

from models.contract.task import Array, ServedModel
from models.data.texts.segmentation import END_INDEX, Segmentation
from models.seq2seq.options import Seq2SeqConfig


@dataclass(frozen=True)
class Languages:
    """A segmentation per side; the same one where both share a vocabulary."""

    source: Segmentation
    target: Segmentation
    reverse_source: bool

    @classmethod
    def study(cls, config: Seq2SeqConfig, sources: Sequence[str], targets: Sequence[str], *, lowercase: bool) -> Self:
        """Return what the training pairs have, as ``config`` asks."""

        def studied(lines: Sequence[str]) -> Segmentation:
            return Segmentation.study(
                lines, config.vocabulary, most=config.vocabulary_size, least=config.least_count, lowercase=lowercase
            )

        if config.joint:
            both = studied([*sources, *targets])
            return cls(both, both, config.reverse_source)
        return cls(studied(sources), studied(targets), config.reverse_source)

    @classmethod
    def of(cls, model: ServedModel) -> Self:
        """Return those that a version keeps among its assets; asked once for a loaded version."""
        found = cast("Mapping[str, Mapping[str, object]]", model.assets)
        source = Segmentation.of(found["source"])
        target = Segmentation.of(found["target"]) if "target" in found else source
        return cls(source, target, bool(model.config["reverse_source"]))

    def assets(self) -> dict[str, object]:
        """Return what :meth:`of` takes."""
        source: dict[str, object] = {"source": self.source.assets()}
        return source if self.target is self.source else {**source, "target": self.target.assets()}

    def read(self, tokens: Sequence[str]) -> Array:
        """Return the indices (tokens,) int64 of a source's tokens in the order in which the encoder reads them."""
        indices = self.source.indices(tokens)
        return indices[::-1].copy() if self.reverse_source else indices

    def written(self, text: str) -> Array:
        """Return the indices (tokens,) int64 of a target, its end included."""
        return np.append(self.target.encode(text), END_INDEX)
