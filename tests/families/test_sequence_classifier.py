"""The recurrent classifier: order and far-off words matter, padding and company do not; bad texts are named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from models.classification.sequence_classifier.family import SequenceClassifierFamily
from models.classification.sequence_classifier.network import SequenceClassifier
from models.classification.sequence_classifier.spec import SPEC, SequenceClassifierConfig, SequenceClassifierTraining
from models.classification.task import TASK
from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays, ServedModel, answer
from models.contract.training import Plan
from models.nn.classifier import Classifier

WORDS = [f"w{number}" for number in range(12)]


def _split(texts: list[str], labels: list[int]) -> dict[str, Array]:
    return {"texts": np.array(texts, np.dtypes.StringDType()), "labels": np.array(labels)}


def _ordered(count: int, seed: int) -> dict[str, Array]:
    """Return texts of two classes: whether x comes before y, with other words around, 8 to 20 in all."""
    random = np.random.default_rng(seed)
    texts: list[str] = []
    for row in range(count):
        words = [WORDS[index] for index in random.integers(len(WORDS), size=random.integers(6, 19))]
        first, second = sorted(random.choice(len(words) + 1, 2, replace=False))
        pair = ("x", "y") if row % 2 else ("y", "x")
        texts.append(" ".join([*words[:first], pair[0], *words[first:second], pair[1], *words[second:]]))
    return _split(texts, [row % 2 for row in range(count)])


def _family(train: Mapping[str, Array], **config: object) -> SequenceClassifierFamily:
    options = SequenceClassifierConfig.parse({"hidden": 24, "embedding": 12, **config})
    family = SequenceClassifierFamily(options, {"lowercase": False, "classes": ["after", "before"]})
    family.study(train, {})
    return family


def _asked(family: SequenceClassifierFamily, module: torch.nn.Module, inputs: list[object]) -> list[Any]:
    graph, signature = Classifier(module).eval(), SPEC.parts["classifier"]
    model = ServedModel("m", "sequence_classifier", {}, family.meta, family.assets(module), {"classifier": signature})

    def run(_: str, arrays: Arrays) -> Arrays:
        with torch.no_grad():
            outputs = graph(*(torch.from_numpy(arrays[item.name]) for item in signature.inputs))
        return {item.name: value.numpy() for item, value in zip(signature.outputs, outputs, strict=True)}

    verb = TASK.verbs["classify"]
    return list(answer(verb.codec(model, verb.request.model_validate({"inputs": inputs})), run))


def test_learns_the_order_of_two_words_which_a_bag_of_words_cannot() -> None:
    """Both classes have the same words: whatever ignores their order answers half right."""
    train, test = _ordered(1_200, 1), _ordered(300, 2)
    family = _family(train)
    module = family.build(torch.Generator().manual_seed(1))
    examples = family.examples(train, torch.device("cpu"))
    plan = Plan.of(len(examples), 8, 32)
    options = SequenceClassifierTraining.parse({"learning_rate": 0.01})
    learner = family.learner(module, options, plan, torch.Generator().manual_seed(1))
    for epoch in range(plan.epochs):
        for indices in examples.batches(32, torch.Generator().manual_seed(epoch)):
            learner.step(examples.take(indices))
    scores = family.evaluate(module, family.examples(test, torch.device("cpu")))
    assert scores["accuracy"] >= 0.97
    sorted_words = [" ".join(sorted(text.split())) for text in test["texts"].tolist()]
    control = family.evaluate(
        module, family.examples(_split(sorted_words, test["labels"].tolist()), torch.device("cpu"))
    )
    assert control["accuracy"] <= 0.65
    served = _asked(family, module, [{"text": text} for text in test["texts"].tolist()])
    shares = [item["index"] == label for item, label in zip(served, test["labels"].tolist(), strict=True)]
    assert np.mean(shares) == pytest.approx(scores["accuracy"])


def test_answers_do_not_depend_on_company_or_padding() -> None:
    """A text of one token beside one of 10,000, in runs of like length and alone."""
    family = _family(_ordered(40, 1), longest=20_000)
    module = family.build(torch.Generator().manual_seed(1))
    texts: list[object] = [{"text": text} for text in ("x", "x y " * 5_000, "y w1", "unheard of", "w3 x")]
    together = _asked(family, module, texts)
    for text, found in zip(texts, together, strict=True):
        (alone,) = _asked(family, module, [text])
        assert alone["label"] == found["label"]
        assert alone["probability"] == pytest.approx(found["probability"], abs=1e-5)


def test_what_goes_beyond_the_longest_is_left_out() -> None:
    family = _family(_ordered(40, 1), longest=3)
    module = family.build(torch.Generator().manual_seed(1))
    one, other = _asked(family, module, [{"text": "x y w1"}, {"text": "x y w1 w2 w3"}])
    assert one == other


def test_both_directions_see_the_whole_text() -> None:
    """The first and the last word change the logits; of one direction alone, so does each."""
    for both in (True, False):
        family = _family(_ordered(40, 1), bidirectional=both)
        module = family.build(torch.Generator().manual_seed(1))
        assert isinstance(module, SequenceClassifier)
        tokens = torch.tensor([[3, 4, 5, 6], [7, 4, 5, 6], [3, 4, 5, 7]])
        logits = module(tokens, torch.full((3,), 4))
        assert not torch.allclose(logits[0], logits[1])
        assert not torch.allclose(logits[0], logits[2])


@pytest.mark.parametrize(
    ("value", "pointer", "reason"),
    [
        ({"text": ""}, "/inputs/1/text", "holds no token"),
        ({"text": " \t"}, "/inputs/1/text", "holds no token"),
        ({"text": 5}, "/inputs/1", 'must be {"text": "…"}'),
        ({"txt": "a"}, "/inputs/1", 'must be {"text": "…"}'),
        ({"text": "a", "label": "b"}, "/inputs/1", 'must be {"text": "…"}'),
        ([1, 2], "/inputs/1", 'must be {"text": "…"}'),
        ({"text": "a" * 100_001}, "/inputs/1/text", "has 100001 characters"),
    ],
)
def test_wrong_inputs_are_named(value: object, pointer: str, reason: str) -> None:
    family = _family(_ordered(40, 1))
    module = family.build(torch.Generator().manual_seed(1))
    with pytest.raises(ValidationFailed) as refused:
        _asked(family, module, [{"text": "x y"}, value])
    assert [error.pointer for error in refused.value.errors] == [pointer]
    assert reason in refused.value.errors[0].detail
