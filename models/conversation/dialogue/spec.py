"""What the conversational model takes and promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from models.contract.config import Options
from models.contract.spec import FamilySpec
from models.contract.training import TrainingOptions
from models.seq2seq.options import MOST_WIDE, Seq2SeqConfig, Seq2SeqTraining, check
from models.seq2seq.parts import OPTIONAL, PARTS
from models.seq2seq.sizes import check_size


class DialogueConfig(Seq2SeqConfig):
    """Options of the network."""

    vocabulary: Literal["bpe", "word", "character", "hybrid"] = Field(  # pyright: ignore[reportIncompatibleVariableOverride] - frozen: nobody can assign to it
        default="word",
        description="What a token is: word; bpe, a piece of a word that byte-pair merges make; character; or hybrid, a "
        "word, spelt letter by letter where it is unknown.",
    )
    vocabulary_size: int = Field(
        default=8_000, ge=1, le=200_000, description="How many tokens are known at most, the most frequent ones."
    )
    context_turns: int = Field(
        default=2, ge=0, le=100, description="Turns before a reply that are read; with none it is unconditional."
    )
    longest: int = Field(
        default=60,
        ge=1,
        le=1_000,
        description="Words: so many of the turns are read, the last ones, and longer replies are cut behind them.",
    )
    widest_beam: int = Field(
        default=40,
        ge=1,
        le=MOST_WIDE,
        description="Largest beam or top_k that can be asked for.",
    )


class DialogueTraining(Seq2SeqTraining):
    """Training options: Adam at 1e-3, decayed linearly to zero, the norm of the gradient at most 1."""


def _check(config: Options, training: TrainingOptions, meta: Mapping[str, object]) -> None:
    del training, meta
    assert isinstance(config, DialogueConfig)
    check(config)
    check_size(config)


SPEC = FamilySpec(
    name="dialogue",
    task="conversation",
    title="Recurrent encoder-decoder that replies to what was said",
    paper="Vinyals and Le (2015), A Neural Conversational Model, ICML Deep Learning Workshop, §3",
    dataset_kinds=("dialogues",),
    config=DialogueConfig,
    training=DialogueTraining,
    parts=PARTS,
    optional_parts=OPTIONAL,
    check=_check,
)
