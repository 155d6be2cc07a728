"""A job's progress on stderr, from its events: a bar on a terminal, a line per epoch elsewhere; and its warnings."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from app.cli.output import CommandFailed, metrics_line, note
from app.cli.waiting import Waiting

if TYPE_CHECKING:
    from rich.console import Console

    from app.client import Client, Event, Job, ModelCard
    from models.contract.jobs import Progress

LINE_PAUSE_SECONDS = 1.0
STATE_WIDTH = len("exporting")
BAR_WIDTH = 20
BAR_METRICS = 2
"""Loss and one metric fit beside the bar on a terminal of 80 columns."""

FIGURES = re.compile(r"\d+(?:[.,]\d+)*")

Show = Callable[["Event"], None]


def watch(client: Client, job_id: str, on_event: Show | None = None) -> Job:
    """Show the progress of a job until it ends; return it.

    Raises:
        CommandFailed: the job failed or was cancelled; says why.
    """
    with _display() as show, closing(Waiting(client, job_id, partial(_warn, show))) as waiting:
        for event in client.events(job_id):
            show(event)
            waiting.see(event)
            if on_event:
                on_event(event)
    job = client.job(job_id)
    if job.state == "failed":
        problem = job.error
        message = f"Job {job_id} failed: {problem.detail or problem.code if problem else 'the reason is not known'}"
        raise CommandFailed(message, problem.fields() if problem else ())
    if job.state == "cancelled":
        message = f"Job {job_id} was cancelled."
        raise CommandFailed(message)
    return job


def result_line(job: Job, card: ModelCard) -> str:
    """Return what came out: model, version and test metrics."""
    metrics = metrics_line(card.metrics.get("test", {}))
    return f"{job.model} version {card.version}{f': test {metrics}' if metrics else ''}"


def _warn(show: Show, sentence: str) -> None:
    from app.client import Event  # noqa: PLC0415 - `lectern --help` opens no connection
    from models.contract.jobs import WARNING  # noqa: PLC0415 - as above

    show(Event(id="", event="log", data={"line": f"{WARNING}{sentence}"}))


@contextmanager
def _display() -> Generator[Show]:
    from rich.console import Console  # noqa: PLC0415 - `lectern --help` shows no progress

    console = Console(stderr=True)
    with _bars(console) if console.is_terminal else _lines() as show:
        yield show


@contextmanager
def _bars(console: Console) -> Generator[Show]:
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415 - `lectern --help` shows no progress
    from rich.table import Column  # noqa: PLC0415 - as above

    state = TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=STATE_WIDTH))
    columns = (state, BarColumn(BAR_WIDTH), TextColumn("{task.fields[line]}"))
    warnings = _Warnings()
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task("queued", total=None, line="")

        def show(event: Event) -> None:
            if event.event == "state":
                bars.update(bar, description=str(event.data.get("state")))
            elif event.event == "progress":
                done = event.progress()
                bars.update(bar, completed=done.step, total=done.steps or None, line=_progress_line(done))
            elif warning := warnings.new(event):
                console.print(warning, style="yellow", markup=False, highlight=False, soft_wrap=True)

        yield show


@contextmanager
def _lines() -> Generator[Show]:
    lines = _Lines()
    try:
        yield lines.write
    finally:
        lines.close()


class _Lines:
    """Writes a line per state and warning, and per epoch; of epochs that take less than a second some, and the last."""

    def __init__(self) -> None:
        self._next = 0.0
        self._skipped: Event | None = None
        self._warnings = _Warnings()

    def write(self, event: Event) -> None:
        if event.event == "state":
            self.close()
            note(str(event.data.get("state")))
        elif event.event == "epoch":
            self._epoch(event)
        elif warning := self._warnings.new(event):
            self.close()
            note(warning)

    def close(self) -> None:
        """Write the last epoch, unless it stands there already."""
        if self._skipped:
            note(_epoch_line(self._skipped.progress()))
        self._skipped = None

    def _epoch(self, event: Event) -> None:
        if time.monotonic() < self._next:
            self._skipped = event
            return
        self._next = time.monotonic() + LINE_PAUSE_SECONDS
        self._skipped = None
        note(_epoch_line(event.progress()))


class _Warnings:
    """Which warnings of a job's log are new: those that differ in their figures alone are one."""

    def __init__(self) -> None:
        from models.contract.jobs import WARNING  # noqa: PLC0415 - `lectern --help` needs no record of a job

        self._mark = WARNING
        self._seen: set[str] = set()

    def new(self, event: Event) -> str | None:
        line = str(event.data.get("line"))
        kind = FIGURES.sub("", line)
        if event.event != "log" or not line.startswith(self._mark) or kind in self._seen:
            return None
        self._seen.add(kind)
        return line


def _epoch_line(progress: Progress) -> str:
    return f"epoch {progress.epoch}: {metrics_line(progress.metrics)}"


def _progress_line(progress: Progress) -> str:
    left = "" if progress.eta_seconds is None else f"  {_duration(progress.eta_seconds)} left"
    metrics = dict(list(progress.metrics.items())[:BAR_METRICS])
    return f"epoch {progress.epoch}/{progress.epochs}{left}  {metrics_line(metrics)}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
