"""Training options. ``TrainingOptions`` is what every family takes; ``GradientTraining`` adds the optimiser.

A family that does not use an option does not declare it, so that sending it is an error naming it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from models.contract.config import Options
from models.contract.errors import ValidationFailed

Optimizer = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"]
Schedule = Literal["constant", "linear", "cosine", "one_cycle"]
Precision = Literal["32", "bf16-mixed", "16-mixed"]
Ended = Literal["plan", "early_stopping", "max_seconds"]
"""Why a training ended: all its epochs were done, or a rule among its options ended it before."""


@dataclass(frozen=True)
class Plan:
    """How many examples there are, how often they are gone through, and how many a step sees."""

    examples: int
    epochs: int
    batch_size: int
    steps_per_epoch: int

    @classmethod
    def of(cls, examples: int, epochs: int, batch_size: int) -> Plan:
        """Return the plan for a split of ``examples``; the last batch of an epoch may be smaller."""
        size = min(batch_size, examples)
        return cls(examples=examples, epochs=epochs, batch_size=size, steps_per_epoch=-(-examples // size))

    @property
    def steps(self) -> int:
        """Steps over all epochs."""
        return self.epochs * self.steps_per_epoch


class TrainingOptions(Options):
    """What every family takes. Without options of its own a family sees the whole split in one step."""

    kept_on_resume: ClassVar[frozenset[str]] = frozenset({"seed"})
    """Options that a resumed job cannot change, because its checkpoint depends on them."""

    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of every random draw of the job.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where to train; auto takes a GPU if there is one."
    )
    devices: Literal[1] = Field(default=1, description="Number of devices; a learner of the family's own uses one.")
    max_seconds: float | None = Field(
        default=None,
        gt=0,
        description="Seconds of training, summed over attempts, after which it ends at the next step and what was "
        "learnt is published; a resumed job begins to count anew. No limit when null.",
    )

    def plan(self, examples: int) -> Plan:
        """Return how a training split of ``examples`` is gone through: here one step over all of it."""
        return Plan.of(examples, epochs=1, batch_size=examples)

    def check_splits(self, counts: Mapping[str, int]) -> None:
        """Return if a dataset with these splits can be trained on with these options.

        Raises:
            ValidationFailed: an option needs a split that the dataset does not have.
        """


class EarlyStopping(Options):
    """Stop when the validation loss has not improved, and keep the best parameters."""

    patience: int = Field(default=5, ge=1, le=1000, description="Epochs without improvement before stopping.")


class GradientTraining(TrainingOptions):
    """Options of every family trained by gradient steps."""

    kept_on_resume: ClassVar[frozenset[str]] = frozenset({"seed", "batch_size", "devices", "optimizer", "momentum"})

    epochs: int = Field(default=10, ge=1, le=100_000, description="Passes over the training split.")
    batch_size: int = Field(default=128, ge=1, le=65_536, description="Examples per step and device.")
    devices: int = Field(  # pyright: ignore[reportIncompatibleVariableOverride] - frozen: nobody can assign to it
        default=1,
        ge=1,
        le=64,
        description="Devices, or processes on the CPU, that take each step together: a step sees devices × batch_size "
        "examples.",
    )
    optimizer: Optimizer = Field(default="adam", description="sgd, momentum, nesterov, adagrad, rmsprop or adam.")
    learning_rate: float = Field(default=1e-3, gt=0, le=100, description="Initial (one_cycle: largest) learning rate.")
    final_learning_rate: float = Field(
        default=0.0, ge=0, le=100, description="Learning rate at the last step of the linear and cosine schedules."
    )
    momentum: float | None = Field(
        default=None, ge=0, lt=1, description="Momentum of sgd, momentum (0.9), nesterov (0.9) and rmsprop."
    )
    schedule: Schedule = Field(default="linear", description="constant, linear, cosine or one_cycle.")
    l1: float = Field(default=0.0, ge=0, le=100, description="Factor of the sum of |w| over weights, biases left out.")
    l2: float = Field(
        default=0.0, ge=0, le=100, description="Factor of half the sum of w² over weights, biases left out."
    )
    gradient_clip: float | None = Field(default=None, gt=0, description="Largest norm of the whole gradient.")
    early_stopping: EarlyStopping | None = Field(default=None, description="Off when null.")
    precision: Precision = Field(
        default="32",
        description="Of the steps: 32 bits; bf16-mixed, bfloat16 where it does no harm; 16-mixed, half precision and a "
        "scaled loss, on GPUs.",
    )
    compile: bool = Field(default=False, description="Whether torch compiles the steps first; on GPUs.")

    def check_splits(self, counts: Mapping[str, int]) -> None:
        """Refuse early stopping without a validation split."""
        if self.early_stopping is not None and not counts.get("validation"):
            detail = "needs a validation split, which this dataset does not have; upload one or set it to null"
            raise ValidationFailed.at("/training/early_stopping", detail)

    def plan(self, examples: int) -> Plan:
        """Return ``epochs`` passes in batches of ``devices`` × ``batch_size``."""
        return Plan.of(examples, self.epochs, self.devices * self.batch_size)

    @model_validator(mode="after")
    def _momentum_is_used(self) -> Self:
        if self.momentum is not None and self.optimizer in ("adam", "adagrad"):
            message = f"momentum is not used by the optimizer '{self.optimizer}'; remove it or choose 'momentum'"
            raise ValueError(message)
        return self
