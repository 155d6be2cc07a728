"""``lectern jobs``: list, show, watch, cancel and resume training jobs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import completion
from app.cli.assignments import parse_settings
from app.cli.connection import DEFAULT_URL, AsJson, Url, gateway
from app.cli.output import metrics_line, moment, say, show_facts, show_json, show_table
from app.cli.train import Assignments, Watch, follow

if TYPE_CHECKING:
    from app.client import Job

app = typer.Typer(help="List, show, watch, cancel and resume training jobs.", no_args_is_help=True)

LOG_LINES_SHOWN = 20

JobId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.", autocompletion=completion.jobs)]
RunningId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.", autocompletion=completion.running_jobs)]
EndedId = Annotated[str, typer.Argument(metavar="JOB", help="Id of the job.", autocompletion=completion.ended_jobs)]


@app.command("list")
def list_(
    state: Annotated[
        str | None, typer.Option(help="Only jobs in this state.", autocompletion=completion.states)
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="Only jobs of this family.", autocompletion=completion.families)
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Only jobs for this model.", autocompletion=completion.models)
    ] = None,
    url: Url = DEFAULT_URL,
    *,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first."""
    with gateway(url) as client:
        found = client.jobs(state=state, family=family, model=model)
    if as_json:
        show_json([job.sent() for job in found])
        return
    rows = (
        (job.id, str(job.state), job.family, job.dataset, job.model, job.version, moment(job.created)) for job in found
    )
    columns = ("job", "state", "family", "dataset", "model", "version", "created")
    show_table(columns, rows, "There are no such jobs; submit one with 'lectern train'.")


@app.command("show")
def show(job_id: JobId, url: Url = DEFAULT_URL, *, as_json: AsJson = False) -> None:
    """Show a job's state, progress and settings."""
    with gateway(url) as client:
        job = client.job(job_id)
    _show(job, as_json=as_json)


@app.command("logs")
def logs(
    job_id: JobId,
    url: Url = DEFAULT_URL,
    *,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what a job wrote."""
    with gateway(url) as client:
        if following and not as_json:
            for event in client.events(job_id):
                if event.event == "log":
                    say(str(event.data.get("line")))
            return
        if following:
            for _ in client.events(job_id):
                pass
        text = client.logs(job_id)
    if as_json:
        show_json({"lines": text.splitlines()})
    else:
        sys.stdout.write(text if text.endswith("\n") or not text else f"{text}\n")


@app.command("watch")
def watch(job_id: RunningId, url: Url = DEFAULT_URL, *, as_json: AsJson = False) -> None:
    """Show the progress of a job until it ends."""
    follow(job_id, url, watching=True, as_json=as_json)


@app.command("cancel")
def cancel(job_id: RunningId, url: Url = DEFAULT_URL, *, as_json: AsJson = False) -> None:
    """Ask a job to stop; what it learnt so far can be resumed."""
    with gateway(url) as client:
        job = client.cancel(job_id)
    if as_json:
        show_json(job.sent())
    else:
        say(f"Job {job_id} was asked to stop.")


@app.command("resume")
def resume(
    job_id: EndedId,
    assignments: Assignments = None,
    url: Url = DEFAULT_URL,
    *,
    watching: Watch = False,
    as_json: AsJson = False,
) -> None:
    """Start a new job where JOB ended; '--set epochs=20' gives it more to do."""
    settings = parse_settings(assignments or (), default="training")
    if settings.keys() - {"training"}:
        message = "a resumed job keeps its config and its formats; only training options can be set"
        raise typer.BadParameter(message)
    with gateway(url) as client:
        job = client.resume(job_id, settings.get("training", {}))
    follow(job.id, url, watching=watching, as_json=as_json)


def _show(job: Job, *, as_json: bool) -> None:
    if as_json:
        show_json(job.sent())
        return
    progress = job.progress
    show_facts(
        [
            ("job", job.id),
            ("state", str(job.state)),
            ("attempt", job.attempt),
            ("priority", job.priority),
            ("trainer", job.worker),
            ("family", job.family),
            ("dataset", job.dataset),
            ("model", job.model),
            ("version", job.version),
            ("progress", f"epoch {progress.epoch}/{progress.epochs}, step {progress.step}/{progress.steps}"),
            ("metrics", metrics_line(progress.metrics)),
            ("created", moment(job.created)),
            ("started", moment(job.started)),
            ("finished", moment(job.finished)),
            ("resumed from", job.resumed_from),
            ("error", job.error.detail if job.error else None),
        ]
    )
    if job.state == "failed" and job.log:
        say("\nthe end of its log ('lectern jobs logs' has all of it)")
        for line in job.log[-LOG_LINES_SHOWN:]:
            say(f"  {line}")
