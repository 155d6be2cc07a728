"""The vocabulary: which symbols have an index, and what the others get."""

from __future__ import annotations

from models.data.vocabulary import PADDING, RESERVED, UNKNOWN, Vocabulary


def test_commonest_symbols_come_first_and_rare_ones_not_at_all() -> None:
    """Ties are in alphabetical order, so that the same text always gives the same indices."""
    counts = {"b": 2, "a": 2, "c": 5, "rare": 1}
    assert Vocabulary.of_counts(counts).symbols == ("c", "a", "b", "rare")
    assert Vocabulary.of_counts(counts, least=2).symbols == ("c", "a", "b")
    assert Vocabulary.of_counts(counts, most=1).symbols == ("c",)


def test_unknown_symbols_share_an_index() -> None:
    """Neither padding nor any symbol has it."""
    vocabulary = Vocabulary(["a", "b"])
    assert vocabulary.indices(["b", "a", "?"]) == [RESERVED + 1, RESERVED, UNKNOWN]
    assert len(vocabulary) == RESERVED + 2
    assert "b" in vocabulary
    assert "?" not in vocabulary
    assert len({PADDING, UNKNOWN, vocabulary.index("a"), vocabulary.index("b")}) == 4
