"""Server-sent events as text becomes them. ``client.py`` reads a job's events with it; nothing here is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator

from app.client_records import Event


def lines(texts: Iterator[str]) -> Iterator[str]:
    """Yield whole lines; httpx also cuts at characters that JSON may hold, such as U+2028."""
    rest = ""
    for text in texts:
        *whole, rest = (rest + text).split("\n")
        yield from (line.removesuffix("\r") for line in whole)


def parse_events(whole_lines: Iterator[str]) -> Iterator[Event | None]:
    """Yield the events of a stream; None for a line that only keeps the connection open."""
    fields: dict[str, str] = {}
    for line in whole_lines:
        if line:
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
            else:
                yield None
        elif "data" in fields:
            yield Event(id=fields.get("id", ""), event=fields.get("event", "message"), data=json.loads(fields["data"]))
            fields = {}
