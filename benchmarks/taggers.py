"""What the rows of taggers have in common: uploads, a table, scores over HTTP, the commonest tag of each word."""

from __future__ import annotations

import os
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from app.client import Client
from app.schemas import ModelCard
from benchmarks.row import Cards, Check
from models.contract.task import Split
from models.data.kind import UploadedFile
from models.data.kinds.tagged import KIND, SEPARATOR, column_name
from models.data.tag_schemes import illegal_at
from models.tagging.scores import scores

FILES: Mapping[str, Mapping[str, str]] = {
    "conll2000": {"train": "conll2000/train.txt.gz", "test": "conll2000/test.txt.gz"},
    "ud_english_ewt": {
        "train": "ud_english_ewt/en_ewt-ud-train.conllu.gz",
        "validation": "ud_english_ewt/en_ewt-ud-dev.conllu.gz",
        "test": "ud_english_ewt/en_ewt-ud-test.conllu.gz",
    },
    "broad_twitter_ner": {
        "train": "broad_twitter_ner/btc.train.conll.gz",
        "validation": "broad_twitter_ner/btc.dev.conll.gz",
        "test": "broad_twitter_ner/btc.test.conll.gz",
    },
    "glove_twitter_25d_12k": {"train": "glove_twitter_25d_12k/glove.twitter.25d.12k.txt.gz"},
}
OPTIONS: Mapping[str, Mapping[str, JsonValue]] = {"conll2000": {"features": [1], "validation_fraction": 0}}
"""CoNLL-2000 has no validation part: all of its training part is learnt from."""

SENTENCES = 200
"""Sentences of one request."""


def upload(client: Client, corpus: str, kind: str = "tagged") -> None:
    """Upload a corpus under its name unless it is there already."""
    if corpus not in {dataset.name for dataset in client.datasets()}:
        client.add_dataset(corpus, kind, _files(corpus), OPTIONS.get(corpus, {}))


def f1(runs: Sequence[ModelCard]) -> float:
    """Return the mean F1 on the test part in per cent."""
    return statistics.mean(100 * run.metrics["test"]["f1"] for run in runs)


def span_table(cards: Cards) -> str:
    """Return a line for each variant: F1 as it is served and of the raw tags, and how many of these are illegal."""
    lines = [
        "| variant | F1 | per seed | accuracy | F1, unconstrained | illegal, unconstrained | illegal, served |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, runs in cards.items():
        each = ", ".join(f"{100 * run.metrics['test']['f1']:.2f}" for run in runs)
        others = [
            statistics.mean(100 * run.metrics["test"][metric] for run in runs)
            for metric in ("accuracy", "f1_unconstrained", "illegal_unconstrained", "illegal")
        ]
        shown = " | ".join(f"{value:.2f} %" for value in others)
        lines.append(f"| {name} | {f1(runs):.2f} % | {each} | {shown} |")
    return "\n".join(lines)


def served(client: Client, card: ModelCard, corpus: str, columns: int = 0) -> Check:
    """Tag the whole test part over HTTP; return whether the score is the card's and nothing illegal was answered."""
    split, spans = _contents(corpus)["test"], corpus != "ud_english_ewt"
    truth = _texts(split, "tags")
    sentences = [{"tokens": tokens} for tokens in _texts(split, "tokens")]
    for position in range(columns):
        for sentence, column in zip(sentences, _texts(split, column_name(position)), strict=True):
            cast("dict[str, list[list[str]]]", sentence).setdefault("features", []).append(column)
    tags: list[list[str]] = []
    for start in range(0, len(sentences), SENTENCES):
        body = {"sentences": sentences[start : start + SENTENCES]}
        answer = client.predict(card.model, "tag", body, str(card.version))
        tags += [item["tags"] for item in cast("list[dict[str, list[str]]]", answer["predictions"])]
    found, told = scores(tags, truth, spans=spans)["f1"], card.metrics["test"]["f1"]
    illegal = sum(illegal_at(row, "bio") is not None for row in tags) if spans else 0
    sentence = (
        f"{len(tags)} sentences over HTTP: F1 {100 * found:.2f} %, the card says {100 * told:.2f} %; {illegal} illegal"
    )
    return Check(sentence, abs(found - told) < 1e-9 and illegal == 0)


def commonest(corpus: str) -> float:
    """Return the F1 on the test part, in per cent, of giving each word the tag it has most often in train."""
    contents = _contents(corpus)
    counts: dict[str, Counter[str]] = {}
    everything: Counter[str] = Counter()
    for tokens, tags in zip(_texts(contents["train"], "tokens"), _texts(contents["train"], "tags"), strict=True):
        everything.update(tags)
        for token, tag in zip(tokens, tags, strict=True):
            counts.setdefault(token, Counter())[tag] += 1
    most = {token: found.most_common(1)[0][0] for token, found in counts.items()}
    default = everything.most_common(1)[0][0]
    predicted = [[most.get(token, default) for token in tokens] for tokens in _texts(contents["test"], "tokens")]
    return 100 * scores(predicted, _texts(contents["test"], "tags"), spans=corpus != "ud_english_ewt")["f1"]


def _texts(split: Split, name: str) -> list[list[str]]:
    return [str(text).split(SEPARATOR) for text in split[name].tolist()]


@cache
def _contents(corpus: str) -> Mapping[str, Split]:
    files = {part: UploadedFile(path.name, path) for part, path in _files(corpus).items()}
    return KIND.read(files, KIND.options.parse(OPTIONS.get(corpus, {}))).splits


def _files(corpus: str) -> dict[str, Path]:
    folder = Path(os.environ.get("LECTERN_DATA", "data"))
    found = {part: folder / name for part, name in FILES[corpus].items()}
    missing = [path for path in found.values() if not path.exists()]
    if missing:
        sys.exit(f"{missing[0]} is missing: set LECTERN_DATA to a folder that holds {corpus}/.")
    return found
