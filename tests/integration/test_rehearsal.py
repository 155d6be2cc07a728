"""Each rehearsal family goes the whole way: upload, train, resume, export, serve."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from pydantic import JsonValue

from app.client import ClientError
from models.contract.jobs import JobState
from waiting import wait_for

if TYPE_CHECKING:
    from integration.conftest import StackClient

WORDS = ("ab", "ba", "cab")


@dataclass(frozen=True)
class Case:
    """What to train, what to ask, and which keys one prediction has."""

    family: str
    dataset: str
    verb: str
    request: Mapping[str, JsonValue]
    predictions: int
    key: str
    training: Mapping[str, JsonValue] = field(default_factory=dict)


IMAGES = cast("JsonValue", np.zeros((2, 6, 5)).tolist())
CASES = [
    Case("speller", "shapes", "spell", {"inputs": IMAGES}, 2, "word", {"epochs": 2}),
    Case("tiny_gan", "shapes", "draw", {"count": 3, "seed": 1}, 3, "image", {"epochs": 2}),
    Case("ridge", "shapes", "classify", {"inputs": IMAGES}, 2, "label"),
    Case("tree_net", "logic", "judge", {"inputs": [["and", 1, ["not", 0]], 1]}, 2, "value", {"epochs": 2}),
    Case("memory_cell", "shapes", "recall", {"inputs": IMAGES}, 2, "label", {"epochs": 2}),
    Case("bagged", "shapes", "classify", {"inputs": IMAGES}, 2, "label", {"epochs": 2}),
]


@pytest.fixture(scope="module", autouse=True)
def datasets(stack: StackClient, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Upload a few images of three classes, and logical expressions."""
    folder = tmp_path_factory.mktemp("uploads")
    random = np.random.default_rng(0)
    kinds = random.integers(0, 3, 120)
    images = random.integers(0, 60, (120, 6, 5)).astype(np.uint8)
    for index, kind in enumerate(kinds):
        images[index, 2 * kind : 2 * kind + 2] += 150
    np.savez(folder / "shapes.npz", images=images, labels=np.array(WORDS)[kinds])
    stack.add_dataset("shapes", "images", {"train": folder / "shapes.npz"}, {})
    lines = [_expression(random) for _ in range(120)]
    (folder / "logic.txt").write_text("".join(lines), encoding="utf-8")
    stack.add_dataset("logic", "expressions", {"train": folder / "logic.txt"}, {})


def _expression(random: np.random.Generator) -> str:
    """Return a line with a random tree and its value."""

    def tree(depth: int) -> tuple[Any, int]:
        kind = random.integers(0, 3) if depth else 3
        if kind == 0:
            below, value = tree(depth - 1)
            return ["not", below], 1 - value
        if kind in (1, 2):
            (left, first), (right, second) = tree(depth - 1), tree(depth - 1)
            return ["and" if kind == 1 else "or", left, right], first & second if kind == 1 else first | second
        leaf = int(random.integers(0, 2))
        return leaf, leaf

    expression, value = tree(3)
    return f"{json.dumps(expression)}\t{value}\n"


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.family)
def test_a_rehearsal_family_goes_the_whole_way(stack: StackClient, case: Case) -> None:
    body: dict[str, Any] = {"family": case.family, "dataset": case.dataset, "model": case.family}
    first = wait_for(stack, stack.submit({**body, "training": dict(case.training)}).id)
    assert first.state is JobState.SUCCEEDED, stack.logs(first.id)
    with pytest.raises(ClientError) as refused:
        stack.resume(first.id, {})
    assert (refused.value.status, "done already" in refused.value.detail) == (422, True)
    version = 1
    if "epochs" in case.training:
        resumed = wait_for(stack, stack.resume(first.id, {"epochs": 4}).id)
        assert resumed.state is JobState.SUCCEEDED, stack.logs(resumed.id)
        assert (resumed.version, resumed.resumed_from) == (2, first.id)
        card = stack.version(case.family, 2).sent()
        assert [point["epoch"] for point in card["curves"]] == [1, 2, 3, 4]  # type: ignore[index, union-attr]
        assert "resuming" in stack.logs(resumed.id)
        version = 2
    answer: Any = stack.predict(case.family, case.verb, case.request)
    assert answer["version"] == version
    assert len(answer["predictions"]) == case.predictions
    assert all(case.key in prediction for prediction in answer["predictions"])


def test_a_closed_form_refuses_options_of_gradient_training(stack: StackClient) -> None:
    with pytest.raises(ClientError) as refused:
        stack.submit({"family": "ridge", "dataset": "shapes", "model": "ridge", "training": {"epochs": 3}})
    assert refused.value.status == 422
    assert [item.pointer for item in refused.value.errors] == ["/training/epochs"]


def test_a_family_refuses_a_dataset_of_another_kind(stack: StackClient) -> None:
    with pytest.raises(ClientError) as refused:
        stack.submit({"family": "tree_net", "dataset": "digits", "model": "trees"})
    assert (refused.value.status, refused.value.code) == (422, "wrong_dataset_kind")


def test_uploading_under_a_taken_name_is_a_conflict(stack: StackClient, tmp_path: Path) -> None:
    (tmp_path / "logic.txt").write_text("1\t1\n" * 6 + "0\t0\n" * 6, encoding="utf-8")
    with pytest.raises(ClientError) as refused:
        stack.add_dataset("logic", "expressions", {"train": tmp_path / "logic.txt"}, {})
    assert (refused.value.status, refused.value.code) == (409, "dataset_exists")
