"""What ridge regression takes and promises."""

from pydantic import Field

from models.contract.config import Options
from models.contract.spec import FamilySpec
from models.contract.tensors import PartSignature, TensorSignature
from models.contract.training import TrainingOptions


class RidgeConfig(Options):
    """Options of the regression."""

    penalty: float = Field(default=0.1, gt=0, le=1e6, description="Factor of the sum of squared weights.")


IMAGES = TensorSignature(name="images", shape=("batch", "height", "width"))
PROBABILITIES = TensorSignature(name="probabilities", shape=("batch", "classes"), quantity="probabilities")
PARTS = {"classifier": PartSignature(inputs=(IMAGES,), outputs=(PROBABILITIES,))}
SPEC = FamilySpec(
    "ridge",
    "classification",
    "Ridge regression",
    "Hoerl, Kennard (1970)",
    ("images",),
    RidgeConfig,
    TrainingOptions,
    PARTS,
)
