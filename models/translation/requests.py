"""What is asked of a translation model, and the form of what it answers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from models.contract.config import Options
from models.contract.findings import FieldMisfit
from models.seq2seq.asking import beam_of, check_n_best
from models.seq2seq.options import MOST_WIDE

MOST_SENTENCES = 1_024
MOST_TOKENS = {"word": 500, "character": 2_000}
"""Of one sentence, in words or pieces of them and in characters: far more than such networks are trained on."""

MOST_WEIGHTS = 2**22
"""Attention weights of an answer, target × source tokens of all sentences, as long as targets may get: some 50 MB of
JSON."""

MOST_ALTERNATIVE_TOKENS = 2**22
"""Tokens of all translations of an answer with ``n_best``, as long as they may get."""


Sentence = Annotated[str, StringConstraints(max_length=1_000_000)]


class TranslateRequest(Options):
    """Sentences to be translated, and how to search."""

    sentences: tuple[Sentence, ...] = Field(
        min_length=1, max_length=MOST_SENTENCES, description="One sentence per prediction, as text."
    )
    beam_size: int | None = Field(
        default=None, ge=1, le=MOST_WIDE, description="Hypotheses kept: 5, or 1 with `stream`; 1 is greedy search."
    )
    n_best: int = Field(default=1, ge=1, le=MOST_WIDE, description="Translations returned of each, at most the beam.")
    length_penalty: float = Field(
        default=0.6, ge=0, le=10, description="α: the log-probability is divided by ((5 + length) / 6) to the power α."
    )
    coverage_penalty: float = Field(
        default=0.2, ge=0, le=10, description="β: source tokens that got little attention cost; 0 without attention."
    )
    longest: int | None = Field(
        default=None, ge=1, le=2_000, description="Most tokens of a translation; twice its source's and ten by default."
    )
    attention: bool = Field(default=True, description="Whether to return where each token of a translation looked.")
    copy_unknown: bool = Field(
        default=True, description="Whether an unknown token is replaced by the source's that it looked at most."
    )
    partial: bool = Field(
        default=False,
        description="Whether a sentence that cannot be read gets an `error` in place of a translation, and the others "
        "are answered; else the request is refused.",
    )
    stream: bool = Field(
        default=False, description="Whether the answer comes token by token, as server-sent events; of one sentence."
    )

    @model_validator(mode="after")
    def _goes_together(self) -> TranslateRequest:
        if self.stream and self.beam != 1:
            detail = f"is {self.beam}, and stream is for greedy search: set it to 1, or leave it out"
            raise FieldMisfit("beam_size", detail)
        if self.stream and len(self.sentences) != 1:
            raise FieldMisfit("sentences", f"are {len(self.sentences)}, and stream is for one: send one at a time")
        check_n_best(self.n_best, self.beam)
        return self

    @property
    def beam(self) -> int:
        """How wide the beam is."""
        return beam_of(self.beam_size, stream=self.stream)


class Alternative(Options):
    """Another translation of the same sentence."""

    translation: str
    score: float
    log_probability: float
    target_tokens: tuple[str, ...]


class SentenceError(Options):
    """Why a sentence was not translated."""

    detail: str
    pointer: str


class Translated(Options):
    """The best translation of a sentence; with ``partial`` there may be an error in its place."""

    translation: str | None
    score: float | None = Field(description="Log-probability in nats with both penalties, by which beams are ranked.")
    log_probability: float | None = Field(description="Of the translation and its end, in nats.")
    source_tokens: tuple[str, ...]
    target_tokens: tuple[str, ...]
    attention: tuple[tuple[float, ...], ...] | None = Field(
        default=None, description="(target tokens × source tokens), each row sums to 1; null without attention."
    )
    copied: tuple[int, ...] = Field(
        default=(), description="Target tokens that were unknown and taken from the source."
    )
    spelt: tuple[int, ...] = Field(default=(), description="Target tokens that were unknown and spelt by letters.")
    unknown: int = Field(default=0, description="Tokens of the source that the model does not know.")
    complete: bool = Field(default=True, description="False where the longest allowed length cut the translation.")
    n_best: tuple[Alternative, ...] | None = Field(
        default=None, description="Only with `n_best` above 1: the best translations, the first included."
    )
    error: SentenceError | None = Field(default=None, description="Only with `partial`.")


class Pair(Options):
    """A sentence with a translation."""

    source: Sentence
    target: Sentence


class ScoreRequest(Options):
    """Translations whose likelihood is asked."""

    pairs: tuple[Pair, ...] = Field(min_length=1, max_length=MOST_SENTENCES, description="One prediction each.")
    attention: bool = Field(default=False, description="Whether to return where each token of a target looked.")


class ScoredPair(Options):
    """How likely a translation is."""

    log_probability: float = Field(description="Of all target tokens and the end, in nats.")
    tokens: int = Field(description="Target tokens, the end included.")
    perplexity: float = Field(description="exp of the negative mean log-probability of a token.")
    unknown: int = Field(description="Target tokens that the model does not know; each counts as any such.")
    source_tokens: tuple[str, ...]
    target_tokens: tuple[str, ...]
    attention: tuple[tuple[float, ...], ...] | None = Field(
        default=None, description="Only with `attention`: (target tokens × source tokens)."
    )
