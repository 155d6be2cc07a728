"""What the convolutional network takes and promises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator

from models.classification.cnn.block import Activation, ConvolutionBlock, Pooling, Stage, stages
from models.contract.config import Options
from models.contract.errors import ValidationFailed
from models.contract.spec import FamilySpec
from models.contract.tensors import PartSignature, TensorSignature
from models.contract.training import GradientTraining, TrainingOptions
from models.data.images.facts import ImageFacts

Units = Annotated[int, Field(ge=1, le=16_384)]

MOST_PARAMETERS = 50_000_000
MOST_MAP_NUMBERS = 2**22
"""Numbers in the feature maps of one block and one image."""
MOST_STEP_NUMBERS = 2**30
"""Numbers in the feature maps of all blocks and one batch: 4 GiB, and training holds about three times that."""


class AugmentationOptions(Options):
    """Random changes that leave the label as it is, drawn anew for every image of every batch in training."""

    shift: int = Field(
        default=0, ge=0, le=256, description="Largest shift in pixels along each axis; edge pixels are repeated."
    )
    horizontal_flip: bool = Field(default=False, description="Mirror left and right with probability ½.")
    rotation: float = Field(default=0.0, ge=0, le=180, description="Largest rotation in degrees, either way.")


class CnnConfig(Options):
    """Options of the network."""

    blocks: tuple[ConvolutionBlock, ...] = Field(
        default=(
            ConvolutionBlock(channels=16, pooling=Pooling()),
            ConvolutionBlock(channels=32, pooling=Pooling()),
        ),
        max_length=32,
        json_schema_extra={"minItems": 1},
        description="Convolution blocks, first to last; their feature maps are called conv1, conv2 and so on.",
    )
    hidden_sizes: tuple[Units, ...] = Field(
        default=(128,), max_length=32, description="Units of each fully connected hidden layer behind the blocks."
    )
    activation: Activation = Field(default="relu", description="Nonlinearity of the fully connected hidden layers.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share of hidden units dropped in training.")
    filter: (
        Literal[
            "average",
            "gaussian",
            "prewitt_x",
            "prewitt_y",
            "sobel_x",
            "sobel_y",
            "high_pass",
            "sharpen",
            "sharpen_low",
        ]
        | None
    ) = Field(default=None, description="A fixed 3 × 3 filter over each channel before the first block; off when null.")
    normalization: Literal["scale", "standardize", "none"] = Field(
        default="standardize",
        description="standardize uses mean and deviation of the training pixels; scale maps to [0, 1]; or none.",
    )
    augmentation: AugmentationOptions = Field(
        default=AugmentationOptions(), description="Random shifts, flips and rotations of the training images."
    )

    @field_validator("blocks")
    @classmethod
    def _one_at_least(cls, blocks: tuple[ConvolutionBlock, ...]) -> tuple[ConvolutionBlock, ...]:
        # Said here and not by min_length, which also complains of a tuple whose one block is wrong.
        if not blocks:
            message = "needs at least one block"
            raise ValueError(message)
        return blocks


class CnnTraining(GradientTraining):
    """Training options with the defaults of this family: Adam at 2e-3, decayed linearly to zero, batches of 64."""

    batch_size: int = Field(default=64, ge=1, le=65_536, description="Examples per step.")
    learning_rate: float = Field(default=2e-3, gt=0, le=100, description="Initial (one_cycle: largest) learning rate.")


def planes(facts: ImageFacts) -> tuple[int, tuple[int, int]]:
    """Return channels and (height, width) of the images."""
    height, width, *channels = facts.shape
    return (channels[0] if channels else 1), (height, width)


def check(config: Options, training: TrainingOptions, meta: Mapping[str, object]) -> None:
    """Return if the network fits the dataset's images and a sensible amount of memory.

    Raises:
        ValidationFailed: maps shrink below a pixel, or there are too many parameters or activations.
    """
    assert isinstance(config, CnnConfig)
    assert isinstance(training, CnnTraining)
    facts = ImageFacts.of(meta)
    channels, size = planes(facts)
    if config.augmentation.shift >= min(size):
        detail = f"{config.augmentation.shift} pixels would shift images of {size[0]} × {size[1]} out of sight"
        raise ValidationFailed.at("/config/augmentation/shift", detail)
    found = stages(config.blocks, channels, size)
    _check_parameters(config, found, len(facts.classes))
    _check_memory(found, training.batch_size)


def _check_parameters(config: CnnConfig, found: Sequence[Stage], classes: int) -> None:
    counts = {f"/config/blocks/{index}/channels": math.prod(stage.weights) for index, stage in enumerate(found)}
    width = found[-1].block.channels * math.prod(found[-1].size)
    for index, units in enumerate(config.hidden_sizes):
        counts[f"/config/hidden_sizes/{index}"] = width * units
        width = units
    counts["/config/blocks"] = width * classes
    together = sum(counts.values())
    if together > MOST_PARAMETERS:
        largest = max(counts, key=lambda pointer: counts[pointer])
        detail = (
            f"the network would have {together:,} weights, more than {MOST_PARAMETERS:,}, and {counts[largest]:,} of "
            "them here; use fewer channels or units, or more pooling or stride in the blocks before"
        )
        raise ValidationFailed.at(largest, detail)


def _check_memory(found: Sequence[Stage], batch_size: int) -> None:
    numbers = [stage.block.channels * math.prod(stage.maps) for stage in found]
    for index, count in enumerate(numbers):
        if count > MOST_MAP_NUMBERS:
            detail = (
                f"the feature maps of conv{index + 1} would hold {count:,} numbers for one image, more than "
                f"{MOST_MAP_NUMBERS:,}; use fewer channels, or stride or pooling in or before this block"
            )
            raise ValidationFailed.at(f"/config/blocks/{index}/channels", detail)
    if sum(numbers) * batch_size > MOST_STEP_NUMBERS:
        detail = (
            f"{batch_size} images with {sum(numbers):,} numbers of feature maps each are more than a step may hold; "
            f"use at most {MOST_STEP_NUMBERS // sum(numbers)}, or smaller blocks"
        )
        raise ValidationFailed.at("/training/batch_size", detail)


IMAGES = TensorSignature(name="images", shape=("batch", "height", "width", "channels"))


def insides_of(name: str) -> tuple[TensorSignature, TensorSignature]:
    """Return the outputs of the part ``insides`` for one layer: its feature maps and its kernels."""
    return (
        TensorSignature(name=name, shape=("batch", f"{name}_channels", f"{name}_height", f"{name}_width")),
        TensorSignature(
            name=f"{name}_kernels",
            shape=(
                "batch",
                f"{name}_channels",
                f"{name}_inputs",
                f"{name}_kernel_height",
                f"{name}_kernel_width",
            ),
        ),
    )


SPEC = FamilySpec(
    name="cnn",
    task="classification",
    title="Convolutional network with pooling and batch normalisation",
    paper="LeCun et al. (1998), Gradient-Based Learning Applied to Document Recognition, §II-III; "
    "Goodfellow et al. (2016), Deep Learning, chapter 9; Ioffe and Szegedy (2015), Batch Normalization",
    dataset_kinds=("images",),
    config=CnnConfig,
    training=CnnTraining,
    parts={
        "classifier": PartSignature(
            inputs=(IMAGES,),
            outputs=(
                TensorSignature(name="logits", shape=("batch", "classes"), quantity="logits"),
                TensorSignature(name="probabilities", shape=("batch", "classes"), quantity="probabilities"),
            ),
        ),
        "insides": PartSignature(inputs=(IMAGES,), outputs=(*insides_of("conv1"), *insides_of("conv2"))),
    },
    insides=("feature_maps", "kernels", "occlusion"),
    check=check,
)
