"""What commands that talk to a gateway have in common: ``--url``, ``--json``, the key and how a refusal is told."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import CommandFailed

if TYPE_CHECKING:
    from app.client import Client

Url = Annotated[
    str, typer.Option("--url", envvar="LECTERN_URL", help="Where the gateway listens.", rich_help_panel="Common")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.", rich_help_panel="Common")]

DEFAULT_URL = "http://127.0.0.1:8000"


def own_key() -> str | None:
    """Return the key in ``LECTERN_API_KEY``; an option would show it to whoever lists processes."""
    return os.environ.get("LECTERN_API_KEY", "").strip() or None


@contextmanager
def gateway(url: str) -> Generator[Client]:
    """Yield a client of the gateway at ``url``.

    Raises:
        CommandFailed: the gateway refuses, or does not answer.
    """
    from app.client import Client, ClientError  # noqa: PLC0415 - `lectern --help` opens no connection

    try:
        with Client(url, api_key=own_key()) as client:
            yield client
    except ClientError as error:
        hint = " Commands send what is in LECTERN_API_KEY." if error.code == "unauthorized" else ""
        raise CommandFailed(f"{error.detail}{hint}", error.errors) from error
