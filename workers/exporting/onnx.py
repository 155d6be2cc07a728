"""ONNX: graphs that any runtime reads, traced by torch's exporter or scripted where there is a loop over time."""

from __future__ import annotations

import inspect
import io
import logging
import os
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from models.contract.task import Array, Arrays
from models.contract.tensors import PartSignature
from models.family import Export


def write(export: Export, example: tuple[Tensor, ...]) -> bytes:
    """Return the ONNX graph of one part."""
    module = export.module.eval()
    with _quiet():
        if export.scripted:
            return _write_scripted(export, example)
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            dynamic_shapes=_dynamic_shapes(module, export.signature),
            input_names=[tensor.name for tensor in export.signature.inputs],
            output_names=[tensor.name for tensor in export.signature.outputs],
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return program.model_proto.SerializeToString()


def open_graph(graph: bytes, signature: PartSignature) -> Callable[[Arrays], dict[str, Array]]:
    """Return what runs the graph on one CPU thread, as the gateway does."""
    # Read when the package is loaded: without it that sends its vendor what it loads and runs.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415 - as above

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in signature.outputs]

    def run(arrays: Arrays) -> dict[str, Array]:
        return dict(zip(names, session.run(names, dict(arrays)), strict=True))

    return run


def _write_scripted(export: Export, example: tuple[Tensor, ...]) -> bytes:
    buffer = io.BytesIO()
    signature = export.signature
    axes = {
        tensor.name: {axis: size for axis, size in enumerate(tensor.shape) if isinstance(size, str)}
        for tensor in (*signature.inputs, *signature.outputs)
    }
    torch.onnx.export(
        cast("Any", torch.jit.script(export.module)),
        example,
        cast("Any", buffer),
        dynamo=False,
        input_names=[tensor.name for tensor in signature.inputs],
        output_names=[tensor.name for tensor in signature.outputs],
        dynamic_axes=axes,
        opset_version=18,
    )
    return buffer.getvalue()


def _dynamic_shapes(module: nn.Module, signature: PartSignature) -> tuple[Any, ...]:
    """Return the symbolic axes of each input, arranged as ``forward`` takes them: ``*rest`` is one parameter."""
    symbols = {name: torch.export.Dim(name) for name in signature.symbols()}
    shapes = tuple(
        {axis: symbols[size] for axis, size in enumerate(tensor.shape) if isinstance(size, str)}
        for tensor in signature.inputs
    )
    parameters = list(inspect.signature(module.forward).parameters.values())
    several = parameters[-1].kind is inspect.Parameter.VAR_POSITIONAL and len(shapes) >= len(parameters)
    if several:
        return (*shapes[: len(parameters) - 1], shapes[len(parameters) - 1 :])
    return shapes


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
