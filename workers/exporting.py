"""From trained module to ONNX, and the gate that refuses a graph which does not equal it.

The gate compares graph and module at several sizes of every symbolic axis, (1, …, 1) and sizes beyond the
traced example among them: an exporter that silently freezes an axis is caught here and not by a user.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from models.contract.errors import ParityFailed, TrainingDiverged
from models.contract.task import Array, Arrays
from models.contract.tensors import TOLERANCES, PartSignature
from models.family import Export, Family

TRACED_SIZES = (2, 5, 6, 8, 9)
PARITY_SIZES = ((1, 1), (2, 4), (3, 7), (5, 11))
"""Sizes of the first symbolic axis and of all others."""


def traced_sizes(signature: PartSignature) -> dict[str, int]:
    """Return the size of each symbolic axis in the example that the exporter traces."""
    symbols = signature.symbols()
    return {name: TRACED_SIZES[min(index, len(TRACED_SIZES) - 1)] for index, name in enumerate(symbols)}


def export_part(export: Export, example: tuple[Tensor, ...]) -> bytes:
    """Return the ONNX graph of one part, traced or scripted on ``example``, all on the CPU."""
    module = export.module.eval()
    names = [tensor.name for tensor in export.signature.inputs]
    outputs = [tensor.name for tensor in export.signature.outputs]
    with _quiet():
        if export.scripted:
            return _export_scripted(module, example, export.signature, names, outputs)
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            dynamic_shapes=_dynamic_shapes(export.signature),
            input_names=names,
            output_names=outputs,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return program.model_proto.SerializeToString()


def _export_scripted(
    module: nn.Module,
    example: tuple[Tensor, ...],
    signature: PartSignature,
    names: list[str],
    outputs: list[str],
) -> bytes:
    buffer = io.BytesIO()
    axes = {
        tensor.name: {axis: size for axis, size in enumerate(tensor.shape) if isinstance(size, str)}
        for tensor in (*signature.inputs, *signature.outputs)
    }
    torch.onnx.export(
        cast("Any", torch.jit.script(module)),
        example,
        cast("Any", buffer),
        dynamo=False,
        input_names=names,
        output_names=outputs,
        dynamic_axes=axes,
        opset_version=18,
    )
    return buffer.getvalue()


def _dynamic_shapes(signature: PartSignature) -> tuple[dict[int, Any], ...]:
    symbols = {name: torch.export.Dim(name) for name in signature.symbols()}
    return tuple(
        {axis: symbols[size] for axis, size in enumerate(tensor.shape) if isinstance(size, str)}
        for tensor in signature.inputs
    )


def open_session(graph: bytes) -> onnxruntime.InferenceSession:
    """Return a session on one CPU thread, as the gateway runs it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run_session(session: onnxruntime.InferenceSession, arrays: Arrays) -> dict[str, Array]:
    """Return the outputs of one run by name."""
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, dict(arrays))
    return dict(zip(names, values, strict=True))


def check_parity(
    name: str, export: Export, graph: bytes, family: Family[Any, Any], generator: torch.Generator
) -> tuple[dict[str, float], list[tuple[Arrays, Arrays]]]:
    """Return the largest difference per output, and the inputs and outputs it was measured on (the probe).

    Raises:
        ParityFailed: an output differs by more than its tolerance, or has another shape; says at which sizes.
        TrainingDiverged: the trained model itself answers with what is not a number.
    """
    session = open_session(graph)
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
            found = run_session(session, arrays)
        except Exception as error:
            message = f"Part '{name}' cannot be run with {sizes}: {error}"
            raise ParityFailed(message) from error
        for output, difference in _differences(name, export.signature, sizes, wanted, found).items():
            largest[output] = max(largest.get(output, 0.0), difference)
        probe.append((arrays, found))
    return largest, probe


def _by_name(signature: PartSignature, outputs: Tensor | tuple[Tensor, ...]) -> dict[str, Array]:
    values = outputs if isinstance(outputs, tuple) else (outputs,)
    return {item.name: value.numpy() for item, value in zip(signature.outputs, values, strict=True)}


def _differences(
    part: str, signature: PartSignature, sizes: Mapping[str, int], wanted: Arrays, found: Arrays
) -> dict[str, float]:
    differences: dict[str, float] = {}
    for output in signature.outputs:
        expected, actual = wanted[output.name], found[output.name]
        if np.isnan(expected.astype(np.float64)).any():
            message = (
                f"Output '{output.name}' of the trained model itself is not a number at {sizes}: the last steps "
                "diverged; take smaller steps or scale the data. The version was not published."
            )
            raise TrainingDiverged(message)
        if expected.shape != actual.shape:
            message = (
                f"Output '{output.name}' of part '{part}' is {actual.shape} instead of {expected.shape} at {sizes}."
            )
            raise ParityFailed(message)
        scale = np.maximum(1.0, np.abs(expected.astype(np.float64)))
        gap = np.abs(expected.astype(np.float64) - actual.astype(np.float64)) / scale
        difference = float(gap.max(initial=0.0))
        if not difference <= TOLERANCES[output.quantity]:
            message = (
                f"Output '{output.name}' of part '{part}' differs from the trained model by {difference:.2e} at "
                f"{sizes}; allowed are {TOLERANCES[output.quantity]:.0e}. The version was not published."
            )
            raise ParityFailed(message)
        differences[output.name] = difference
    return differences


@contextmanager
def _quiet() -> Generator[None]:
    """Silence the exporters' remarks about their own insides; their errors pass."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
