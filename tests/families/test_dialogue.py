"""The conversational model where the reply is known from the context, and not without it."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch

from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays, Call, Piece, ServedModel, answer
from models.contract.training import Plan
from models.conversation.dialogue.family import DialogueFamily
from models.conversation.dialogue.spec import DialogueConfig, DialogueTraining
from models.conversation.exchanges import TURN
from models.conversation.requests import ReplyRequest
from models.conversation.task import TASK
from models.data.kinds.dialogues import SEPARATOR
from models.data.vocabulary import RESERVED
from models.metrics.diversity import distinct
from models.nn.seq2seq.network import Seq2Seq
from models.seq2seq.parts import ENCODER

CPU = torch.device("cpu")
PETS = ("cat", "dog", "bird", "fish")
SOUNDS = ("meow", "woof", "tweet", "blub")
TINY: dict[str, Any] = {"least_count": 1, "hidden": 32, "embedding": 24, "dropout": 0.0, "widest_beam": 6}


def _split(count: int, seed: int) -> dict[str, Array]:
    """Return conversations: an animal is named two turns before its sound."""
    random = np.random.default_rng(seed)
    found: list[str] = []
    for _ in range(count):
        kind = int(random.integers(4))
        found.append(SEPARATOR.join((f"a {PETS[kind]}", "says ?", f"{SOUNDS[kind]} !")))
    return {"turns": np.array(found, np.dtypes.StringDType())}


def _family(**config: object) -> DialogueFamily:
    family = DialogueFamily(DialogueConfig.parse({**TINY, **config}), {"lowercase": False})
    family.study(_split(200, 1), {})
    return family


def _trained(family: DialogueFamily, epochs: int = 20) -> Seq2Seq:
    generator = torch.Generator().manual_seed(1)
    module = family.build(generator)
    examples = family.examples(_split(200, 1), CPU)
    options = DialogueTraining.parse({"epochs": epochs, "learning_rate": 0.01})
    learner = family.learner(module, options, Plan.of(len(examples), epochs, 16), generator)
    for _ in range(epochs):
        for indices in examples.batches(16, generator):
            learner.step(examples.take(indices))
    return cast("Seq2Seq", module.eval())


class Served:
    """A model whose parts are run in torch."""

    def __init__(self, family: DialogueFamily, module: Seq2Seq) -> None:
        self.read: list[int] = []
        """Tokens of each source."""
        self._exports = family.export(module)
        signatures = {name: export.signature for name, export in self._exports.items()}
        config = family.config.model_dump(mode="json")
        self.model = ServedModel("m", "dialogue", config, family.meta, family.assets(module), signatures)

    def run(self, part: str, arrays: Arrays) -> Arrays:
        if part == ENCODER:
            self.read += arrays["lengths"].tolist()
        export = self._exports[part]
        graph = (export.reference or export.module).eval()
        tensors = [torch.from_numpy(np.ascontiguousarray(arrays[item.name])) for item in export.signature.inputs]
        with torch.no_grad():
            outputs = graph(*tensors)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return {item.name: value.numpy() for item, value in zip(export.signature.outputs, outputs, strict=True)}

    def ask(self, verb: str = "reply", **request: object) -> list[Any]:
        found = TASK.verbs[verb]
        return list(answer(found.codec(self.model, found.request.model_validate(request)), self.run))

    def stream(self, **request: object) -> tuple[list[str], Any]:
        stream = TASK.verbs["reply"].stream
        assert stream is not None
        codec: Any = stream.codec(self.model, ReplyRequest.model_validate({**request, "stream": True}))
        told: list[str] = []
        try:
            step = next(codec)
            while True:
                if isinstance(step, Piece):
                    told.append(str(step.content["text"]))
                step = codec.send(self.run(step.part, step.arrays) if isinstance(step, Call) else None)
        except StopIteration as stop:
            return told, stop.value


@pytest.fixture(scope="module")
def served() -> Served:
    """Return the model with two turns of context."""
    family = _family(context_turns=2)
    return Served(family, _trained(family))


def _turns(kind: int) -> list[str]:
    return [f"a {PETS[kind]}", "says ?"]


@pytest.mark.slow
def test_a_reply_knows_what_was_said_two_turns_before(served: Served) -> None:
    """The sound of the animal, where one turn of context, or none, leaves four as likely."""
    for kind in range(4):
        assert served.ask(turns=_turns(kind))[0]["reply"] == f"{SOUNDS[kind]} !"
    for context in (0, 1):
        family = _family(context_turns=context)
        other = Served(family, _trained(family))
        said = [{"turns": _turns(kind), "reply": f"{SOUNDS[kind]} !"} for kind in range(4)]
        nats = [-item["log_probability"] for item in other.ask("score", exchanges=said)]
        assert np.mean(nats) > 0.8 * np.log(4)
    nats = [-item["log_probability"] for item in served.ask("score", exchanges=said)]
    assert np.mean(nats) < 0.1


@pytest.mark.parametrize(("unit", "most"), [("word", 1_000), ("character", 2_000)])
def test_turns_and_replies_have_a_bounded_number_of_tokens(unit: str, most: int) -> None:
    """The last of them are read however long words are; a reply that is scored is refused."""
    family = _family(vocabulary=unit, context_turns=100, longest=1_000)
    untrained = Served(family, cast("Seq2Seq", family.build(torch.Generator().manual_seed(1)).eval()))
    said: dict[str, Any] = {"turns": ["x" * 20_000, "y " * 2_000, "z" * 20_000], "reply": "a"}
    untrained.ask("score", exchanges=[said])
    untrained.ask(turns=said["turns"], longest=1, beam_size=1)
    assert max(untrained.read) <= most
    reply = "a" * most if unit == "character" else "a " * most
    assert untrained.ask("score", exchanges=[{**said, "reply": reply}])[0]["tokens"] == most + 1
    with pytest.raises(ValidationFailed, match=f"/exchanges/0/reply: has {most + 1} tokens; .* at most {most}. Cut"):
        untrained.ask("score", exchanges=[{**said, "reply": f"{reply}a"}])


@pytest.mark.parametrize("unit", ["word", "character"])
def test_the_mark_between_turns_is_neither_said_nor_taken(unit: str) -> None:
    """By draws and search of a network that likes it most; from users it is white space."""
    family = _family(vocabulary=unit, context_turns=2)
    module = cast("Seq2Seq", family.build(torch.Generator().manual_seed(1)).eval())
    symbols = cast("Any", family.assets(module))["source"]["vocabulary"]
    marks = [index for index, symbol in enumerate(symbols, start=RESERVED) if TURN in symbol]
    assert marks
    with torch.no_grad():
        module.get_parameter("output_bias")[marks] = 9.0
    untrained = Served(family, module)
    asked: list[dict[str, Any]] = [
        {"temperature": 100.0, "seed": 1},
        {"temperature": 1.0, "top_k": 1, "seed": 1},
        {"n_best": 5},
    ]
    for options in asked:
        (found,) = untrained.ask(turns=["a cat"], longest=30, **options)
        assert found["reply"]
        assert TURN not in "".join([found["reply"], *(item["reply"] for item in found.get("n_best", []))])
    forged, plain = (
        untrained.ask("score", exchanges=[{"turns": [turn], "reply": turn}]) for turn in (f"a{TURN}b", "a b")
    )
    assert forged == plain


def test_only_the_last_turns_are_read(served: Served) -> None:
    """Earlier ones change nothing, empty ones are none."""
    wanted = served.ask(turns=_turns(1))
    assert served.ask(turns=["a bird", "no", "", *_turns(1)]) == wanted


def test_draws_depend_on_their_seed_alone(served: Served) -> None:
    """The answer tells the seed; another gives other replies; the stream tells the same."""
    request: dict[str, Any] = {"turns": ["no"], "temperature": 5.0, "seed": 3, "longest": 6}
    (first,) = served.ask(**request)
    assert served.ask(**request) == [first]
    assert first["seed"] == 3
    del request["seed"]
    others = {served.ask(**request, seed=seed)[0]["reply"] for seed in range(8)}
    request["seed"] = 3
    assert len(others) > 2
    told, whole = served.stream(**request)
    assert "".join(told) == first["reply"]
    assert whole == first
    greedy, whole = served.stream(turns=_turns(2))
    assert "".join(greedy) == whole["reply"] == "tweet !"
    assert isinstance(served.ask(turns=["no"], temperature=1.0)[0]["seed"], int)


def test_the_best_replies_are_ranked_and_known_words_only(served: Served) -> None:
    """No unknown word is said."""
    (found,) = served.ask(turns=["strange words nobody knows"], beam_size=5, n_best=5)
    scores = [item["score"] for item in found["n_best"]]
    assert scores == sorted(scores, reverse=True)
    assert not any("<unk>" in item["reply"] for item in found["n_best"])
    assert found["unknown"] == 4


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({"turns": ["hello", " "]}, "/turns/1: is empty"),
        ({"turns": ["hello", f"{TURN} "]}, "/turns/1: is empty"),
        ({"turns": ["hello"], "beam_size": 7}, "/beam_size: is 7"),
        ({"turns": ["hello"], "temperature": 1.0, "top_k": 7}, "/top_k: is 7"),
    ],
)
def test_what_the_model_cannot_do_is_refused(served: Served, request_: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationFailed, match=named):
        served.ask(**request_)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"turns": []}, "turns"),
        ({"beam_size": 10_000}, "beam_size"),
        ({"temperature": 1.0, "beam_size": 2}, "beam_size"),
        ({"temperature": 1.0, "n_best": 2}, "n_best"),
        ({"seed": 1}, "seed"),
        ({"top_k": 3}, "top_k"),
        ({"stream": True, "beam_size": 2}, "beam_size"),
        ({"n_best": 6}, "n_best"),
        ({"turns": ["a"] * 1_001}, "turns"),
        ({"turns": [1]}, "turns/0"),
    ],
)
def test_requests_that_contradict_themselves_are_refused(body: dict[str, Any], field: str) -> None:
    """An empty conversation, a beam beyond all models, draws and search at once; the field is named, alone."""
    with pytest.raises(ValidationFailed) as refused:
        ReplyRequest.parse({"turns": ["a"], **body})
    assert [item.pointer for item in refused.value.errors] == [f"/{field}"]
    assert "Value error" not in refused.value.detail


def test_distinct_counts_different_ngrams() -> None:
    """Li et al. (2016): over all replies together."""
    assert distinct([["a", "b", "a"], ["a", "b"]], 1) == pytest.approx(2 / 5)
    assert distinct([["a", "b", "a"], ["a", "b"]], 2) == pytest.approx(2 / 3)
    assert distinct([[]], 1) == 0.0
