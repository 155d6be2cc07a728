"""What the cell takes and promises."""

from pydantic import Field

from models.contract.config import Options
from models.contract.spec import FamilySpec
from models.contract.tensors import PartSignature, TensorSignature
from models.contract.training import GradientTraining


class MemoryCellConfig(Options):
    """Options of the cell."""

    hidden: int = Field(default=32, ge=1, le=4096, description="Size of the controller's state.")
    slots: int = Field(default=6, ge=1, le=1024, description="Rows of the memory.")
    slot_size: int = Field(default=12, ge=1, le=1024, description="Numbers in a row of the memory.")


ROWS = TensorSignature(name="rows", shape=("batch", "time", "width"))
PROBABILITIES = TensorSignature(name="probabilities", shape=("batch", "classes"), quantity="probabilities")
PARTS = {"reader": PartSignature(inputs=(ROWS,), outputs=(PROBABILITIES,))}
SPEC = FamilySpec(
    "memory_cell",
    "recall",
    "Memory cell",
    "Graves et al. (2014)",
    ("images",),
    MemoryCellConfig,
    GradientTraining,
    PARTS,
)
