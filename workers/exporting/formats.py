"""The formats by name. A further one is a file beside ``onnx.py`` with a writer and an opener, and a line here."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from models.contract.errors import ExportFailed
from models.contract.formats import Format
from models.contract.task import Array, Arrays
from models.contract.tensors import PartSignature
from models.family import Export
from workers.exporting import onnx, torchscript
from workers.logs import say

RunPart = Callable[[Arrays], dict[str, Array]]
"""Runs an exported graph: outputs by name."""


@dataclass(frozen=True)
class Exporter:
    """How a format is written, and opened again to be compared and scored."""

    write: Callable[[Export, tuple[Tensor, ...]], bytes]
    open: Callable[[bytes, PartSignature], RunPart]


EXPORTERS: Mapping[Format, Exporter] = {
    "onnx": Exporter(onnx.write, onnx.open_graph),
    "torchscript": Exporter(torchscript.write, torchscript.open_graph),
}


def write(name: str, export: Export, format_: Format, example: tuple[Tensor, ...]) -> bytes:
    """Return the graph of the part ``name`` in one format, traced or scripted on ``example``, all on the CPU.

    Raises:
        ExportFailed: the format cannot hold what the module does.
    """
    try:
        return EXPORTERS[format_].write(export, example)
    except MemoryError:
        raise
    except Exception as error:  # exporters raise many kinds without a common base
        say(traceback.format_exc())
        message = f"Part '{name}' cannot be exported as {format_}: {_reason(error)}. The job's log has the traceback."
        raise ExportFailed(message) from error


def _reason(error: BaseException) -> str:
    """Return the first line of what was wrong at first: what the exporters make of it is advice to themselves."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
