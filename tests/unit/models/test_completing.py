"""``complete``: how tokens are drawn, where a completion ends, and that pieces and whole are one text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from models.contract.errors import ValidationFailed
from models.contract.task import Arrays, Call, Piece, ServedModel, answer
from models.contract.tensors import PartSignature, TensorSignature
from models.data.texts.encoding import TextEncoding
from models.data.texts.tokens import Level
from models.data.vocabulary import RESERVED, Vocabulary
from models.language.completing import STEPS_A_RUN, stream
from models.language.requests import CompleteRequest
from models.language.task import TASK

LETTERS = ["\n", "a", "b", "c", "d"]
SIGNATURE = PartSignature(
    inputs=(
        TensorSignature(name="tokens", dtype="int64", shape=("batch", "time")),
        TensorSignature(name="lengths", dtype="int64", shape=("batch",)),
        TensorSignature(name="state", shape=("batch", 1)),
    ),
    outputs=(
        TensorSignature(name="logits", shape=("batch", 7)),
        TensorSignature(name="next_state", shape=("batch", 1)),
    ),
)
Run = Callable[[str, Arrays], Arrays]


def _model(symbols: Sequence[str] = LETTERS, level: Level = "character") -> ServedModel:
    encoding = TextEncoding(level, Vocabulary(symbols), lowercase=False)
    return ServedModel("m", "f", {}, {}, encoding.assets(), {"reader": SIGNATURE})


def _alphabet(part: str, arrays: Arrays) -> Arrays:
    """Stand for a model that is nearly sure of the alphabet, line end after d; its state counts what it has read."""
    assert part == "reader"
    last = int(arrays["tokens"][0, int(arrays["lengths"][0]) - 1]) - RESERVED
    logits = np.zeros((1, RESERVED + len(LETTERS)), np.float32)
    logits[0, :RESERVED] = 50  # what has no text is never drawn, however likely
    logits[0, RESERVED + (last + 1) % len(LETTERS)] = 9
    return {"logits": logits, "next_state": arrays["state"] + arrays["lengths"][0]}


def _drawn(probabilities: Sequence[float]) -> Run:
    """Stand for a model with the same probabilities after every token."""
    logits = np.concatenate([[-30.0, -30.0], np.log(probabilities)]).astype(np.float32)
    return lambda _, arrays: {"logits": logits[None], "next_state": arrays["state"]}


def _complete(run: Run, model: ServedModel | None = None, **request: object) -> dict[str, Any]:
    verb = TASK.verbs["complete"]
    (found,) = answer(verb.codec(model or _model(), CompleteRequest.parse(request)), run)
    verb.prediction.model_validate(found)
    return dict(found)


def _pieces(run: Run, **request: object) -> tuple[list[str], Any]:
    told: list[str] = []
    codec, outputs = stream(_model(), CompleteRequest.parse(request)), None
    try:
        while True:
            step = next(codec) if outputs is None else codec.send(outputs)
            outputs = run(step.part, step.arrays) if isinstance(step, Call) else None
            if isinstance(step, Piece):
                told.append(str(step.content["text"]))
    except StopIteration as stop:
        return told, stop.value


def test_greedy_completion_follows_the_likeliest_token() -> None:
    found = _complete(_alphabet, prompt="ab", tokens=6, temperature=0)
    assert (found["text"], found["tokens"], found["ended"], found["unknown"]) == ("cd\nabc", 6, "tokens", 0)


def test_empty_prompt_begins_a_line() -> None:
    assert _complete(_alphabet, tokens=2, temperature=0)["text"] == "ab"


def test_prompt_is_read_whole_in_several_runs() -> None:
    """Ten thousand tokens: each is read once, in order, in runs that leave room for other requests."""
    seen: list[int] = []

    def run(part: str, arrays: Arrays) -> Arrays:
        assert arrays["tokens"].shape[1] <= STEPS_A_RUN
        assert arrays["state"][0, 0] == len(seen)
        seen.extend(arrays["tokens"][0].tolist())
        return _alphabet(part, arrays)

    assert _complete(run, prompt="abcd\n" * 2_000, tokens=1, temperature=0)["text"] == "a"
    assert len(seen) == 10_001


def test_same_seed_gives_the_same_text_and_the_answer_tells_a_drawn_one() -> None:
    run = _drawn([0.2, 0.2, 0.2, 0.2, 0.2])
    first = _complete(run, seed=7)
    assert _complete(run, seed=7) == first
    assert _complete(run, seed=8)["text"] != first["text"]
    drawn = _complete(run)
    assert _complete(run, seed=drawn["seed"])["text"] == drawn["text"]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax_at_the_temperature(temperature: float) -> None:
    """Frequencies of 10,000 draws against p^(1/T) / Σ p^(1/T), within five standard deviations."""
    probabilities = np.array([0.05, 0.1, 0.15, 0.3, 0.4])
    found = _complete(_drawn(probabilities.tolist()), tokens=10_000, temperature=temperature, seed=1)
    wanted = probabilities ** (1 / temperature)
    wanted /= wanted.sum()
    shares = np.array([found["text"].count(letter) for letter in LETTERS]) / 10_000
    assert (np.abs(shares - wanted) < 5 * np.sqrt(wanted / 10_000)).all()


def test_top_k_draws_among_the_likeliest() -> None:
    found = _complete(_drawn([0.05, 0.1, 0.15, 0.3, 0.4]), tokens=2_000, top_k=2, seed=1)
    assert set(found["text"]) == {"c", "d"}
    assert found["text"].count("d") / 2_000 == pytest.approx(4 / 7, abs=0.05)
    assert _complete(_drawn([0.3, 0.1, 0.2, 0.2, 0.2]), tokens=50, top_k=1)["text"] == "\n" * 50


def test_log_probability_is_that_of_the_model_whatever_the_temperature() -> None:
    found = _complete(_drawn([0.05, 0.1, 0.15, 0.3, 0.4]), tokens=3, temperature=0)
    assert found["text"] == "ddd"
    assert found["log_probability"] == pytest.approx(3 * np.log(0.4), abs=1e-5)


@pytest.mark.parametrize(("stop", "text", "tokens"), [("d", "abc", 4), ("cd\n", "ab", 5), ("\na", "abcd", 6)])
def test_completion_ends_before_the_stop_text(stop: str, text: str, tokens: int) -> None:
    """However many tokens it is long; what could have been its beginning was never told as a piece."""
    told, found = _pieces(_alphabet, stop=stop, tokens=100, temperature=0)
    assert (found["text"], found["tokens"], found["ended"]) == (text, tokens, "stop")
    assert "".join(told) == text


def test_stop_text_that_does_not_come_costs_nothing_of_the_text() -> None:
    told, found = _pieces(_alphabet, stop="cb", tokens=4, temperature=0)
    assert "".join(told) == found["text"] == "abcd"


def test_pieces_are_the_completion_in_order() -> None:
    run = _drawn([0.2, 0.2, 0.2, 0.2, 0.2])
    told, found = _pieces(run, tokens=50, seed=3)
    assert len(told) == 50
    assert "".join(told) == found["text"] == _complete(run, tokens=50, seed=3)["text"]


def test_words_are_joined_as_they_are_written() -> None:
    model = _model(["\n", "Yes", ",", "sir", "."], "word")
    found = _complete(_alphabet, model, prompt="Yes", tokens=8, temperature=0)
    assert found["text"] == ", sir.\nYes, sir."


def test_unknown_tokens_of_a_prompt_are_counted_and_a_prompt_of_nothing_else_is_refused() -> None:
    assert _complete(_alphabet, prompt="éxa", tokens=1, temperature=0) | {"seed": 0} == {
        **_complete(_alphabet, prompt="a", tokens=1, temperature=0),
        "seed": 0,
        "unknown": 2,
    }
    with pytest.raises(ValidationFailed, match="/prompt: holds no character that the model has seen"):
        _complete(_alphabet, prompt="日本")
    with pytest.raises(ValidationFailed, match="/prompt: holds no word that the model has seen"):
        _complete(_alphabet, _model(level="word"), prompt="xyzzy")


@pytest.mark.parametrize(
    ("request_", "pointer"),
    [
        ({"prompt": 5}, "/prompt"),
        ({"prompt": "a" * 131_073}, "/prompt"),
        ({"tokens": 0}, "/tokens"),
        ({"tokens": 10_001}, "/tokens"),
        ({"temperature": -1}, "/temperature"),
        ({"temperature": "warm"}, "/temperature"),
        ({"top_k": 0}, "/top_k"),
        ({"seed": -1}, "/seed"),
        ({"stop": ""}, "/stop"),
        ({"promt": "a"}, "/promt"),
    ],
)
def test_wrong_requests_name_the_field(request_: dict[str, object], pointer: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        CompleteRequest.parse(request_)
    assert [error.pointer for error in refused.value.errors] == [pointer]


def test_text_that_is_not_utf8_is_refused_with_the_byte() -> None:
    with pytest.raises(ValidationFailed, match=r"/prompt: is not UTF-8: byte 0xff at position 3"):
        TASK.verbs["complete"].media["text/plain"](b"ab\xff")
