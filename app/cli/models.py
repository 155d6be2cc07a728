"""``lectern models``: list and show models, name versions by aliases, download and remove them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import completion
from app.cli.connection import DEFAULT_URL, AsJson, Url, gateway
from app.cli.downloads import download_progress, written
from app.cli.output import metrics_line, moment, say, show_facts, show_json, show_table

if TYPE_CHECKING:
    from app.client import Json

app = typer.Typer(help="List and show models; name, download and remove their versions.", no_args_is_help=True)

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.", autocompletion=completion.models)]


@app.command("list")
def list_(url: Url = DEFAULT_URL, *, as_json: AsJson = False) -> None:
    """List all models."""
    with gateway(url) as client:
        found = client.models()
    if as_json:
        show_json([model.sent() for model in found])
        return
    rows = (
        (
            model.name,
            model.task,
            model.family,
            ", ".join(str(item.version) for item in model.versions),
            _aliases(model.aliases),
        )
        for model in found
    )
    show_table(
        ("model", "task", "family", "versions", "aliases"), rows, "There are no models; train one with 'lectern train'."
    )


@app.command("show")
def show(
    model: ModelName,
    version: Annotated[
        str | None,
        typer.Argument(metavar="[VERSION]", help="Version or alias of a card.", autocompletion=completion.versions),
    ] = None,
    url: Url = DEFAULT_URL,
    *,
    as_json: AsJson = False,
) -> None:
    """Show a model's versions, or the card of one version."""
    if version is not None:
        _show_card(model, version, url, as_json=as_json)
        return
    with gateway(url) as client:
        found = client.model(model)
    if as_json:
        show_json(found.sent())
        return
    show_facts(
        [("model", found.name), ("task", found.task), ("family", found.family), ("aliases", _aliases(found.aliases))]
    )
    rows = (
        (item.version, item.family, item.dataset, metrics_line(item.metrics.get("test", {})), moment(item.created))
        for item in found.versions
    )
    show_table(("version", "family", "dataset", "test", "created"), rows, "It has no versions.")


@app.command("alias")
def alias(
    model: ModelName,
    name: Annotated[
        str,
        typer.Argument(metavar="ALIAS", help="A name, such as production.", autocompletion=completion.aliases),
    ],
    version: Annotated[
        int | None,
        typer.Argument(metavar="VERSION", help="What it shall mean.", autocompletion=completion.numbers),
    ] = None,
    url: Url = DEFAULT_URL,
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the alias.")] = False,
) -> None:
    """Point an alias at a version, or remove it with --delete."""
    if delete == (version is not None):
        message = "give the version that the alias shall mean, or --delete"
        raise typer.BadParameter(message)
    with gateway(url) as client:
        if version is None:
            client.delete_alias(model, name)
            say(f"Removed alias {name} of {model}.")
        else:
            client.set_alias(model, name, version)
            say(f"{model} {name} is version {version} now.")


@app.command("download")
def download(
    model: ModelName,
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="Version or alias.", autocompletion=completion.versions)
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to; MODEL-VERSION.tar if not given.")
    ] = None,
    url: Url = DEFAULT_URL,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Download a version as a tar: its exported parts, its card and its probe."""
    path = output or Path(f"{model}-{version}.tar")
    with gateway(url) as client, written(path, replace=force) as file, download_progress() as on_received:
        client.download(model, version, file, on_received)
        size = file.tell()
    if as_json:
        show_json({"model": model, "version": version, "file": str(path), "bytes": size})
    else:
        say(f"{model} version {version} is in {path} ({size:,} bytes).")


@app.command("rm")
def remove(
    model: ModelName,
    version: Annotated[
        int,
        typer.Argument(metavar="VERSION", help="The version to delete.", autocompletion=completion.numbers),
    ],
    url: Url = DEFAULT_URL,
) -> None:
    """Delete a version that no alias points at."""
    with gateway(url) as client:
        client.delete_version(model, version)
    say(f"Deleted version {version} of {model}.")


def _show_card(model: str, version: str, url: str, *, as_json: bool) -> None:
    with gateway(url) as client:
        card = client.version(model, version)
    if as_json:
        show_json(card.sent())
        return
    shown = (
        "family",
        "task",
        "verbs",
        "config",
        "training",
        "dataset",
        "created",
        "job",
        "duration_seconds",
        "aliases",
    )
    sent = card.sent()
    metrics = [(f"{split} metrics", metrics_line(values)) for split, values in card.metrics.items()]
    parts = [(f"part {name}", _files(part)) for name, part in sent.get("parts", {}).items()]
    facts = [*metrics, *((name, sent.get(name)) for name in shown), *parts]
    show_facts([("model", f"{model} version {card.version}"), *facts])


def _files(part: Json) -> str:
    """Return the formats of a part with their sizes, the one that is served first."""
    files: list[Json] = [part, *part.get("also", ())]
    return ", ".join(
        f"{file['format']}{' int8' if file.get('quantized') else ''} {file['payload_bytes'] / 1000:,.0f} kB"
        for file in files
    )


def _aliases(aliases: dict[str, int]) -> str:
    return ", ".join(f"{name} → {version}" for name, version in aliases.items())
