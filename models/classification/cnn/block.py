"""One block of the convolutional network: its options, and what it makes of maps of a given size. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self, cast

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from models.contract.config import Options
from models.contract.errors import ValidationFailed

Activation = Literal["relu", "tanh", "sigmoid", "leaky_relu", "elu", "gelu"]
Pads = tuple[tuple[int, int], tuple[int, int]]
"""Zeros (above, below) and (left, right)."""

LARGEST_EXTENT = 64


def _both_axes(value: object) -> object:
    if isinstance(value, int):
        return (value, value)
    if isinstance(value, list | tuple) and len(cast("Sequence[object]", value)) == 2:
        return cast("Sequence[object]", value)
    message = "must be a whole number of pixels, or two of them: [height, width]"
    raise ValueError(message)


_ONE_AXIS = {"type": "integer", "minimum": 1, "maximum": LARGEST_EXTENT}
Extent = Annotated[int, Field(ge=1, le=LARGEST_EXTENT)]
PerAxis = Annotated[
    tuple[Extent, Extent],
    BeforeValidator(_both_axes),
    WithJsonSchema({"anyOf": [_ONE_AXIS, {"type": "array", "items": _ONE_AXIS, "minItems": 2, "maxItems": 2}]}),
]
"""Pixels along (height, width); one number means both."""


class Pooling(Options):
    """How a rectangle of a feature map becomes one number (Goodfellow §9.3)."""

    kind: Literal["max", "average", "lp", "weighted_average"] = Field(
        default="max",
        description="max; average; lp, the power mean of |x| with exponent p; weighted_average, by a Gaussian of the "
        "distance from the central pixel.",
    )
    size: PerAxis = Field(default=(2, 2), description="Pixels of the rectangle, one number or [height, width].")
    stride: PerAxis | None = Field(
        default=None, description="Pixels between rectangles, one number or [height, width]; the size unless given."
    )
    p: float | None = Field(
        default=None, ge=1, le=100, description="Exponent of lp, 2 unless given: 1 is the average, the largest the max."
    )
    sigma: float | None = Field(
        default=None, gt=0, le=LARGEST_EXTENT, description="Pixels of the Gaussian of weighted_average, 1 unless given."
    )

    @model_validator(mode="after")
    def _numbers_are_used(self) -> Self:
        for name, kind in (("p", "lp"), ("sigma", "weighted_average")):
            if getattr(self, name) is not None and self.kind != kind:
                message = f"{name} is not used by '{self.kind}' pooling; remove it or choose '{kind}'"
                raise ValueError(message)
        return self

    @property
    def steps(self) -> tuple[int, int]:
        """Pixels between rectangles."""
        return self.stride or self.size


class ConvolutionBlock(Options):
    """Convolution, batch normalisation if wanted, nonlinearity, pooling if wanted."""

    channels: int = Field(default=32, ge=1, le=4096, description="Feature maps.")
    kernel: PerAxis = Field(default=(3, 3), description="Pixels of the kernels, one number or [height, width].")
    stride: PerAxis = Field(default=(1, 1), description="Pixels between places, one number or [height, width].")
    dilation: PerAxis = Field(default=(1, 1), description="Pixels between taps, one number or [height, width].")
    padding: Literal["valid", "same", "full"] = Field(
        default="same",
        description="valid: none, n − k + 1 pixels; same: ⌈n / stride⌉, an odd zero to the right and below; "
        "full: every pixel meets every tap, n + k − 1 at stride 1.",
    )
    groups: int = Field(default=1, ge=1, le=4096, description="Groups of channels that do not see one another.")
    operation: Literal["cross_correlation", "convolution"] = Field(
        default="cross_correlation", description="convolution flips the kernels first (Goodfellow Eq. 9.5 and 9.6)."
    )
    batch_norm: bool = Field(default=False, description="Normalise each map over the batch, before the nonlinearity.")
    activation: Activation = Field(default="relu", description="Nonlinearity of the feature maps.")
    pooling: Pooling | None = Field(default=None, description="Off when null.")

    @model_validator(mode="after")
    def _groups_divide_channels(self) -> Self:
        if self.channels % self.groups:
            message = f"groups must divide the channels: {self.channels} is no multiple of {self.groups}"
            raise ValueError(message)
        return self


@dataclass(frozen=True)
class Stage:
    """A block on maps of a known size.

    Attributes:
        name: ``conv1`` for the first.
        block: its options.
        channels: channels of its input.
        pads: zeros around its input.
        maps: (height, width) of its feature maps.
        size: (height, width) after pooling.
    """

    name: str
    block: ConvolutionBlock
    channels: int
    pads: Pads
    maps: tuple[int, int]
    size: tuple[int, int]

    @property
    def weights(self) -> tuple[int, int, int, int]:
        """Shape of the kernels: (channels, input channels of a group, height, width)."""
        return (self.block.channels, self.channels // self.block.groups, *self.block.kernel)


def stages(blocks: Sequence[ConvolutionBlock], channels: int, size: tuple[int, int]) -> tuple[Stage, ...]:
    """Return what each block makes of images of ``channels`` and ``size`` (height, width).

    Raises:
        ValidationFailed: a kernel or a pooling rectangle does not fit, or groups do not divide the channels;
            names the block and what to change.
    """
    found: list[Stage] = []
    for index, block in enumerate(blocks):
        stage = _stage(index, block, channels, size)
        channels, size = block.channels, stage.size
        found.append(stage)
    return tuple(found)


def _stage(index: int, block: ConvolutionBlock, channels: int, size: tuple[int, int]) -> Stage:
    name, pointer = f"conv{index + 1}", f"/config/blocks/{index}"
    if channels % block.groups:
        detail = f"{block.groups} groups do not divide the {channels} channels that {name} sees; use 1 or a divisor"
        raise ValidationFailed.at(f"{pointer}/groups", detail)
    pads = tuple(_pads(block, axis, size[axis]) for axis in (0, 1))
    reach = tuple((block.kernel[axis] - 1) * block.dilation[axis] + 1 for axis in (0, 1))
    maps = tuple((size[axis] + sum(pads[axis]) - reach[axis]) // block.stride[axis] + 1 for axis in (0, 1))
    if min(maps) < 1:
        detail = (
            f"covers {_by(reach)} pixels, and {name} sees only {_by(size)}; use a smaller kernel or dilation, "
            "padding 'same', or less pooling and stride before it"
        )
        raise ValidationFailed.at(f"{pointer}/kernel", detail)
    pooled = maps
    if block.pooling is not None:
        extent, steps = block.pooling.size, block.pooling.steps
        pooled = tuple((maps[axis] - extent[axis]) // steps[axis] + 1 for axis in (0, 1))
        if min(pooled) < 1:
            detail = (
                f"takes {_by(extent)} pixels, and the maps of {name} have only {_by(maps)}; use a smaller size, "
                "leave it out, or pool and stride less before it"
            )
            raise ValidationFailed.at(f"{pointer}/pooling", detail)
    sides = (cast("tuple[int, int]", maps), cast("tuple[int, int]", pooled))
    return Stage(name, block, channels, cast("Pads", pads), *sides)


def _pads(block: ConvolutionBlock, axis: int, side: int) -> tuple[int, int]:
    """Return the zeros before and after one axis; of an odd number the greater part comes after."""
    stride = block.stride[axis]
    reach = (block.kernel[axis] - 1) * block.dilation[axis]
    match block.padding:
        case "valid":
            return 0, 0
        case "full":
            return reach, reach
        case "same":
            together = max((-(-side // stride) - 1) * stride + reach + 1 - side, 0)
            return together // 2, together - together // 2


def _by(sides: Sequence[int]) -> str:
    return f"{sides[0]} × {sides[1]}"
