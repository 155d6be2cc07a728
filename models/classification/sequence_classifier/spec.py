"""What the recurrent classifier takes and promises."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.contract.config import Options
from models.contract.spec import FamilySpec
from models.contract.tensors import PartSignature, TensorSignature
from models.contract.training import GradientTraining


class SequenceClassifierConfig(Options):
    """Options of the network."""

    level: Literal["word", "character"] = Field(default="word", description="What a token is: word or character.")
    vocabulary_size: int = Field(
        default=20_000, ge=1, le=1_000_000, description="How many tokens are known at most, the most frequent ones."
    )
    least_count: int = Field(
        default=2, ge=1, le=1_000_000, description="How often the training split must have a token for it to be known."
    )
    cell: Literal["rnn", "lstm", "lstm_without_forget_gate", "peephole_lstm", "gru"] = Field(
        default="gru", description="rnn, lstm, lstm_without_forget_gate, peephole_lstm or gru."
    )
    bidirectional: bool = Field(default=True, description="Whether the text is read from its end as well.")
    hidden: int = Field(default=64, ge=1, le=8_192, description="Units of each recurrent layer and direction.")
    layers: int = Field(default=1, ge=1, le=16, description="Recurrent layers, one above another.")
    embedding: int = Field(default=64, ge=1, le=8_192, description="Size of a token's vector.")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share dropped of vectors, between layers and of the last state."
    )
    longest: int = Field(
        default=1_000, ge=1, le=100_000, description="Tokens that are read of a text; what goes beyond is left out."
    )


class SequenceClassifierTraining(GradientTraining):
    """Training options: Adam at 2e-3, decayed linearly to zero, the norm of the gradient at most 1."""

    batch_size: int = Field(default=32, ge=1, le=65_536, description="Examples per step and device.")
    learning_rate: float = Field(default=2e-3, gt=0, le=100, description="Initial (one_cycle: largest) learning rate.")
    gradient_clip: float | None = Field(default=1.0, gt=0, description="Largest norm of the whole gradient.")


SPEC = FamilySpec(
    name="sequence_classifier",
    task="classification",
    title="Recurrent classifier of texts",
    paper="Goodfellow et al. (2016), Deep Learning, §10.2 and §10.3; Cho et al. (2014), Learning Phrase "
    "Representations using RNN Encoder-Decoder, EMNLP",
    dataset_kinds=("labelled_text",),
    config=SequenceClassifierConfig,
    training=SequenceClassifierTraining,
    parts={
        "classifier": PartSignature(
            inputs=(
                TensorSignature(name="tokens", dtype="int64", shape=("batch", "time")),
                TensorSignature(name="lengths", dtype="int64", shape=("batch",)),
            ),
            outputs=(
                TensorSignature(name="logits", shape=("batch", "classes"), quantity="logits"),
                TensorSignature(name="probabilities", shape=("batch", "classes"), quantity="probabilities"),
            ),
        )
    },
)
