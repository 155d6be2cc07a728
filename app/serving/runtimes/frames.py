"""What gateway and child say to one another: a length, a JSON header with dtypes and shapes, then the raw numbers.

Each array is received into memory of its own, so every tensor is aligned.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson

if TYPE_CHECKING:
    # Not at run time: the child would load pydantic for a name.
    from models.contract.task import Array

LENGTH = struct.Struct(">I")

COPIED_BYTES = 2**16
"""Up to this size one copy costs less than several calls of the system."""


@dataclass(frozen=True)
class Frame:
    """One message: some fields that JSON can hold, and arrays in order."""

    fields: Mapping[str, Any]
    arrays: Sequence[Array] = ()


def send(connection: socket.socket, frame: Frame, deadline: float | None = None) -> None:
    """Send a frame; ``deadline`` is a time of ``time.monotonic``.

    Raises:
        TimeoutError: the deadline came first.
        OSError: nobody is at the other end.
    """
    arrays = [np.asarray(array, order="C") for array in frame.arrays]
    tensors = [(array.dtype.name, array.shape) for array in arrays]
    header = orjson.dumps({**frame.fields, "tensors": tensors})
    pieces = [LENGTH.pack(len(header)), header, *(_bytes(array) for array in arrays if array.nbytes)]
    if sum(map(len, pieces)) <= COPIED_BYTES:
        pieces = [b"".join(pieces)]
    for piece in pieces:
        _limit(connection, deadline)
        connection.sendall(piece)


def receive(connection: socket.socket, deadline: float | None = None) -> Frame:
    """Return the next frame.

    Raises:
        EOFError: the other end is gone.
        TimeoutError: the deadline came first.
    """
    prefix = bytearray(LENGTH.size)
    _fill(connection, memoryview(prefix), deadline)
    header = bytearray(LENGTH.unpack(prefix)[0])
    _fill(connection, memoryview(header), deadline)
    fields = orjson.loads(header)
    arrays: list[Array] = []
    for dtype, shape in fields.pop("tensors"):
        array = np.empty(shape, np.dtype(dtype))
        if array.nbytes:
            _fill(connection, _bytes(array), deadline)
        arrays.append(array)
    return Frame(fields, arrays)


def _bytes(array: Array) -> memoryview:
    return memoryview(cast("Any", array.reshape(-1))).cast("B")


def _fill(connection: socket.socket, target: memoryview, deadline: float | None) -> None:
    while target:
        _limit(connection, deadline)
        count = connection.recv_into(target)
        if count == 0:
            raise EOFError
        target = target[count:]


def _limit(connection: socket.socket, deadline: float | None) -> None:
    if deadline is None:
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
