"""``lectern predict``: ask a served model; the answer is printed as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli import completion
from app.cli.connection import DEFAULT_URL, AsJson, Url, gateway
from app.cli.downloads import written
from app.cli.output import CommandFailed, note, show_json

PICTURES = {".png": "image/png", ".svg": "image/svg+xml"}
IMAGE_MARKS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))


def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.", autocompletion=completion.models)],
    verb: Annotated[
        str,
        typer.Argument(
            metavar="VERB",
            help="What to ask; 'lectern models show MODEL VERSION' lists the verbs.",
            autocompletion=completion.verbs,
        ),
    ],
    file: Annotated[str, typer.Argument(metavar="FILE", help="A JSON request, or a PNG or JPEG image; - reads stdin.")],
    version: Annotated[
        str | None,
        typer.Option(help="Version or alias; else production, else the newest.", autocompletion=completion.versions),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the answer here; a .png or .svg asks for a picture of it."),
    ] = None,
    url: Url = DEFAULT_URL,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")] = False,
    as_json: AsJson = False,  # noqa: ARG001 - the answer is JSON either way; scripts may say so
) -> None:
    """Ask MODEL to VERB what FILE holds."""
    body = _read(file)
    media_type = next((media for mark, media in IMAGE_MARKS if body.startswith(mark)), "application/json")
    if media_type == "application/json":
        _check_json(body, file)
    with gateway(url) as client:
        if output is None:
            show_json(client.predict(model, verb, body, version, media_type))
            return
        with written(output, replace=force) as target:
            form = PICTURES.get(output.suffix.lower())
            if form is not None:
                target.write(client.picture(model, verb, body, version, media_type, form))
            else:
                answer = client.predict(model, verb, body, version, media_type)
                target.write(json.dumps(answer, indent=2, ensure_ascii=False).encode() + b"\n")
    note(f"The answer is in {output}.")


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}."
        raise CommandFailed(message) from error


def _check_json(body: bytes, file: str) -> None:
    try:
        json.loads(body)
    except (ValueError, RecursionError) as error:
        name = "Standard input" if file == "-" else file
        message = f"{name} is neither a PNG or JPEG image nor JSON ({error})."
        raise CommandFailed(message) from error
