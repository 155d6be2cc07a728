"""What is asked of a generative model, and the form of what it answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, WithJsonSchema, model_validator

from models.contract.config import Options

MOST_SAMPLES = 1_024
MOST_INPUTS = 1_024
MOST_STEPS = 256
MOST_DIMENSIONS = 1_024
MOST_IMAGES = 4_096
"""Of one traversal."""

MOST_NUMBERS_OF_A_LATENT = 8_192
"""More than any model's codes have side by side."""

MOST_WEIGHTS = 262_144
"""Inputs × samples of one request to ``score``."""

IMAGE_SCHEMA = {
    "anyOf": [
        {"type": "array", "description": "Nested numbers (height × width[ × channels]) in the dataset's scale."},
        {
            "type": "object",
            "properties": {"image": {"type": "string", "description": "Base64 PNG or JPEG."}},
            "required": ["image"],
            "additionalProperties": False,
        },
    ]
}
LATENT_SCHEMA = {"type": "array", "items": {"type": "number"}, "description": "As `encode` returns it."}
SEED_SCHEMA = {"type": "integer", "minimum": 0, "description": "Draws it, as the first sample of this seed."}
CODES_SCHEMA = {"type": "object", "description": "Codes by name; the others are drawn."}

Image = Annotated[object, WithJsonSchema(IMAGE_SCHEMA)]
Point = Annotated[
    object,
    WithJsonSchema(
        {
            "anyOf": [
                *IMAGE_SCHEMA["anyOf"],
                LATENT_SCHEMA,
                {"type": "object", "properties": {"input": IMAGE_SCHEMA}, "required": ["input"]},
                {"type": "object", "properties": {"latent": LATENT_SCHEMA}, "required": ["latent"]},
                {
                    "type": "object",
                    "properties": {"seed": SEED_SCHEMA, "codes": CODES_SCHEMA},
                    "required": ["seed"],
                },
            ]
        }
    ),
]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[float, Field(ge=-1e6, le=1e6)]
Pixels = tuple[tuple[float | tuple[float, ...], ...], ...]


class SampleRequest(Options):
    """How many images to draw, from which seed, and what is known of them."""

    count: int = Field(default=16, ge=1, le=MOST_SAMPLES, description="Number of images.")
    seed: Seed = Field(default=0, description="Image k depends on the seed and k alone.")
    codes: dict[str, object] = Field(
        default_factory=dict[str, object],
        description="Codes by name, a number or a list of numbers each; those left out are drawn.",
    )


class Drawn(Options):
    """One image."""

    image: Pixels = Field(description="Values in [0, 1], height × width, or × channels.")
    codes: dict[str, int | float] | None = Field(
        default=None, description="The codes of one number behind it, of models that have such."
    )


class InputsRequest(Options):
    """Images."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    inputs: tuple[Image, ...] = Field(min_length=1, max_length=MOST_INPUTS, description="One image per prediction.")


class Encoded(Options):
    """The distribution of the latent behind an image: a normal one, its dimensions independent."""

    mean: tuple[float, ...]
    log_variance: tuple[float, ...]


class Reconstructed(Options):
    """An image out of the mean latent of another."""

    image: Pixels = Field(description="Values in [0, 1], height × width, or × channels.")


class InterpolateRequest(Options):
    """Two latents, and how to walk from one to the other."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    start: Point
    end: Point
    steps: int = Field(default=9, ge=2, le=MOST_STEPS, description="Number of images, both ends among them.")
    method: Literal["linear", "spherical"] = Field(
        default="linear",
        description="linear: on a straight line; spherical: on an arc, which keeps to lengths that the prior knows.",
    )


class TraverseRequest(Options):
    """A latent, and which of its dimensions to vary."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    input: Image | None = Field(default=None, description="Begin at the mean latent of this image.")
    latent: tuple[float, ...] | None = Field(
        default=None, max_length=MOST_NUMBERS_OF_A_LATENT, fail_fast=True, description="Begin here."
    )
    seed: Seed | None = Field(
        default=None, description="Begin at the first sample of this seed; 0 when nothing is given."
    )
    codes: dict[str, object] = Field(
        default_factory=dict[str, object], description="Codes by name, beside a seed; the others are drawn."
    )
    dimensions: tuple[int | str, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_DIMENSIONS,
        description="One prediction each: places of the latent from 0, or names of codes. When null: the named codes, "
        "or the ten dimensions that tell most, or of noise alone the first ten.",
    )
    low: Number | None = Field(default=None, description="First value; -3, or where a code's range begins.")
    high: Number | None = Field(default=None, description="Last value; 3, or where a code's range ends.")
    steps: int = Field(default=9, ge=2, le=MOST_STEPS, description="Values per dimension; of categories all.")

    @model_validator(mode="after")
    def _begins_once(self) -> TraverseRequest:
        given = [name for name in ("input", "latent", "seed") if getattr(self, name) is not None]
        if len(given) > 1:
            message = f"begin at one of input, latent and seed, not at {' and '.join(given)}"
            raise ValueError(message)
        if self.codes and given not in ([], ["seed"]):
            message = f"codes are drawn beside a seed; leave them out with {given[0]}"
            raise ValueError(message)
        return self


class Traversed(Options):
    """One dimension varied, everything else as it was."""

    dimension: int | str
    values: tuple[float, ...]
    images: tuple[Pixels, ...] = Field(description="One per value.")
    inert: bool | None = Field(
        default=None, description="Whether no image moves this dimension, so that the model does not use it."
    )
    divergence: float | None = Field(
        default=None, description="KL divergence of the dimension from the prior in nats, mean over training images."
    )


class ScoreRequest(InputsRequest):
    """Images whose likelihood is asked."""

    samples: int = Field(default=1, ge=1, le=4_096, description="Latents drawn per image.")
    seed: Seed = Field(default=0, description="Of the draws, which depend on it and on the image alone.")


class Scored(Options):
    """Bounds on the log-likelihood of an image, in nats."""

    elbo: float = Field(description="Evidence lower bound: reconstruction minus divergence, mean over the samples.")
    importance_bound: float = Field(description="The tighter bound by importance weighting of all samples.")
    reconstruction: float = Field(description="Log-likelihood of the image given the latents, mean over the samples.")
    divergence: float = Field(description="KL divergence of the latent's distribution from the prior.")
