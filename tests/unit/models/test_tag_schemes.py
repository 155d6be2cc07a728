"""Schemes of tags: conversions there and back, legality, detection, and spans counted as conlleval and seqeval do."""

from __future__ import annotations

import itertools
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score

from models.data.tag_schemes import (
    Scheme,
    Span,
    WrittenScheme,
    converted,
    illegal_at,
    legal,
    scheme_of,
    spans_of,
    tag_set,
    tags_of,
)
from models.metrics.spans import span_scores

TEXT = "I-PER I-PER O I-LOC B-LOC I-LOC I-PER"
SPANS = [Span(0, 2, "PER"), Span(3, 4, "LOC"), Span(4, 6, "LOC"), Span(6, 7, "PER")]
WRITTEN: dict[WrittenScheme, str] = {
    "iob1": TEXT,
    "bio": "B-PER I-PER O B-LOC B-LOC I-LOC B-PER",
    "bioes": "B-PER E-PER O S-LOC B-LOC E-LOC S-PER",
}
ANY_TAG = st.sampled_from(["O", *(f"{letter}-{label}" for letter in "BIES" for label in ("X", "Y"))])


def _pairs_of_sentences(tokens: int) -> st.SearchStrategy[tuple[list[str], list[str]]]:
    tags = st.lists(ANY_TAG, min_size=tokens, max_size=tokens)
    return st.tuples(tags, tags)


@st.composite
def span_lists(draw: st.DrawFn) -> tuple[list[Span], int]:
    spans: list[Span] = []
    place = 0
    for _ in range(draw(st.integers(0, 4))):
        start = place + draw(st.integers(0, 2))
        place = start + draw(st.integers(1, 3))
        spans.append(Span(start, place, draw(st.sampled_from(["X", "Y"]))))
    return spans, max(place + draw(st.integers(0, 2)), 1)


@pytest.mark.parametrize("scheme", WRITTEN)
def test_every_scheme_writes_the_same_spans(scheme: WrittenScheme) -> None:
    """A span behind one of its own label begins with B in each of them."""
    tags = WRITTEN[scheme].split()
    assert spans_of(tags) == SPANS
    assert converted(tags, "bio") == WRITTEN["bio"].split()
    assert converted(tags, "bioes") == WRITTEN["bioes"].split()
    assert illegal_at(tags, scheme) is None
    assert scheme_of([tags]) == scheme


@given(span_lists(), st.sampled_from(["bio", "bioes"]))
def test_tags_and_spans_are_each_others_inverse(case: tuple[list[Span], int], scheme: Scheme) -> None:
    """And what is written is legal."""
    spans, tokens = case
    tags = tags_of(spans, tokens, scheme)
    assert spans_of(tags) == spans
    assert illegal_at(tags, scheme) is None


@given(st.lists(ANY_TAG, min_size=1, max_size=8), st.sampled_from(["bio", "bioes"]))
def test_repaired_tags_are_legal_and_have_the_same_spans(tags: list[str], scheme: Scheme) -> None:
    """Whatever the gold was."""
    repaired = converted(tags, scheme)
    assert illegal_at(repaired, scheme) is None
    assert spans_of(repaired) == spans_of(tags)


@pytest.mark.parametrize(
    ("scheme", "tags", "place"),
    [
        ("bio", "O I-X", 1),
        ("bio", "I-X", 0),
        ("bio", "B-X I-Y", 1),
        ("bio", "B-X I-X I-X B-X", None),
        ("bioes", "B-X O", 1),
        ("bioes", "B-X", 1),
        ("bioes", "S-X E-X", 1),
        ("bioes", "B-X I-X E-Y", 2),
        ("bioes", "B-X E-X S-X", None),
        ("iob1", "O I-X B-X", None),
        ("none", "NN I-X", None),
    ],
)
def test_first_illegal_tag_is_found(scheme: WrittenScheme, tags: str, place: int | None) -> None:
    """The end of a sentence included, which BIOES may not reach within a span."""
    assert illegal_at(tags.split(), scheme) == place


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_legal_pairs_are_those_of_legal_sequences(scheme: Scheme) -> None:
    """The tables that decoding uses allow exactly the sequences that the rules allow."""
    tags = tag_set(["B-X", "I-Y"], scheme)
    allowed = legal(tags, scheme)
    for path in itertools.product(range(len(tags)), repeat=3):
        by_table = bool(
            allowed.start[path[0]] & allowed.pairs[path[0], path[1]] & allowed.pairs[path[1], path[2]]
            & allowed.end[path[2]]
        )  # fmt: skip
        assert by_table == (illegal_at([tags[index] for index in path], scheme) is None)


def test_labels_of_their_own_are_no_spans() -> None:
    """Parts of speech, even one that is called I or O."""
    assert scheme_of([["NN", "VB"]]) == "none"
    assert scheme_of([["O", "O"]]) == "none"
    assert scheme_of([["B-X", "NN"]]) == "none"
    assert tag_set(["VB", "NN", "NN"], "none") == ("NN", "VB")


def test_scores_of_known_answers() -> None:
    """Half of what was found is right, a third of what there is was found."""
    scores = span_scores([["B-X", "O", "B-Y", "O"]], [["B-X", "O", "B-X", "B-X"]])
    assert (scores.precision, scores.recall) == (0.5, pytest.approx(1 / 3))
    assert scores.f1 == pytest.approx(0.4)
    assert span_scores([["O"]], [["O"]]).f1 == 0
    with pytest.raises(ValueError, match="2 tags were predicted for 1 tokens"):
        span_scores([["O", "O"]], [["O"]])


@given(st.lists(st.integers(1, 8).flatmap(_pairs_of_sentences), min_size=1, max_size=5))
def test_scores_are_those_of_seqeval(pairs: list[tuple[list[str], list[str]]]) -> None:
    """The usual implementation of conlleval's rules, of illegal sequences too."""
    predicted, truth = [one for one, _ in pairs], [other for _, other in pairs]
    ours = span_scores(predicted, truth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of nothing to divide by, which we call 0 as it does
        theirs = [score(truth, predicted) for score in (precision_score, recall_score, f1_score)]
    assert [ours.precision, ours.recall, ours.f1] == pytest.approx(theirs)


def test_a_span_is_wrong_in_label_or_either_end() -> None:
    """Nothing is right by half."""
    truth = [["B-X", "I-X", "O"]]
    for wrong in (
        ["B-Y", "I-Y", "O"],
        ["B-X", "O", "O"],
        ["O", "B-X", "O"],
        ["B-X", "I-X", "I-X"],
        ["B-X", "B-X", "O"],
    ):
        assert span_scores([wrong], truth).f1 == 0
    assert span_scores(truth, truth).f1 == 1
    assert span_scores([["B-X", "E-X", "O"]], truth).f1 == 1
