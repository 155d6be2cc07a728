"""``lectern datasets``: upload, list, show and remove datasets."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from app.cli import assignments, completion
from app.cli.connection import DEFAULT_URL, AsJson, Url, gateway
from app.cli.output import CommandFailed, moment, note, say, show_facts, show_json, show_table

if TYPE_CHECKING:
    from app.client import Dataset, OnSent

app = typer.Typer(help="Upload, list, show and remove datasets.", no_args_is_help=True)

NewName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the dataset.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the dataset.", autocompletion=completion.datasets)]


@app.command("add")
def add(
    name: NewName,
    parts: Annotated[list[str], typer.Argument(metavar="PART=FILE…", help="Files by part: train=FILE test=FILE …")],
    kind: Annotated[
        str,
        typer.Option(help="What the files hold; the documentation lists the kinds.", autocompletion=completion.kinds),
    ],
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the kind; may be repeated.")
    ] = None,
    url: Url = DEFAULT_URL,
    *,
    as_json: AsJson = False,
) -> None:
    """Upload files as a dataset."""
    files = _files(parts)
    options = assignments.parse_options(option or ())
    try:
        with gateway(url) as client, upload_progress(files) as on_sent:
            dataset = client.add_dataset(name, kind, files, options, on_sent)
    except OSError as error:
        message = f"{error.filename or 'A file'} cannot be read: {error.strerror}."
        raise CommandFailed(message) from error
    _show(dataset, as_json=as_json)
    for sentence in cast("list[str]", dataset.meta.get("notes", [])):
        note(f"Note: {sentence}")


@app.command("list")
def list_(url: Url = DEFAULT_URL, *, as_json: AsJson = False) -> None:
    """List all datasets."""
    with gateway(url) as client:
        found = client.datasets()
    if as_json:
        show_json([item.sent() for item in found])
        return
    rows = (
        (item.name, item.kind, _counts(item), "built in" if item.built_in else moment(item.created)) for item in found
    )
    show_table(
        ("name", "kind", "examples", "created"), rows, "There are no datasets; upload one with 'lectern datasets add'."
    )


@app.command("show")
def show(name: Name, url: Url = DEFAULT_URL, *, as_json: AsJson = False) -> None:
    """Show what is known of a dataset."""
    with gateway(url) as client:
        dataset = client.dataset(name)
    _show(dataset, as_json=as_json)


@app.command("rm")
def remove(name: Name, url: Url = DEFAULT_URL) -> None:
    """Delete a dataset that no job needs."""
    with gateway(url) as client:
        client.delete_dataset(name)
    say(f"Deleted dataset {name}.")


def _files(words: list[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for part, file in map(assignments.split, words):
        if part in files:
            message = f"the part '{part}' comes more than once; send one file per part"
            raise typer.BadParameter(message)
        files[part] = Path(file)
    return files


@contextmanager
def upload_progress(files: Mapping[str, Path]) -> Generator[OnSent]:
    """Show a progress bar on stderr, if it is a terminal, while the yielded function is told what was sent.

    Once all is sent the gateway reads it, which takes as long again for many small files: a spinner says so.
    """
    from rich.console import Console  # noqa: PLC0415 - `lectern --help` shows no progress
    from rich.progress import (  # noqa: PLC0415 - as above
        BarColumn,
        DownloadColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    total = sum(path.stat().st_size for path in files.values() if path.is_file())
    description = TextColumn("{task.description}")
    columns = (SpinnerColumn(), description, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        upload = progress.add_task("uploading", total=total)
        left = total

        def on_sent(sent_bytes: int) -> None:
            nonlocal left
            left -= sent_bytes
            progress.update(upload, advance=sent_bytes, description="uploading" if left > 0 else "reading …")

        yield on_sent


def _show(dataset: Dataset, *, as_json: bool) -> None:
    if as_json:
        show_json(dataset.sent())
        return
    facts = [
        ("name", dataset.name),
        ("kind", dataset.kind),
        ("examples", _counts(dataset)),
        ("splits", dataset.split_rule),
        ("digest", dataset.digest),
        ("created", moment(dataset.created)),
    ]
    show_facts([*facts, *dataset.meta.items()])


def _counts(dataset: Dataset) -> str:
    return ", ".join(f"{split} {count}" for split, count in dataset.counts.items())
