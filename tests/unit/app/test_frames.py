"""Frames between gateway and child: what is sent is what is received, and a broken line is noticed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from app.serving.runtimes import frames
from app.serving.runtimes.frames import Frame
from models.contract.task import Array

Line = tuple[socket.socket, socket.socket]


@pytest.fixture
def line() -> Iterator[Line]:
    """Both ends of a connection."""
    near, far = socket.socketpair()
    with near, far:
        yield near, far


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.arange(6, dtype=np.float32).reshape(2, 3), id="float32"),
        pytest.param(np.array([[1.5, -0.0]]), id="float64"),
        pytest.param(np.array([-(2**62), 2**62]), id="int64"),
        pytest.param(np.array([-1, 7], dtype=np.int32), id="int32"),
        pytest.param(np.array([[True], [False]]), id="bool"),
        pytest.param(np.arange(256, dtype=np.uint8), id="uint8"),
        pytest.param(np.zeros((3, 0, 2), dtype=np.float32), id="empty"),
        pytest.param(np.array(3.25, dtype=np.float32), id="no axes"),
        pytest.param(np.arange(12, dtype=np.float32).reshape(3, 4).T[::2], id="not contiguous"),
        pytest.param(np.array([np.nan, np.inf, -np.inf], dtype=np.float32), id="not finite"),
    ],
)
def test_array_arrives_as_it_was(line: Line, array: Array) -> None:
    """Same dtype, shape and bits; what arrives can be written to and is aligned, as torch wants it."""
    near, far = line
    frames.send(near, Frame({"do": "run", "key": 1}, [array, array]))
    found = frames.receive(far)
    assert found.fields == {"do": "run", "key": 1}
    for one in found.arrays:
        assert (one.dtype, one.shape) == (array.dtype, array.shape)
        assert one.tobytes() == array.tobytes()
        assert one.flags.writeable
        assert one.flags.aligned


def test_frame_larger_than_the_buffers_of_the_system_arrives(line: Line) -> None:
    near, far = line
    numbers = np.random.default_rng(1).random(2**20)
    sender = threading.Thread(target=frames.send, args=(near, Frame({}, [numbers]), time.monotonic() + 30))
    sender.start()
    (found,) = frames.receive(far, time.monotonic() + 30).arrays
    sender.join()
    assert np.array_equal(found, numbers)


@pytest.mark.parametrize("sent", [0, 2, 10, 40])
def test_end_in_the_middle_of_a_frame_is_noticed(line: Line, sent: int) -> None:
    near, far = line
    frames.send(near, Frame({"do": "run"}, [np.zeros(8, dtype=np.float32)]))
    data = far.recv(4096)
    assert len(data) > sent
    other, end = socket.socketpair()
    with end:
        other.sendall(data[:sent])
        other.close()
        with pytest.raises(EOFError):
            frames.receive(end)


def test_deadline_ends_a_wait_on_either_side(line: Line) -> None:
    near, far = line
    with pytest.raises(TimeoutError):
        frames.receive(far, time.monotonic() + 0.05)
    with pytest.raises(TimeoutError):  # nobody reads at the other end
        frames.send(near, Frame({}, [np.zeros(2**22)]), time.monotonic() + 0.05)
    with pytest.raises(TimeoutError):
        frames.receive(far, time.monotonic() - 1)
