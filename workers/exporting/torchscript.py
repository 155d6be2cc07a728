"""TorchScript: graphs with their weights as torch itself reads them, for hosts that have torch and no ONNX runtime.

A part is traced on the example, or compiled from its source where it says so, and frozen: the weights become
constants, what only training needs goes. Where a part has an export twin, the twin is taken if torch can trace it,
else the trained module's own path: a twin that is written with ONNX's operators means nothing to TorchScript.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from models.contract.task import Array, Arrays
from models.contract.tensors import PartSignature
from models.family import Export

OPERATOR_OF_ONNX = re.compile(r"= onnx\w*::")


def write(export: Export, example: tuple[Tensor, ...]) -> bytes:
    """Return the TorchScript archive of one part."""
    if export.reference is None:
        return _archive(export.module, example, scripted=export.scripted)
    try:
        return _archive(export.module, example, scripted=export.scripted)
    except Exception:  # noqa: BLE001 - torch raises many kinds for what it cannot trace; the gate judges what follows
        return _archive(export.reference, example, scripted=export.scripted)


def open_graph(graph: bytes, signature: PartSignature) -> Callable[[Arrays], dict[str, Array]]:
    """Return what runs the archive, on the threads that torch has here."""
    with _quiet():
        module = cast("Any", torch.jit.load(io.BytesIO(graph), map_location="cpu"))
    names = [output.name for output in signature.outputs]

    def run(arrays: Arrays) -> dict[str, Array]:
        with torch.no_grad():
            found = module(*(torch.from_numpy(arrays[tensor.name]) for tensor in signature.inputs))
        outputs = cast("tuple[Tensor, ...]", found if isinstance(found, tuple) else (found,))
        return dict(zip(names, (output.numpy() for output in outputs), strict=True))

    return run


def _archive(module: nn.Module, example: tuple[Tensor, ...], *, scripted: bool) -> bytes:
    buffer = io.BytesIO()
    with _quiet(), torch.no_grad():
        module.eval()
        # Torch's own check runs the example a second time; the gate runs other sizes instead.
        graph = cast(
            "Any", torch.jit.script(module) if scripted else torch.jit.trace(module, example, check_trace=False)
        )
        frozen = torch.jit.freeze(graph)
        if OPERATOR_OF_ONNX.search(str(frozen.inlined_graph)):
            message = "it uses operators of ONNX, which TorchScript does not have"
            raise ValueError(message)
        torch.jit.save(frozen, buffer)
    return buffer.getvalue()


@contextmanager
def _quiet() -> Generator[None]:
    """Silence that TorchScript is deprecated (torch is pinned) and the tracer's guesses, which the gate checks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        warnings.filterwarnings("ignore", category=cast("Any", torch.jit).TracerWarning)
        yield
