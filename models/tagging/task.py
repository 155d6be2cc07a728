"""Tagging: a tag for every token, and the spans that they make. Verb ``tag``; runs of the part ``tagger``.

Sentences of like length are one run, the chain of tags is decoded in numpy behind it (:mod:`models.tagging.chain`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from pydantic import ConfigDict, Field

from models.contract.config import Options
from models.contract.task import Array, Call, Codec, Evaluation, Prediction, Query, ServedModel, Split, Task, Verb
from models.data.tag_schemes import Scheme, Span, converted, illegal_at, spans_of
from models.tagging.chain import Chain, log_partition, marginals, n_best, viterbi
from models.tagging.dataset import sentences_in, tags_in
from models.tagging.encoding import TIME_STEP, Encoding, padded
from models.tagging.scores import scores
from models.tagging.sentences import Input, Sentence, sentences_of

PART = "tagger"
LARGEST_REQUEST = 1_024
MOST_ALTERNATIVES = 100
EVALUATION_BATCH = 256
RUN_TOKENS = 8_192
"""Tokens that one run computes at most, padding included."""


class TagRequest(Options):
    """What to tag."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    sentences: tuple[Input, ...] = Field(
        min_length=1, max_length=LARGEST_REQUEST, description="One sentence per prediction."
    )
    marginals: bool = Field(default=False, description="Whether to return the probability of every tag of every token.")
    transitions: bool = Field(default=False, description="Whether to return the scores that join the tags.")
    constrained: bool = Field(default=True, description="Whether only sequences that the scheme allows are answers.")
    n_best: int = Field(default=1, ge=1, le=MOST_ALTERNATIVES, description="How many of the best sequences to return.")


class TaggedSpan(Options):
    """Tokens from ``start`` up to ``end``, which have one label together."""

    label: str
    start: int
    end: int
    text: str


class Alternative(Options):
    """Another sequence of tags and its log-probability in nats."""

    tags: tuple[str, ...]
    score: float


class Marginals(Options):
    """Probabilities (tokens, tags) of the tags named, in the scheme that the model learnt."""

    tags: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]


class Transitions(Options):
    """Scores in nats of first tags, of pairs (before, behind) and of last tags; null is illegal."""

    tags: tuple[str, ...]
    start: tuple[float | None, ...]
    scores: tuple[tuple[float | None, ...], ...]
    end: tuple[float | None, ...]


class TaggedSentence(Options):
    """The best tags of one sentence and their log-probability in nats.

    Tags of spans are in IOB2; with ``constrained`` false they are raw, in the scheme that the model learnt, as
    those of marginals and transitions always are.
    """

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    spans: tuple[TaggedSpan, ...]
    score: float
    alternatives: tuple[Alternative, ...] | None = Field(default=None, description="Only with `n_best` above 1.")
    marginals: Marginals | None = Field(default=None, description="Only with `marginals`.")
    transitions: Transitions | None = Field(default=None, description="Only with `transitions`.")


@dataclass(frozen=True)
class Decoder:
    """What a model's assets say of encoding and decoding; made once per loaded version."""

    encoding: Encoding
    tags: tuple[str, ...]
    scheme: Scheme
    free: Chain
    constrained: Chain

    @classmethod
    def of(cls, model: ServedModel) -> Decoder:
        """Return that of ``model``."""
        assets = model.assets
        tags, scheme = tuple(cast("list[str]", assets["tags"])), cast("Scheme", assets["scheme"])
        chain = Chain.of(cast("Mapping[str, object]", assets["chain"]))
        encoding = Encoding(cast("Mapping[str, object]", assets["encoding"]))
        return cls(encoding, tags, scheme, chain, chain.constrained(tags, scheme))

    def answered(self, path: Sequence[int], *, constrained: bool) -> list[str]:
        """Return the tags of ``path`` as they are answered: spans in IOB2, raw ones in the scheme that was learnt."""
        tags = [self.tags[index] for index in path]
        return converted(tags, "bio") if constrained and self.scheme != "none" else tags


def tag(model: ServedModel, request: TagRequest) -> Codec:
    """Yield runs of the tagger over sentences of like length; return tags, spans and scores in the order asked."""
    decoder = model.once(Decoder.of)
    sentences = sentences_of(request.sentences, decoder.encoding.columns)
    rows = decoder.encoding.rows(sentences)
    predictions: list[Prediction] = [{} for _ in sentences]
    for chosen in _runs([len(sentence.tokens) for sentence in sentences]):
        outputs = yield Call(PART, padded([rows[index] for index in chosen], TIME_STEP))
        group = [sentences[index] for index in chosen]
        for index, prediction in zip(chosen, _decoded(decoder, request, group, outputs["emissions"]), strict=True):
            predictions[index] = prediction
    return predictions


def _runs(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the sentences of each run: equal in length once padded to whole steps, shortest first."""
    steps: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        steps.setdefault(-(-length // TIME_STEP), []).append(index)
    for step, indices in sorted(steps.items()):
        size = max(1, RUN_TOKENS // (step * TIME_STEP))
        for start in range(0, len(indices), size):
            yield indices[start : start + size]


def _decoded(
    decoder: Decoder, request: TagRequest, sentences: Sequence[Sentence], emissions: Array
) -> Iterator[Prediction]:
    chain = decoder.constrained if request.constrained else decoder.free
    lengths = np.array([len(sentence.tokens) for sentence in sentences])
    emissions = emissions[:, : lengths.max()]
    best = viterbi(emissions, lengths, chain)
    totals = log_partition(emissions, lengths, chain)
    shares = marginals(emissions, lengths, chain) if request.marginals else None
    for index, (sentence, length) in enumerate(zip(sentences, lengths.tolist(), strict=True)):
        tags = decoder.answered(best.tags[index, :length].tolist(), constrained=request.constrained)
        spans = spans_of(tags) if decoder.scheme != "none" else []
        prediction: dict[str, object] = {
            "tokens": sentence.tokens,
            "tags": tags,
            "spans": [_span(sentence, span) for span in spans],
            "score": float(best.scores[index] - totals[index]),
        }
        if request.n_best > 1:
            prediction["alternatives"] = [
                {
                    "tags": decoder.answered(path, constrained=request.constrained),
                    "score": score - float(totals[index]),
                }
                for path, score in n_best(emissions[index, :length], chain, request.n_best)
            ]
        if shares is not None:
            prediction["marginals"] = {"tags": decoder.tags, "probabilities": shares[index, :length].tolist()}
        if request.transitions:
            prediction["transitions"] = _table(decoder.tags, chain)
        yield prediction


def _span(sentence: Sentence, span: Span) -> dict[str, object]:
    text = " ".join(sentence.tokens[span.start : span.end])
    return {"label": span.label, "start": span.start, "end": span.end, "text": text}


def _table(tags: Sequence[str], chain: Chain) -> dict[str, object]:
    def finite(values: Array) -> list[float | None]:
        return [value if np.isfinite(value) else None for value in values.tolist()]

    return {
        "tags": tags,
        "start": finite(chain.start),
        "scores": [finite(row) for row in chain.transitions],
        "end": finite(chain.end),
    }


class Tagging(Task):
    """Tags for every token."""

    name = "tagging"
    headline = "f1"
    verbs: ClassVar[Mapping[str, Verb]] = {"tag": Verb(request=TagRequest, prediction=TaggedSentence, codec=tag)}

    def evaluation(self, model: ServedModel, split: Split) -> Evaluation:
        """Tag every sentence; return ``accuracy``, ``f1`` and, of spans, ``precision`` and ``recall`` as shares.

        With spans it is asked again without the constraint: ``f1_unconstrained``, and the share of sentences whose raw
        tags are illegal, ``illegal_unconstrained``; ``illegal`` is the share among those that are served.
        """
        decoder = model.once(Decoder.of)
        truth = tags_in(split)
        served: list[Sequence[str]] = []
        raw: list[Sequence[str]] = []
        spans = decoder.scheme != "none"
        for start in range(0, len(truth), EVALUATION_BATCH):
            chunk = tuple(sentences_in(split, decoder.encoding.columns, start, start + EVALUATION_BATCH))
            answered = yield Query("tag", TagRequest(sentences=chunk))
            served += [cast("Sequence[str]", item["tags"]) for item in answered]
            if spans:
                answered = yield Query("tag", TagRequest(sentences=chunk, constrained=False))
                raw += [cast("Sequence[str]", item["tags"]) for item in answered]
        found = scores(served, truth, spans=spans)
        if spans:
            found["illegal"] = _illegal_share(served, "bio")
            found["f1_unconstrained"] = scores(raw, truth, spans=True)["f1"]
            found["illegal_unconstrained"] = _illegal_share(raw, decoder.scheme)
        return found


TASK = Tagging()


def _illegal_share(sentences: Sequence[Sequence[str]], scheme: Scheme) -> float:
    """Return the share of sentences whose tags break the rules of ``scheme``."""
    return sum(illegal_at(tags, scheme) is not None for tags in sentences) / len(sentences)
