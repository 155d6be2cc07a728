"""The graphs that are exported of a network, by name: they read a source, take a step of the target, spell a word."""

from __future__ import annotations

from collections.abc import Mapping

from models.contract.tensors import PartSignature, TensorSignature

ENCODER = "encoder"
STEP = "step"
SPELLER = "speller"

_LENGTHS = TensorSignature(name="lengths", dtype="int64", shape=("batch",))
_MEMORY = TensorSignature(name="memory", shape=("batch", "source", "memory"), optional=True)

PARTS: Mapping[str, PartSignature] = {
    ENCODER: PartSignature(
        inputs=(
            TensorSignature(name="tokens", dtype="int64", shape=("batch", "source")),
            _LENGTHS,
            TensorSignature(name="letters", dtype="int64", shape=("batch", "source", "letters"), optional=True),
        ),
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
            TensorSignature(name="spelling", shape=("batch", "spelling"), optional=True),
        ),
    ),
    SPELLER: PartSignature(
        inputs=(
            TensorSignature(name="letters", dtype="int64", shape=("batch",)),
            TensorSignature(name="state", shape=("batch", "spelling")),
        ),
        outputs=(
            TensorSignature(name="likeliest", shape=("batch", 2), quantity="log_probabilities"),
            TensorSignature(
                name="candidates", dtype="int64", shape=("batch", 2), quantity="indices", ranked_by="likeliest"
            ),
            TensorSignature(name="next_state", shape=("batch", "spelling")),
        ),
    ),
}
"""``likeliest`` are the log-probabilities of the best next tokens, ``candidates``, in falling order;
``log_probability`` is that of ``wanted``. Without attention there is no memory; letters are there where unknown words
are spelt."""


OPTIONAL = frozenset({SPELLER})

_ATTENDING = frozenset({"memory", "lengths", "attention"})
_SPELLING = frozenset({"letters", "spelling"})


def parts(*, attends: bool, spells: bool, sizes: Mapping[str, int]) -> dict[str, PartSignature]:
    """Return the signatures of one model, with its ``sizes`` of state, memory, top and spelling."""
    left_out = (frozenset[str]() if attends else _ATTENDING) | (frozenset[str]() if spells else _SPELLING)

    def kept(tensors: tuple[TensorSignature, ...]) -> tuple[TensorSignature, ...]:
        return tuple(item for item in tensors if not item.optional or item.name not in left_out)

    return {
        name: PartSignature(inputs=kept(part.inputs), outputs=kept(part.outputs)).fixed(**sizes)
        for name, part in PARTS.items()
        if spells or name not in OPTIONAL
    }
