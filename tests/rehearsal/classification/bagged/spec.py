"""What the ensemble takes and promises."""

from pydantic import Field

from models.contract.config import Options
from models.contract.spec import FamilySpec
from models.contract.tensors import PartSignature, TensorSignature
from models.contract.training import GradientTraining


class BaggedConfig(Options):
    """Options of the ensemble."""

    members: int = Field(default=4, ge=1, le=64, description="Number of members.")
    hidden: int = Field(default=32, ge=1, le=4096, description="Hidden units of each.")


class BaggedTraining(GradientTraining):
    """Small members take larger steps."""

    learning_rate: float = Field(default=1e-2, gt=0, le=100, description="Initial learning rate.")


IMAGES = TensorSignature(name="images", shape=("batch", "height", "width"))
PROBABILITIES = TensorSignature(name="probabilities", shape=("batch", "classes"), quantity="probabilities")
PARTS = {"classifier": PartSignature(inputs=(IMAGES,), outputs=(PROBABILITIES,))}
SPEC = FamilySpec(
    "bagged", "classification", "Bagged networks", "Breiman (1996)", ("images",), BaggedConfig, BaggedTraining, PARTS
)
