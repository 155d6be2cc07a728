"""What the fully connected adversarial networks take and promise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from models.contract.config import Options
from models.contract.spec import FamilySpec
from models.contract.training import TrainingOptions
from models.data.images.facts import ImageFacts
from models.generation.adversarial.limits import check_parameters, dense_weights
from models.generation.adversarial.part import HEADLINE, NAME, VERBS, signature
from models.generation.adversarial.training import AdversarialTraining

Units = Annotated[int, Field(ge=1, le=16_384)]


class GanConfig(Options):
    """Options of both networks."""

    noise: int = Field(default=100, ge=1, le=4096, description="Size of the noise that an image is made of.")
    generator_sizes: tuple[Units, ...] = Field(
        default=(256, 512), max_length=16, description="Units of each hidden layer of the generator."
    )
    discriminator_sizes: tuple[Units, ...] = Field(
        default=(512, 256), min_length=1, max_length=16, description="Units of each hidden layer of the discriminator."
    )
    dropout: float = Field(
        default=0.3, ge=0, lt=1, description="Share of the discriminator's hidden units dropped in training."
    )


class GanTraining(AdversarialTraining):
    """Training options with the defaults of this family: without the penalty MNIST's generator collapses in minutes."""

    epochs: int = Field(default=20, ge=1, le=100_000, description="Passes over the training split.")
    discriminator_learning_rate: float = Field(default=5e-4, gt=0, le=1, description="Of the discriminator.")
    generator_learning_rate: float = Field(default=5e-4, gt=0, le=1, description="Of the generator.")
    gradient_penalty: float = Field(
        default=1.0,
        ge=0,
        le=1000,
        description="Factor of half the mean squared slope of the discriminator at real images; 0 is the paper.",
    )


def check(config: Options, training: TrainingOptions, meta: Mapping[str, object]) -> None:
    """Return if the networks fit a sensible amount of memory.

    Raises:
        ValidationFailed: there would be too many weights; names the option.
    """
    del training
    assert isinstance(config, GanConfig)
    pixels = math.prod(ImageFacts.of(meta).shape)
    check_parameters(
        {
            "/config/generator_sizes": dense_weights([config.noise, *config.generator_sizes, pixels]),
            "/config/discriminator_sizes": dense_weights([pixels, *config.discriminator_sizes, 1]),
        }
    )


SPEC = FamilySpec(
    name="gan",
    task="generation",
    title="Generative adversarial network of fully connected layers",
    paper="Goodfellow et al. (2014), Generative Adversarial Nets, §3 to 5",
    dataset_kinds=("images",),
    config=GanConfig,
    training=GanTraining,
    parts={NAME: signature("noise", ("height", "width", "channels"))},
    verbs=VERBS,
    headline=HEADLINE,
    check=check,
)
