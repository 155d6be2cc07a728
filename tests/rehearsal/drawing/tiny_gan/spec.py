"""What the network takes and promises."""

from pydantic import Field

from models.contract.config import Options
from models.contract.spec import FamilySpec
from models.contract.tensors import PartSignature, TensorSignature
from models.contract.training import Plan, TrainingOptions


class GanConfig(Options):
    """Options of both networks."""

    noise: int = Field(default=8, ge=1, le=1024, description="Size of the noise.")
    hidden: int = Field(default=64, ge=1, le=4096, description="Hidden units of either side.")


class AdversarialTraining(TrainingOptions):
    """Options of both optimisers."""

    epochs: int = Field(default=10, ge=1, description="Passes over the training split.")
    batch_size: int = Field(default=32, ge=1, description="Examples per step.")
    learning_rate: float = Field(
        default=5e-3, gt=0, description="Adam's rate on either side, falling linearly to zero."
    )
    flatness: float = Field(default=1.0, ge=0, description="Factor of half the squared slope at real images.")

    def plan(self, examples: int) -> Plan:
        return Plan.of(examples, self.epochs, self.batch_size)


NOISE = TensorSignature(name="noise", shape=("batch", "noise"))
IMAGES = TensorSignature(name="images", shape=("batch", "height", "width"))
PARTS = {"generator": PartSignature(inputs=(NOISE,), outputs=(IMAGES,))}
SPEC = FamilySpec(
    "tiny_gan", "drawing", "Tiny GAN", "Goodfellow et al. (2014)", ("images",), GanConfig, AdversarialTraining, PARTS
)
