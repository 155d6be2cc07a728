"""``lectern keys``: make, list and revoke API keys. Writes to the artifact store itself; no gateway is asked."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.access.scopes import Scope
from app.cli.connection import AsJson
from app.cli.home import store_url
from app.cli.output import CommandFailed, moment, note, say, show_facts, show_json, show_table

if TYPE_CHECKING:
    from app.access.keys import Key, Keys

app = typer.Typer(help="Make, list and revoke the keys that gateways ask for.", no_args_is_help=True)

PERIOD = re.compile(r"([1-9][0-9]{0,5})([hdw])")
HOURS = {"h": 1, "d": 24, "w": 168}

KeyHome = Annotated[
    Path,
    typer.Option(
        "--home", envvar="LECTERN_HOME", help="Folder of 'lectern up'; LECTERN_STORE_URL goes before its store."
    ),
]
DEFAULT_HOME = Path(".lectern")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for, such as ci or phone.")],
    scope: Annotated[
        list[Scope] | None, typer.Option("--scope", help="What it may do; may come again. Else predict.")
    ] = None,
    project: Annotated[
        str, typer.Option("--project", envvar="LECTERN_PROJECT", help="Whose datasets, jobs and models it sees.")
    ] = "default",
    expires: Annotated[
        str | None, typer.Option("--expires", help="When it ends: 12h, 30d, 8w, or a date such as 2027-01-31.")
    ] = None,
    home: KeyHome = DEFAULT_HOME,
    *,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once: it is kept nowhere."""
    until = None if expires is None else _moment_of(expires, datetime.now(UTC))
    with _keys(home) as keys:
        first = not keys.names().records
        key, token = keys.create(name, tuple(dict.fromkeys(scope or [Scope.PREDICT])), project, until)
    if as_json:
        show_json({**_record(key, "live"), "key": token})
        return
    say(token)
    scopes = ", ".join(key.scopes)
    ends = f", until {moment(key.expires.isoformat())} UTC" if key.expires else ""
    note(f"Key {key.id} ({key.name}: {scopes}; project {key.project}{ends}). It is shown this once; keep it safe.")
    if first:
        note("From now on every gateway on this store asks for a key; commands take it from LECTERN_API_KEY.")


@app.command("list")
def list_(home: KeyHome = DEFAULT_HOME, *, as_json: AsJson = False) -> None:
    """List all keys, those that have ended, too."""
    with _keys(home) as keys:
        found = keys.listed()
    if as_json:
        show_json([_record(key, state) for key, state in found])
        return
    rows = (
        (key.id, key.name, ", ".join(key.scopes), key.project, state, moment(key.created.isoformat()), _until(key))
        for key, state in found
    )
    columns = ("id", "name", "scopes", "project", "state", "created", "expires")
    show_table(columns, rows, "There are no keys; make one with 'lectern keys create'.")


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as 'lectern keys list' shows it.")],
    home: KeyHome = DEFAULT_HOME,
    *,
    as_json: AsJson = False,
) -> None:
    """End a key for ever; gateways refuse it within about a second."""
    with _keys(home) as keys:
        keys.revoke(key_id)
        states = {key.id: (key, state) for key, state in keys.listed()}
    if as_json:
        show_json(_record(*states[key_id]) if key_id in states else {"id": key_id, "state": "revoked"})
        return
    show_facts([("revoked", key_id)])


@contextmanager
def _keys(home: Path) -> Generator[Keys]:
    """Yield the keys of the store that is meant.

    Raises:
        CommandFailed: it cannot be reached, or refuses what it is given.
    """
    from app.access.keys import Keys  # noqa: PLC0415 - `lectern --help` opens no store
    from models.artifacts.store import ArtifactStore  # noqa: PLC0415 - as above
    from models.contract.errors import LecternError  # noqa: PLC0415 - as above

    try:
        yield Keys(ArtifactStore(store_url(home)))
    except LecternError as error:
        raise CommandFailed(error.detail, error.errors) from error


def _moment_of(text: str, now: datetime) -> datetime:
    """Return the moment that a period from ``now`` or a date means; a date alone is its beginning in UTC.

    Raises:
        BadParameter: it is neither, or has passed.
    """
    period = PERIOD.fullmatch(text)
    try:
        found = now + timedelta(hours=int(period[1]) * HOURS[period[2]]) if period else datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        message = f"'{text}' is neither a period such as 12h, 30d or 8w nor a date such as 2027-01-31"
        raise typer.BadParameter(message) from error
    if found <= now:
        message = f"'{text}' has passed already"
        raise typer.BadParameter(message)
    return found


def _record(key: Key, state: str) -> dict[str, object]:
    """Return what may be shown of a key."""
    return {**key.model_dump(mode="json", exclude={"digest"}), "state": state}


def _until(key: Key) -> str:
    return "never" if key.expires is None else moment(key.expires.isoformat())
