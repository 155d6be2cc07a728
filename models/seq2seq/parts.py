"""The graphs that are exported of a network, by name: one that reads a source, one that takes a step of the target."""

from __future__ import annotations

from collections.abc import Mapping

from models.contract.tensors import PartSignature, TensorSignature

ENCODER = "encoder"
STEP = "step"

_LENGTHS = TensorSignature(name="lengths", dtype="int64", shape=("batch",))
_MEMORY = TensorSignature(name="memory", shape=("batch", "source", "memory"), optional=True)

PARTS: Mapping[str, PartSignature] = {
    ENCODER: PartSignature(
        inputs=(TensorSignature(name="tokens", dtype="int64", shape=("batch", "source")), _LENGTHS),
        outputs=(TensorSignature(name="start", shape=("batch", "state")), _MEMORY),
    ),
    STEP: PartSignature(
        inputs=(
            TensorSignature(name="tokens", dtype="int64", shape=("batch",)),
            TensorSignature(name="wanted", dtype="int64", shape=("batch",)),
            TensorSignature(name="state", shape=("batch", "state")),
            _MEMORY,
            _LENGTHS.model_copy(update={"optional": True}),
        ),
        outputs=(
            TensorSignature(name="likeliest", shape=("batch", "top"), quantity="log_probabilities"),
            TensorSignature(
                name="candidates", dtype="int64", shape=("batch", "top"), quantity="indices", ranked_by="likeliest"
            ),
            TensorSignature(name="log_probability", shape=("batch",), quantity="log_probabilities"),
            TensorSignature(name="next_state", shape=("batch", "state")),
            TensorSignature(name="attention", shape=("batch", "source"), quantity="probabilities", optional=True),
        ),
    ),
}
"""``likeliest`` are the log-probabilities of the best next tokens, ``candidates``, in falling order;
``log_probability`` is that of ``wanted``. Without attention there is no memory."""


def parts(*, attends: bool, sizes: Mapping[str, int]) -> dict[str, PartSignature]:
    """Return the signatures of one model, with its ``sizes`` of state, memory and top."""
    found = {name: part.fixed(**sizes) for name, part in PARTS.items()}
    if attends:
        return found
    return {
        name: PartSignature(
            inputs=tuple(item for item in part.inputs if not item.optional),
            outputs=tuple(item for item in part.outputs if not item.optional),
        )
        for name, part in found.items()
    }
