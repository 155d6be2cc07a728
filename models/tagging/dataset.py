"""Sentences and tags of a split of the kind ``tagged``, as requests bring them and answers have them."""

from __future__ import annotations

from models.contract.task import Split
from models.data.kinds.tagged import SEPARATOR, column_name
from models.tagging.sentences import Sentence


def sentences_in(split: Split, columns: int, start: int = 0, stop: int | None = None) -> list[Sentence]:
    """Return the sentences from ``start`` up to ``stop`` with their first ``columns`` further columns."""
    tokens = _texts(split, "tokens", start, stop)
    further = [_texts(split, column_name(position), start, stop) for position in range(columns)]
    return [Sentence(tuple(own), tuple(tuple(column[index]) for column in further)) for index, own in enumerate(tokens)]


def tags_in(split: Split, start: int = 0, stop: int | None = None) -> list[list[str]]:
    """Return the tags of the same sentences, of spans in IOB2."""
    return _texts(split, "tags", start, stop)


def _texts(split: Split, name: str, start: int, stop: int | None) -> list[list[str]]:
    return [str(text).split(SEPARATOR) for text in split[name][start:stop].tolist()]
