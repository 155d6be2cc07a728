"""What is asked of a conversational model, and the form of what it answers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from models.contract.config import Options
from models.contract.findings import FieldMisfit
from models.data.kinds.dialogues import LONGEST_TURN
from models.seq2seq.asking import beam_of, check_n_best
from models.seq2seq.options import MOST_WIDE

MOST_TURNS = 1_000
MOST_EXCHANGES = 1_024
MOST_TOKENS = {"word": 1_000, "character": 2_000}
"""Of the turns that are read together, and of a reply, in words or pieces of them and in characters."""


Turn = Annotated[str, StringConstraints(max_length=LONGEST_TURN)]


class ReplyRequest(Options):
    """A conversation so far, and how to reply."""

    turns: tuple[Turn, ...] = Field(
        min_length=1, max_length=MOST_TURNS, description="What was said, the last turn last; speakers take turns."
    )
    beam_size: int | None = Field(
        default=None,
        ge=1,
        le=MOST_WIDE,
        description="Hypotheses kept to find a likely reply: 5, or 1 with `stream`; not with `temperature`.",
    )
    n_best: int = Field(default=1, ge=1, le=MOST_WIDE, description="Replies returned, at most the beam.")
    length_penalty: float = Field(
        default=0.6, ge=0, le=10, description="α: the log-probability is divided by ((5 + length) / 6) to the power α."
    )
    temperature: float | None = Field(
        default=None, gt=0, le=100, description="Draws the reply token by token, log-probabilities divided by it."
    )
    top_k: int | None = Field(
        default=None, ge=1, le=MOST_WIDE, description="With `temperature`: among so many of the likeliest tokens."
    )
    seed: int | None = Field(
        default=None, ge=0, lt=2**63, description="Of the draws; when null one is drawn, and the answer tells it."
    )
    longest: int = Field(default=40, ge=1, le=1_000, description="Most tokens of the reply.")
    stream: bool = Field(default=False, description="Whether the reply comes token by token, as server-sent events.")

    @model_validator(mode="after")
    def _goes_together(self) -> ReplyRequest:
        if self.temperature is None:
            for name in ("top_k", "seed"):
                if getattr(self, name) is not None:
                    raise FieldMisfit(name, "is for draws: send a temperature too, or leave it out")
        elif self.beam_size is not None or self.n_best > 1:
            name = "n_best" if self.beam_size is None else "beam_size"
            raise FieldMisfit(name, "is for search, and temperature draws one reply: leave one of them out")
        if self.stream and self.temperature is None and self.beam != 1:
            detail = f"is {self.beam}, and stream is for draws and greedy search: set it to 1, or send a temperature"
            raise FieldMisfit("beam_size", detail)
        check_n_best(self.n_best, self.beam)
        return self

    @property
    def beam(self) -> int:
        """How wide the beam is."""
        return beam_of(self.beam_size, stream=self.stream)


class OtherReply(Options):
    """Another reply to the same turns."""

    reply: str
    score: float
    log_probability: float


class Replied(Options):
    """What the model says next."""

    reply: str
    score: float = Field(description="Log-probability in nats with the length penalty, by which beams are ranked.")
    log_probability: float = Field(description="Of the reply and its end, in nats.")
    tokens: int = Field(description="Tokens of the reply.")
    complete: bool = Field(description="False where the longest allowed length cut the reply.")
    unknown: int = Field(description="Tokens of the turns read that the model does not know.")
    seed: int | None = Field(default=None, description="With which the same request draws the same reply.")
    n_best: tuple[OtherReply, ...] | None = Field(
        default=None, description="Only with `n_best` above 1: the best replies, the first included."
    )


class Said(Options):
    """Turns, and what was said then."""

    turns: tuple[Turn, ...] = Field(min_length=1, max_length=MOST_TURNS)
    reply: Turn


class ScoreRequest(Options):
    """Replies whose likelihood is asked."""

    exchanges: tuple[Said, ...] = Field(min_length=1, max_length=MOST_EXCHANGES, description="One prediction each.")


class ScoredReply(Options):
    """How likely a reply is."""

    log_probability: float = Field(description="Of all its tokens and the end, in nats.")
    tokens: int = Field(description="Its tokens, the end included.")
    perplexity: float = Field(description="exp of the negative mean log-probability of a token.")
    unknown: int = Field(description="Its tokens that the model does not know; each counts as any such.")
