"""``lectern families``: what can be trained, and with which options."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import completion
from app.cli.connection import DEFAULT_URL, AsJson, Url, gateway
from app.cli.option_rows import option_rows
from app.cli.output import say, show_facts, show_json, show_table

if TYPE_CHECKING:
    from app.client import Family

app = typer.Typer(help="List what can be trained, and show its options.", no_args_is_help=True)


@app.command("list")
def list_(url: Url = DEFAULT_URL, *, as_json: AsJson = False) -> None:
    """List what can be trained."""
    with gateway(url) as client:
        found = client.families()
    if as_json:
        show_json([family.sent() for family in found])
        return
    rows = ((family.id, family.task, ", ".join(family.dataset_kinds), family.title) for family in found)
    show_table(("family", "task", "learns from", "title"), rows, "LECTERN_FAMILIES of the gateway names no family.")


@app.command("show")
def show(
    family: Annotated[str, typer.Argument(metavar="FAMILY", help="What to show.", autocompletion=completion.families)],
    url: Url = DEFAULT_URL,
    *,
    as_json: AsJson = False,
) -> None:
    """Show a family's paper and every option with its default and bounds."""
    with gateway(url) as client:
        found = client.family(family)
    if as_json:
        show_json(found.sent())
        return
    facts = [("family", found.id), ("title", found.title), ("task", found.task), ("paper", found.paper)]
    show_facts([*facts, ("learns from", ", ".join(found.dataset_kinds)), ("answers", ", ".join(found.verbs))])
    say()
    show_table(("option of --set", "default", "takes", "meaning"), _options(found), "It has no options.")


def _options(family: Family) -> Iterator[tuple[object, object, object, object]]:
    for section, schema in (("config", family.config), ("training", family.training)):
        for row in option_rows(section, schema):
            yield row.name, row.default, row.taken, row.meaning
