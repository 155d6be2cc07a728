"""What the convolutional adversarial networks take and promise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from models.contract.config import Options
from models.contract.spec import FamilySpec
from models.contract.training import TrainingOptions
from models.data.images.facts import ImageFacts
from models.generation.adversarial.limits import check_parameters, check_sides, generator_weights, trunk_weights
from models.generation.adversarial.part import HEADLINE, NAME, VERBS, signature
from models.generation.adversarial.training import AdversarialTraining

Channels = Annotated[int, Field(ge=1, le=4096)]


class DcganConfig(Options):
    """Options of both networks."""

    noise: int = Field(default=100, ge=1, le=4096, description="Size of the noise that an image is made of.")
    generator_channels: tuple[Channels, ...] = Field(
        default=(64, 32),
        min_length=1,
        max_length=8,
        description="Channels of the generator's maps, the smallest maps first; each doubles in height and width.",
    )
    discriminator_channels: tuple[Channels, ...] = Field(
        default=(32, 64),
        min_length=1,
        max_length=8,
        description="Channels of the discriminator's maps, the largest maps first; each has half the height and width "
        "of what it sees.",
    )


class DcganTraining(AdversarialTraining):
    """Training options with the defaults of this family."""

    epochs: int = Field(default=8, ge=1, le=100_000, description="Passes over the training split.")
    batch_size: int = Field(default=128, ge=1, le=1_000_000, description="Images per step, real and drawn.")


def check(config: Options, training: TrainingOptions, meta: Mapping[str, object]) -> None:
    """Return if the networks fit the dataset's images.

    Raises:
        ValidationFailed: maps would shrink below a pixel or outgrow the image, or there would be too many weights;
            names the option and what to change.
    """
    del training
    assert isinstance(config, DcganConfig)
    facts = ImageFacts.of(meta)
    check_sides(config.generator_channels, config.discriminator_channels, facts)
    check_parameters(
        {
            "/config/generator_channels": generator_weights(config.noise, (), config.generator_channels, facts),
            "/config/discriminator_channels": trunk_weights(config.discriminator_channels, (1,), facts),
        }
    )


SPEC = FamilySpec(
    name="dcgan",
    task="generation",
    title="Deep convolutional generative adversarial network",
    paper="Radford, Metz, Chintala (2016), Unsupervised Representation Learning with Deep Convolutional "
    "Generative Adversarial Networks, §3 and §4",
    dataset_kinds=("images",),
    config=DcganConfig,
    training=DcganTraining,
    parts={NAME: signature("noise", ("height", "width", "channels"))},
    verbs=VERBS,
    headline=HEADLINE,
    check=check,
)
