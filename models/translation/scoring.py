"""Verb ``score``: how likely a given translation is, and where each of its tokens looks."""

from __future__ import annotations

import math

import numpy as np

from models.contract.task import Codec, Prediction, ServedModel
from models.data.texts.segmentation import END, END_INDEX
from models.data.vocabulary import UNKNOWN
from models.seq2seq.forced import Forced, forced
from models.seq2seq.languages import Languages
from models.seq2seq.writing import Sentence, turned
from models.translation.requests import ScoreRequest
from models.translation.translating import check_weights, sentence_read, tokens_of


def score(model: ServedModel, request: ScoreRequest) -> Codec:
    """Yield runs of encoder and steps; return the likelihood of each target.

    Raises:
        ValidationFailed: a source or a target is too long, or there is too much attention; says which and the limit.
    """
    languages = model.once(Languages.of)
    sources: list[Sentence] = []
    targets: list[list[str]] = []
    for position, pair in enumerate(request.pairs):
        sources.append(sentence_read(languages, pair.source, f"/pairs/{position}/source"))
        targets.append(tokens_of(languages.target, pair.target, f"/pairs/{position}/target"))
    written = [np.append(languages.target.indices(tokens), END_INDEX) for tokens in targets]
    if request.attention:
        lengths = ((len(target), len(sentence.source)) for target, sentence in zip(written, sources, strict=True))
        check_weights(model, lengths, "set it to false, or send fewer pairs")
    found = yield from forced([sentence.source for sentence in sources], written, attention=request.attention)
    return [
        _scored(languages, source, target, own) for source, target, own in zip(sources, targets, found, strict=True)
    ]


def _scored(languages: Languages, source: Sentence, target: list[str], found: Forced) -> Prediction:
    total = float(found.log_probabilities.sum())
    return {
        "log_probability": total,
        "tokens": len(found.log_probabilities),
        "perplexity": math.exp(min(-total / len(found.log_probabilities), 700.0)),
        "unknown": int((languages.target.indices(target) == UNKNOWN).sum()),
        "source_tokens": [languages.source.shown(token) for token in source.tokens],
        "target_tokens": [*(languages.target.shown(token) for token in target), END],
        "attention": turned(languages, found.attention),
    }
