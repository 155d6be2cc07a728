"""Translation through the real stack: from two files to translations, streams and maps, and what is refused."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from PIL import Image

from app.client import ClientError
from models.contract.jobs import JobState
from waiting import wait_until

if TYPE_CHECKING:
    from integration.conftest import StackClient

TRAINED_SECONDS = 240.0
COLOURS = {"red": "rot", "green": "grün", "blue": "blau", "black": "schwarz"}
THINGS = {"house": "haus", "river": "fluss", "apple": "apfel", "stone": "stein"}


def _pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Return sentences whose adjectives stand before the noun in one language and behind it in the other."""
    random = np.random.default_rng(seed)
    found: list[tuple[str, str]] = []
    for _ in range(count):
        words = [
            (str(random.choice(list(COLOURS))), str(random.choice(list(THINGS)))) for _ in range(random.integers(1, 4))
        ]
        source = " and ".join(f"the {colour} {thing}" for colour, thing in words)
        target = " und ".join(f"{THINGS[thing]} {COLOURS[colour]}" for colour, thing in words)
        found.append((f"{source}.", f"{target}!"))
    return found


@pytest.mark.slow
def test_pairs_go_from_files_to_translations(stack: StackClient, tmp_path: Path) -> None:
    """Trained, exported, scored through the codec; HTTP answers are the card's, alone, together and as a stream."""
    files: dict[str, Path] = {}
    splits = {"train": _pairs(800, 1), "test": _pairs(60, 2)}
    for split, pairs in splits.items():
        for index, side in enumerate(("source", "target")):
            path = files[f"{split}_{side}"] = tmp_path / f"{split}.{side}"
            path.write_text("".join(f"{pair[index]}\n" for pair in pairs), encoding="utf-8")
    summary = stack.add_dataset("colours-de", "parallel", files, {"source": "en", "target": "de"})
    assert summary.counts == {"train": 720, "validation": 80, "test": 60}
    job_id = stack.submit(
        {
            "family": "encoder_decoder",
            "dataset": "colours-de",
            "model": "en-de",
            "config": {"vocabulary_size": 200, "hidden": 48, "embedding": 32, "dropout": 0.1},
            "training": {"epochs": 15, "batch_size": 32, "learning_rate": 0.01},
        }
    ).id
    wait_until(lambda: stack.job(job_id).state.final, TRAINED_SECONDS)
    assert stack.job(job_id).state is JobState.SUCCEEDED, stack.job(job_id).error
    scores = stack.version("en-de", 1).metrics["test"]
    assert scores["bleu"] >= 95
    assert scores["perplexity"] < 1.1

    sources, targets = zip(*splits["test"], strict=True)
    together: Any = stack.predict("en-de", "translate", {"sentences": list(sources)})
    answers = together["predictions"]
    assert np.mean([item["translation"] == target for item, target in zip(answers, targets, strict=True)]) >= 0.9
    for item in answers:
        looked = np.array(item["attention"])
        assert looked.shape == (len(item["target_tokens"]), len(item["source_tokens"]))
        assert np.abs(looked.sum(axis=1) - 1).max() < 1e-5
    for sentence, wanted in zip(sources[:5], answers, strict=False):
        alone: Any = stack.predict("en-de", "translate", {"sentences": [sentence]})
        assert alone["predictions"][0]["target_tokens"] == wanted["target_tokens"]
    best: Any = stack.predict("en-de", "translate", {"sentences": [sources[0]], "beam_size": 4, "n_best": 3})
    ranked = [item["score"] for item in best["predictions"][0]["n_best"]]
    assert len(ranked) == 3
    assert ranked == sorted(ranked, reverse=True)
    _check_stream(stack, sources[0])
    _check_pictures(stack, sources[:2])
    _check_refusals(stack)


def _check_stream(stack: StackClient, sentence: str) -> None:
    """Pieces make the translation, and the last event is the answer that greedy search gives."""
    url = f"{stack.base_url}/v1/models/en-de/translate"
    with httpx.stream("POST", url, json={"sentences": [sentence], "stream": True}, trust_env=False) as answer:
        data = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    whole: Any = stack.predict("en-de", "translate", {"sentences": [sentence], "beam_size": 1})
    assert len(data) > 2
    assert "".join(item["text"] for item in data[:-1]) == whole["predictions"][0]["translation"]
    assert data[-1]["predictions"][0]["target_tokens"] == whole["predictions"][0]["target_tokens"]


def _check_pictures(stack: StackClient, sentences: tuple[str, ...]) -> None:
    """A PNG that opens, and an SVG whose text has both sentences."""
    url, body = f"{stack.base_url}/v1/models/en-de/translate", {"sentences": list(sentences)}
    drawn = httpx.post(url, json=body, headers={"Accept": "image/png"}, trust_env=False)
    with Image.open(io.BytesIO(drawn.content)) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 100
    written = httpx.post(url, json=body, headers={"Accept": "image/svg+xml"}, trust_env=False)
    assert written.headers["content-type"] == "image/svg+xml"
    texts = [item.text or "" for item in ET.fromstring(written.text).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314 - our own answer
    assert all(any(sentence in text for text in texts) for sentence in sentences)


def _check_refusals(stack: StackClient) -> None:
    """A 4xx names field and limit; with ``partial`` the others are answered."""
    wrong = [
        ({"sentences": ["the house", ""]}, "/sentences/1", "is empty"),
        ({"sentences": ["house " * 10_000]}, "/sentences/0", "at most"),
        ({"sentences": ["the house"], "beam_size": 10_000}, "/beam_size", "64"),
        ({"sentences": ["the house"], "beam_size": 20}, "/beam_size", "16"),
        ({"sentences": ["the house"], "beam_size": 2, "n_best": 3}, "/n_best", "is 3, and beam_size 2"),
        ({"sentences": ["日本"]}, "/sentences/0", "no character"),
        ({"sentences": ["a", "b"], "stream": True}, "/sentences", "stream is for one"),
    ]
    for body, pointer, detail in wrong:
        with pytest.raises(ClientError) as refused:
            stack.predict("en-de", "translate", body)
        assert refused.value.status == 422
        assert refused.value.errors[0].pointer == pointer
        assert detail in refused.value.errors[0].detail
    body = {"sentences": ["the red house.", "", "house " * 10_000], "partial": True}
    answers: Any = stack.predict("en-de", "translate", body)
    assert answers["predictions"][0]["translation"] == "haus rot!"
    assert [item["error"]["pointer"] for item in answers["predictions"][1:]] == ["/sentences/1", "/sentences/2"]
