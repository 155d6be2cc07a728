"""The language model against sources of known entropy, its own steps one by one, and the rules of truncated BPTT."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, cast, get_args

import numpy as np
import pytest
import torch

from models.contract.task import Array, Arrays, ServedModel, answer
from models.contract.training import Plan
from models.data.texts.encoding import TextEncoding
from models.language.recurrent_lm.family import RecurrentLmFamily
from models.language.recurrent_lm.learner import CarryingLearner
from models.language.recurrent_lm.network import Reader, RecurrentLm, Scorer
from models.language.recurrent_lm.spec import SPEC, RecurrentLmConfig, RecurrentLmTraining
from models.language.recurrent_lm.streams import Streams
from models.language.task import TASK
from models.nn.recurrent import Cell
from workers.exporting import onnx
from workers.exporting.gate import check_parity, traced_sizes

CPU = torch.device("cpu")
TEXT = [f"line {number} of the text" for number in range(40)]
NEXT = {"a": "bc", "b": "cd", "c": "da", "d": "ab"}
"""A source in which each letter is followed by either of two: ln 2 nats a letter, ln 4 for who forgets the last one."""


def _split(lines: list[str]) -> dict[str, Array]:
    return {"lines": np.array(lines, np.dtypes.StringDType())}


def _family(lines: list[str], **config: object) -> RecurrentLmFamily:
    family = RecurrentLmFamily(RecurrentLmConfig.parse({"hidden": 12, "embedding": 8, **config}), {"lowercase": False})
    family.study(_split(lines), {})
    return family


def _built(family: RecurrentLmFamily, seed: int = 1) -> RecurrentLm:
    module = family.build(torch.Generator().manual_seed(seed)).eval()
    assert isinstance(module, RecurrentLm)
    return module


def _streams(family: RecurrentLmFamily, lines: list[str]) -> Streams:
    examples = family.examples(_split(lines), CPU)
    assert isinstance(examples, Streams)
    return examples


def _learner(family: RecurrentLmFamily, module: RecurrentLm, plan: Plan, **training: object) -> CarryingLearner:
    options = RecurrentLmTraining.parse(training)
    learner = family.learner(module, options, plan, torch.Generator().manual_seed(1))
    assert isinstance(learner, CarryingLearner)
    return learner


def _served(family: RecurrentLmFamily, module: RecurrentLm) -> tuple[ServedModel, Any]:
    """Return what the codec knows, and what runs the parts in torch."""
    parts: Mapping[str, torch.nn.Module] = {"reader": Reader(module).eval(), "scorer": Scorer(module).eval()}
    sizes = {"state": module.state_size, "vocabulary": module.embedding.shape[0]}
    signatures = {name: SPEC.parts[name].fixed(**sizes) for name in parts}

    def run(part: str, arrays: Arrays) -> Arrays:
        tensors = [torch.from_numpy(np.asarray(arrays[item.name])) for item in signatures[part].inputs]
        with torch.no_grad():
            outputs = parts[part](*tensors)
        return {item.name: value.numpy() for item, value in zip(signatures[part].outputs, outputs, strict=True)}

    return ServedModel("m", "recurrent_lm", {}, family.meta, family.assets(module), signatures), run


def _asked(family: RecurrentLmFamily, module: RecurrentLm, verb: str, **request: object) -> list[Any]:
    model, run = _served(family, module)
    found = TASK.verbs[verb]
    return list(answer(found.codec(model, found.request.model_validate(request)), run))


# --- the text as streams ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "streams"), [(5, 4), (7, 1), (64, 100), (1_000, 3)])
def test_streams_read_the_text_in_order(window: int, streams: int) -> None:
    """Each target is read in the step after; windows in a row go on from one another; the whole text is there once."""
    family = _family(TEXT, window=window, least_count=1)
    examples = _streams(family, TEXT)
    whole = examples.take(torch.arange(len(examples)))
    mask = torch.ones_like(whole.tokens, dtype=torch.bool) if whole.mask is None else whole.mask
    encoding = TextEncoding.of(family.assets(torch.nn.Identity()))
    text = encoding.encode("".join(f"{line}\n" for line in TEXT))
    assert whole.targets[mask].tolist() == text.tolist()
    assert whole.tokens[mask].tolist() == encoding.encode("\n").tolist() + text.tolist()[:-1]
    batches = examples.batches(streams, torch.Generator().manual_seed(3))
    assert len(batches) == Plan.of(len(examples), 1, streams).steps_per_epoch
    for one, other in pairwise(batches):
        assert ((one[: len(other)] + 1) % len(examples)).tolist() == other.tolist()


def test_state_goes_on_from_window_to_window() -> None:
    """With steps too small to matter, the state behind two windows is that of both read in one go."""
    family = _family(TEXT, window=6)
    module, examples = _built(family), _streams(family, TEXT)
    learner = _learner(family, module, Plan.of(len(examples), 1, 3), learning_rate=1e-12)
    begin = torch.tensor([0, 40, 80])
    for step in range(3):
        learner.step(examples.take(begin + step))
    carried = cast("torch.Tensor", learner.state()["carried"])
    tokens = torch.cat([examples.take(begin + step).tokens for step in range(3)], dim=1)
    _, wanted = module(tokens, None, torch.zeros(3, module.state_size))
    torch.testing.assert_close(carried, wanted, rtol=1e-5, atol=1e-6)
    assert not carried.requires_grad


def test_state_is_not_carried_to_a_window_that_does_not_follow() -> None:
    """Nor from the end of the text to its beginning; streams that follow keep theirs wherever they stand."""
    family = _family(TEXT, window=6)
    module, examples = _built(family), _streams(family, TEXT)
    learner = _learner(family, module, Plan.of(len(examples), 1, 3))
    learner.step(examples.take(torch.tensor([4, len(examples) - 1, 9])))
    before = learner._state_before(torch.tensor([10, 0, 5]))
    assert before is not None
    carried = cast("torch.Tensor", learner.state()["carried"])
    assert torch.equal(before[0], carried[2])
    assert torch.equal(before[2], carried[0])
    assert not before[1].any()


def test_gradient_goes_back_one_window_and_no_further() -> None:
    """The state that is carried is a number to the next step: its past has no part in the gradient."""
    family = _family(TEXT, window=4)
    module, examples = _built(family), _streams(family, TEXT)
    batch = examples.take(torch.tensor([3]))
    state = torch.randn(1, module.state_size, generator=torch.Generator().manual_seed(1))
    loss = family.losses(module, type(batch)(batch.numbers, batch.tokens, batch.targets, batch.mask, state))["loss"]
    wanted = torch.autograd.grad(loss, list(module.parameters()))
    learner = _learner(family, module, Plan.of(len(examples), 1, 1), gradient_clip=None, optimizer="sgd")
    learner._numbers, learner._carried = torch.tensor([2]), state
    learner.step(batch)
    for parameter, gradient in zip(module.parameters(), wanted, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient)


# --- likelihoods -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", get_args(Cell))
def test_every_cell_scores_as_it_reads_token_by_token(cell: Cell) -> None:
    """The chain rule: what ``score`` says of a text is the sum of what ``reader`` says of each next token."""
    family = _family(TEXT, cell=cell, layers=2, least_count=1)
    module = _built(family)
    model, run = _served(family, module)
    (scored,) = _asked(family, module, "score", texts=["line 7"], each=True)
    encoding = TextEncoding.of(model.assets)
    state, token = np.zeros((1, module.state_size), np.float32), int(encoding.encode("\n")[0])
    for item, index in zip(scored["each"], encoding.encode("line 7").tolist(), strict=True):
        outputs = run("reader", {"tokens": [[token]], "lengths": [1], "state": state})
        logits = torch.from_numpy(outputs["logits"][0])
        assert item["log_probability"] == pytest.approx(float(logits.log_softmax(0)[index]), abs=1e-5)
        state, token = outputs["next_state"], index
    assert scored["log_probability"] == pytest.approx(sum(item["log_probability"] for item in scored["each"]))
    assert scored["perplexity"] == pytest.approx(math.exp(-scored["log_probability"] / scored["tokens"]))


@pytest.mark.parametrize("config", [{}, {"tied": True}, {"tied": True, "hidden": 8}, {"level": "word"}])
def test_probabilities_of_all_next_tokens_sum_to_one(config: Mapping[str, object]) -> None:
    family = _family(TEXT, **config)
    module = _built(family)
    size = module.embedding.shape[0]
    tokens = torch.full((size, 1), 2)
    scorer = Scorer(module).eval()
    with torch.no_grad():
        each, _ = scorer(
            tokens, torch.arange(size).unsqueeze(1), torch.ones(size), torch.zeros(size, module.state_size)
        )
    assert float(each.exp().sum()) == pytest.approx(1, abs=1e-5)


def test_score_does_not_depend_on_company_or_on_how_it_is_cut_into_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text of 10,000 tokens beside one of one, and runs of three steps instead of 128."""
    family = _family(TEXT)
    module = _built(family)
    texts = ["line 1 of the text\n" * 526 + "of the", "l", "line 2\nof the text"]
    together = _asked(family, module, "score", texts=texts)
    assert together[0]["tokens"] == 10_000
    monkeypatch.setattr("models.language.scoring.STEPS_A_RUN", 3)
    monkeypatch.setattr("models.language.scoring.TEXTS_A_RUN", 2)
    for text, found in zip(texts[1:], together[1:], strict=True):
        (alone,) = _asked(family, module, "score", texts=[text])
        assert alone["log_probability"] == pytest.approx(found["log_probability"], abs=1e-4)


def test_learns_a_source_to_its_entropy() -> None:
    """That is ln 2 = 0.693 nats a letter; a model that cannot see the last letter, the control, stays at ln 4."""
    random = np.random.default_rng(1)
    letters = ["a"]
    while len(letters) < 12_000:
        letters.append(NEXT[letters[-1]][random.integers(2)])
    lines = ["".join(letters[begin : begin + 600]) for begin in range(0, 12_000, 600)]
    family = _family(lines[:15], hidden=16, window=20)
    module, train = family.build(torch.Generator().manual_seed(1)), _streams(family, lines[:15])
    plan = Plan.of(len(train), 5, 16)
    learner = _learner(family, cast("RecurrentLm", module), plan, learning_rate=0.02, batch_size=16)
    for epoch in range(plan.epochs):
        for indices in train.batches(16, torch.Generator().manual_seed(epoch)):
            learner.step(train.take(indices))
    test = _streams(family, lines[15:])
    assert family.evaluate(module, test)["loss"] == pytest.approx(math.log(2), abs=0.03)
    with torch.no_grad():
        cast("RecurrentLm", module).embedding.zero_()  # the control: it reads nothing
    assert family.evaluate(module, test)["loss"] > math.log(4) - 0.1


def test_tied_output_has_no_weights_of_its_own() -> None:
    """Press and Wolf (2017): the same vectors come in and go out; a projection joins sizes that differ."""
    size = _built(_family(TEXT)).embedding.shape[0]
    count = [
        sum(parameter.numel() for parameter in _built(_family(TEXT, tied=tied, hidden=8)).parameters())
        for tied in (False, True)
    ]
    assert count[0] - count[1] == 8 * size


def test_two_tied_layers_with_peepholes_export() -> None:
    """States of two tensors a layer, none of them torch's own cell."""
    family = _family(TEXT, cell="peephole_lstm", layers=2, tied=True)
    for part, export in family.export(_built(family)).items():
        generator = torch.Generator().manual_seed(1)
        example = family.example(part, traced_sizes(export.signature), generator)
        run = onnx.open_graph(onnx.write(export, example), export.signature)
        check_parity(part, export, "onnx", run, family, generator)
