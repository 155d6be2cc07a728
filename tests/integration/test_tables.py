"""A table through the real stack: uploaded as csv, learnt by the worker, its rows classified by the gateway."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from app.client import ClientError
from models.contract.jobs import JobState
from waiting import wait_for

if TYPE_CHECKING:
    from app.client import Json
    from integration.conftest import StackClient

WORDS = ("low", "high")


def _flowers(path: Path, rows: int, seed: int) -> Path:
    """Write flowers of three species told by a number, a word, and whether a second number is missing."""
    random = np.random.default_rng(seed)
    lines = ["species;petal;colour;sepal;id"]
    for row in range(rows):
        kind = row % 3
        petal, word = 100 * (kind == 0) + random.normal(0, 5), WORDS[random.integers(2)] if kind else "other"
        sepal = "" if kind == 2 else f"{random.normal():.2f}"
        lines.append(f"{('iris', 'rose', 'tulip')[kind]};{petal:.1f};{word};{sepal};{row}")
    path.write_bytes(gzip.compress("\r\n".join(lines).encode("utf-8-sig")))
    return path


def _trained(stack: StackClient, dataset: str, **training: Any) -> Json:
    body = {
        "family": "mlp",
        "dataset": dataset,
        "model": dataset,
        "config": {"hidden_sizes": [16]},
        "training": {"epochs": 30, "batch_size": 16, "learning_rate": 0.01, **training},
    }
    job = wait_for(stack, stack.submit(body).id)
    assert job.state is JobState.SUCCEEDED, job.error
    return stack.version(dataset, 1).sent()


def test_table_goes_from_csv_to_answers(stack: StackClient, tmp_path: Path) -> None:
    """Rows by position and by name; missing and unknown values; the rules on the card; raw tensors under /v2."""
    files = {"train": _flowers(tmp_path / "a.csv.gz", 300, 1), "test": _flowers(tmp_path / "b.csv.gz", 60, 2)}
    dataset = stack.add_dataset("flowers", "table", files, {"label": "species", "ignore": ["id"]})
    assert dataset.counts == {"train": 270, "validation": 30, "test": 60}
    card = _trained(stack, "flowers")
    assert card["metrics"]["test"]["accuracy"] >= 0.95
    assert any("unknown" in rule for rule in card["meta"]["rules"])
    names = [tensor["name"] for tensor in card["parts"]["classifier"]["signature"]["inputs"]]
    assert names == ["numbers", "categories"]

    rows = [[100, "other", 0.5], {"petal": "0", "colour": "high"}, {"petal": 1.5, "colour": "high", "sepal": 0}]
    answer: Any = stack.predict("flowers", "classify", {"inputs": [*rows, ["98", "never seen", None]], "top": 2})
    labels = [item["label"] for item in answer["predictions"]]
    assert labels[:3] == ["iris", "tulip", "rose"]
    assert labels[3] in ("iris", "rose", "tulip")

    with pytest.raises(ClientError) as refused:
        stack.predict("flowers", "classify", {"inputs": [{"petall": 1}]})
    assert refused.value.status == 422
    assert "did you mean 'petal'" in refused.value.detail

    inputs = [
        {"name": "numbers", "datatype": "FP32", "shape": [1, 2], "data": [100.0, 0.5]},
        {"name": "categories", "datatype": "INT64", "shape": [1, 1], "data": [3]},
    ]
    url = f"{stack.base_url}/v2/models/flowers/infer"
    reply: Any = httpx.post(url, json={"inputs": inputs}, trust_env=False).raise_for_status().json()
    outputs = {item["name"]: item["data"] for item in reply["outputs"]}
    assert outputs["probabilities"][0] == pytest.approx(answer["predictions"][0]["probability"], abs=1e-6)

    preview = stack.preview("flowers", split="test", count=3)
    sent_back: Any = stack.predict("flowers", "classify", {"inputs": [item["row"] for item in preview["items"]]})
    assert [item["label"] for item in sent_back["predictions"]] == [item["label"] for item in preview["items"]]


def test_two_rows_train_and_say_that_nothing_was_held_back(stack: StackClient, tmp_path: Path) -> None:
    """The smallest table: two classes of one example each, no split to score on."""
    (tmp_path / "two.csv").write_text("size,class\n1,small\n2,large\n")
    dataset = stack.add_dataset("two", "table", {"train": tmp_path / "two.csv"}, {})
    assert dataset.counts == {"train": 2}
    assert "no test and no validation split" in dataset.split_rule
    assert _trained(stack, "two")["metrics"] == {}
    answer: Any = stack.predict("two", "classify", {"inputs": [[1], [2], [None]]})
    assert [item["label"] for item in answer["predictions"][:2]] == ["small", "large"]


def test_wrong_file_lists_its_problems(stack: StackClient, tmp_path: Path) -> None:
    """The client gets every line, and nothing is kept."""
    (tmp_path / "bad.csv").write_text("size,class\n1,a\n2\ninf,b\n3,\n")
    with pytest.raises(ClientError) as refused:
        stack.add_dataset("bad", "table", {"train": tmp_path / "bad.csv"}, {"numeric": ["size"]})
    assert (refused.value.status, refused.value.code) == (422, "invalid_dataset")
    found = {(error.pointer, error.detail.split(":")[0]) for error in refused.value.errors}
    assert found == {("/train", f"bad.csv line {line}") for line in (3, 4, 5)}
    with pytest.raises(ClientError) as missing:
        stack.dataset("bad")
    assert missing.value.status == 404
