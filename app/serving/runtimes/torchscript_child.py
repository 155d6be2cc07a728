"""The process that runs TorchScript: ``python -m app.serving.runtimes.torchscript_child``, started by ``child.py``.

Standard input is a socket to the gateway. Frames with the field ``do`` are answered in order: ``load`` an archive
under a key, ``run`` it, ``unload`` it. When the gateway is gone, however it ended, this process ends at once, also
in the middle of a run. It holds nothing that is not in the artifact store.
"""

from __future__ import annotations

import ctypes
import io
import os
import select
import socket
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any, NoReturn, cast

from app.serving.runtimes import frames
from app.serving.runtimes.frames import Frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.contract.task import Array


def main() -> NoReturn:
    """Answer until the gateway is gone."""
    connection = socket.socket(fileno=sys.stdin.fileno())
    threading.Thread(target=_end_with_gateway, args=(connection,), daemon=True).start()
    try:
        import torch  # noqa: PLC0415 - whether it is there is the first thing that the gateway is told
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "torch"
        frames.send(connection, Frame({"unavailable": str(error), "missing": missing}))
        os._exit(1)
    warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
    torch.set_num_threads(1)
    parts = Parts()
    frames.send(connection, Frame({"torch": torch.__version__}))
    while True:
        try:
            asked = frames.receive(connection)
            frames.send(connection, parts.answer(asked))
        except (EOFError, OSError):
            os._exit(0)


class Parts:
    """The loaded archives by key."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._modules: dict[int, Any] = {}

    def answer(self, asked: Frame) -> Frame:
        """Do what is asked; what torch raises is the field ``error`` of the answer."""
        key: int = asked.fields["key"]
        try:
            match asked.fields["do"]:
                case "load":
                    self._load(key, asked.arrays[0], asked.fields["inputs"])
                case "run":
                    return Frame({}, self._run(key, asked.arrays))
                case _:
                    del self._modules[key]
                    _give_memory_back()
        except Exception as error:  # noqa: BLE001 - torch raises many kinds; the gateway tells them to the client
            return Frame({"error": _last_line(error)})
        return Frame({})

    def _load(self, key: int, archive: Array, inputs: int) -> None:
        import torch  # noqa: PLC0415 - as in main

        module = cast("Any", torch.jit.load(io.BytesIO(archive.tobytes()), map_location="cpu"))
        taken = len(module.forward.schema.arguments) - 1
        if taken != inputs:
            message = f"it takes {taken} inputs; its signature says {inputs}"
            raise ValueError(message)
        self._modules[key] = module

    def _run(self, key: int, arrays: Sequence[Array]) -> list[Array]:
        import torch  # noqa: PLC0415 - as in main

        with torch.inference_mode():
            found = self._modules[key](*(torch.from_numpy(array) for array in arrays))
        outputs = cast("tuple[Any, ...]", found if isinstance(found, tuple) else (found,))
        return [output.numpy() for output in outputs]


def _last_line(error: Exception) -> str:
    """Return what torch says was wrong: the interpreter's own trace comes first, the reason last."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _give_memory_back() -> None:
    """Return freed memory to the system where the C library can; it would be kept for the next model."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def _end_with_gateway(connection: socket.socket) -> NoReturn:
    """Wait until the other end is closed; asked for no event, ``poll`` reports this one alone."""
    hangup = select.poll()
    hangup.register(connection, 0)
    hangup.poll()
    os._exit(0)


if __name__ == "__main__":
    main()
