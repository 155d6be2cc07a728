"""Writes what a gateway sends into a file: whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from app.cli.output import CommandFailed


@contextmanager
def written(path: Path, *, replace: bool) -> Generator[IO[bytes]]:
    """Yield a file that becomes ``path`` at the end; after a failure there is nothing new.

    Raises:
        CommandFailed: ``path`` is there already and must not be replaced, or cannot be written.
    """
    if path.exists() and not replace:
        message = f"{path} is there already; choose another with --output, or replace it with --force."
        raise CommandFailed(message)
    try:
        with tempfile.NamedTemporaryFile(dir=path.absolute().parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                yield file
                file.flush()
                Path(file.name).replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(file.name)  # noqa: PTH108 - its name is a string
                raise
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}."
        raise CommandFailed(message) from error


@contextmanager
def download_progress() -> Generator[Callable[[int], None]]:
    """Show how much has come on stderr, if it is a terminal, while the yielded function is told."""
    from rich.console import Console  # noqa: PLC0415 - `lectern --help` shows no progress
    from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("downloading"), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda received: progress.advance(task, received)
