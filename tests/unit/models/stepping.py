"""Operations on versions that go on one access to the store at a time, in an order that a test chooses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Semaphore, Thread

from models.artifacts.store import ArtifactStore
from models.artifacts.versions import Versions
from models.contract.errors import LecternError

SECONDS = 20.0
"""No access takes longer; one that did would hold up the test for ever."""


class Died(BaseException):
    """The process of an operation was killed before this access."""


class Operation:
    """Something that is done to versions, in a thread that stands still before each access to the store."""

    def __init__(self, store: ArtifactStore, act: Callable[[Versions], object]) -> None:
        """Go as far as the first access."""
        self.over = False
        self.error: LecternError | None = None
        self._act = act
        self._versions = Versions(_Stopping(store, self._stop))
        self._dying = False
        self._go, self._stopped = Semaphore(0), Semaphore(0)
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()
        self._await(self._stopped)

    @property
    def succeeded(self) -> bool:
        """Whether it has ended, without an error."""
        return self.over and self.error is None

    def step(self) -> bool:
        """Let it do one access; return whether there was one to do."""
        if self.over:
            return False
        self._go.release()
        self._await(self._stopped)
        return True

    def go(self, accesses: int) -> bool:
        """Let it do so many accesses; return whether it had as many to do."""
        return all([self.step() for _ in range(accesses)])  # noqa: C419 - each of them

    def finish(self) -> None:
        """Let it come to its end."""
        while self.step():
            pass

    def die(self) -> None:
        """Let it do nothing any more, as in a process that was killed."""
        self._dying = True
        self.step()

    def _run(self) -> None:
        try:
            self._act(self._versions)
        except LecternError as error:
            self.error = error
        except Died:
            return
        finally:
            self.over = True
            self._stopped.release()

    def _stop(self) -> None:
        self._stopped.release()
        self._await(self._go)
        if self._dying:
            raise Died

    def _await(self, semaphore: Semaphore) -> None:
        assert semaphore.acquire(timeout=SECONDS), "an access to the store did not come back"


class _Stopping(ArtifactStore):
    """A store behind which another lies; stops before each access."""

    def __init__(self, store: ArtifactStore, stop: Callable[[], None]) -> None:
        self.url = "stopping"
        self._inner = store
        self._stop = stop

    def put(self, path: str, data: bytes | Path) -> None:
        self._stop()
        self._inner.put(path, data)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        self._stop()
        return self._inner.put_if_absent(path, data)

    def get(self, path: str) -> bytes:
        self._stop()
        return self._inner.get(path)

    def names(self, prefix: str) -> list[str]:
        self._stop()
        return self._inner.names(prefix)

    def folders(self, prefix: str) -> list[str]:
        self._stop()
        return self._inner.folders(prefix)

    def delete(self, path: str) -> None:
        self._stop()
        self._inner.delete(path)
