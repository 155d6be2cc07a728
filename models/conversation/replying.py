"""Verbs ``reply`` and ``score``: the turns are read as one source, the reply is searched for or drawn."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from itertools import islice
from typing import cast

from models.contract.errors import ValidationFailed
from models.contract.task import Array, Codec, Piece, Prediction, ServedModel, StreamCodec
from models.conversation.exchanges import TURN, source_text, unmarked
from models.conversation.requests import MOST_TOKENS, ReplyRequest, ScoreRequest
from models.data.texts.segmentation import Segmentation
from models.data.vocabulary import RESERVED, UNKNOWN
from models.seq2seq.beam import Hypothesis, Search, beam_search
from models.seq2seq.forced import forced
from models.seq2seq.languages import Languages
from models.seq2seq.running import Running
from models.seq2seq.telling import Drawn, Likeliest, driven, target_told, whole
from models.seq2seq.writing import Sentence, Words, words_of, written

SEED_BITS = 48


def reply(model: ServedModel, request: ReplyRequest) -> Codec:
    """Yield runs of encoder and steps; return the reply.

    Raises:
        ValidationFailed: no turn says anything, or the beam is too wide for the model.
    """
    if request.temperature is not None:
        return [(yield from whole(stream(model, request)))]
    languages = model.once(Languages.of)
    sentence = _read(model, languages, request.turns)
    _check_width(model, "beam_size", request.beam)
    (beam,) = yield from beam_search([sentence.source], _search(model, request))
    beam = beam[: request.n_best]
    words = yield from _spelt(languages, beam)
    return [_replied(languages, sentence, beam, words, request)]


def stream(model: ServedModel, request: ReplyRequest) -> StreamCodec:
    """Do the same by greedy search or draws, and yield each piece of the reply when it is sure."""
    languages = model.once(Languages.of)
    sentence = _read(model, languages, request.turns)
    seed: int | None = None
    choice: Likeliest | Drawn = Likeliest()
    if request.temperature is not None:
        _check_width(model, "top_k", request.top_k or 1)
        seed = secrets.randbits(SEED_BITS) if request.seed is None else request.seed
        choice = Drawn(request.temperature, request.top_k, seed)

    def told(indices: Array, looked: Array | None) -> str:
        return written(languages, sentence, indices, looked, {}, copies=False).text

    spells = languages.letters is not None
    hypothesis = yield from target_told(sentence.source, _search(model, request), told, choice, spells=spells)
    words = yield from driven(_spelt(languages, [hypothesis]))
    if words[0]:
        text = written(languages, sentence, hypothesis.indices, None, words[0], copies=False).text
        yield Piece({"text": text[len(told(hypothesis.indices[: min(words[0])], None)) :]})
    return _replied(languages, sentence, [hypothesis], words, request, seed)


def score(model: ServedModel, request: ScoreRequest) -> Codec:
    """Yield runs of encoder and steps; return the likelihood of each reply.

    Raises:
        ValidationFailed: a reply has too many tokens.
    """
    languages = model.once(Languages.of)
    sentences = [_sentence(model, languages, said.turns) for said in request.exchanges]
    targets = [languages.written(unmarked(said.reply)) for said in request.exchanges]
    most = most_tokens(languages.target)
    for position, target in enumerate(targets):
        if len(target) - 1 > most:
            detail = f"has {len(target) - 1} tokens; a reply has at most {most}. Cut it"
            raise ValidationFailed.at(f"/exchanges/{position}/reply", detail)
    found = yield from forced([sentence.source for sentence in sentences], targets)
    answers: list[Prediction] = []
    for target, own in zip(targets, found, strict=True):
        total = float(own.log_probabilities.sum())
        perplexity = math.exp(min(-total / len(target), 700.0))
        unknown = int((target == UNKNOWN).sum())
        answers.append({"log_probability": total, "tokens": len(target), "perplexity": perplexity, "unknown": unknown})
    return answers


def most_tokens(side: Segmentation) -> int:
    """Return the most tokens that are read of turns, the last ones, and that a reply may have."""
    return MOST_TOKENS["character" if side.unit == "character" else "word"]


def _read(model: ServedModel, languages: Languages, turns: Sequence[str]) -> Sentence:
    """Return the turns as the encoder reads them.

    Raises:
        ValidationFailed: the last of them is empty.
    """
    if not languages.source.normalized(unmarked(turns[-1])):
        raise ValidationFailed.at(f"/turns/{len(turns) - 1}", "is empty; the last turn is what is replied to")
    return _sentence(model, languages, turns)


def _sentence(model: ServedModel, languages: Languages, turns: Sequence[str]) -> Sentence:
    context, longest = (cast("int", model.config[name]) for name in ("context_turns", "longest"))
    said = (turn for turn in map(languages.source.normalized, map(unmarked, reversed(turns))) if turn)
    read = list(islice(said, context))[::-1]
    return Sentence.of(
        languages, languages.source.cut(source_text(read, context, longest))[-most_tokens(languages.source) :]
    )


def _search(model: ServedModel, request: ReplyRequest) -> Search:
    spells = model.config["vocabulary"] == "hybrid"
    return Search(request.beam, request.length_penalty, 0.0, (0.0, request.longest), spells, model.once(_marks))


def _marks(model: ServedModel) -> tuple[int, ...]:
    """Return the target tokens with the mark between turns, which a joint vocabulary has."""
    symbols = model.once(Languages.of).target.vocabulary.symbols
    return tuple(index for index, symbol in enumerate(symbols, start=RESERVED) if TURN in symbol)


def _spelt(languages: Languages, hypotheses: Sequence[Hypothesis]) -> Running[list[Words]]:
    """Return the spelt words of each of ``hypotheses``, without marks."""
    found = yield from words_of(languages, hypotheses)
    return [{place: unmarked(word) for place, word in words.items()} for words in found]


def _check_width(model: ServedModel, field: str, width: int) -> None:
    widest = cast("int", model.config["widest_beam"])
    if width > widest:
        detail = f"is {width}; this model gives the {widest} best tokens of a step (its option widest_beam)"
        raise ValidationFailed.at(f"/{field}", detail)


def _replied(
    languages: Languages,
    sentence: Sentence,
    beam: Sequence[Hypothesis],
    words: Sequence[Words],
    request: ReplyRequest,
    seed: int | None = None,
) -> Prediction:
    texts = [
        written(languages, sentence, hypothesis.indices, None, own, copies=False).text
        for hypothesis, own in zip(beam, words, strict=True)
    ]
    best = beam[0]
    answer: dict[str, object] = {
        "reply": texts[0],
        "score": best.score,
        "log_probability": best.log_probability,
        "tokens": len(best.indices),
        "complete": best.ended,
        "unknown": sentence.unknown,
    }
    if seed is not None:
        answer["seed"] = seed
    if request.n_best > 1:
        answer["n_best"] = [
            {"reply": text, "score": item.score, "log_probability": item.log_probability}
            for text, item in zip(texts, beam, strict=True)
        ]
    return answer
