"""TorchScript, in one child process that is started with the first such part and again after it ended.

A TorchScript archive can do what a program can, so only files that a manifest of the store names, with the hash it
names, ever reach the child; nothing that was uploaded does. One run at a time; the others wait for their turn.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
import weakref
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue

import numpy as np
import structlog

from app.serving.runtimes.child import Child, ChildEnded
from app.serving.runtimes.frames import Frame
from app.serving.runtimes.runtime import Halt, Refused, Source, Unreadable, first_line
from models.contract.errors import DeadlineExceeded, Draining, RuntimeUnavailable
from models.contract.task import Array, Arrays

COMMAND = (sys.executable, "-P", "-m", "app.serving.runtimes.torchscript_child")
START_SECONDS = 120.0
"""For importing torch, and for loading one part: a cold disk is slow."""

log = structlog.get_logger()


class TorchScriptRuntime:
    """Loads TorchScript archives into the child."""

    in_process = False

    def __init__(self, limit_seconds: float, command: Sequence[str] = COMMAND) -> None:
        """Start nothing yet; a run may take ``limit_seconds``, and wait as long for its turn."""
        self._limit_seconds = limit_seconds
        self._command = command
        self._turn = threading.Lock()
        self._child: Child | None = None
        self._missing: str | None = None
        self._closed = False
        self._keys = itertools.count(1)
        self._unwanted: SimpleQueue[int | None] = SimpleQueue()
        self._unloading: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the child, if there is one."""
        return self._child.pid if self._child else None

    def load(self, source: Source) -> TorchScriptPart:
        """Return the part, loaded into the child.

        Raises:
            Unreadable: it is no TorchScript, or takes another number of inputs.
            RuntimeUnavailable: torch is not installed here, or the child ended.
        """
        data, key = source.read(), next(self._keys)
        with self._child_in_turn() as child:
            _load(child, key, source, data)
        part = TorchScriptPart(self, key, source)
        # The last to let go may be any thread, and the collector of garbage: only this queue may be used from there.
        weakref.finalize(part, self._unwanted.put, key).atexit = False
        return part

    def run(self, key: int, source: Source, arrays: Arrays) -> list[Array]:
        """Return the outputs of one run, in order; a child that is new since the part was loaded loads it first.

        Raises:
            Refused: the graph refuses these values.
            RuntimeUnavailable: the child ended while it computed.
            DeadlineExceeded: the run took longer than its limit; the child was ended.
        """
        asked = Frame({"do": "run", "key": key}, [arrays[tensor.name] for tensor in source.signature.inputs])
        data: bytes | None = None
        while True:
            with self._child_in_turn() as child:
                if data is not None and key not in child.loaded:
                    _load(child, key, source, data)
                if key in child.loaded:
                    answer = child.ask(asked, self._limit_seconds)
                    break
            data = source.read()  # while others have their turn
        if "error" in answer.fields:
            raise Refused(first_line(answer.fields["error"]))
        return list(answer.arrays)

    def close(self) -> None:
        """End the child; whoever waits for it is told. It holds nothing that would have to be saved."""
        self._closed = True
        self._unwanted.put(None)
        if self._child:
            self._child.kill()
        with self._turn:
            self._drop()

    @contextmanager
    def _child_in_turn(self) -> Generator[Child]:
        """Hold the living child; what happens to it becomes an error for the caller."""
        if not self._turn.acquire(timeout=self._limit_seconds):
            raise RuntimeUnavailable("The process that runs TorchScript is busy with earlier requests; try again.")
        try:
            yield self._living()
        except ChildEnded as ended:
            self._drop()
            if self._closed:
                raise Draining("The gateway is shutting down.") from ended
            log.warning("runtime_ended", runtime="torchscript", reason=str(ended))
            detail = f"The process that runs TorchScript is gone: {ended}. The next request starts a new one."
            raise RuntimeUnavailable(detail) from ended
        except TimeoutError as error:
            self._drop()
            log.warning("runtime_stopped", runtime="torchscript", limit_seconds=self._limit_seconds)
            detail = (
                f"The run took longer than {self._limit_seconds:g} s and was stopped; send less at a time, or raise "
                "LECTERN_TORCHSCRIPT_LIMIT_SECONDS."
            )
            raise DeadlineExceeded(detail) from error
        finally:
            self._turn.release()

    def _living(self) -> Child:
        if self._closed:
            raise Draining("The gateway is shutting down.")
        if self._child and self._child.is_gone():
            log.warning("runtime_ended", runtime="torchscript", reason="while idle")
            self._drop()
        if self._child is None:
            self._start()
        assert self._child
        return self._child

    def _start(self) -> None:
        if self._missing:
            raise RuntimeUnavailable(self._missing)
        started = time.perf_counter()
        try:
            self._child = Child(self._command)
        except OSError as error:
            raise RuntimeUnavailable(f"The process that runs TorchScript cannot be started: {error}.") from error
        if self._closed:
            self._child.kill()
        try:
            word = self._child.first_word(START_SECONDS).fields
        except TimeoutError as error:
            raise ChildEnded(f"torch was not imported within {START_SECONDS:g} s") from error
        if "unavailable" in word:
            self._drop()
            detail = (
                f"This gateway cannot run TorchScript: torch cannot be imported ({first_line(word['unavailable'])}). "
                "Install torch beside the gateway and restart it, or train again and export to onnx."
            )
            # Whether it is installed cannot change without a restart; another reason may pass.
            self._missing = detail if word["missing"] else None
            raise RuntimeUnavailable(detail)
        if self._unloading is None:
            self._unloading = threading.Thread(target=self._unload, name="torchscript-unload", daemon=True)
            self._unloading.start()
        seconds = round(time.perf_counter() - started, 3)
        log.info("runtime_started", runtime="torchscript", torch=word["torch"], pid=self._child.pid, seconds=seconds)

    def _drop(self) -> None:
        if self._child:
            self._child.end()
        self._child = None

    def _unload(self) -> None:
        """Free the child's copies of what nobody holds any more."""
        for key in iter(self._unwanted.get, None):
            with self._turn:
                if self._child is None or key not in self._child.loaded:
                    continue
                self._child.loaded.discard(key)
                try:
                    self._child.ask(Frame({"do": "unload", "key": key}), START_SECONDS)
                except (ChildEnded, TimeoutError):
                    self._drop()


class TorchScriptPart:
    """A part in the child."""

    def __init__(self, runtime: TorchScriptRuntime, key: int, source: Source) -> None:
        """Keep under which key the child knows it, and where it comes from."""
        self._runtime = runtime
        self._key = key
        self._source = source

    def run(self, arrays: Arrays, halt: Halt | None = None) -> dict[str, Array]:
        """Return the outputs by name. A run is not interrupted: it has its own limit, and ending it ends the child."""
        del halt
        outputs = self._runtime.run(self._key, self._source, arrays)
        wanted = self._source.signature.outputs
        if len(outputs) != len(wanted):
            raise Refused(f"it gives {len(outputs)} outputs; its signature says {len(wanted)}")
        return {tensor.name: output for tensor, output in zip(wanted, outputs, strict=True)}


def _load(child: Child, key: int, source: Source, data: bytes) -> None:
    asked = {"do": "load", "key": key, "inputs": len(source.signature.inputs)}
    try:
        answer = child.ask(Frame(asked, [np.frombuffer(data, np.uint8)]), START_SECONDS)
    except TimeoutError as error:
        raise ChildEnded(f"a part was not loaded within {START_SECONDS:g} s") from error
    if "error" in answer.fields:
        raise Unreadable(f"torch says: {first_line(answer.fields['error'])}")
    child.loaded.add(key)
