"""Verb ``translate``: beam search around the exported encoder and step, and the text that its tokens make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from models.contract.errors import ValidationFailed
from models.contract.task import Array, Codec, Prediction, ServedModel, StreamCodec
from models.data.texts.pairs import LONGEST_SENTENCE
from models.data.texts.segmentation import SPACE, Segmentation
from models.data.vocabulary import UNKNOWN
from models.seq2seq.beam import Hypothesis, Search, beam_search
from models.seq2seq.greedy import greedy_stream
from models.seq2seq.languages import Languages
from models.translation.requests import MOST_TOKENS, TranslateRequest


@dataclass(frozen=True)
class Source:
    """A sentence as it is read."""

    tokens: Sequence[str]
    indices: Array

    @property
    def unknown(self) -> int:
        """How many of its tokens have no index of their own."""
        return int((self.indices == UNKNOWN).sum())


def translate(model: ServedModel, request: TranslateRequest) -> Codec:
    """Yield runs of encoder and steps; return a translation of each sentence.

    Raises:
        ValidationFailed: a sentence is empty, too long or holds nothing that the model knows, or the beam is too wide.
    """
    languages = model.once(Languages.of)
    check_beam(model, request.beam)
    sources: dict[int, Source] = {}
    errors: dict[int, ValidationFailed] = {}
    for position, sentence in enumerate(request.sentences):
        try:
            sources[position] = source_of(languages, sentence, f"/sentences/{position}")
        except ValidationFailed as error:
            if not request.partial:
                raise
            errors[position] = error
    found = yield from beam_search([source.indices for source in sources.values()], search_of(request))
    beams = dict(zip(sources, found, strict=True))
    return [
        _failed(errors[position])
        if position in errors
        else translated(languages, sources[position], beams[position], request)
        for position in range(len(request.sentences))
    ]


def stream(model: ServedModel, request: TranslateRequest) -> StreamCodec:
    """Do the same for one sentence by greedy search, and yield each piece of the text when it is sure."""
    languages = model.once(Languages.of)
    source = source_of(languages, request.sentences[0], "/sentences/0")

    def told(indices: Array, attention: Array | None) -> str:
        looked = _as_written(languages, attention)
        return languages.target.text(_tokens(languages, source, indices, looked, request)[0])

    hypothesis = yield from greedy_stream(source.indices, search_of(request), told)
    return translated(languages, source, [hypothesis], request)


def search_of(request: TranslateRequest) -> Search:
    """Return how the request wants to search."""
    longest = (2.0, 10) if request.longest is None else (0.0, request.longest)
    return Search(request.beam, request.length_penalty, request.coverage_penalty, longest)


def check_beam(model: ServedModel, beam: int) -> None:
    """Return if the model's step gives as many candidates as ``beam`` hypotheses.

    Raises:
        ValidationFailed: it gives fewer.
    """
    widest = cast("int", model.config["widest_beam"])
    if beam > widest:
        detail = f"is {beam}; this model searches {widest} hypotheses at most (its option widest_beam)"
        raise ValidationFailed.at("/beam_size", detail)


def source_of(languages: Languages, sentence: str, pointer: str) -> Source:
    """Return the sentence as the encoder reads it.

    Raises:
        ValidationFailed: it is empty, too long, or none of its tokens is known; says which and the limit.
    """
    source = source_read(languages, sentence, pointer)
    tokens = source.tokens
    if not tokens:
        raise ValidationFailed.at(pointer, "is empty; send a sentence")
    most = MOST_TOKENS["character" if languages.source.unit == "character" else "word"]
    if len(tokens) > most:
        detail = f"has {len(tokens)} tokens; a sentence has at most {most}. Break it up"
        raise ValidationFailed.at(pointer, detail)
    letters = [token for token in tokens if token != SPACE]
    if source.unknown == len(letters) and languages.source.unit in ("character", "bpe"):
        detail = "holds no character that the model has seen; write it in the language that the model translates"
        raise ValidationFailed.at(pointer, detail)
    return source


def source_read(languages: Languages, sentence: str, pointer: str) -> Source:
    """Return the same for any sentence that is not beyond measure.

    Raises:
        ValidationFailed: it has more characters than datasets may have.
    """
    if len(sentence) > LONGEST_SENTENCE:
        detail = f"has {len(sentence)} characters; a sentence has at most {LONGEST_SENTENCE}. Break it up"
        raise ValidationFailed.at(pointer, detail)
    tokens = languages.source.cut(sentence)
    return Source(tokens, languages.read(tokens))


def translated(
    languages: Languages, source: Source, beam: Sequence[Hypothesis], request: TranslateRequest
) -> Prediction:
    """Return the prediction of a sentence whose ``beam`` has the best hypothesis first."""
    best = beam[0]
    looked = _as_written(languages, best.attention)
    tokens, copied = _tokens(languages, source, best.indices, looked, request)
    answer: dict[str, object] = {
        "translation": languages.target.text(tokens),
        "score": best.score,
        "log_probability": best.log_probability,
        "source_tokens": [languages.source.shown(token) for token in source.tokens],
        "target_tokens": [languages.target.shown(token) for token in tokens],
        "attention": looked.tolist() if looked is not None and request.attention else None,
        "copied": copied,
        "unknown": source.unknown,
        "complete": best.ended,
    }
    if request.n_best > 1:
        answer["n_best"] = [_alternative(languages, source, other, request) for other in beam[: request.n_best]]
    return answer


def _alternative(
    languages: Languages, source: Source, hypothesis: Hypothesis, request: TranslateRequest
) -> Mapping[str, object]:
    looked = _as_written(languages, hypothesis.attention)
    tokens, _ = _tokens(languages, source, hypothesis.indices, looked, request)
    return {
        "translation": languages.target.text(tokens),
        "score": hypothesis.score,
        "log_probability": hypothesis.log_probability,
        "target_tokens": [languages.target.shown(token) for token in tokens],
    }


def _tokens(
    languages: Languages, source: Source, indices: Array, looked: Array | None, request: TranslateRequest
) -> tuple[list[str], list[int]]:
    """Return the target's tokens, and which of them were copied."""
    target: Segmentation = languages.target
    tokens = [target.token(index) for index in cast("list[int]", indices.tolist())]
    copied: list[int] = []
    if request.copy_unknown and looked is not None:
        copied = np.flatnonzero(indices == UNKNOWN).tolist()
        for position in copied:
            tokens[position] = source.tokens[int(looked[position].argmax())]
    return tokens, copied


def _as_written(languages: Languages, attention: Array | None) -> Array | None:
    """Return attention (target, source) with the source as it was written, whichever way it was read."""
    return attention[:, ::-1] if attention is not None and languages.reverse_source else attention


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
