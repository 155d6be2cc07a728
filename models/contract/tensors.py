"""Signatures of exported parts: names, dtypes, shapes with symbolic axes, and what the numbers mean."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from models.contract.config import Options

Dtype = Literal["float32", "float64", "int64", "int32", "bool", "uint8"]
Quantity = Literal["values", "logits", "probabilities", "log_probabilities", "indices"]

TOLERANCES: dict[Quantity, float] = {
    "values": 1e-4,
    "logits": 1e-4,
    "log_probabilities": 1e-4,
    "probabilities": 1e-5,
    "indices": 0.0,
}
"""Largest difference between exported graph and trained model, relative above magnitude 1."""


class TensorSignature(Options):
    """One input or output: a string in ``shape`` is a symbolic axis, such as ``batch`` or ``time``.

    ``optional`` says, in a family's description, that an exported part lacks it when the dataset, or the configuration,
    has nothing for it. ``ranked_by`` names the output whose values, in falling order, are those of these indices; see
    :func:`models.contract.ties.without_ties`.
    """

    name: str
    dtype: Dtype = "float32"
    shape: tuple[int | str, ...]
    quantity: Quantity = "values"
    optional: bool = Field(default=False, exclude_if=lambda optional: not optional)
    ranked_by: str | None = Field(default=None, exclude_if=lambda name: name is None)


class PartSignature(Options):
    """Inputs and outputs of one exported graph, in order."""

    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]

    def symbols(self) -> tuple[str, ...]:
        """Return the symbolic axes of the inputs in order of appearance."""
        seen: dict[str, None] = {}
        for tensor in self.inputs:
            seen.update(dict.fromkeys(axis for axis in tensor.shape if isinstance(axis, str)))
        return tuple(seen)

    def fixed(self, **sizes: int) -> PartSignature:
        """Return this signature with the named symbolic axes set to ``sizes``, as a dataset decides."""

        def fix(tensor: TensorSignature) -> TensorSignature:
            shape = tuple(sizes.get(axis, axis) if isinstance(axis, str) else axis for axis in tensor.shape)
            return tensor.model_copy(update={"shape": shape})

        return PartSignature(inputs=tuple(map(fix, self.inputs)), outputs=tuple(map(fix, self.outputs)))
