"""What InfoGAN takes and promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from models.contract.config import Options
from models.contract.errors import ValidationFailed
from models.contract.spec import FamilySpec
from models.contract.training import TrainingOptions
from models.data.images.facts import ImageFacts
from models.generation.adversarial.limits import check_parameters, check_sides, generator_weights, trunk_weights
from models.generation.adversarial.part import HEADLINE, NAME, VERBS, signature
from models.generation.adversarial.training import AdversarialTraining
from models.generation.infogan.part import READER, reader_signature
from models.generation.scored_code import Disentanglement, check_scored

Units = Annotated[int, Field(ge=1, le=16_384)]
Channels = Annotated[int, Field(ge=1, le=4096)]
Categories = Annotated[int, Field(ge=2, le=1000)]


class InfoGanConfig(Options):
    """Options of the codes and of the networks."""

    noise: int = Field(default=62, ge=1, le=4096, description="Size of the noise, which no code is read from.")
    categorical_codes: tuple[Categories, ...] = Field(
        default=(10,), max_length=16, description="Categories of each categorical code; they are named c1, c2 and on."
    )
    continuous_codes: int = Field(
        default=2, ge=0, le=64, description="Continuous codes in [-1, 1]; their names follow the categorical ones'."
    )
    information_weight: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description="What the generator gives for a nat of information about the codes, the paper's lambda; at 0 the "
        "information is measured and not asked for.",
    )
    generator_units: Units = Field(default=256, description="Units of the generator's fully connected layer.")
    generator_channels: tuple[Channels, ...] = Field(
        default=(64, 32),
        min_length=1,
        max_length=8,
        description="Channels of the generator's maps, smallest maps first.",
    )
    discriminator_channels: tuple[Channels, ...] = Field(
        default=(32, 64),
        min_length=1,
        max_length=8,
        description="Channels of the maps that discriminator and Q share, largest maps first.",
    )
    discriminator_units: Units = Field(default=256, description="Units of the fully connected layer that both share.")
    posterior_units: Units = Field(default=64, description="Units of Q's own fully connected layer.")
    disentanglement: Disentanglement = None


class InfoGanTraining(AdversarialTraining):
    """Training options with the defaults of this family."""

    epochs: int = Field(default=11, ge=1, le=100_000, description="Passes over the training split.")
    batch_size: int = Field(default=128, ge=1, le=1_000_000, description="Images per step, real and drawn.")
    generator_learning_rate: float = Field(default=1e-3, gt=0, le=1, description="Of the generator.")


def check(config: Options, training: TrainingOptions, meta: Mapping[str, object]) -> None:
    """Return if the networks fit the dataset's images.

    Raises:
        ValidationFailed: maps would shrink below a pixel or outgrow the image, there would be too many weights, there
            are no codes, or none of the factors that they are to be compared with; names the option and what to change.
    """
    del training
    assert isinstance(config, InfoGanConfig)
    if not config.categorical_codes and not config.continuous_codes:
        raise ValidationFailed.at(
            "/config/continuous_codes", "there is no code left to learn; ask for one, or train the family dcgan"
        )
    check_scored(config.disentanglement, meta)
    facts = ImageFacts.of(meta)
    latent = config.noise + sum(config.categorical_codes) + config.continuous_codes
    shared = (config.discriminator_units, config.posterior_units)
    check_sides(config.generator_channels, config.discriminator_channels, facts)
    check_parameters(
        {
            "/config/generator_channels": generator_weights(
                latent, (config.generator_units,), config.generator_channels, facts
            ),
            "/config/discriminator_channels": trunk_weights(config.discriminator_channels, shared, facts),
        }
    )


SHAPE = ("height", "width", "channels")
PARTS = {NAME: signature("noise", SHAPE, categorical=1, continuous=2)}

SPEC = FamilySpec(
    name="infogan",
    task="generation",
    title="InfoGAN: adversarial networks whose codes come to mean things",
    paper="Chen et al. (2016), InfoGAN: Interpretable Representation Learning by Information Maximizing "
    "Generative Adversarial Nets, §4 to 6",
    dataset_kinds=("images", "factors"),
    config=InfoGanConfig,
    training=InfoGanTraining,
    parts=PARTS,
    parts_by_kind={"factors": {**PARTS, READER: reader_signature(SHAPE, ("categories",), continuous=2)}},
    verbs=VERBS,
    headline=HEADLINE,
    check=check,
)
