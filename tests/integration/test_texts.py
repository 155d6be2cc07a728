"""Texts through the real stack: a language model that goes on and scores, a classifier, and files that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from app.client import ClientError
from models.contract.jobs import JobState
from models.data.texts.segments import segments
from waiting import wait_until

if TYPE_CHECKING:
    from app.client import Json
    from integration.conftest import StackClient

TRAINED_SECONDS = 240.0
COLOURS = ("red", "green", "blue", "black")
THINGS = ("house", "river", "apple", "stone")
PLACES = ("garden", "window", "tower", "field")


def _sentences(count: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)

    def some(nouns: tuple[str, ...]) -> str:
        return f"the {COLOURS[random.integers(4)]} {nouns[random.integers(4)]}"

    return [f"{some(THINGS)} stands behind {some(PLACES)}." for _ in range(count)]


def _trained(stack: StackClient, body: dict[str, Any]) -> Json:
    job_id = stack.submit(body).id
    wait_until(lambda: stack.job(job_id).state.final, TRAINED_SECONDS)
    job = stack.job(job_id)
    assert job.state is JobState.SUCCEEDED, job.error
    return stack.version(body["model"], 1).sent()


@pytest.mark.slow
@pytest.mark.parametrize("level", ["character", "word"])
def test_text_goes_from_files_to_completions(stack: StackClient, tmp_path: Path, level: str) -> None:
    """Trained in epochs of carried state, exported, scored through the codec; HTTP answers give the card's loss."""
    lines = {"train_1": _sentences(300, 1), "train_2": _sentences(300, 2), "test": _sentences(60, 3)}
    files = {part: tmp_path / f"{part}.txt" for part in lines}
    for part, path in files.items():
        path.write_text("\n".join(lines[part]) + "\n", encoding="utf-8")
    name = f"sentences-{level}"
    dataset = stack.add_dataset(name, "text", files, {"validation_fraction": 0.1})
    assert dataset.counts == {"train": 540, "validation": 60, "test": 60}
    card = _trained(
        stack,
        {
            "family": "recurrent_lm",
            "dataset": name,
            "model": name,
            "config": {"level": level, "hidden": 32, "embedding": 16},
            "training": {"epochs": 6 if level == "character" else 12, "batch_size": 8, "learning_rate": 0.01},
        },
    )
    scores = card["metrics"]["test"]
    # Each sentence draws two colours and two things of four: 4 ln 4 nats, which nothing can be below but by chance. Who
    # forgets over the colour whether a thing or a place comes next pays 2 ln 2 more.
    tokens = sum(len(line) + 1 if level == "character" else 10 for line in lines["test"]) / 60
    assert 0.95 * 4 * np.log(4) < scores["loss"] * tokens < 1.05 * (4 * np.log(4) + 2 * np.log(2))

    texts = list(segments(lines["test"]))
    told: Any = stack.predict(name, "score", {"texts": texts})
    nats = -sum(item["log_probability"] for item in told["predictions"])
    assert nats / sum(item["tokens"] for item in told["predictions"]) == pytest.approx(scores["loss"], abs=1e-6)

    ask = {"prompt": "the red house stands behind the", "tokens": 12, "temperature": 0}
    done: Any = stack.predict(name, "complete", ask)
    assert any(f" {colour} " in done["predictions"][0]["text"] for colour in COLOURS)
    body = {**ask, "temperature": 1.0, "seed": 5}
    with httpx.stream(
        "POST", f"{stack.base_url}/v1/models/{name}/complete", json={**body, "stream": True}, trust_env=False
    ) as answer:
        data = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    whole: Any = stack.predict(name, "complete", body)
    assert "".join(item["text"] for item in data[:-1]) == whole["predictions"][0]["text"]
    assert data[-1] == whole

    with pytest.raises(ClientError) as refused:
        stack.predict(name, "complete", {"prompt": "日本"})
    assert (refused.value.status, refused.value.errors[0].pointer) == (422, "/prompt")
    long: Any = stack.predict(name, "complete", {"prompt": "the red house " * 4_000, "tokens": 1})
    assert long["predictions"][0]["tokens"] == 1


@pytest.mark.slow
def test_labelled_texts_go_from_jsonl_to_labels(stack: StackClient, tmp_path: Path) -> None:
    """The colour behind 'but' is the label, whatever other colours there are; the card's accuracy is that of HTTP."""
    random = np.random.default_rng(1)
    rows: list[dict[str, str]] = []
    for _ in range(900):
        words = [str(random.choice(COLOURS)) for _ in range(random.integers(1, 8))]
        place = int(random.integers(len(words)))
        rows.append({"text": " ".join([*words[:place], "but", *words[place:]]), "label": words[place]})
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    stack.add_dataset("colours", "labelled_text", {"train": path}, {})
    card = _trained(
        stack,
        {
            "family": "sequence_classifier",
            "dataset": "colours",
            "model": "colours",
            "config": {"hidden": 24, "embedding": 16},
            "training": {"epochs": 4, "learning_rate": 0.01},
        },
    )
    assert card["metrics"]["test"]["accuracy"] >= 0.95
    preview = stack.preview("colours", split="test", count=100)["items"]
    answer: Any = stack.predict("colours", "classify", {"inputs": [{"text": item["text"]} for item in preview]})
    right = [item["label"] == told["label"] for item, told in zip(preview, answer["predictions"], strict=True)]
    assert np.mean(right) >= 0.9
    bare: Any = stack.predict("colours", "classify", b"red green but blue red", media_type="text/plain")
    assert bare["predictions"][0]["label"] == "blue"
    with pytest.raises(ClientError) as refused:
        stack.predict("colours", "classify", {"inputs": [{"text": "red"}, {"text": ""}]})
    assert (refused.value.status, refused.value.errors[0].pointer) == (422, "/inputs/1/text")


def test_wrong_text_files_list_their_problems(stack: StackClient, tmp_path: Path) -> None:
    """The client gets file and line, and nothing is kept."""
    (tmp_path / "bad.txt").write_bytes(b"good\nbad \xff\n")
    with pytest.raises(ClientError) as refused:
        stack.add_dataset("bad-text", "text", {"train": tmp_path / "bad.txt"}, {})
    assert (refused.value.status, refused.value.code) == (422, "invalid_dataset")
    assert refused.value.errors[0].detail.startswith("bad.txt line 2: the text is not UTF-8")
