"""What the variational autoencoder takes and promises."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from models.contract.config import Options
from models.contract.errors import ValidationFailed
from models.contract.spec import FamilySpec
from models.contract.tensors import PartSignature, TensorSignature
from models.contract.training import GradientTraining, TrainingOptions
from models.data.images.facts import ImageFacts
from models.generation.scored_code import Disentanglement, check_scored

Units = Annotated[int, Field(ge=1, le=16_384)]
Maps = Annotated[int, Field(ge=1, le=1_024)]

MOST_PARAMETERS = 50_000_000


class Capacity(Options):
    """A divergence that the latent is led to, from nothing up, in place of one that is only penalised."""

    nats: float = Field(default=25.0, gt=0, le=10_000, description="Divergence per image at the end of the schedule.")
    steps: int = Field(default=20_000, ge=1, le=10_000_000, description="Steps over which it grows linearly from 0.")
    factor: float = Field(default=100.0, gt=0, le=1e6, description="Of the distance to it, in the loss.")


class VaeConfig(Options):
    """Options of both networks and of the loss."""

    latent: int = Field(default=10, ge=1, le=1_024, description="Dimensions of the latent.")
    architecture: Literal["mlp", "convolutional"] = Field(
        default="mlp",
        description="mlp: fully connected layers; convolutional: layers that halve the sides before them.",
    )
    channels: tuple[Maps, ...] = Field(
        default=(32, 32, 64, 64),
        max_length=10,
        json_schema_extra={"minItems": 1},
        description="Of convolutional: maps of each layer of the encoder, which halves sides; the decoder mirrors it.",
    )
    hidden_sizes: tuple[Units, ...] = Field(
        default=(500, 500), max_length=32, description="Units of the encoder's hidden layers; the decoder mirrors them."
    )
    activation: Literal["relu", "tanh", "elu", "gelu"] = Field(
        default="relu", description="Nonlinearity of the hidden layers."
    )
    likelihood: Literal["bernoulli", "gaussian"] = Field(
        default="bernoulli",
        description="Of a pixel given the latent: bernoulli for black and white, gaussian for shades, with a mean and "
        "a variance of each.",
    )
    binarization: Literal["threshold", "sample", "none"] = Field(
        default="threshold",
        description="Of bernoulli: threshold takes a pixel above the middle of the range for white; sample draws it "
        "anew in each step, white as likely as it is bright; none lets shades be, and the likelihood is then none.",
    )
    beta: float = Field(
        default=1.0, ge=0, le=10_000, description="Factor of the divergence in the loss; 1 is the ELBO."
    )
    capacity: Capacity | None = Field(default=None, description="In place of beta; off when null.")
    estimator: Literal["sgvb_a", "sgvb_b"] = Field(
        default="sgvb_b", description="Of the divergence: sgvb_b in closed form, sgvb_a from the latents drawn."
    )
    samples: int = Field(default=1, ge=1, le=1_000, description="Latents drawn per image and step.")
    disentanglement: Disentanglement = None


class VaeTraining(GradientTraining):
    """Training options: Adam at 1e-3, decayed linearly to zero over 20 epochs, 100 images a step."""

    epochs: int = Field(default=20, ge=1, le=100_000, description="Passes over the training split.")
    batch_size: int = Field(default=100, ge=1, le=65_536, description="Images per step and device.")


def check(config: Options, training: TrainingOptions, meta: Mapping[str, object]) -> None:
    """Return if these images can be learnt with these options.

    Raises:
        ValidationFailed: an option that nothing reads is given, the layers halve the sides below one pixel, or there
            would be too many parameters.
    """
    del training
    assert isinstance(config, VaeConfig)
    height, width, *rest = ImageFacts.of(meta).shape
    given = config.model_fields_set
    check_scored(config.disentanglement, meta)
    if config.architecture == "mlp" and "channels" in given:
        raise ValidationFailed.at("/config/channels", "is for convolutional networks; leave it out or set architecture")
    if config.likelihood == "gaussian" and "binarization" in given and config.binarization != "none":
        raise ValidationFailed.at("/config/binarization", "is for bernoulli; pixels of gaussian keep their shades")
    if config.capacity is not None and "beta" in given and config.beta != 1:
        raise ValidationFailed.at("/config/beta", "is not used with a capacity; leave one of them out")
    if config.architecture == "convolutional" and len(config.channels) > min(height, width).bit_length():
        detail = (
            f"has {len(config.channels)} layers, each halving the sides; images of {height} × {width} are too small"
        )
        raise ValidationFailed.at("/config/channels", detail)
    parameters = _parameters(config, (height, width, rest[0] if rest else 1))
    if parameters > MOST_PARAMETERS:
        detail = f"make some {parameters:,} parameters of these images; at most {MOST_PARAMETERS:,} are built"
        raise ValidationFailed.at("/config/hidden_sizes", detail)


def _parameters(config: VaeConfig, shape: tuple[int, int, int]) -> int:
    """Return about how many weights both networks have for images of (height, width, channels)."""
    height, width, channels = shape
    kernels, values = 0, height * width * channels
    if config.architecture == "convolutional":
        kernels = sum(16 * one * other for one, other in pairwise((channels, *config.channels)))
        scale = 2 ** len(config.channels)
        values = -(-height // scale) * -(-width // scale) * config.channels[-1]
    dense = sum(one * other for one, other in pairwise((values, *config.hidden_sizes, config.latent)))
    return 2 * (dense + kernels)


IMAGES = TensorSignature(name="images", shape=("batch", "height", "width", "channels"))
LATENT = TensorSignature(name="latent", shape=("batch", "latent"))

SPEC = FamilySpec(
    name="vae",
    task="generation",
    title="Variational autoencoder, β-VAE",
    paper="Kingma and Welling (2014), Auto-Encoding Variational Bayes, ICLR; Higgins et al. (2017), beta-VAE, ICLR",
    dataset_kinds=("images", "factors"),
    config=VaeConfig,
    training=VaeTraining,
    parts={
        "encoder": PartSignature(
            inputs=(IMAGES,),
            outputs=(
                TensorSignature(name="mean", shape=("batch", "latent")),
                TensorSignature(name="log_variance", shape=("batch", "latent")),
            ),
        ),
        "generator": PartSignature(
            inputs=(LATENT,), outputs=(IMAGES.model_copy(update={"quantity": "probabilities"}),)
        ),
        "likelihood": PartSignature(
            inputs=(IMAGES, LATENT),
            outputs=(TensorSignature(name="log_likelihood", shape=("batch",), quantity="log_probabilities"),),
        ),
    },
    check=check,
)
