"""The gate that refuses an exported graph which does not equal the trained module.

It compares graph and module at several sizes of every symbolic axis, (1, …, 1) and sizes beyond the traced
example among them: an exporter that silently freezes an axis is caught here and not by a user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.contract.errors import ParityFailed, TrainingDiverged
from models.contract.formats import Format
from models.contract.task import Array, Arrays
from models.contract.tensors import TOLERANCES, PartSignature
from models.contract.ties import without_ties
from models.family import Export, Family
from workers.exporting.formats import RunPart

TRACED_SIZES = (2, 5, 6, 8, 9)
PARITY_SIZES = ((1, 1), (2, 4), (3, 7), (5, 11))
"""Sizes of the first symbolic axis and of all others."""


def traced_sizes(signature: PartSignature) -> dict[str, int]:
    """Return the size of each symbolic axis in the example that the exporter traces."""
    symbols = signature.symbols()
    return {name: TRACED_SIZES[min(index, len(TRACED_SIZES) - 1)] for index, name in enumerate(symbols)}


def check_parity(
    name: str, export: Export, format_: Format, run: RunPart, family: Family[Any, Any], generator: torch.Generator
) -> tuple[dict[str, float], list[tuple[Arrays, Arrays]]]:
    """Return the largest difference per output, and the inputs and outputs it was measured on (the probe).

    Args:
        name: of the part.
        export: the part, with the module that the graph must equal.
        format_: of the exported graph.
        run: runs it.
        family: gives inputs of any size.
        generator: from which they are drawn.

    Raises:
        ParityFailed: an output differs by more than its tolerance, or has another shape; says at which sizes.
        TrainingDiverged: the trained model itself answers with what is not a number.
    """
    reference = (export.reference or export.module).eval()
    largest: dict[str, float] = {}
    probe: list[tuple[Arrays, Arrays]] = []
    for first, others in PARITY_SIZES:
        sizes = {symbol: first if index == 0 else others for index, symbol in enumerate(export.signature.symbols())}
        inputs = family.example(name, sizes, generator)
        arrays = {item.name: value.numpy() for item, value in zip(export.signature.inputs, inputs, strict=True)}
        with torch.no_grad():
            wanted = _by_name(export.signature, reference(*inputs))
        try:
            found = run(arrays)
        except Exception as error:
            message = f"Part '{name}' ({format_}) cannot be run with {sizes}: {error}"
            raise ParityFailed(message) from error
        for output, difference in _differences(f"'{name}' ({format_})", export.signature, sizes, wanted, found).items():
            largest[output] = max(largest.get(output, 0.0), difference)
        probe.append((arrays, found))
    return largest, probe


def measure(
    name: str, export: Export, run: RunPart, probe: Sequence[tuple[Arrays, Arrays]]
) -> tuple[dict[str, float], list[tuple[Arrays, Arrays]]]:
    """Return the largest difference per output from the trained module, but for indices, and the probe of this graph.

    For a graph that is not meant to be equal: it must run at every size of the probe and answer with numbers, of the
    same shapes; no tolerance is applied.

    Args:
        name: of the part.
        export: the part.
        run: runs the graph.
        probe: of the graph that equals the module.

    Raises:
        ParityFailed: it does not run, or answers with another shape or with what is not a number.
    """
    reference = (export.reference or export.module).eval()
    measured = [output for output in export.signature.outputs if output.quantity != "indices"]
    largest: dict[str, float] = {}
    own: list[tuple[Arrays, Arrays]] = []
    for arrays, equal in probe:
        with torch.no_grad():
            wanted = _by_name(
                export.signature, reference(*(torch.from_numpy(arrays[item.name]) for item in export.signature.inputs))
            )
        try:
            found = run(arrays)
        except Exception as error:
            raise ParityFailed(f"Part '{name}' cannot be run in eight bits: {error}") from error
        for output in measured:
            difference = np.inf
            if found[output.name].shape == equal[output.name].shape:
                difference = _difference(wanted[output.name], found[output.name])
            if not np.isfinite(difference):
                message = (
                    f"Output '{output.name}' of part '{name}' in eight bits is not as it was: train without quantize."
                )
                raise ParityFailed(message)
            largest[output.name] = max(largest.get(output.name, 0.0), difference)
        own.append((arrays, found))
    return largest, own


def _by_name(signature: PartSignature, outputs: Tensor | tuple[Tensor, ...]) -> dict[str, Array]:
    values = outputs if isinstance(outputs, tuple) else (outputs,)
    return {item.name: value.numpy() for item, value in zip(signature.outputs, values, strict=True)}


def _differences(
    part: str, signature: PartSignature, sizes: Mapping[str, int], wanted: Arrays, found: Arrays
) -> dict[str, float]:
    differences: dict[str, float] = {}
    found = without_ties(signature, wanted, found)
    for output in signature.outputs:
        expected, actual = wanted[output.name], found[output.name]
        if np.isnan(expected.astype(np.float64)).any():
            message = (
                f"Output '{output.name}' of the trained model itself is not a number at {sizes}: the last steps "
                "diverged; take smaller steps or scale the data. The version was not published."
            )
            raise TrainingDiverged(message)
        if expected.shape != actual.shape:
            message = f"Output '{output.name}' of part {part} is {actual.shape} instead of {expected.shape} at {sizes}."
            raise ParityFailed(message)
        difference = _difference(expected, actual)
        if not difference <= TOLERANCES[output.quantity]:
            message = (
                f"Output '{output.name}' of part {part} differs from the trained model by {difference:.2e} at "
                f"{sizes}; allowed are {TOLERANCES[output.quantity]:.0e}. The version was not published."
            )
            raise ParityFailed(message)
        differences[output.name] = difference
    return differences


def _difference(expected: Array, actual: Array) -> float:
    """Return the largest difference, relative above magnitude 1."""
    scale = np.maximum(1.0, np.abs(expected.astype(np.float64)))
    gap = np.abs(expected.astype(np.float64) - actual.astype(np.float64)) / scale
    return float(gap.max(initial=0.0))
