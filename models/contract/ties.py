"""Ranked indices compared: where two values are nearer to one another than graphs agree, either order is right."""

from __future__ import annotations

import numpy as np

from models.contract.task import Arrays
from models.contract.tensors import TOLERANCES, PartSignature


def without_ties(signature: PartSignature, expected: Arrays, found: Arrays, slack: float = 1.0) -> Arrays:
    """Return ``found`` with the expected index wherever the rank of the found one is a matter of rounding.

    That is where the expected value differs from a neighbour in rank by no more than twice the tolerance of values,
    times ``slack``; and at the last rank, whose rival is not among the values. All other indices are as found.

    Args:
        signature: of the part, whose outputs say by which others they are ranked.
        expected: outputs by name.
        found: the same from another run.
        slack: by how many tolerances values may differ.
    """
    settled = dict(found)
    tolerances = {tensor.name: TOLERANCES[tensor.quantity] for tensor in signature.outputs}
    for tensor in signature.outputs:
        if (
            tensor.ranked_by is None
            or tensor.name not in expected
            or found[tensor.name].shape != expected[tensor.name].shape
        ):
            continue
        values = expected[tensor.ranked_by].astype(np.float64)  # (…, rank)
        allowed = 2 * slack * tolerances[tensor.ranked_by] * np.maximum(1.0, np.abs(values))
        near = -np.diff(values, axis=-1) <= allowed[..., 1:]  # (…, rank − 1)
        tied = np.zeros(values.shape, bool)
        tied[..., -1] = True
        tied[..., :-1] |= near
        tied[..., 1:] |= near
        settled[tensor.name] = np.where(tied, expected[tensor.name], found[tensor.name])
    return settled
