"""A job's progress on stderr, from its events: a bar on a terminal, a line per epoch elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from app.cli.output import CommandFailed, metrics_line, note

if TYPE_CHECKING:
    from app.client import Client, Event, Job, ModelCard
    from models.contract.jobs import Progress

LINE_PAUSE_SECONDS = 1.0
STATE_WIDTH = len("exporting")
BAR_WIDTH = 20
BAR_METRICS = 2
"""Loss and one metric fit beside the bar on a terminal of 80 columns."""

Show = Callable[["Event"], None]


def watch(client: Client, job_id: str, on_event: Show | None = None) -> Job:
    """Show the progress of a job until it ends; return it.

    Raises:
        CommandFailed: the job failed or was cancelled; says why.
    """
    with _display() as show:
        for event in client.events(job_id):
            show(event)
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


@contextmanager
def _display() -> Generator[Show]:
    from rich.console import Console  # noqa: PLC0415 - `lectern --help` shows no progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines().write
        return
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415 - as above
    from rich.table import Column  # noqa: PLC0415 - as above

    state = TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=STATE_WIDTH))
    columns = (state, BarColumn(BAR_WIDTH), TextColumn("{task.fields[line]}"))
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task("queued", total=None, line="")

        def show(event: Event) -> None:
            if event.event == "state":
                bars.update(bar, description=str(event.data.get("state")))
            elif event.event == "progress":
                done = event.progress()
                bars.update(bar, completed=done.step, total=done.steps or None, line=_progress_line(done))

        yield show


class _Lines:
    """Writes a line per state, and per epoch unless epochs take less than a second."""

    def __init__(self) -> None:
        self._next = 0.0

    def write(self, event: Event) -> None:
        if event.event == "state":
            note(str(event.data.get("state")))
        elif event.event == "epoch" and time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_PAUSE_SECONDS
            done = event.progress()
            note(f"epoch {done.epoch}: {metrics_line(done.metrics)}")


def _progress_line(progress: Progress) -> str:
    left = "" if progress.eta_seconds is None else f"  {_duration(progress.eta_seconds)} left"
    metrics = dict(list(progress.metrics.items())[:BAR_METRICS])
    return f"epoch {progress.epoch}/{progress.epochs}{left}  {metrics_line(metrics)}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
