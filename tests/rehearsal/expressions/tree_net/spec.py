"""What the network takes and promises."""

from pydantic import Field

from models.contract.config import Options
from models.contract.spec import FamilySpec
from models.contract.tensors import PartSignature, TensorSignature
from models.contract.training import GradientTraining


class TreeNetConfig(Options):
    """Options of the network."""

    hidden: int = Field(default=32, ge=1, le=4096, description="Size of a node's state.")


SYMBOLS = TensorSignature(name="symbols", dtype="int64", shape=("batch",))
LEFT, RIGHT, STATE = (TensorSignature(name=name, shape=("batch", "hidden")) for name in ("left", "right", "state"))
JUDGED = (STATE, TensorSignature(name="probability", shape=("batch",), quantity="probabilities"))
PARTS = {
    "leaf": PartSignature(inputs=(SYMBOLS,), outputs=JUDGED),
    "compose": PartSignature(inputs=(SYMBOLS, LEFT, RIGHT), outputs=JUDGED),
}
SPEC = FamilySpec(
    "tree_net",
    "expressions",
    "Tree network",
    "Socher et al. (2011)",
    ("expressions",),
    TreeNetConfig,
    GradientTraining,
    PARTS,
)
