"""What is asked of a language model, and the form of what it answers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from models.contract.config import Options

LONGEST_TEXT = 131_072
MOST_TEXTS = 4_096

Text = Annotated[str, StringConstraints(max_length=LONGEST_TEXT)]


class CompleteRequest(Options):
    """A text to go on with, and how."""

    prompt: Text = Field(default="", description="The text so far; without any, a line begins.")
    tokens: int = Field(default=100, ge=1, le=10_000, description="How many words or characters to add at most.")
    temperature: float = Field(
        default=1.0, ge=0, le=100, description="Logits are divided by it; 0 takes the likeliest token each time."
    )
    top_k: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Draw among so many of the likeliest tokens; all when null."
    )
    seed: int | None = Field(
        default=None, ge=0, lt=2**63, description="Of the draws; when null one is drawn, and the answer tells it."
    )
    stop: str | None = Field(
        default=None, min_length=1, max_length=200, description="Text before which the completion ends."
    )
    stream: bool = Field(default=False, description="Whether the answer comes token by token, as server-sent events.")


class Completed(Options):
    """How a text goes on."""

    text: str = Field(description="What follows the prompt, without it.")
    tokens: int = Field(description="Tokens drawn.")
    ended: str = Field(description="tokens: as many as were asked for; stop: the stop text came.")
    log_probability: float = Field(description="Of the tokens drawn, in nats, at temperature 1 among all tokens.")
    seed: int = Field(description="With which the same request gives the same text.")
    unknown: int = Field(description="Tokens of the prompt that the model does not know.")


class ScoreRequest(Options):
    """Texts whose likelihood is asked."""

    texts: tuple[Text, ...] = Field(min_length=1, max_length=MOST_TEXTS, description="One prediction each.")
    each: bool = Field(default=False, description="Whether to return every token with its log-probability.")


class TokenScore(Options):
    """One token of a text."""

    token: str
    log_probability: float


class Scored(Options):
    """How likely a text is, from the beginning of a line."""

    log_probability: float = Field(description="Of all tokens, in nats.")
    tokens: int
    perplexity: float = Field(description="exp of the negative mean log-probability of a token.")
    unknown: int = Field(description="Tokens that the model does not know; each has the probability of all such.")
    each: tuple[TokenScore, ...] | None = Field(default=None, description="Only with `each`.")
