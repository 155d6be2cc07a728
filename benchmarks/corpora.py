"""Corpora of text from ``LECTERN_DATA``: as files to upload and as what the controls count."""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import orjson
from pydantic import JsonValue

from app.client import Client
from app.schemas import ModelCard
from benchmarks.ngrams import witten_bell
from models.data.texts.encoding import TextEncoding
from models.data.texts.tokens import Level

HELD_OUT = 20
"""Every twentieth dialogue is for the test."""

TRAINED_ON = 8
"""Every eighth, but for those, is trained on: as much as a word model learns in minutes on one thread."""


def tinyshakespeare() -> dict[str, list[str]]:
    """Return the lines of the first 90 % of the characters, and of the rest as the test."""
    text = _read("tinyshakespeare/input.txt.gz").decode()
    cut = len(text) * 9 // 10
    return {"train": text[:cut].split("\n"), "test": text[cut:].split("\n")}


def self_dialogue() -> dict[str, list[str]]:
    """Return the turns of the dialogues, one a line, an empty line behind each dialogue."""
    found: dict[str, list[str]] = {"train": [], "test": []}
    for line in _read("self_dialogue/dialogues.jsonl.gz").splitlines():
        dialogue = orjson.loads(line)
        if dialogue["id"] % HELD_OUT == 0:
            found["test"] += [*dialogue["turns"], ""]
        elif dialogue["id"] % TRAINED_ON == 1:
            found["train"] += [*dialogue["turns"], ""]
    return found


def upload(client: Client, name: str, splits: Mapping[str, Sequence[str]], options: Mapping[str, JsonValue]) -> None:
    """Upload lines as a text of that name, unless it is there already; nothing is set aside."""
    upload_lines(
        client,
        name,
        "text",
        {f"{part}.txt": lines for part, lines in splits.items()},
        {"validation_fraction": 0, **options},
    )


def upload_lines(
    client: Client, name: str, kind: str, files: Mapping[str, Sequence[str]], options: Mapping[str, JsonValue]
) -> None:
    """Upload files of lines, each named after its part, as a dataset, unless it is there already."""
    if name in {dataset.name for dataset in client.datasets()}:
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = {Path(file).stem: Path(folder) / file for file in files}
        for path in paths.values():
            path.write_text("".join(f"{line}\n" for line in files[path.name]), encoding="utf-8")
        client.add_dataset(name, kind, paths, options)


def counted(card: ModelCard, splits: Mapping[str, Sequence[str]], orders: Sequence[int]) -> dict[int, float]:
    """Return by order what an n-gram model says of the test: nats per token of the same vocabulary as the model's."""
    encoding = TextEncoding.study(
        _normalized(splits["train"], card),
        cast("Level", card.config["level"]),
        most=cast("int", card.config["vocabulary_size"]),
        least=cast("int", card.config["least_count"]),
        lowercase=bool(card.meta["lowercase"]),
    )
    train, test = (encoding.encode("".join(f"{line}\n" for line in splits[part])) for part in ("train", "test"))
    return {order: witten_bell(train, test, order, len(encoding)) for order in orders}


def _normalized(lines: Sequence[str], card: ModelCard) -> list[str]:
    return [line.lower() for line in lines] if card.meta["lowercase"] else list(lines)


def _read(name: str) -> bytes:
    path = Path(os.environ.get("LECTERN_DATA", "data")) / name
    if not path.exists():
        sys.exit(f"{path} is missing: set LECTERN_DATA to a folder that holds it.")
    return gzip.decompress(path.read_bytes())
