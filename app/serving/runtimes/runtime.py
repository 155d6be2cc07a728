"""What the gateway asks of a runtime: load a part, run it, end. Called in worker threads, several at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from models.contract.task import Array, Arrays
from models.contract.tensors import PartSignature


@dataclass(frozen=True)
class Source:
    """A part to load.

    Attributes:
        signature: names, dtypes and axes of its inputs and outputs.
        read: returns its bytes, compared with the published hash each time.
    """

    signature: PartSignature
    read: Callable[[], bytes]


class Unreadable(Exception):
    """The runtime cannot take the part, though its bytes are those that were published; the text says why."""


class Refused(Exception):
    """The graph refuses the values of one run; the text says why."""


class Halted(Exception):
    """The run was interrupted, as nobody waits for it any more."""


class Halt:
    """Interrupts one run, from another thread than that which computes."""

    def __init__(self) -> None:
        """Know of no run yet."""
        self._stop: Callable[[], None] | None = None
        self._asked = False

    def arm(self, stop: Callable[[], None]) -> None:
        """Say how the run that begins now is interrupted."""
        self._stop = stop
        if self._asked:
            stop()

    def __call__(self) -> None:
        """Interrupt the run, or the one that is about to begin."""
        self._asked = True
        if self._stop is not None:
            self._stop()


class LoadedPart(Protocol):
    """One part, ready to run. It leaves memory when nobody holds it any more: requests under way keep theirs."""

    def run(self, arrays: Arrays, halt: Halt | None = None) -> dict[str, Array]:
        """Return the outputs by name; ``arrays`` fit the signature. ``halt`` interrupts it where that can be done.

        Raises:
            Refused: the graph refuses these values.
            Halted: it was interrupted.
        """
        ...


class Runtime(Protocol):
    """Runs the parts of one format."""

    in_process: bool
    """Whether runs compute on the thread that asks; else that thread mostly waits."""

    def load(self, source: Source) -> LoadedPart:
        """Return the part, loaded.

        Raises:
            Unreadable: it cannot be read as this format.
        """
        ...

    def close(self) -> None:
        """End what the runtime started; nothing can be loaded or run any more."""
        ...


def first_line(error: object) -> str:
    """Return the first line of what a library says, at most 300 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
