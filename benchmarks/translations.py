"""What the rows of translation have in common: the corpus, BLEU of what HTTP answers, as papers count it too."""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

from pydantic import JsonValue
from sacremoses import MosesTokenizer  # pyright: ignore[reportMissingTypeStubs] - it has none

from app.client import Client
from app.schemas import ModelCard
from benchmarks.row import Check
from models.data.texts.segmentation import one_line, words_of
from models.metrics.translations import bleu, bleu_signature

FOLDER = "multi30k_en_de"
FILES = {"train": "train", "validation": "val", "test": "test_2016_flickr"}
LANGUAGES = ("en", "de")
SENTENCES_A_REQUEST = 100

ABOUT = (
    "The corpus is raw; its sentences are in small letters, cut into words and marks, and the words into byte pairs. "
    "BLEU is sacreBLEU's of the text that HTTP answers, its own tokenisation 13a; 'Moses' is that of both sides "
    "tokenised by Moses' rules without further ones (sacremoses, `--tokenize none`), as papers on this corpus count it."
)


@cache
def pairs() -> dict[str, tuple[list[str], list[str]]]:
    """Return sources and targets of each split."""
    return {split: (_lines(name, LANGUAGES[0]), _lines(name, LANGUAGES[1])) for split, name in FILES.items()}


def upload(client: Client, name: str, shortest: int | None = None) -> None:
    """Upload the corpus as a dataset of that name; with ``shortest`` only so many of the shortest training pairs."""
    if name in {dataset.name for dataset in client.datasets()}:
        return
    options: dict[str, JsonValue] = {"source": "en", "target": "de", "lowercase": True}
    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, Path] = {}
        for split, sides in pairs().items():
            chosen = range(len(sides[0]))
            if shortest is not None and split == "train":
                chosen = sorted(chosen, key=lambda index: sum(len(words_of(side[index])) for side in sides))[:shortest]
            for side, lines in zip(("source", "target"), sides, strict=True):
                path = files[f"{split}_{side}"] = Path(folder) / f"{split}.{side}"
                path.write_text("".join(f"{lines[index]}\n" for index in chosen), encoding="utf-8")
        client.add_dataset(name, "parallel", files, options)


def translations(client: Client, model: str, sentences: Sequence[str], **options: JsonValue) -> list[dict[str, Any]]:
    """Return what HTTP answers, asked in requests of a hundred sentences."""
    found: list[dict[str, Any]] = []
    for begin in range(0, len(sentences), SENTENCES_A_REQUEST):
        asked: dict[str, JsonValue] = {"sentences": list(sentences[begin : begin + SENTENCES_A_REQUEST]), **options}
        found += cast("Any", client.predict(model, "translate", asked))["predictions"]
    return found


def bleu_of(answers: Sequence[Mapping[str, Any]], references: Sequence[str]) -> tuple[float, float]:
    """Return BLEU by 13a and by Moses' tokens, all in small letters."""
    served = [str(item["translation"]) for item in answers]
    wanted = [one_line(line, lowercase=True) for line in references]
    return bleu(served, wanted), bleu(_moses(served), _moses(wanted), "none")


def signatures() -> str:
    """Return what sacreBLEU says of both."""
    return f"Signatures: `{bleu_signature()}`; Moses `{bleu_signature('none')}`."


def served(name: str, card: ModelCard, served_bleu: float) -> Check:
    """Return whether BLEU of the HTTP answers is the card's."""
    carded = card.metrics["test"]["bleu"]
    sentence = f"{name}: over HTTP BLEU {served_bleu:.2f} = the card's {carded:.2f}"
    return Check(sentence, abs(served_bleu - carded) < 0.005)


def _moses(lines: Sequence[str]) -> list[str]:
    tokenizer = cast("Any", MosesTokenizer)(lang=LANGUAGES[1])
    return [str(tokenizer.tokenize(line, return_str=True, escape=False)) for line in lines]


def _lines(name: str, language: str) -> list[str]:
    path = Path(os.environ.get("LECTERN_DATA", "data")) / FOLDER / f"{name}.{language}.gz"
    if not path.exists():
        sys.exit(f"{path} is missing: set LECTERN_DATA to a folder that holds it.")
    return gzip.decompress(path.read_bytes()).decode().splitlines()
