"""What the multilayer perceptron takes and promises."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.contract.config import Options
from models.contract.spec import FamilySpec
from models.contract.tensors import PartSignature, TensorSignature
from models.contract.training import GradientTraining

Units = Annotated[int, Field(ge=1, le=16_384)]


class MlpConfig(Options):
    """Options of the network."""

    hidden_sizes: tuple[Units, ...] = Field(
        default=(512, 512), max_length=32, description="Units of each hidden layer."
    )
    activation: Literal["relu", "tanh", "sigmoid", "leaky_relu", "elu", "gelu"] = Field(
        default="relu", description="Nonlinearity of the hidden layers."
    )
    dropout_input: float = Field(default=0.0, ge=0, lt=1, description="Share of inputs dropped in training.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share of hidden units dropped in training.")
    max_norm: float | None = Field(
        default=None, gt=0, le=1000, description="Largest norm of the weights into one unit, output layer included."
    )
    normalization: Literal["scale", "standardize", "none"] = Field(
        default="standardize",
        description="standardize uses mean and deviation of the training pixels, or of each numeric column; scale maps "
        "their range to [0, 1]; or none.",
    )


class MlpTraining(GradientTraining):
    """Training options with the defaults of this family: Adam at 1e-3, decayed linearly to zero."""

    epochs: int = Field(default=20, ge=1, le=100_000, description="Passes over the training split.")


OUTPUTS = (
    TensorSignature(name="logits", shape=("batch", "classes"), quantity="logits"),
    TensorSignature(name="probabilities", shape=("batch", "classes"), quantity="probabilities"),
)

SPEC = FamilySpec(
    name="mlp",
    task="classification",
    title="Multilayer perceptron with dropout and max-norm",
    paper="Srivastava et al. (2014), Dropout, JMLR 15; Goodfellow et al. (2016), Deep Learning, chapter 6",
    dataset_kinds=("images", "table"),
    config=MlpConfig,
    training=MlpTraining,
    parts={
        "classifier": PartSignature(
            inputs=(TensorSignature(name="images", shape=("batch", "height", "width", "channels")),), outputs=OUTPUTS
        )
    },
    parts_by_kind={
        "table": {
            "classifier": PartSignature(
                inputs=(
                    TensorSignature(name="numbers", shape=("batch", "numeric"), optional=True),
                    TensorSignature(name="categories", dtype="int64", shape=("batch", "categorical"), optional=True),
                ),
                outputs=OUTPUTS,
            )
        }
    },
)
