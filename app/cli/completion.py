"""What the shell offers after TAB: names that the gateway knows. Silent, and quick, when there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import typer

from app.cli.connection import DEFAULT_URL, own_key

if TYPE_CHECKING:
    from app.client import Client, Json

ANSWER_SECONDS = 1.0
"""Somebody waits in front of a line half written."""

Offers = Iterable[tuple[str, str]]
"""Words that fit, each with a few words about it."""

Complete = Callable[[typer.Context, str], list[tuple[str, str]]]


def _asking(offers: Callable[[Client, dict[str, Any]], Offers]) -> Complete:
    """Return a completion that asks the gateway named on the line; of what it says only what fits is offered."""

    def complete(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
        from app.client import Client  # noqa: PLC0415 - loaded only when TAB was pressed

        try:
            with Client(str(ctx.params.get("url") or DEFAULT_URL), ANSWER_SECONDS, own_key()) as client:
                return [offer for offer in offers(client, ctx.params) if offer[0].startswith(incomplete)]
        except Exception:  # noqa: BLE001 - a shell that completes has no place for an error
            return []

    return complete


def _families(client: Client, _line: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for item in client.newest("families"):
        yield item["id"], item["title"]


def _kinds(client: Client, _line: dict[str, Any]) -> Iterator[tuple[str, str]]:
    takers: dict[str, list[str]] = {}
    for item in client.newest("families"):
        for kind in item["dataset_kinds"]:
            takers.setdefault(kind, []).append(item["id"])
    for kind, names in takers.items():
        yield kind, f"for {', '.join(names)}"


def _datasets(client: Client, _line: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for item in client.newest("datasets"):
        yield item["name"], item["kind"]


def _models(client: Client, _line: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for item in client.newest("models"):
        yield item["name"], item["task"]


def _versions(client: Client, line: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _aliases(client, line)
    yield from _numbers(client, line)


def _numbers(client: Client, line: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for item in client.model(line["model"]).versions:
        yield str(item.version), item.family


def _aliases(client: Client, line: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, version in client.model(line["model"]).aliases.items():
        yield name, f"version {version}"


def _verbs(client: Client, line: dict[str, Any]) -> Iterator[tuple[str, str]]:
    model = client.model(line["model"])
    card = client.version(
        line["model"], model.aliases.get("production", max(item.version for item in model.versions))
    ).sent()
    for verb in card["verbs"]:
        yield verb, card["task"]


def _jobs(wanted: Callable[[str], bool]) -> Callable[[Client, dict[str, Any]], Iterator[tuple[str, str]]]:
    def offers(client: Client, _line: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for item in client.newest("jobs"):
            if wanted(item["state"]):
                yield item["id"], _job(item)

    return offers


def _job(item: Json) -> str:
    return f"{item['state']}, {item['family']} for {item['model']}"


def _final(state: str) -> bool:
    from models.contract.jobs import JobState  # noqa: PLC0415 - as in ``_asking``

    return JobState(state).final


def states(incomplete: str) -> list[str]:
    """Offer the states of a job."""
    from models.contract.jobs import JobState  # noqa: PLC0415 - as in ``_asking``

    return [state.value for state in JobState if state.value.startswith(incomplete)]


families = _asking(_families)
kinds = _asking(_kinds)
datasets = _asking(_datasets)
models = _asking(_models)
versions = _asking(_versions)
numbers = _asking(_numbers)
aliases = _asking(_aliases)
verbs = _asking(_verbs)
jobs = _asking(_jobs(lambda _: True))
running_jobs = _asking(_jobs(lambda state: not _final(state)))
ended_jobs = _asking(_jobs(_final))
