"""The runtime in a child process: whatever becomes of the child, each request gets its own answer or a clear error.

A program without torch stands in for the child here; the real one is asked in ``tests/integration/``.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from app.serving.runtimes import frames
from app.serving.runtimes.runtime import Refused, Source, Unreadable
from app.serving.runtimes.torchscript import TorchScriptPart, TorchScriptRuntime
from models.contract.errors import DeadlineExceeded, Draining, ModelDamaged, RuntimeUnavailable
from models.contract.tensors import PartSignature, TensorSignature

ROWS = TensorSignature(name="rows", shape=("batch", 2))
SIGNATURE = PartSignature(inputs=(ROWS,), outputs=(TensorSignature(name="doubled", shape=("batch", 2)),))
FAKE = Path(__file__).with_name("fake_child.py")
HIDING_TORCH = """
import runpy, sys
sys.modules["torch"] = None
open(sys.argv[1], "a").write("started\\n")
runpy.run_module("app.serving.runtimes.torchscript_child", run_name="__main__")
"""


class Bench:
    """A runtime with the stand-in as its child."""

    def __init__(self, folder: Path, limit_seconds: float = 20.0) -> None:
        """Start nothing yet."""
        self.starts = folder / "starts"
        self.runtime = TorchScriptRuntime(limit_seconds, (sys.executable, str(FAKE), str(self.starts)))

    def load(self, behaviour: bytes = b"") -> TorchScriptPart:
        """Load an archive that behaves so."""
        return self.runtime.load(Source(SIGNATURE, lambda: behaviour))

    def kill_child(self) -> None:
        """Kill the idle child; return when it is gone."""
        child = self.runtime._child
        assert child
        os.kill(child.pid, signal.SIGKILL)
        wait_until(child.is_gone)

    def pids(self) -> list[int]:
        """Process ids of all children so far."""
        return [int(line) for line in self.starts.read_text(encoding="utf-8").split()]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Return a runtime that is closed afterwards."""
    found = Bench(tmp_path)
    yield found
    found.runtime.close()


def ask(part: TorchScriptPart, value: float = 1.0) -> float:
    """Return what the part makes of ``value``."""
    outputs = part.run({"rows": np.full((3, 2), value, dtype=np.float32)})
    assert outputs["doubled"].shape == (3, 2)
    return float(outputs["doubled"][0, 0])


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when ``condition`` holds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Return whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_child_is_started_on_first_need_and_once(bench: Bench) -> None:
    assert bench.runtime.pid is None
    parts = [bench.load() for _ in range(3)]
    assert [ask(part, 2.5) for part in parts] == [5.0] * 3
    assert bench.pids() == [bench.runtime.pid]


def test_requests_at_once_get_each_their_own_answer(bench: Bench) -> None:
    parts = [bench.load(), bench.load()]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: ask(parts[number % 2], number), range(200)))
    assert found == [2.0 * number for number in range(200)]


def test_child_killed_while_idle_is_replaced_unnoticed(bench: Bench) -> None:
    """With every part that is asked for, read again; what nobody asks for stays out."""
    first, second = bench.load(), bench.load()
    bench.kill_child()
    assert [ask(first), ask(second)] == [2.0, 2.0]
    assert len(bench.pids()) == 2


def test_child_that_dies_under_a_run_fails_that_request_alone(bench: Bench) -> None:
    sound, deadly = bench.load(), bench.load(b"crash")
    with pytest.raises(RuntimeUnavailable, match=r"ended by SIGKILL.*next request starts a new one"):
        ask(deadly)
    assert ask(sound) == 2.0
    assert len(bench.pids()) == 2
    assert not alive(bench.pids()[0])


def test_run_beyond_its_limit_is_stopped_and_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path, limit_seconds=0.4)
    sound, endless = bench.load(), bench.load(b"hang")
    pid = bench.runtime.pid
    assert pid
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"longer than 0.4 s .*LECTERN_TORCHSCRIPT_LIMIT_SECONDS"):
        ask(endless)
    assert 0.4 <= time.monotonic() - started < 5
    assert not alive(pid)
    assert ask(sound) == 2.0
    bench.runtime.close()


def test_request_that_waits_too_long_for_its_turn_is_told(tmp_path: Path) -> None:
    """Others went on computing; nothing is wrong with the child."""
    bench = Bench(tmp_path, limit_seconds=0.4)
    slow = bench.load(b"slow")
    with ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(ask, slow) for _ in range(4)]
        errors = [future.exception() for future in futures]
    told = [error for error in errors if error is not None]
    assert told
    assert all(isinstance(error, RuntimeUnavailable) and "busy" in error.detail for error in told)
    assert errors.count(None) >= 1
    assert len(bench.pids()) == 1
    bench.runtime.close()


def test_answer_that_was_given_up_reaches_nobody_else(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """When receiving fails half way, the rest of that answer must not be taken for the next one."""
    part = bench.load()

    def fails(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(frames, "receive", fails)
        with pytest.raises(MemoryError):
            ask(part, 7.0)
    assert ask(part, 1.0) == 2.0
    assert len(bench.pids()) == 2


def test_archive_that_cannot_be_read_is_said_at_once(bench: Bench) -> None:
    with pytest.raises(Unreadable, match="no archive"):
        bench.load(b"broken")


@pytest.mark.parametrize(("behaviour", "reason"), [(b"refuse", "the values are wrong"), (b"twice", "gives 2 outputs")])
def test_values_that_the_graph_refuses_leave_the_child_alone(bench: Bench, behaviour: bytes, reason: str) -> None:
    part = bench.load(behaviour)
    with pytest.raises(Refused, match=reason):
        ask(part)
    assert len(bench.pids()) == 1


def test_part_changed_on_disk_meanwhile_is_not_loaded_into_the_next_child(bench: Bench) -> None:
    """The bytes are read and compared again; nothing that was not published is ever loaded."""
    changed = threading.Event()

    def read() -> bytes:
        if changed.is_set():
            raise ModelDamaged("The bytes are others.")
        return b""

    part = bench.runtime.load(Source(SIGNATURE, read))
    assert ask(part) == 2.0
    changed.set()
    assert ask(part) == 2.0
    bench.kill_child()
    with pytest.raises(ModelDamaged):
        ask(part)


def test_child_forgets_what_nobody_holds(bench: Bench) -> None:
    """Dropped versions free the child's memory by themselves; requests under way keep theirs."""
    census = bench.load(b"census")
    parts = [bench.load() for _ in range(4)]
    kept = parts[0]
    assert ask(census) == 5
    parts.clear()
    gc.collect()
    wait_until(lambda: ask(census) == 2)
    assert ask(kept) == 2.0


def test_closing_ends_the_child_and_whoever_waits_for_it(bench: Bench) -> None:
    part = bench.load(b"hang")
    (pid,) = bench.pids()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(ask, part)
        wait_until(waiting.running)
        started = time.monotonic()
        bench.runtime.close()
        with pytest.raises(Draining):
            waiting.result(10)
    assert time.monotonic() - started < 5
    assert not alive(pid)
    with pytest.raises(Draining):
        ask(part)
    with pytest.raises(Draining):
        bench.load()


def test_missing_torch_is_said_and_not_tried_again(tmp_path: Path) -> None:
    """By the real program in an interpreter that has no torch."""
    starts = tmp_path / "starts"
    runtime = TorchScriptRuntime(20.0, (sys.executable, "-P", "-c", HIDING_TORCH, str(starts)))
    for _ in range(2):
        with pytest.raises(RuntimeUnavailable, match=r"torch cannot be imported .*Install torch .*restart .*onnx"):
            runtime.load(Source(SIGNATURE, bytes))
    assert starts.read_text(encoding="utf-8").split() == ["started"]
    assert runtime.pid is None
    runtime.close()


def test_interpreter_that_does_not_even_start_is_an_error_and_no_hang(tmp_path: Path) -> None:
    runtime = TorchScriptRuntime(20.0, (sys.executable, "-c", "raise SystemExit(1)"))
    with pytest.raises(RuntimeUnavailable, match="ended with status 1"):
        runtime.load(Source(SIGNATURE, bytes))
    runtime.close()
    nowhere = TorchScriptRuntime(20.0, (str(tmp_path / "python"),))
    with pytest.raises(RuntimeUnavailable, match="cannot be started"):
        nowhere.load(Source(SIGNATURE, bytes))
    nowhere.close()
