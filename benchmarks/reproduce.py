"""Train the models behind docs/results.md through the REST interface and rewrite its rows: ``make reproduce``.

Everything runs in a home of its own (``.lectern/reproduce``), two one-thread trainers at a time. A model trained
before from the same code and options is not trained again. Exits with 1 when a check does not hold.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from app.cli.address import free_address
from app.cli.log_files import LogFiles
from app.cli.stack import Stack, StackOptions
from app.client import Client
from app.schemas import ModelCard
from benchmarks.machine import describe
from benchmarks.row import Row

ROWS = Path(__file__).parent / "rows"
RESULTS = Path("docs/results.md")
HOME = Path(".lectern/reproduce").absolute()
PARALLEL = 2


def main() -> int:
    """Reproduce the named rows, all by default; return the exit status."""
    names = sorted(path.stem for path in ROWS.glob("[!_]*.py"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"rows to reproduce: {', '.join(names)} (default: all)")
    wanted = parser.parse_args().rows or names
    unknown = set(wanted) - set(names)
    if unknown:
        parser.error(f"no row is called {', '.join(sorted(unknown))}; rows: {', '.join(names)}")
    environment = {"LECTERN_TRAINER_THREADS": "1", "LECTERN_STORE_URL": (HOME / "store").as_uri()}
    options = StackOptions(HOME, free_address("127.0.0.1", 0), workers=PARALLEL, environment=environment)
    with LogFiles(HOME / "logs") as logs, Stack(options, logs.emit) as stack, Client(stack.base_url) as client:
        return max(_reproduce(name, client) for name in wanted)


def _reproduce(name: str, client: Client) -> int:
    row: Row = importlib.import_module(f"benchmarks.rows.{name}").ROW
    print(f"{name}: {row.title}", flush=True)
    row.upload(client)
    started = time.monotonic()
    cards = _train(row, client)
    report = row.report(client, cards)
    trained = sum(card.duration_seconds["train"] for runs in cards.values() for card in runs)
    trained += report.training_seconds
    lines = [f"## {row.title}", "", report.body, ""]
    lines += [f"- {'holds' if check.holds else '**does not hold**'}: {check.sentence}" for check in report.checks]
    seeds = ", ".join(map(str, row.seeds))
    machine = describe("torch", "onnxruntime")
    minutes = f"{trained / 60:.1f} minutes of training, one thread each"
    footer = f"`make reproduce ROW={name}`; seeds {seeds}; {minutes}, on {machine}."
    lines += ["", footer]
    text = "\n".join(lines)
    print(f"{text}\n({time.monotonic() - started:.0f} s)", flush=True)
    _write(name, text)
    return 0 if all(check.holds for check in report.checks) else 1


def _train(row: Row, client: Client) -> dict[str, list[ModelCard]]:
    """Return the cards of every variant and seed, training those that are not there yet."""
    names = {
        (variant, seed): _model_name(variant, seed, submission)
        for variant, submission in row.variants().items()
        for seed in row.seeds_of(variant)
    }
    present = {model.name for model in client.models()}
    jobs: dict[str, str] = {}
    for (variant, seed), model in names.items():
        if model not in present:
            jobs[model] = client.submit(_submission(row.variants()[variant], model, seed)).id
    for model, job_id in jobs.items():
        for event in client.events(job_id):
            if event.final and event.data.get("state") != "succeeded":
                sys.exit(f"{model}: {event.data}")
        print(f"  trained {model}", flush=True)
    cards: dict[str, list[ModelCard]] = {}
    for (variant, _), model in names.items():
        cards.setdefault(variant, []).append(ModelCard.model_validate(client.version(model, 1).sent()))
    return cards


def _submission(variant: Mapping[str, JsonValue], model: str, seed: int) -> dict[str, JsonValue]:
    training = variant.get("training") or {}
    assert isinstance(training, dict)
    return {**variant, "model": model, "training": {**training, "seed": seed}}


def _model_name(variant: str, seed: int, submission: Mapping[str, JsonValue]) -> str:
    """Return a name that changes with the options and with the code that trains."""
    digest = hashlib.sha256(json.dumps(dict(submission), sort_keys=True).encode())
    for package in ("models", "workers"):
        for path in sorted(Path(package).rglob("*.py")):
            digest.update(path.read_bytes())
    return f"{variant}-{seed}-{digest.hexdigest()[:12]}"


def _write(name: str, text: str) -> None:
    """Replace the row's section of docs/results.md, or add it."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    page = RESULTS.read_text(encoding="utf-8")
    if begin in page:
        head, rest = page.split(begin, 1)
        tail = rest.split(end, 1)[1]
    else:
        head, tail = f"{page.rstrip()}\n\n", "\n"
    RESULTS.write_text(f"{head}{begin}\n{text}\n{end}{tail}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
