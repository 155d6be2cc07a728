"""Verb ``translate``: beam search around the exported encoder and step, and the text that its tokens make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from models.contract.errors import ValidationFailed
from models.contract.task import Array, Codec, Piece, Prediction, ServedModel, StreamCodec
from models.data.texts.pairs import LONGEST_SENTENCE
from models.data.texts.segmentation import SPACE, Segmentation
from models.seq2seq.beam import Hypothesis, Search, beam_search
from models.seq2seq.languages import Languages
from models.seq2seq.telling import Likeliest, driven, target_told
from models.seq2seq.writing import Sentence, Words, Written, turned, words_of, written
from models.translation.requests import MOST_ALTERNATIVE_TOKENS, MOST_TOKENS, MOST_WEIGHTS, TranslateRequest


def translate(model: ServedModel, request: TranslateRequest) -> Codec:
    """Yield runs of encoder and steps; return a translation of each sentence.

    Raises:
        ValidationFailed: a sentence is empty, too long or holds nothing that the model knows, or the beam is too wide.
    """
    languages = model.once(Languages.of)
    check_beam(model, request.beam)
    sentences: dict[int, Sentence] = {}
    errors: dict[int, ValidationFailed] = {}
    for position, text in enumerate(request.sentences):
        try:
            sentences[position] = sentence_of(languages, text, f"/sentences/{position}")
        except ValidationFailed as error:
            if not request.partial:
                raise
            errors[position] = error
    check_size(model, request, sentences.values())
    beams = yield from beam_search([sentence.source for sentence in sentences.values()], search_of(request))
    words = iter((yield from words_of(languages, [hypothesis for beam in beams for hypothesis in beam])))
    found = {
        position: _translated(languages, sentence, beam, [next(words) for _ in beam], request)
        for (position, sentence), beam in zip(sentences.items(), beams, strict=True)
    }
    return [
        _failed(errors[position]) if position in errors else found[position]
        for position in range(len(request.sentences))
    ]


def stream(model: ServedModel, request: TranslateRequest) -> StreamCodec:
    """Do the same for one sentence by greedy search, and yield each piece of the text when it is sure.

    Where unknown words are spelt, nothing is sure from the first of them on until all are there.
    """
    languages = model.once(Languages.of)
    sentence = sentence_of(languages, request.sentences[0], "/sentences/0")
    check_size(model, request, [sentence])

    def told(indices: Array, looked: Array | None) -> str:
        return written(languages, sentence, indices, looked, {}, copies=request.copy_unknown).text

    spells = languages.letters is not None
    hypothesis = yield from target_told(sentence.source, search_of(request), told, Likeliest(), spells=spells)
    words = yield from driven(words_of(languages, [hypothesis]))
    if words[0]:
        whole = _written(languages, sentence, hypothesis, words[0], request).text
        said = told(hypothesis.indices[: min(words[0])], _first(hypothesis.looked, min(words[0])))
        yield Piece({"text": whole[len(said) :]})
    return _translated(languages, sentence, [hypothesis], words, request)


def search_of(request: TranslateRequest) -> Search:
    """Return how the request wants to search."""
    longest = (2.0, 10) if request.longest is None else (0.0, request.longest)
    return Search(
        request.beam,
        request.length_penalty,
        request.coverage_penalty,
        longest,
        attention=request.attention,
        returned=request.n_best,
    )


def check_beam(model: ServedModel, beam: int) -> None:
    """Return if the model's step gives as many candidates as ``beam`` hypotheses.

    Raises:
        ValidationFailed: it gives fewer.
    """
    widest = cast("int", model.config["widest_beam"])
    if beam > widest:
        detail = f"is {beam}; this model searches {widest} hypotheses at most (its option widest_beam)"
        raise ValidationFailed.at("/beam_size", detail)


def check_size(model: ServedModel, request: TranslateRequest, sentences: Iterable[Sentence]) -> None:
    """Return if the answer cannot get too large.

    Raises:
        ValidationFailed: it can, by attention or by alternatives; says how large, the limit, and what to ask instead.
    """
    limits = [(search_of(request).limit(len(sentence.source)), len(sentence.source)) for sentence in sentences]
    if request.attention:
        check_weights(model, limits, "set it to false, ask for a shorter 'longest', or send fewer sentences")
    tokens = request.n_best * sum(target for target, _ in limits)
    if request.n_best > 1 and tokens > MOST_ALTERNATIVE_TOKENS:
        detail = (
            f"may make {tokens:,} tokens of translations; an answer has at most {MOST_ALTERNATIVE_TOKENS:,}. "
            "Ask for fewer, or send fewer sentences"
        )
        raise ValidationFailed.at("/n_best", detail)


def check_weights(model: ServedModel, lengths: Iterable[tuple[int, int]], remedy: str) -> None:
    """Return if attention over targets and sources of these ``lengths`` is not too much for an answer.

    Raises:
        ValidationFailed: it is; says how much, the limit and the ``remedy``.
    """
    weights = sum(target * source for target, source in lengths)
    if weights > MOST_WEIGHTS and model.config["attention"] != "none":
        detail = (
            f"may take {weights:,} weights (target × source tokens of all sentences); an answer has at most "
            f"{MOST_WEIGHTS:,}: {remedy}"
        )
        raise ValidationFailed.at("/attention", detail)


def sentence_of(languages: Languages, text: str, pointer: str) -> Sentence:
    """Return the sentence as the encoder reads it.

    Raises:
        ValidationFailed: it is empty, too long, or none of its tokens is known; says which and the limit.
    """
    sentence = sentence_read(languages, text, pointer)
    if not sentence.tokens:
        raise ValidationFailed.at(pointer, "is empty; send a sentence")
    letters = [token for token in sentence.tokens if token != SPACE]
    if sentence.unknown == len(letters) and languages.source.unit in ("character", "bpe"):
        detail = "holds no character that the model has seen; write it in the language that the model translates"
        raise ValidationFailed.at(pointer, detail)
    return sentence


def sentence_read(languages: Languages, text: str, pointer: str) -> Sentence:
    """Return the same for any sentence that is not too long.

    Raises:
        ValidationFailed: it is; says the limit.
    """
    return Sentence.of(languages, tokens_of(languages.source, text, pointer))


def tokens_of(side: Segmentation, text: str, pointer: str) -> list[str]:
    """Return the tokens of a sentence of either side.

    Raises:
        ValidationFailed: it has more characters than datasets may have, or more tokens than are taken at once.
    """
    if len(text) > LONGEST_SENTENCE:
        detail = f"has {len(text)} characters; a sentence has at most {LONGEST_SENTENCE}. Break it up"
        raise ValidationFailed.at(pointer, detail)
    tokens, most = side.cut(text), most_tokens(side)
    if len(tokens) > most:
        detail = f"has {len(tokens)} tokens; a sentence has at most {most}. Break it up"
        raise ValidationFailed.at(pointer, detail)
    return tokens


def most_tokens(side: Segmentation) -> int:
    """Return the most tokens that a sentence has."""
    return MOST_TOKENS["character" if side.unit == "character" else "word"]


def _translated(
    languages: Languages,
    sentence: Sentence,
    beam: Sequence[Hypothesis],
    words: Sequence[Words],
    request: TranslateRequest,
) -> Prediction:
    """Return the prediction of a sentence whose ``beam`` has the best hypothesis first, each with its spelt words."""
    targets = [_written(languages, sentence, *pair, request) for pair in zip(beam, words, strict=True)]
    best, target = beam[0], targets[0]
    answer: dict[str, object] = {
        "translation": target.text,
        "score": best.score,
        "log_probability": best.log_probability,
        "source_tokens": [languages.source.shown(token) for token in sentence.tokens],
        "target_tokens": [languages.target.shown(token) for token in target.tokens],
        "attention": turned(languages, best.attention),
        "copied": target.copied,
        "spelt": target.spelt,
        "unknown": sentence.unknown,
        "complete": best.ended,
    }
    if request.n_best > 1:
        answer["n_best"] = [_alternative(languages, *pair) for pair in zip(beam, targets, strict=True)]
    return answer


def _written(
    languages: Languages, sentence: Sentence, hypothesis: Hypothesis, words: Words, request: TranslateRequest
) -> Written:
    return written(languages, sentence, hypothesis.indices, hypothesis.looked, words, copies=request.copy_unknown)


def _alternative(languages: Languages, hypothesis: Hypothesis, target: Written) -> Mapping[str, object]:
    return {
        "translation": target.text,
        "score": hypothesis.score,
        "log_probability": hypothesis.log_probability,
        "target_tokens": [languages.target.shown(token) for token in target.tokens],
    }


def _first(looked: Array | None, count: int) -> Array | None:
    return None if looked is None else looked[:count]


def _failed(error: ValidationFailed) -> Prediction:
    (item,) = error.errors
    return {
        "translation": None,
        "score": None,
        "log_probability": None,
        "source_tokens": [],
        "target_tokens": [],
        "attention": None,
        "error": {"detail": item.detail, "pointer": item.pointer},
    }
