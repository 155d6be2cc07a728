"""Sentences cut and joined: nothing is lost, whatever the language, and trainer and gateway cut alike."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.texts.segmentation import END_INDEX, Segmentation, Unit, one_line
from models.data.vocabulary import UNKNOWN

LINES = ["Ein Mann läuft.", "Zwei Männer laufen (schnell).", "Der T-Shirt-Mann's Hund läuft, läuft!"]
UNITS: tuple[Unit, ...] = ("bpe", "word", "character", "hybrid")


def _segmentation(unit: Unit, lines: list[str] = LINES, most: int = 60) -> Segmentation:
    return Segmentation.study(lines, unit, most=most, least=1, lowercase=False)


@pytest.mark.parametrize("unit", UNITS)
@given(text=st.text(max_size=60))
def test_tokens_give_the_sentence_back(unit: Unit, text: str) -> None:
    """Any text, but for the white space that cutting makes one space of."""
    segmentation = _segmentation(unit)
    assert segmentation.text(segmentation.cut(text)) == one_line(text, lowercase=False)


@pytest.mark.parametrize("unit", UNITS)
def test_known_tokens_have_an_index_and_come_back(unit: Unit) -> None:
    """The same from what the manifest keeps."""
    segmentation = _segmentation(unit, most=200)
    kept = Segmentation.of(json.loads(json.dumps(segmentation.assets())))
    for line in LINES:
        indices = segmentation.encode(line)
        assert (indices > END_INDEX).all()
        assert kept.encode(line).tolist() == indices.tolist()
        assert kept.text(kept.token(index) for index in indices.tolist()) == line
    assert len(kept) == len(segmentation)


@pytest.mark.parametrize("unit", UNITS)
def test_what_is_not_in_the_vocabulary_is_unknown_and_keeps_its_letters(unit: Unit) -> None:
    """So that it can be copied."""
    segmentation = _segmentation(unit)
    tokens = segmentation.cut("Ein 日本 läuft")
    assert UNKNOWN in segmentation.indices(tokens)
    assert "日" in "".join(tokens)


def test_merges_are_as_many_as_asked_and_words_are_never_joined() -> None:
    """A piece has a space at its begin or none."""
    segmentation = _segmentation("bpe", most=45)
    assert len(segmentation.vocabulary.symbols) == 46
    assert not any("▁" in piece[1:] for piece in segmentation.vocabulary.symbols)


@pytest.mark.parametrize("unit", UNITS)
def test_the_same_lines_give_the_same_vocabulary(unit: Unit) -> None:
    """A training taken up again finds its parameters where it left them."""
    assert _segmentation(unit).assets() == _segmentation(unit).assets()


def test_rare_words_are_unknown_and_letters_can_be_made_small() -> None:
    """As the options say."""
    segmentation = Segmentation.study(["a a b", "a c c"], "word", most=10, least=2, lowercase=True)
    assert segmentation.indices(segmentation.cut("A b C")).tolist() == [3, UNKNOWN, 4]
    assert segmentation.shown("▁a") == "a"
