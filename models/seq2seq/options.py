"""Options of every network that writes one sequence for another, and what does not go together."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.contract.config import Options
from models.contract.errors import FieldError, ValidationFailed
from models.contract.training import GradientTraining

Attending = Literal["none", "additive", "dot", "general", "concat", "local_m", "local_p"]
LOCAL: tuple[Attending, ...] = ("local_m", "local_p")
MOST_WIDE = 64


class Seq2SeqConfig(Options):
    """Options of encoder, decoder, attention and vocabulary."""

    vocabulary: Literal["bpe", "word", "character", "hybrid"] = Field(
        default="bpe",
        description="What a token is: bpe, a piece of a word that byte-pair merges make; word; character; or hybrid, a "
        "word, spelt letter by letter where it is unknown.",
    )
    vocabulary_size: int = Field(
        default=4_000, ge=1, le=200_000, description="How many tokens are known at most, the most frequent ones."
    )
    least_count: int = Field(
        default=2, ge=1, le=1_000_000, description="How often the training split must have a token for it to be known."
    )
    joint: bool = Field(default=True, description="Whether one vocabulary is learnt from both sides together.")
    cell: Literal["gru", "lstm"] = Field(default="gru", description="gru or lstm.")
    hidden: int = Field(
        default=128, ge=2, le=8_192, description="Units of each layer; a layer that reads both ways has half each way."
    )
    embedding: int = Field(default=128, ge=1, le=8_192, description="Size of a token's vector.")
    depth: int = Field(default=1, ge=1, le=16, description="Layers of the encoder, and of the decoder.")
    bidirectional: Literal["none", "first", "all"] = Field(
        default="all", description="Which layers of the encoder read both ways: none, the first, or all."
    )
    residual: bool = Field(
        default=False, description="Whether each layer above the first adds what goes into it to what comes out."
    )
    attention: Attending = Field(
        default="general",
        description="How a state of the decoder is scored with those of the encoder: additive, dot, general, concat; "
        "local_m and local_p look at a window only; none sees the encoder's last state alone.",
    )
    window: int = Field(default=10, ge=1, le=1_000, description="Tokens that local attention sees on either side.")
    decoder: Literal["luong", "bahdanau"] = Field(
        default="luong",
        description="luong attends with the state behind a step; bahdanau with the one before, and the step reads "
        "what was found.",
    )
    input_feeding: bool = Field(
        default=False, description="Whether a step of luong's decoder reads what the step before attended to."
    )
    summary: Literal["state", "every_step"] = Field(
        default="state",
        description="Without attention: whether the encoder's last state starts the decoder, or every step reads it.",
    )
    reverse_source: bool = Field(default=False, description="Whether the source is read from its end.")
    tied: bool = Field(
        default=True,
        description="Whether the output takes the vectors of target tokens as its weights; outputs are projected to "
        "their size where it differs.",
    )
    dropout: float = Field(
        default=0.3, ge=0, lt=1, description="Share dropped of vectors, between layers and before the output."
    )
    scheduled_sampling: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of target tokens that are the network's own at the end of training, risen linearly from 0.",
    )
    widest_beam: int = Field(default=16, ge=1, le=MOST_WIDE, description="Largest beam that can be asked for.")


class Seq2SeqTraining(GradientTraining):
    """Training options: Adam at 1e-3, decayed linearly to zero, the norm of the gradient at most 1."""

    gradient_clip: float | None = Field(default=1.0, gt=0, description="Largest norm of the whole gradient.")


def check(config: Seq2SeqConfig) -> None:
    """Return if the options go together.

    Raises:
        ValidationFailed: an option would do nothing, or cannot be done, beside another; names each.
    """
    attends, given = config.attention != "none", config.model_fields_set
    rules = {
        "hidden": (
            config.bidirectional != "none" and config.hidden % 2 == 1,
            f"is {config.hidden}; layers that read both ways need an even number",
        ),
        "residual": (config.residual and config.depth == 1, "has no effect at depth 1; set depth to 2 or more"),
        "input_feeding": (
            config.input_feeding and (not attends or config.decoder == "bahdanau"),
            "is for luong's decoder with attention; choose these, or set it to false",
        ),
        "decoder": (
            config.decoder == "bahdanau" and config.attention in ("none", *LOCAL),
            "bahdanau attends to all of the source; choose attention additive, dot, general or concat",
        ),
        "window": (
            "window" in given and config.attention not in LOCAL,
            "is used by attention local_m and local_p only",
        ),
        "summary": ("summary" in given and attends, "is used without attention only; remove it"),
    }
    errors = [FieldError(f"/config/{name}", detail) for name, (wrong, detail) in rules.items() if wrong]
    if errors:
        raise ValidationFailed("; ".join(f"{item.pointer}: {item.detail}" for item in errors), errors)
