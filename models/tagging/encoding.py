"""From sentences to the arrays of a tagger, by what was found in its training split. Trainer and gateway call it alike.

``words`` (batch, time) int64, 0 for padding; ``symbols`` (batch, time, fields) int64, one vocabulary per field;
``characters`` (batch, time, letters) int64; ``features`` (batch, time, templates) int64, indices of sparse features, 0
for one that the training split does not have. Time and letters are padded to whole steps, so that calls of like length
have the same shape and are computed together.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self, cast

import numpy as np

from models.contract.task import Array, Arrays
from models.data.vocabulary import Vocabulary
from models.tagging import context
from models.tagging.sentences import Sentence
from models.tagging.words import CAPITALS, affix, capitals, normalized

TIME_STEP = 8
LETTER_STEP = 8
MOST_LETTERS = 24
"""Letters of a word that are looked at: of longer ones the first and the last half as many."""

CACHED_WORDS = 65_536
Look = tuple[int, tuple[int, ...], tuple[int, ...]]
"""Of one word: its index, its symbols, its characters."""

CAPITALS_FIELD = "capitals"
LEAST_AFFIX_COUNT = 2


@dataclass(frozen=True)
class Asked:
    """What a configuration asks an encoding to look at.

    Attributes:
        words: whether words have vectors.
        lower_case: whether words are looked up in small letters.
        digits: whether every digit is looked up as 0.
        least_count: how often a word must occur to have an index.
        affixes: lengths of prefixes, negative ones of suffixes, that are symbols.
        shape: whether capitals are a symbol.
        columns: how many further columns are read; each is a symbol if ``embedded_columns``.
        embedded_columns: whether they are symbols, beside what templates make of them.
        characters: whether words are read letter by letter.
        templates: sets of sparse features.
        least_feature_count: how often one of these must occur.
        further_words: words that are known without standing in the training split.
    """

    words: bool = True
    lower_case: bool = True
    digits: bool = True
    least_count: int = 1
    affixes: tuple[int, ...] = ()
    shape: bool = False
    columns: int = 0
    embedded_columns: bool = True
    characters: bool = False
    templates: tuple[str, ...] = ()
    least_feature_count: int = 1
    further_words: tuple[str, ...] = ()


class Encoding:
    """Vocabularies of a tagger and how it looks at words."""

    def __init__(self, record: Mapping[str, object]) -> None:
        """Read what :meth:`record` wrote, which is JSON.

        ``words``, ``characters`` (None: not looked at), ``lower_case``, ``digits``; ``fields``: the symbols by field,
        which is ``capitals``, an affix's length as text, or ``column {n}``; ``columns``, how many further columns there
        are; ``templates``, sets of sparse features; ``features``, the known ones (uint64, sorted, base64).
        """
        self._record = dict(record)
        self.words = Vocabulary(cast("list[str]", record["words"]))
        fields = cast("dict[str, list[str]]", record["fields"])
        self.fields = {name: Vocabulary(symbols) for name, symbols in fields.items()}
        characters = cast("list[str] | None", record["characters"])
        self.characters = None if characters is None else Vocabulary(characters)
        self.columns = cast("int", record["columns"])
        self.templates = tuple(cast("list[str]", record["templates"]))
        self.features = np.frombuffer(base64.b64decode(cast("str", record["features"])), dtype="<u8")
        self._lower_case, self._digits = bool(record["lower_case"]), bool(record["digits"])
        self._of_word = [name for name in self.fields if not name.startswith("column ")]
        self._of_column = [int(name.split()[1]) for name in self.fields if name.startswith("column ")]
        self._look = lru_cache(maxsize=CACHED_WORDS)(self._looked_at)
        self._values = lru_cache(maxsize=CACHED_WORDS)(context.values_of)

    @classmethod
    def learnt(cls, sentences: Sequence[Sentence], asked: Asked) -> Self:
        """Return what ``sentences`` of a training split give."""
        spelt = Counter(word for sentence in sentences for word in sentence.tokens)
        counts: Counter[str] = Counter()
        for word, count in spelt.items():
            counts[normalized(word, lower_case=asked.lower_case, digits=asked.digits)] += count
        words = Vocabulary.of_counts(counts, least=asked.least_count).symbols if asked.words else ()
        further = (word for word in asked.further_words if word not in counts)
        record: dict[str, object] = {
            "words": [*words, *further],
            "characters": _symbols(spelt, list, 1) if asked.characters else None,
            "lower_case": asked.lower_case,
            "digits": asked.digits,
            "fields": _fields(sentences, spelt, asked),
            "columns": asked.columns,
            "templates": list(asked.templates),
            "features": "",
        }
        learnt = cls(record)
        if asked.templates:
            found = learnt._hashes(sentences)
            values, times = np.unique(np.concatenate([item.ravel() for item in found]), return_counts=True)
            kept = values[(times >= asked.least_feature_count) & (values != 0)].astype("<u8")
            learnt = cls({**record, "features": base64.b64encode(kept.tobytes()).decode()})
        return learnt

    def record(self) -> dict[str, object]:
        """Return all of it as JSON."""
        return self._record

    def word(self, word: str) -> int:
        """Return the index of a word."""
        return self._look(word)[0]

    def rows(self, sentences: Sequence[Sentence]) -> list[dict[str, Array]]:
        """Return the arrays of each sentence without padding, but for that of its letters."""
        hashes = self._hashes(sentences) if self.templates else [None] * len(sentences)
        return [self._row(sentence, found) for sentence, found in zip(sentences, hashes, strict=True)]

    def arrays(self, sentences: Sequence[Sentence], step: int = TIME_STEP) -> Arrays:
        """Return the arrays of a batch, padded to whole ``step``s."""
        return padded(self.rows(sentences), step)

    def _row(self, sentence: Sentence, hashes: Array | None) -> dict[str, Array]:
        looks = [self._look(word) for word in sentence.tokens]
        row: dict[str, Array] = {"words": np.array([look[0] for look in looks], dtype=np.int64)}
        if self.fields:
            of_word = np.array([look[1] for look in looks], dtype=np.int64).reshape(len(looks), len(self._of_word))
            of_column = [self.fields[f"column {index}"].indices(sentence.columns[index]) for index in self._of_column]
            row["symbols"] = np.concatenate(
                [of_word, np.array(of_column, dtype=np.int64).T.reshape(len(looks), len(of_column))], axis=1
            )
        if self.characters is not None:
            longest = max(len(look[2]) for look in looks)
            letters = np.zeros((len(looks), -(-longest // LETTER_STEP) * LETTER_STEP), dtype=np.int64)
            for index, look in enumerate(looks):
                letters[index, : len(look[2])] = look[2]
            row["characters"] = letters
        if hashes is not None:
            row["features"] = self._known(hashes)
        return row

    def _known(self, hashes: Array) -> Array:
        """Return the indices of sparse features, from 1; 0 where there is none such."""
        if not len(self.features):
            return np.zeros(hashes.shape, dtype=np.int64)
        places = np.minimum(np.searchsorted(self.features, hashes), len(self.features) - 1)
        return np.where(self.features[places] == hashes, places + 1, 0)

    def _hashes(self, sentences: Sequence[Sentence]) -> list[Array]:
        return context.hashes(sentences, self.templates, self._values)

    def _looked_at(self, word: str) -> Look:
        text = normalized(word, lower_case=self._lower_case, digits=self._digits)
        symbols = [self.fields[name].index(_symbol(name, word)) for name in self._of_word]
        letters: list[int] = []
        if self.characters is not None:
            half = MOST_LETTERS // 2
            letters = self.characters.indices(word if len(word) <= MOST_LETTERS else word[:half] + word[-half:])
        return self.words.index(text), tuple(symbols), tuple(letters)


def padded(rows: Sequence[Mapping[str, Array]], step: int = 1) -> Arrays:
    """Return the arrays of sentences as one batch, zeros behind each sentence, time in whole ``step``s."""
    longest = -(-max(len(row["words"]) for row in rows) // step) * step
    found: dict[str, Array] = {}
    for name in rows[0]:
        width = max(row[name].shape[1] if row[name].ndim > 1 else 0 for row in rows)
        shape = (len(rows), longest, width) if width else (len(rows), longest)
        batch = np.zeros(shape, dtype=np.int64)
        for index, row in enumerate(rows):
            values = row[name]
            if width:
                batch[index, : len(values), : values.shape[1]] = values
            else:
                batch[index, : len(values)] = values
        found[name] = batch
    return found


def _symbol(field: str, word: str) -> str:
    return capitals(word) if field == CAPITALS_FIELD else affix(word.lower(), int(field))


def _symbols(spelt: Counter[str], parts: Callable[[str], list[str]], least: int) -> list[str]:
    counts: Counter[str] = Counter()
    for word, count in spelt.items():
        for part in parts(word):
            counts[part] += count
    return list(Vocabulary.of_counts(counts, least=least).symbols)


def _fields(sentences: Sequence[Sentence], spelt: Counter[str], asked: Asked) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {CAPITALS_FIELD: list(CAPITALS)} if asked.shape else {}
    for length in asked.affixes:
        fields[str(length)] = _symbols(spelt, lambda word, size=length: [affix(word.lower(), size)], LEAST_AFFIX_COUNT)
    if asked.embedded_columns:
        for column in range(asked.columns):
            counts = Counter(value for sentence in sentences for value in sentence.columns[column])
            fields[f"column {column}"] = list(Vocabulary.of_counts(counts).symbols)
    return fields
