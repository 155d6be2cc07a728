"""What the speller takes and promises."""

from pydantic import Field

from models.contract.config import Options
from models.contract.spec import FamilySpec
from models.contract.tensors import PartSignature, TensorSignature
from models.contract.training import GradientTraining

IMAGES = TensorSignature(name="images", shape=("batch", "height", "width"))
STATE = TensorSignature(name="state", shape=("batch", "hidden"))
PREVIOUS = TensorSignature(name="previous", dtype="int64", shape=("batch",))
LOGITS = TensorSignature(name="logits", shape=("batch", "letters"), quantity="logits")
NEXT = TensorSignature(name="next_state", shape=("batch", "hidden"))


class SpellerConfig(Options):
    """Options of the network."""

    hidden: int = Field(default=64, ge=1, le=4096, description="Size of the state.")


ENCODER, STEP = (
    PartSignature(inputs=(IMAGES,), outputs=(STATE,)),
    PartSignature(inputs=(STATE, PREVIOUS), outputs=(LOGITS, NEXT)),
)
SPEC = FamilySpec(
    *("speller", "spelling", "Speller", "Sutskever et al. (2014)", ("images",), SpellerConfig, GradientTraining),
    parts={"encoder": ENCODER, "step": STEP},
)
