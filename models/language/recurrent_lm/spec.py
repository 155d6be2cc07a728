"""What the recurrent language model takes and promises."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.contract.config import Options
from models.contract.spec import FamilySpec
from models.contract.tensors import PartSignature, TensorSignature
from models.contract.training import GradientTraining


class RecurrentLmConfig(Options):
    """Options of the network."""

    level: Literal["character", "word"] = Field(default="character", description="What a token is: character or word.")
    vocabulary_size: int = Field(
        default=10_000, ge=1, le=1_000_000, description="How many tokens are known at most, the most frequent ones."
    )
    least_count: int = Field(
        default=2, ge=1, le=1_000_000, description="How often the training split must have a token for it to be known."
    )
    cell: Literal["rnn", "lstm", "lstm_without_forget_gate", "peephole_lstm", "gru"] = Field(
        default="gru", description="rnn, lstm, lstm_without_forget_gate, peephole_lstm or gru."
    )
    hidden: int = Field(default=128, ge=1, le=8_192, description="Units of each recurrent layer.")
    layers: int = Field(default=1, ge=1, le=16, description="Recurrent layers, one above another.")
    embedding: int = Field(default=64, ge=1, le=8_192, description="Size of a token's vector.")
    tied: bool = Field(
        default=False,
        description="Whether the output takes the vectors of the tokens as its weights; the last layer is projected to "
        "their size where it differs.",
    )
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Share dropped of what goes into and comes out of the layers in training."
    )
    window: int = Field(
        default=32, ge=1, le=4_096, description="Steps that the gradient goes back; the state goes on beyond them."
    )


class RecurrentLmTraining(GradientTraining):
    """Training options: Adam at 2e-3, decayed linearly to zero, the norm of the gradient at most 1."""

    devices: Literal[1] = Field(default=1, description="Number of devices: the streams go on from step to step on one.")  # pyright: ignore[reportIncompatibleVariableOverride] - frozen: nobody can assign to it
    batch_size: int = Field(default=32, ge=1, le=65_536, description="Streams of text that are read side by side.")
    learning_rate: float = Field(default=2e-3, gt=0, le=100, description="Initial (one_cycle: largest) learning rate.")
    gradient_clip: float | None = Field(default=1.0, gt=0, description="Largest norm of the whole gradient.")


TOKENS = TensorSignature(name="tokens", dtype="int64", shape=("batch", "time"))
TARGETS = TensorSignature(name="targets", dtype="int64", shape=("batch", "time"))
LENGTHS = TensorSignature(name="lengths", dtype="int64", shape=("batch",))
STATE = TensorSignature(name="state", shape=("batch", "state"))
NEXT_STATE = TensorSignature(name="next_state", shape=("batch", "state"))

SPEC = FamilySpec(
    name="recurrent_lm",
    task="language",
    title="Recurrent language model of words or characters",
    paper="Mikolov et al. (2010), Recurrent neural network based language model, Interspeech; Zaremba et al. (2014), "
    "Recurrent Neural Network Regularization",
    dataset_kinds=("text",),
    config=RecurrentLmConfig,
    training=RecurrentLmTraining,
    parts={
        "reader": PartSignature(
            inputs=(TOKENS, LENGTHS, STATE),
            outputs=(
                TensorSignature(name="logits", shape=("batch", "vocabulary"), quantity="logits"),
                NEXT_STATE,
            ),
        ),
        "scorer": PartSignature(
            inputs=(TOKENS, TARGETS, LENGTHS, STATE),
            outputs=(
                TensorSignature(name="log_probabilities", shape=("batch", "time"), quantity="log_probabilities"),
                NEXT_STATE,
            ),
        ),
    },
)
