"""``lectern demo``: upload, train, serve and ask, in a temporary home, and say where the time went.

What is uploaded, trained and asked stands in ``demo.json``; this file only knows how.
"""

from __future__ import annotations

import base64
import json
import signal
import sys
import time
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.address import free_address
from app.cli.connection import AsJson, gateway
from app.cli.log_files import LogFiles
from app.cli.output import CommandFailed, note, say, show_json
from app.cli.stack import Stack, StackOptions
from app.cli.watching import watch

if TYPE_CHECKING:
    from app.client import Client, Event

HOST = "127.0.0.1"
LOG_LINES_SHOWN = 20


@dataclass
class Laps:
    """How long each part took, in order."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])
    _last: float = field(default_factory=time.monotonic)

    def lap(self, name: str) -> None:
        """Give the time since the last lap to ``name``, unless it has its time already."""
        if name not in self.seconds:
            now = time.monotonic()
            self.seconds[name], self._last = now - self._last, now

    def event(self, event: Event) -> None:
        """Take a lap when the first step is done, when training ends and when the job ends."""
        if event.event in ("progress", "epoch"):
            self.lap("queue to first step")
        elif event.final:
            self.lap("export")
        elif event.data.get("state") == "exporting":
            self.lap("train")


@dataclass(frozen=True)
class Outcome:
    """What the demonstration shows."""

    label: str
    png: bytes
    prediction: dict[str, Any]
    accuracy: float
    url: str


def demo(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")] = 0,
    *,
    as_json: AsJson = False,
) -> None:
    """Train a small model on real handwriting, serve it and ask it: the whole way in seconds."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    laps = Laps()
    with TemporaryDirectory(prefix="lectern-demo-") as folder, LogFiles(Path(folder) / "logs") as logs:
        options = StackOptions(
            home=Path(folder),
            address=free_address(HOST, port),
            environment={"LECTERN_STORE_URL": (Path(folder) / "store").as_uri()},
        )
        try:
            with Stack(options, logs.emit) as stack:
                laps.lap("start")
                with gateway(stack.base_url) as client:
                    outcome = _show_the_way(client, laps)
            laps.lap("stop")
        except CommandFailed:
            for line in logs.last(LOG_LINES_SHOWN):
                note(line)
            raise
    _report(outcome, laps, as_json=as_json)


def _show_the_way(client: Client, laps: Laps) -> Outcome:
    """Upload, train, serve and ask."""
    script = _script()
    note(f"Uploading {script['title']} …")
    data = Path(str(files("models.data") / script["file"]))
    client.add_dataset(script["dataset"], script["kind"], {"train": data}, script["options"])
    example: Any = client.preview(script["dataset"], split="test", count=1)["items"]
    laps.lap("upload")
    note("Training …")
    job = client.submit({name: script[name] for name in ("family", "dataset", "model", "config", "training")})
    job = watch(client, job.id, laps.event)
    png = base64.b64decode(example[0]["image"])
    note("Asking …")
    answer: Any = client.predict(job.model, script["verb"], png, media_type="image/png")
    laps.lap("first answer")
    card = client.version(job.model, job.version or 1)
    return Outcome(
        label=example[0]["label"],
        png=png,
        prediction=answer["predictions"][0],
        accuracy=card.metrics["test"]["accuracy"],
        url=f"{client.base_url}/v1/models/{job.model}/{script['verb']}",
    )


def _script() -> dict[str, Any]:
    return json.loads((files("app.cli") / "demo.json").read_text("utf-8"))


def _report(outcome: Outcome, laps: Laps, *, as_json: bool) -> None:
    from app.cli.picture import draw  # noqa: PLC0415 - only here Pillow is needed

    seconds = {name: round(value, 3) for name, value in laps.seconds.items()}
    if as_json:
        show_json(
            {"label": outcome.label, "prediction": outcome.prediction, "accuracy": outcome.accuracy, "seconds": seconds}
        )
        return
    say()
    for line in draw(outcome.png):
        say(f"  {line}")
    prediction = outcome.prediction
    say(f"\nasked for a test image of '{outcome.label}', it answers '{prediction['label']}'")
    for item in prediction["top"]:
        say(f"  {item['label']}  {item['probability']:.4f}  {'█' * round(item['probability'] * 40)}")
    encoded = base64.b64encode(outcome.png).decode()
    say("\nthe same from a shell, while it ran:")
    say(f"  echo {encoded} | base64 -d | curl -s --data-binary @- -H 'Content-Type: image/png' {outcome.url}")
    say("\nwhere the time went")
    for name, value in {**seconds, "together": sum(seconds.values())}.items():
        say(f"  {name:<20} {value:6.2f} s")
    say(f"\ntest accuracy {outcome.accuracy:.4f}")
