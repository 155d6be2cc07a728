"""Verbs of translation around an untrained network: what is asked, refused, streamed and drawn."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from PIL import Image

from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays, Call, Piece, ServedModel, answer, evaluate
from models.data.texts.segmentation import END_INDEX
from models.data.vocabulary import UNKNOWN
from models.translation.encoder_decoder.family import EncoderDecoderFamily
from models.translation.encoder_decoder.spec import EncoderDecoderConfig
from models.translation.requests import Pair, ScoreRequest, TranslateRequest
from models.translation.task import TASK

SOURCES = ["ein Mann läuft", "zwei Männer laufen", "ein Hund"]
TARGETS = ["a man runs", "two men run", "a dog"]
TINY: dict[str, Any] = {"least_count": 1, "hidden": 8, "embedding": 6, "widest_beam": 8, "vocabulary_size": 60}


class Served:
    """An untrained model whose parts are run in torch."""

    def __init__(self, seed: int = 1, *, unknowing: bool = False, **config: object) -> None:
        family = EncoderDecoderFamily(EncoderDecoderConfig.parse({**TINY, **config}), {"lowercase": False})
        dtype = np.dtypes.StringDType()
        split: dict[str, Array] = {"sources": np.array(SOURCES, dtype), "targets": np.array(TARGETS, dtype)}
        family.study(split, {})
        module = family.build(torch.Generator().manual_seed(seed)).eval()
        with torch.no_grad():  # targets of some tokens, unknown ones among them if asked
            module.get_parameter("output_bias")[END_INDEX] = -1.0
            module.get_parameter("output_bias")[UNKNOWN] = 2.0 if unknowing else 0.0
        self._exports = family.export(module)
        signatures = {name: export.signature for name, export in self._exports.items()}
        options = family.config.model_dump(mode="json")
        self.model = ServedModel("m", "encoder_decoder", options, family.meta, family.assets(module), signatures)

    def run(self, part: str, arrays: Arrays) -> Arrays:
        export = self._exports[part]
        tensors = [torch.from_numpy(np.ascontiguousarray(arrays[item.name])) for item in export.signature.inputs]
        with torch.no_grad():
            outputs = (export.reference or export.module)(*tensors)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return {item.name: value.numpy() for item, value in zip(export.signature.outputs, outputs, strict=True)}

    def ask(self, *sentences: str, **options: Any) -> list[Any]:
        verb = TASK.verbs["translate"]
        request = TranslateRequest.parse({"sentences": sentences, **options})
        found = _sent(list(answer(verb.codec(self.model, request), self.run)))
        for item in found:
            verb.prediction.model_validate(item)
        return found

    def score(self, *pairs: dict[str, str], **options: object) -> list[Any]:
        request = ScoreRequest.parse({"pairs": pairs, **options})
        found = _sent(list(answer(TASK.verbs["score"].codec(self.model, request), self.run)))
        for item in found:
            TASK.verbs["score"].prediction.model_validate(item)
        return found

    def draw(self, form: str, *sentences: str) -> bytes:
        picture = TASK.verbs["translate"].picture
        assert picture is not None
        request = picture.complete(self.model, TranslateRequest(sentences=sentences, attention=False))
        predictions = list(answer(TASK.verbs["translate"].codec(self.model, request), self.run))
        return picture.further.get(form, picture.draw)(self.model, request, predictions)

    def stream(self, sentence: str) -> tuple[str, Any]:
        stream = TASK.verbs["translate"].stream
        assert stream is not None
        codec: Any = stream.codec(self.model, TranslateRequest(sentences=(sentence,), stream=True))
        told = ""
        try:
            step = next(codec)
            while True:
                told += str(step.content["text"]) if isinstance(step, Piece) else ""
                step = codec.send(self.run(step.part, step.arrays) if isinstance(step, Call) else None)
        except StopIteration as stop:
            return told, _sent(stop.value)


def _sent(answered: object) -> Any:  # noqa: ANN401 - JSON
    """Return what clients get."""
    return orjson.loads(orjson.dumps(answered, option=orjson.OPT_SERIALIZE_NUMPY))


@pytest.mark.parametrize("unit", ["bpe", "word", "character", "hybrid"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_stream_tells_what_greedy_search_answers(unit: str, seed: int) -> None:
    """Unknown words copied or spelt included."""
    served = Served(seed, unknowing=seed == 3, vocabulary=unit)
    for sentence in SOURCES:
        (whole,) = served.ask(sentence, beam_size=1)
        told, last = served.stream(sentence)
        assert told == whole["translation"]
        assert told
        assert last == whole


def test_unknown_words_are_copied_from_where_they_looked() -> None:
    """Only if asked to, and the answer says which."""
    served = Served(vocabulary="word", vocabulary_size=4, unknowing=True)
    (plain,) = served.ask("ein Mann läuft", copy_unknown=False, longest=4, beam_size=1)
    (copied,) = served.ask("ein Mann läuft", longest=4, beam_size=1)
    assert "<unk>" in plain["target_tokens"]
    assert plain["copied"] == []
    looked = np.array(copied["attention"])
    for place in copied["copied"]:
        assert copied["target_tokens"][place] == copied["source_tokens"][looked[place].argmax()]
    assert "<unk>" not in copied["target_tokens"]


def test_the_best_are_ranked_and_the_first_is_the_answer() -> None:
    """At most as many as asked for."""
    (found,) = Served().ask("ein Hund", beam_size=6, n_best=4)
    scores = [item["score"] for item in found["n_best"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 4
    assert found["n_best"][0]["translation"] == found["translation"]


def test_a_model_without_attention_has_none_to_show() -> None:
    """Null in answers, and no picture."""
    served = Served(attention="none")
    assert served.ask("ein Hund", attention=True)[0]["attention"] is None
    with pytest.raises(ValidationFailed, match="no attention to draw"):
        served.draw("image/png", "ein Hund")


def test_pictures_show_every_sentence() -> None:
    """As PNG and SVG, with line breaks and long words in labels; too many sentences or cells are refused."""
    served = Served()
    with Image.open(io.BytesIO(served.draw("image/png", "ein\nMann", "ein Hund"))) as picture:
        assert picture.format == "PNG"
    assert served.draw("image/svg+xml", "ein Hund").startswith(b"<svg")
    with pytest.raises(ValidationFailed, match="at most 16 maps"):
        served.draw("image/png", *["ein Hund"] * 17)
    with pytest.raises(ValidationFailed, match="at most 40000"):
        served.draw("image/svg+xml", "ein Hund " * 100)


@pytest.mark.parametrize(
    ("sentence", "detail"),
    [(" ", "is empty"), ("Hund " * 10_000, "at most"), ("日本", "no character"), ("a" * 30_000, "at most 20000")],
)
def test_sentences_that_cannot_be_read_are_named(sentence: str, detail: str) -> None:
    """They refuse the request, or with ``partial`` only themselves."""
    served = Served()
    with pytest.raises(ValidationFailed, match="/sentences/1") as refused:
        served.ask("ein Hund", sentence)
    assert detail in refused.value.errors[0].detail
    good, bad = served.ask("ein Hund", sentence, partial=True)
    assert good == served.ask("ein Hund")[0]
    assert bad["translation"] is None
    assert detail in bad["error"]["detail"]


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize(("unit", "most"), [("word", 500), ("hybrid", 500), ("character", 2_000)])
def test_scores_are_of_sentences_as_long_as_translations(side: str, unit: str, most: int) -> None:
    """Either side is named with the limit."""
    served = Served(vocabulary=unit)
    text = "H " * most if unit != "character" else "H" * most
    pair = {"source": "ein Hund", "target": "a dog"}
    (found,) = served.score({**pair, side: text})
    assert found["attention"] is None
    assert len(found[f"{side}_tokens"]) == most + (side == "target")
    with pytest.raises(ValidationFailed, match=f"/pairs/1/{side}: has {most + 1} tokens; .* at most {most}. Break"):
        served.score(pair, {**pair, side: f"{text}H"})


@pytest.mark.parametrize("reverse", [False, True])
def test_attention_is_answered_as_numbers_of_four_bytes(reverse: object) -> None:
    """Not as a list of Python's, which takes sixteen times the memory and twice the digits."""
    served = Served(reverse_source=reverse)
    translated = answer(
        TASK.verbs["translate"].codec(served.model, TranslateRequest(sentences=("ein Hund",))), served.run
    )
    pair = ScoreRequest(pairs=(Pair(source="ein Hund", target="a dog"),), attention=True)
    scored = answer(TASK.verbs["score"].codec(served.model, pair), served.run)
    for found in (translated[0]["attention"], scored[0]["attention"]):
        assert isinstance(found, np.ndarray)
        assert found.dtype == np.float32
        assert len(orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY)) < 14 * found.size + 100


@pytest.mark.parametrize(
    ("sentences", "options", "pointer", "words"),
    [
        ([500] * 9, {}, "/attention", "may take 4,545,000 weights .* at most 4,194,304: set it to false"),
        ([500] * 9, {"longest": 900, "beam_size": 1}, None, ""),
        ([500] * 9, {"attention": False}, None, ""),
        ([500] * 9, {"longest": 2_000}, "/attention", "may take 9,000,000 weights"),
        ([30] * 1_024, {"n_best": 5}, None, ""),
        ([500] * 1_024, {"n_best": 5, "attention": False}, "/n_best", "may make 5,171,200 tokens .* at most 4,194,304"),
    ],
)
def test_answers_are_bounded_before_anything_is_searched(
    sentences: list[int], options: dict[str, Any], pointer: str | None, words: str
) -> None:
    """By the longest that translations may get; with the remedy."""
    served = Served(vocabulary="word")
    request = TranslateRequest.parse({"sentences": ["Hund " * count for count in sentences], **options})
    if pointer is None:
        assert isinstance(next(TASK.verbs["translate"].codec(served.model, request)), Call)
        return
    with pytest.raises(ValidationFailed, match=words) as refused:
        next(TASK.verbs["translate"].codec(served.model, request))
    assert refused.value.errors[0].pointer == pointer
    without = Served(vocabulary="word", attention="none")
    if pointer == "/attention":
        assert isinstance(next(TASK.verbs["translate"].codec(without.model, request)), Call)


def test_attention_of_scores_is_bounded() -> None:
    """Before anything is read."""
    served, pair = Served(vocabulary="word"), {"source": "Hund " * 500, "target": "dog " * 499}
    codec = TASK.verbs["score"].codec(served.model, ScoreRequest.parse({"pairs": [pair] * 17, "attention": True}))
    with pytest.raises(ValidationFailed, match=r"/attention: may take 4,250,000 weights .* or send fewer pairs"):
        next(codec)
    codec = TASK.verbs["score"].codec(served.model, ScoreRequest.parse({"pairs": [pair] * 17}))
    assert isinstance(next(codec), Call)


def test_pairs_too_long_to_be_served_do_not_end_an_evaluation() -> None:
    """They have no translation, and no part in the loss."""
    served = Served(vocabulary="word")
    dtype = np.dtypes.StringDType()

    def metrics(*pairs: tuple[str, str]) -> dict[str, float]:
        sides = {"sources": [source for source, _ in pairs], "targets": [target for _, target in pairs]}
        split = {name: np.array(texts, dtype) for name, texts in sides.items()}
        return evaluate(TASK, served.model, split, served.run)

    usual = metrics(("ein Hund", "a dog"))
    both = metrics(("ein Hund", "a dog"), ("Hund " * 501, "dog"), ("Hund", "dog " * 501))
    assert both["loss"] == pytest.approx(usual["loss"])
    assert "loss" not in metrics(("Hund " * 501, "dog"))


@pytest.mark.parametrize(
    ("options", "detail"),
    [
        ({"beam_size": 10_000}, "64"),
        ({"beam_size": 9}, "searches 8 hypotheses at most"),
        ({"beam_size": 2, "n_best": 3}, "/n_best: is 3, and beam_size 2"),
        ({"stream": True, "beam_size": 2}, "/beam_size: is 2, and stream is for greedy search"),
        ({"length_penalty": -1}, "greater than or equal to 0"),
    ],
)
def test_searches_that_cannot_be_done_are_refused(options: dict[str, Any], detail: str) -> None:
    with pytest.raises(ValidationFailed, match=detail):
        Served().ask("ein Hund", **options)


def test_the_longest_translation_is_as_asked() -> None:
    """And is told to be cut."""
    (found,) = Served().ask("ein Mann läuft", beam_size=1, longest=2)
    assert len(found["target_tokens"]) <= 2
    assert not found["complete"]
