"""How two networks are trained against one another: the options of Algorithm 1. Torch-free."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.contract.training import Plan, TrainingOptions


class AdversarialTraining(TrainingOptions):
    """Options of both optimisers, which are Adam's, and of the game (Goodfellow et al. 2014, Alg. 1)."""

    epochs: int = Field(default=30, ge=1, le=100_000, description="Passes over the training split.")
    batch_size: int = Field(default=100, ge=1, le=1_000_000, description="Images per step, real and drawn.")
    discriminator_steps: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Steps of the discriminator before each of the generator, k of the paper's algorithm 1; an epoch "
        "has as many of the discriminator as it has batches.",
    )
    discriminator_learning_rate: float = Field(default=2e-4, gt=0, le=1, description="Of the discriminator.")
    generator_learning_rate: float = Field(default=2e-4, gt=0, le=1, description="Of the generator.")
    schedule: Literal["constant", "linear"] = Field(
        default="constant", description="Of both learning rates: constant, or falling linearly to zero."
    )
    first_moment_decay: float = Field(
        default=0.5, ge=0, lt=1, description="Adam's decay of the mean gradient, on both sides."
    )
    objective: Literal["non_saturating", "minimax"] = Field(
        default="non_saturating",
        description="What the generator does: non_saturating, raise log D(G(z)); minimax, lower log(1 − D(G(z))), "
        "whose gradient vanishes while the discriminator wins.",
    )
    gradient_penalty: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="Factor of half the mean squared slope of the discriminator at real images; 0 is the paper.",
    )

    def plan(self, examples: int) -> Plan:
        """Return ``epochs`` passes in batches of ``batch_size``."""
        return Plan.of(examples, self.epochs, self.batch_size)
