"""Small datasets, one per kind, and every family in turn on that of its kind."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import JsonValue

from conformance.bench import CATALOG, Bench, ExportedBench
from models.artifacts.datasets import Datasets
from models.artifacts.store import ArtifactStore
from models.catalog import Catalog
from models.data.kind import Content, UploadedFile
from workers.devices import make_repeatable
from workers.exporting.formats import EXPORTERS


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small matrices are fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Content]:
    """A small dataset of each kind, stored and read back."""
    folder = tmp_path_factory.mktemp("samples")
    datasets = Datasets(ArtifactStore(folder.as_uri()), CATALOG)
    files = {
        "images": _images(folder),
        "table": _table(folder),
        "expressions": _expressions(folder),
        "tagged": _tagged(folder),
        "text": _text(folder),
        "labelled_text": _labelled_text(folder),
        "parallel": _parallel(folder),
        "dialogues": _dialogues(folder),
        "factors": _factors(folder),
    }
    return {
        kind: datasets.content(
            datasets.add(kind, kind, OPTIONS.get(kind, {}), {"train": UploadedFile(path.name, path)})
        )
        for kind, path in files.items()
    }


def taught(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield every family with each kind of dataset that it learns from."""
    for name in names:
        yield from ((name, kind) for kind in CATALOG.spec(name).dataset_kinds)


OPTIONS: dict[str, dict[str, JsonValue]] = {"tagged": {"features": [1]}}

ON_GPU = Catalog(("models",)).names() if torch.cuda.is_available() else ()
"""Families that are tried on a GPU, where there is one, as well: all but the rehearsal's, which know the CPU alone."""

FAMILIES = [
    *(pytest.param((name, kind, "cpu"), id=f"{name}-{kind}") for name, kind in taught(CATALOG.names())),
    *(pytest.param((name, kind, "cuda"), id=f"{name}-{kind}-cuda") for name, kind in taught(ON_GPU)),
]


@pytest.fixture(scope="session", params=FAMILIES)
def bench(request: pytest.FixtureRequest, samples: dict[str, Content]) -> Bench:
    """Every family in turn, on each kind of dataset that it learns from and on each device that there is."""
    name, kind, device = request.param[0], request.param[1], torch.device(request.param[2])
    make_repeatable(device)
    return Bench(name, samples[kind], kind, device)


@pytest.fixture(scope="session", params=sorted(EXPORTERS))
def exported(request: pytest.FixtureRequest, bench: Bench) -> ExportedBench:
    """Every family in turn, exported to every format."""
    return ExportedBench(bench, request.param)


def _images(folder: Path) -> Path:
    """Write 240 noisy images of four patterns; height and width differ, so that mistaking one for the other shows."""
    random = np.random.default_rng(1)
    labels = np.arange(240) % 4
    patterns = random.integers(0, 256, (4, 12, 10))
    images = np.clip(patterns[labels] + random.normal(0, 30, (240, 12, 10)), 0, 255).astype(np.uint8)
    np.savez(folder / "images.npz", images=images, labels=np.array(["zero", "one", "two", "three"])[labels])
    return folder / "images.npz"


def _factors(folder: Path) -> Path:
    """Write 240 images of a bar with the factors behind them: its row, its column, its length and its shade."""
    classes = np.random.default_rng(1).integers(0, (8, 5, 3, 2), (240, 4))
    images = np.zeros((240, 10, 8), np.uint8)
    for image, (row, column, length, shade) in zip(images, classes.tolist(), strict=True):
        image[row : row + 2, column : column + 1 + length] = 155 + 100 * shade
    np.savez(folder / "factors.npz", images=images, factors=classes, names=["row", "column", "length", "shade"])
    return folder / "factors.npz"


def _table(folder: Path) -> Path:
    """Write 240 rows of four classes: numbers of unlike scales and words, some of each missing, some words rare."""
    random = np.random.default_rng(1)
    lines = ["height,weight,label,colour,country"]
    for row in range(240):
        label = row % 4
        height, weight = label + random.normal(0, 0.5), 1e4 * (4 - label) + random.normal(0, 3e3)
        colour = ("red", "green", "blue", "")[random.integers(4)]
        country = f"country {(label + random.integers(2)) % 4}" if row else "only here"
        number = f"{height:.3f}" if random.random() < 0.9 else ""
        lines.append(f'{number},{weight:.1f},"{("zero", "one", "two", "three")[label]}",{colour},{country}')
    path = folder / "table.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _tagged(folder: Path) -> Path:
    """Write 240 sentences of names and other words, with what sort of word each is as a further column."""
    random = np.random.default_rng(1)
    words = {"verb": ("sees", "visits", "left"), "name": ("Ann", "Bo", "Carl-Otto"), "place": ("Oslo", "Rome", "York")}
    lines: list[str] = []
    for _ in range(240):
        for _ in range(random.integers(1, 5)):
            sort = ("verb", "name", "place")[random.integers(3)]
            for place in range(1 if sort == "verb" else random.integers(1, 4)):
                tag = "O" if sort == "verb" else f"{'I' if place else 'B'}-{'PER' if sort == 'name' else 'LOC'}"
                lines.append(f"{words[sort][random.integers(3)]} {sort} {tag}")
            lines.append(f"{random.integers(1, 999)} number O")
        lines.append("")
    path = folder / "tagged.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


COLOURS = ("red", "green", "blue", "black")
THINGS = ("house", "river", "apple", "stone", "window", "garden")


def _text(folder: Path) -> Path:
    """Write 240 lines, sentences of a small grammar, each longer than 64 characters."""
    random = np.random.default_rng(1)

    def thing() -> str:
        return f"the {COLOURS[random.integers(4)]} {THINGS[random.integers(6)]}"

    lines = [f"{row}. {thing()} stands behind {thing()}, and {thing()} before {thing()}." for row in range(240)]
    path = folder / "text.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _labelled_text(folder: Path) -> Path:
    """Write 240 texts of four classes, told by a colour somewhere in them; their lengths differ."""
    random = np.random.default_rng(1)
    lines = ["text,label"]
    for row in range(240):
        words = [THINGS[index] for index in random.integers(6, size=random.integers(1, 12))]
        words.insert(random.integers(len(words) + 1), COLOURS[row % 4])
        lines.append(f'"{" ".join(words)}, number {row}.",{("zero", "one", "two", "three")[row % 4]}')
    path = folder / "labelled.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _parallel(folder: Path) -> Path:
    """Write 240 pairs: colours and things, with other words in another order on the target side; lengths differ."""
    random = np.random.default_rng(1)
    lines: list[str] = []
    for _ in range(240):
        drawn = [(COLOURS[random.integers(4)], THINGS[random.integers(6)]) for _ in range(random.integers(1, 4))]
        source = " and ".join(f"the {colour} {thing}" for colour, thing in drawn)
        target = " plus ".join(f"{thing[::-1]} {colour[::-1]}" for colour, thing in drawn)
        lines.append(f"{source}.\t{target}!")
    path = folder / "parallel.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _dialogues(folder: Path) -> Path:
    """Write 240 conversations in which a question about a thing is answered with its colour, and that is confirmed."""
    random = np.random.default_rng(1)
    lines: list[str] = []
    for _ in range(240):
        turns: list[str] = []
        for _ in range(random.integers(1, 3)):
            thing = int(random.integers(6))
            turns += [f"what colour is the {THINGS[thing]}?", f"it is {COLOURS[thing % 4]}.", "thank you!"]
        lines.append(json.dumps(turns))
    path = folder / "dialogues.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _expressions(folder: Path) -> Path:
    """Write 240 random expressions with their values."""
    random = np.random.default_rng(1)

    def tree(levels: int) -> Any:  # noqa: ANN401 - a tree is nested lists
        if levels == 0 or random.random() < 0.2:
            return int(random.integers(2))
        operator = ("and", "or", "not")[random.integers(3)]
        return [operator, *(tree(levels - 1) for _ in range(1 if operator == "not" else 2))]

    def value(node: Any) -> int:  # noqa: ANN401 - as above
        if isinstance(node, int):
            return node
        operands = [value(child) for child in node[1:]]
        return {"and": min(operands), "or": max(operands), "not": 1 - operands[0]}[node[0]]

    trees = [tree(4) for _ in range(240)]
    path = folder / "expressions.txt"
    path.write_text("".join(f"{json.dumps(item)}\t{value(item)}\n" for item in trees), encoding="utf-8")
    return path
