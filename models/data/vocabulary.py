"""A vocabulary: symbols (words, characters, affixes) with their indices. Trainer and gateway look up alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

PADDING = 0
UNKNOWN = 1
RESERVED = 2
"""Index of the first symbol."""


class Vocabulary:
    """Symbols from index ``RESERVED`` on; 0 is padding and 1 whatever is not among them."""

    def __init__(self, symbols: Sequence[str]) -> None:
        """Keep the symbols in their order."""
        self.symbols = tuple(symbols)
        self._indices = {symbol: index for index, symbol in enumerate(self.symbols, start=RESERVED)}

    @classmethod
    def of_counts(cls, counts: Mapping[str, int], *, least: int = 1, most: int | None = None) -> Vocabulary:
        """Return the symbols that occur ``least`` times or more, at most ``most`` of them, the commonest first."""
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls([symbol for symbol, count in ranked[:most] if count >= least])

    def __len__(self) -> int:
        """Return the number of indices, the reserved ones included."""
        return RESERVED + len(self.symbols)

    def __contains__(self, symbol: str) -> bool:
        """Return whether ``symbol`` has an index of its own."""
        return symbol in self._indices

    def index(self, symbol: str) -> int:
        """Return the index of ``symbol``, ``UNKNOWN`` if it has none."""
        return self._indices.get(symbol, UNKNOWN)

    def indices(self, symbols: Iterable[str]) -> list[int]:
        """Return the index of each symbol."""
        found = self._indices.get
        return [found(symbol, UNKNOWN) for symbol in symbols]
