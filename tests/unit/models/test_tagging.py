"""The verb ``tag`` and what is behind it: sentences, words as arrays, runs by length, and answers as they must be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contract.errors import ValidationFailed
from models.contract.task import Arrays, ServedModel, answer
from models.data.tag_schemes import illegal_at, tag_set
from models.tagging import context
from models.tagging.encoding import MOST_LETTERS, TIME_STEP, Asked, Encoding, padded
from models.tagging.sentences import Sentence, sentences_of
from models.tagging.task import TASK, TagRequest, tag
from models.tagging.words import affix, capitals, normalized, pattern, pattern_summary, spelling

TAGS = tag_set(["B-X", "B-Y"], "bio")
TRAIN = [
    Sentence(("The", "cat", "sat", "in", "1984", "."), (("D", "N", "V", "P", "C", "."),)),
    Sentence(("A", "dog"), (("D", "N"),)),
]
ALL = Asked(affixes=(-2, 3), shape=True, columns=1, characters=True, templates=("context", "spelling"))


def served(seed: int = 1, *, columns: int = 0, decoder: str = "crf") -> ServedModel:
    """Return a model with a random chain whose only input is words."""
    random = np.random.default_rng(seed)
    tags = len(TAGS)
    zero = decoder == "softmax"
    chain = {
        name: (np.zeros(shape) if zero else random.normal(0, 2, shape)).tolist()
        for name, shape in (("start", tags), ("transitions", (tags, tags)), ("end", tags))
    }
    sentences = [Sentence(("a", "b", "c", "d"), (("x",) * 4,) * columns)]
    encoding = Encoding.learnt(sentences, Asked(columns=columns))
    assets: dict[str, object] = {"encoding": encoding.record(), "tags": list(TAGS), "scheme": "bio", "chain": chain}
    return ServedModel("m", "f", {}, {}, json.loads(json.dumps(assets)), {})


class Runner:
    """Answers runs with emissions that depend on each word alone, and remembers their shapes."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self._table = np.random.default_rng(7).normal(0, 3, (32, len(TAGS))).astype(np.float32)

    def __call__(self, part: str, arrays: Arrays) -> Arrays:
        assert part == "tagger"
        words = arrays["words"]
        self.shapes.append(words.shape)
        return {"emissions": self._table[words] * (words != 0)[:, :, None]}


def ask(model: ServedModel, sentences: Sequence[object], **options: Any) -> list[dict[str, Any]]:
    request = TagRequest.parse({"sentences": list(sentences), **options})
    found = answer(tag(model, request), Runner())
    for item in found:
        TASK.verbs["tag"].prediction.model_validate(item)
    return [dict(item) for item in found]


SENTENCES = st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=20), min_size=1, max_size=9)


@pytest.mark.parametrize("constrained", [True, False])
@given(sentences=SENTENCES, seed=st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_an_answer_depends_on_its_sentence_alone(*, sentences: list[list[str]], seed: int, constrained: bool) -> None:
    """Not on padding, order or company; and only legal tags are served."""
    model = served(seed)
    options: Mapping[str, Any] = {"marginals": True, "n_best": 3, "constrained": constrained}
    together = ask(model, sentences, **options)
    for sentence, found in zip(sentences, together, strict=True):
        (alone,) = ask(model, [sentence], **options)
        assert found["tags"] == alone["tags"]
        assert found["score"] == pytest.approx(alone["score"], abs=1e-9)
        np.testing.assert_allclose(found["marginals"]["probabilities"], alone["marginals"]["probabilities"], atol=1e-9)
        assert found["alternatives"][0]["tags"] == found["tags"]
        assert found["alternatives"][0]["score"] == pytest.approx(found["score"], abs=1e-9)
        assert found["score"] <= 1e-9
        if constrained:
            assert illegal_at(found["tags"], "bio") is None


def test_spans_are_answered_in_iob2_and_the_model_told_of_in_its_own_scheme() -> None:
    """Marginals and transitions are those of the tags that were learnt."""
    tags = tag_set(["B-X"], "bioes")
    model = served()
    model = replace(model, assets={**model.assets, "tags": list(tags), "scheme": "bioes"})
    (found,) = ask(model, [list("abcdeabcde")], marginals=True, transitions=True, n_best=5)
    assert "S-X" in tags
    assert found["marginals"]["tags"] == found["transitions"]["tags"] == tags
    for answered in (found["tags"], *(item["tags"] for item in found["alternatives"])):
        assert set(answered) <= {"O", "B-X", "I-X"}


def test_raw_tags_are_illegal_at_times() -> None:
    """Else the constraint would have nothing to do."""
    sentences = [list(text) for text in ("abcde", "edcba", "aabbc", "ddeea")]
    raw = [item["tags"] for seed in range(5) for item in ask(served(seed), sentences, constrained=False)]
    assert any(illegal_at(tags, "bio") is not None for tags in raw)


def test_spans_follow_from_tags() -> None:
    """Ends are exclusive, the text is that of the tokens."""
    for found in ask(served(3), [["a", "b", "c", "d", "a"], "b c, d"]):
        for span in found["spans"]:
            inside = found["tags"][span["start"] : span["end"]]
            assert inside == [f"{'I' if place else 'B'}-{span['label']}" for place in range(len(inside))]
            assert span["text"] == " ".join(found["tokens"][span["start"] : span["end"]])
        assert sum(item["end"] - item["start"] for item in found["spans"]) == sum(tag != "O" for tag in found["tags"])


def test_transitions_show_what_is_illegal() -> None:
    """As null; the raw table has a number everywhere."""
    (found,) = ask(served(), [["a"]], transitions=True)
    table = found["transitions"]
    assert table["tags"] == TAGS
    assert table["scores"][TAGS.index("O")][TAGS.index("I-X")] is None
    assert table["start"][TAGS.index("I-Y")] is None
    assert isinstance(table["scores"][TAGS.index("B-X")][TAGS.index("I-X")], float)
    (raw,) = ask(served(), [["a"]], transitions=True, constrained=False)
    assert None not in [score for row in raw["transitions"]["scores"] for score in row]


def test_sentences_of_like_length_are_one_run_and_little_is_padding() -> None:
    """A mixed load of 1 to 60 tokens spends less than 15 % of its computation on padding."""
    lengths = np.random.default_rng(1).integers(1, 61, 500)
    runner = Runner()
    request = TagRequest(sentences=tuple(tuple("abcd"[index % 4] for index in range(length)) for length in lengths))
    answer(tag(served(), request), runner)
    computed = sum(rows * time for rows, time in runner.shapes)
    assert 1 - lengths.sum() / computed < 0.15
    assert all(time % TIME_STEP == 0 for _, time in runner.shapes)
    assert len(runner.shapes) < 20
    assert 1 - lengths.sum() / (500 * 60) > 0.4, "padded to the longest nearly half would be"


@pytest.mark.parametrize(
    ("sentence", "pointer", "reason"),
    [
        ([], "/sentences/0", "is empty"),
        ("", "/sentences/0", "is empty"),
        (" \n", "/sentences/0", "is empty"),
        (["a", ""], "/sentences/0/1", "must be a text that is not empty"),
        (["a", 3], "/sentences/0/1", "must be a text"),
        (["a"] * 10_000, "/sentences/0", "has 10000 tokens; at most 2000"),
        (["a" * 1_001], "/sentences/0/0", "has 1001 characters"),
        (7, "/sentences/0", "must be an array of tokens"),
        (None, "/sentences/0", "must be an array of tokens"),
        ({"words": ["a"]}, "/sentences/0", "must be tokens, text"),
        ({"tokens": ["a"], "features": [["x"]]}, "/sentences/0", "has 1 further columns; this model reads none"),
        ({"tokens": ["a"], "features": 3}, "/sentences/0/features", "must be an array of columns"),
    ],
)
def test_sentence_that_is_none_is_named(sentence: object, pointer: str, reason: str) -> None:
    """With the remedy."""
    with pytest.raises(ValidationFailed, match=reason) as refused:
        ask(served(), [sentence])
    assert refused.value.errors[0].pointer == pointer


def test_further_columns_are_asked_for() -> None:
    """A model that learnt from them does not guess: it says that it reads them, and how many values are missing."""
    model = served(columns=1)
    with pytest.raises(ValidationFailed, match=r"has 0 further columns; this model reads 1"):
        ask(model, [["a", "b"]])
    with pytest.raises(ValidationFailed, match="has 1 values for 2 tokens"):
        ask(model, [{"tokens": ["a", "b"], "features": [["x"]]}])
    assert ask(model, [{"tokens": ["a", "b"], "features": [["x", "never seen"]]}])[0]["tags"]


def test_unknown_words_and_letters_are_answered() -> None:
    """Also lone halves of surrogate pairs, which JSON can bring."""
    found = ask(served(), [["\ud83d", "\U0001f600", "\x00", "ñandú", "中文"]])
    assert len(found[0]["tags"]) == 5


def test_text_is_cut_into_tokens() -> None:
    """At spaces, and before and behind marks, but not within words and numbers."""
    (found,) = sentences_of(["Mr. O'Neill's 1,000.50 e-mails (all)!"], 0)
    assert found.tokens == ("Mr", ".", "O'Neill's", "1,000.50", "e-mails", "(", "all", ")", "!")


def test_words_are_seen_as_they_are_spelt() -> None:
    """The features of Huang et al. (2015), §4.3."""
    kinds = {"the": "lower", "The": "capital", "A": "capital", "NATO": "upper", "McCoy": "mixed", "1984": "digits"}
    kinds |= {"F16": "letters_and_digits", "...": "punctuation", "iPod": "mixed", "中": "other"}
    assert {word: capitals(word) for word in kinds} == kinds
    assert (pattern("Boeing-747"), pattern_summary("Boeing-747")) == ("Aaaaaa-000", "Aa-0")
    assert (affix("running", -3), affix("running", 3), affix("by", -3)) == ("ing", "run", "^by$")
    assert normalized("May-1984", lower_case=True, digits=True) == "may-0000"
    assert normalized("May-1984", lower_case=False, digits=False) == "May-1984"
    assert {"capitals:capital", "summary:Aa", "-3:ing", "2:ru"} <= set(spelling("Running"))
    assert all(len(spelling(word)) <= context.SPELLING_VALUES for word in ("a", "don't", "x" * 99))


def test_encoding_survives_the_manifest() -> None:
    """What is looked up after a round through JSON is what was looked up in training; new words are unknown."""
    learnt = Encoding.learnt(TRAIN, ALL)
    again = Encoding(json.loads(json.dumps(learnt.record())))
    new = Sentence(("Unseen", "DOG", "2024"), (("N", "N", "?"),))
    for name, array in learnt.arrays([*TRAIN, new]).items():
        np.testing.assert_array_equal(again.arrays([*TRAIN, new])[name], array)
    assert again.word("DOG") == again.word("dog")
    assert again.word("2024") == again.word("1984")
    assert again.word("unseen") == 1
    arrays = learnt.arrays(TRAIN)
    assert arrays["words"].shape == (2, TIME_STEP)
    assert arrays["symbols"].shape == (2, TIME_STEP, 4)
    assert arrays["features"].shape == (2, TIME_STEP, context.templates(ALL.templates, 1))
    assert not arrays["features"][1, 2:].any()


def test_rare_words_and_features_are_left_out() -> None:
    """By the least counts asked for."""
    asked = Asked(least_count=2, templates=("context",), least_feature_count=2)
    twice = [Sentence(("a", "b", "a")), Sentence(("a", "c"))]
    learnt = Encoding.learnt(twice, asked)
    assert learnt.words.symbols == ("a",)
    everything = Encoding.learnt(twice, Asked(templates=("context",)))
    assert 0 < len(learnt.features) < len(everything.features)


def test_sparse_features_name_words_at_places() -> None:
    """The same word before and behind are two features; beyond the ends of a sentence is a word of its own."""
    one = Sentence(("a", "b"))
    (first,) = context.hashes([one], ("context",), context.values_of)
    (second,) = context.hashes([Sentence(("b", "a"))], ("context",), context.values_of)
    assert all(len(np.unique(row)) == row.size for row in first)
    assert first[0, 2] == second[1, 2], "the word itself, wherever it stands"
    assert first[0, 3] != second[1, 1], "the word behind is not the word before"
    (alone,) = context.hashes([Sentence(("a",))], ("context",), context.values_of)
    assert alone[0, 3] != first[0, 3]
    both = context.hashes([one, one], ("context",), context.values_of)
    np.testing.assert_array_equal(both[1], first)  # a sentence does not see its neighbours


def test_long_words_keep_their_ends() -> None:
    """The first and the last letters."""
    learnt = Encoding.learnt([Sentence(("abcdefghijklmnopqrstuvwxyz" * 2,))], Asked(characters=True))
    (row,) = learnt.rows([Sentence(("a" * 20 + "b" * 20,))])
    assert learnt.characters is not None
    half = MOST_LETTERS // 2
    wanted = [learnt.characters.index("a")] * half + [learnt.characters.index("b")] * half
    assert row["characters"][0, :MOST_LETTERS].tolist() == wanted


def test_padding_is_zero_everywhere() -> None:
    """Behind each sentence and each word."""
    rows = Encoding.learnt(TRAIN, ALL).rows(TRAIN)
    batch = padded(rows)
    assert batch["words"].shape == (2, 6)
    assert not batch["words"][1, 2:].any()
    assert not batch["characters"][1, 2:].any()
