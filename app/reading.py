"""Uploads are read in a process of their own, with limits, so that none of them slows or ends the gateway.

Starts ``models.data.reading_process``, passes on what it says, and ends it, with its group, when nobody waits for it
any more. The only place that knows which setting raises which limit.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import gettempdir

import structlog

from app.settings import GatewaySettings
from models.contract.datasets import DatasetRecord
from models.contract.errors import InvalidDataset, LecternError, PayloadTooLarge, StoreFull
from models.contract.findings import error_of
from models.data.reading import Order
from models.data.reading_process import Outcome, Task

COMMAND = (sys.executable, "-P", "-m", "models.data.reading_process")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Threads of numeric libraries would take address space, and nothing that is read needs them."""

LAST_WORDS_BYTES = 4_000
CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL})

log = structlog.get_logger()


class Readings:
    """Reads uploads, a few at a time; others wait for their turn."""

    def __init__(self, settings: GatewaySettings) -> None:
        """Keep the limits; nothing starts before it is asked for."""
        self._settings = settings
        self._turns = asyncio.Semaphore(settings.reading_slots)

    async def read(self, order: Order, folder: Path) -> DatasetRecord:
        """Return the record of what was read; its content lies in ``folder``. Cancelling ends the process.

        Raises:
            LecternError: whatever the reading refused.
            PayloadTooLarge: it took more memory or time than the settings allow.
        """
        settings = self._settings
        task = Task(
            order=order,
            families=settings.families,
            folder=folder,
            memory_bytes=settings.reading_memory_bytes,
            cpu_seconds=settings.reading_cpu_seconds,
        )
        async with self._turns, _started() as process:
            try:
                async with asyncio.timeout(settings.reading_seconds):
                    answer, words, status = await _heard(process, task)
            except TimeoutError:
                raise self._too_slow("seconds", "LECTERN_READING_SECONDS", settings.reading_seconds) from None
        return self._record(answer, words, status)

    def _record(self, answer: bytes, words: str, status: int) -> DatasetRecord:
        if status == 0:
            outcome = Outcome.model_validate_json(answer)
            if outcome.record is not None:
                return outcome.record
            raise self._refusal(outcome)
        log.warning("reading_failed", status=status, last_words=words)
        if status == -signal.SIGXCPU:
            raise self._too_slow(
                "seconds of processor time", "LECTERN_READING_CPU_SECONDS", self._settings.reading_cpu_seconds
            )
        if status == -signal.SIGKILL:
            raise PayloadTooLarge(
                "The process that read the upload was killed, most likely because the machine ran out of memory; "
                "send less at a time, or make room."
            )
        if -status in CRASHES:
            name = signal.Signals(-status).name
            raise InvalidDataset(
                f"The upload made its reader crash ({name}): a file is damaged in a way that was not foreseen, or "
                "LECTERN_READING_MEMORY_BYTES is too low."
            )
        if "MemoryError" in words:
            raise self._too_much()
        message = f"the reading of an upload ended with status {status}: {words}"
        raise RuntimeError(message)

    def _refusal(self, outcome: Outcome) -> LecternError:
        if outcome.problem is not None:
            return error_of(outcome.problem)
        if outcome.limit == "disk":
            return StoreFull(f"No space left for the upload in {gettempdir()}; free some and try again.")
        return self._too_much()

    def _too_much(self) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"Reading the upload takes more than the {self._settings.reading_memory_bytes} bytes of memory that it "
            "may have; send less at a time, or raise LECTERN_READING_MEMORY_BYTES."
        )

    def _too_slow(self, unit: str, setting: str, value: float) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"Reading the upload takes more than the {value:g} {unit} that it may have; send less at a time, or raise "
            f"{setting}."
        )


@asynccontextmanager
async def _started() -> AsyncGenerator[Process]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=_environment(), start_new_session=True
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def _heard(process: Process, task: Task) -> tuple[bytes, str, int]:
    """Return what the process answered, its last words on stderr, and its status."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with suppress(ConnectionError):  # it died already; its status says why
        process.stdin.write(task.model_dump_json().encode() + b"\n")
        await process.stdin.drain()
    answer, words = await asyncio.gather(process.stdout.read(), _tail(process.stderr))
    return answer, words, await process.wait()


async def _tail(stream: asyncio.StreamReader) -> str:
    last = b""
    while piece := await stream.read(LAST_WORDS_BYTES):
        last = (last + piece)[-LAST_WORDS_BYTES:]
    return last.decode("utf-8", "replace")


def _environment() -> Mapping[str, str]:
    """Return an environment in which the process finds the packages that this one does."""
    return {**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
