"""``lectern train``: submit a training job, and watch it if wanted."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from app.cli import completion
from app.cli.assignments import parse_settings
from app.cli.connection import DEFAULT_URL, AsJson, Url, gateway
from app.cli.output import note, say, show_json
from app.cli.watching import result_line, watch

Watch = Annotated[bool, typer.Option("--watch", help="Show the progress until the job ends.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="config.KEY=VALUE, training.KEY=VALUE or export.KEY=VALUE; may be repeated."
    ),
]


def train(
    family: Annotated[
        str,
        typer.Argument(
            metavar="FAMILY",
            help="What to train; 'lectern families list' names them.",
            autocompletion=completion.families,
        ),
    ],
    dataset: Annotated[
        str, typer.Option(help="Name of the dataset to learn from.", autocompletion=completion.datasets)
    ],
    model: Annotated[
        str, typer.Option(help="Name of the model that gets a new version.", autocompletion=completion.models)
    ],
    assignments: Assignments = None,
    priority: Annotated[
        Literal["high", "normal", "low"],
        typer.Option(help="Of the queued jobs, those of a higher priority are taken first."),
    ] = "normal",
    url: Url = DEFAULT_URL,
    *,
    watching: Watch = False,
    as_json: AsJson = False,
) -> None:
    """Train a FAMILY on a dataset; the result is a new version of the model."""
    settings = parse_settings(assignments or ())
    submission = {"family": family, "dataset": dataset, "model": model, "priority": priority, **settings}
    with gateway(url) as client:
        job = client.submit(submission)
    follow(job.id, url, watching=watching, as_json=as_json)


def follow(job_id: str, url: str, *, watching: bool, as_json: bool) -> None:
    """Print a job as it is, or watch it to its end and print what came out."""
    with gateway(url) as client:
        try:
            job = watch(client, job_id) if watching else client.job(job_id)
        except KeyboardInterrupt:
            note(
                f"Job {job_id} goes on; 'lectern jobs cancel {job_id}' ends it, 'lectern jobs watch {job_id}' shows it."
            )
            raise
        if as_json:
            show_json(job.sent())
        elif job.version is not None:
            say(result_line(job, client.version(job.model, job.version)))
        else:
            say(f"Job {job_id} is {job.state}; watch it with 'lectern jobs watch {job_id}'.")
