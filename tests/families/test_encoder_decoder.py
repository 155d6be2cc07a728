"""The encoder-decoder: all steps at once against one by one, configurations exported, alignments that are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch

from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays, ServedModel, answer
from models.contract.training import Plan
from models.nn.seq2seq.examples import Batch, PairExamples
from models.nn.seq2seq.graphs import EncoderGraph, StepGraph
from models.nn.seq2seq.network import Seq2Seq
from models.nn.sequences import real_tokens
from models.translation.encoder_decoder.family import EncoderDecoderFamily
from models.translation.encoder_decoder.spec import SPEC, EncoderDecoderConfig, EncoderDecoderTraining
from models.translation.task import TASK
from workers.exporting import onnx, torchscript
from workers.exporting.gate import check_parity, traced_sizes

CPU = torch.device("cpu")
TRIVIAL: dict[str, Any] = {"vocabulary": "word", "least_count": 1, "hidden": 8, "embedding": 6, "dropout": 0.0}
CONFIGS: dict[str, dict[str, Any]] = {
    "general": {},
    "dot": {"attention": "dot", "cell": "lstm"},
    "concat": {"attention": "concat", "bidirectional": "none"},
    "additive-fed": {"attention": "additive", "input_feeding": True},
    "local-m": {"attention": "local_m", "window": 1},
    "local-p": {"attention": "local_p", "window": 2},
    "bahdanau": {"attention": "additive", "decoder": "bahdanau", "tied": False},
    "sutskever": {"attention": "none", "cell": "lstm", "depth": 2, "bidirectional": "none", "reverse_source": True},
    "cho": {"attention": "none", "summary": "every_step"},
    "gnmt": {"cell": "lstm", "depth": 4, "bidirectional": "first", "residual": True, "embedding": 8},
    "hybrid": {"vocabulary": "hybrid", "vocabulary_size": 3},
    "deep-fed": {"depth": 2, "input_feeding": True, "attention": "local_m", "joint": False},
}
WORDS = ("ein", "zwei", "drei", "vier", "fünf", "sechs")


def _split(pairs: Sequence[tuple[str, str]]) -> dict[str, Array]:
    dtype = np.dtypes.StringDType()
    return {side: np.array([pair[index] for pair in pairs], dtype) for index, side in enumerate(("sources", "targets"))}


def _reversed(count: int, seed: int, longest: int = 6) -> list[tuple[str, str]]:
    """Return sentences with their words backwards, in capitals."""
    random = np.random.default_rng(seed)
    found: list[tuple[str, str]] = []
    for _ in range(count):
        words = [WORDS[index] for index in random.integers(len(WORDS), size=random.integers(1, longest + 1))]
        found.append((" ".join(words), " ".join(words[::-1]).upper()))
    return found


PAIRS = _reversed(40, seed=1)


def _family(pairs: Sequence[tuple[str, str]] = PAIRS, **config: object) -> EncoderDecoderFamily:
    family = EncoderDecoderFamily(EncoderDecoderConfig.parse({**TRIVIAL, **config}), {"lowercase": False})
    family.study(_split(pairs), {})
    return family


def _built(family: EncoderDecoderFamily, seed: int = 1) -> Seq2Seq:
    return cast("Seq2Seq", family.build(torch.Generator().manual_seed(seed)).eval())


def _batch(family: EncoderDecoderFamily, count: int = 8) -> Batch:
    examples = family.examples(_split(PAIRS), CPU)
    assert isinstance(examples, PairExamples)
    return examples.take(torch.arange(count))


def _trained(
    family: EncoderDecoderFamily, pairs: Sequence[tuple[str, str]], epochs: int, **training: object
) -> Seq2Seq:
    generator = torch.Generator().manual_seed(1)
    module = family.build(generator)
    options = EncoderDecoderTraining.parse({"epochs": epochs, "batch_size": 32, **training})
    examples = family.examples(_split(pairs), CPU)
    plan = Plan.of(len(examples), epochs, 32)
    learner = family.learner(module, options, plan, generator)
    for _ in range(epochs):
        for indices in examples.batches(32, generator):
            learner.step(examples.take(indices))
    return cast("Seq2Seq", module.eval())


def _asked(family: EncoderDecoderFamily, module: Seq2Seq, verb: str = "translate", **request: object) -> list[Any]:
    """Ask the codec, whose parts are run in torch."""
    exports = family.export(module)
    model = ServedModel(
        "m",
        "encoder_decoder",
        family.config.model_dump(mode="json"),
        family.meta,
        family.assets(module),
        {name: export.signature for name, export in exports.items()},
    )

    def run(part: str, arrays: Arrays) -> Arrays:
        graph = (exports[part].reference or exports[part].module).eval()
        tensors = [torch.from_numpy(np.ascontiguousarray(arrays[item.name])) for item in exports[part].signature.inputs]
        with torch.no_grad():
            outputs = graph(*tensors)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return {item.name: value.numpy() for item, value in zip(exports[part].signature.outputs, outputs, strict=True)}

    found = TASK.verbs[verb]
    return list(answer(found.codec(model, found.request.model_validate(request)), run))


# --- the network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_steps_one_by_one_give_what_all_at_once_gives(name: str) -> None:
    """The graph of a step, fed its own state, has the likelihood of the whole that training sees."""
    family = _family(**CONFIGS[name])
    module, batch = _built(family), _batch(family)
    mask = real_tokens(batch["sources"], batch["source_lengths"])
    with torch.no_grad():
        letters = [batch["source_letters"]] if "source_letters" in batch else []
        outputs, weights = module(batch["sources"], mask, batch["before"], 0.0, *letters)
        wanted = module.logits(outputs).log_softmax(dim=2)
        begun = EncoderGraph(module)(batch["sources"], batch["source_lengths"], *letters)
        state, memory = begun if isinstance(begun, tuple) else (begun, None)
        step = StepGraph(module, 5)
        rest = () if memory is None else (memory, batch["source_lengths"])
        for time in range(batch["targets"].shape[1]):
            tokens, targets = batch["before"][:, time], batch["targets"][:, time]
            likeliest, candidates, scored, state, *looked = step(tokens, targets, state, *rest)
            torch.testing.assert_close(scored, wanted[:, time].gather(1, targets.unsqueeze(1)).squeeze(1))
            torch.testing.assert_close(likeliest, wanted[:, time].topk(5, dim=1).values)
            torch.testing.assert_close(likeliest, wanted[:, time].gather(1, candidates))
            if module.speller is not None:
                torch.testing.assert_close(looked.pop(), module.speller.start(outputs[:, time]))
            assert (weights is None) == (not looked)
            if weights is not None:
                torch.testing.assert_close(looked[0], weights[:, time])


@pytest.mark.parametrize("name", CONFIGS)
def test_padding_changes_no_likelihood(name: str) -> None:
    """A pair alone is what it is beside longer ones."""
    family = _family(**CONFIGS[name])
    module = _built(family)
    scores = _asked(family, module, "score", pairs=[{"source": one, "target": other} for one, other in PAIRS[:6]])
    for pair, wanted in zip(PAIRS[:6], scores, strict=True):
        (alone,) = _asked(family, module, "score", pairs=[{"source": pair[0], "target": pair[1]}])
        assert alone["log_probability"] == pytest.approx(wanted["log_probability"], abs=1e-4)


@pytest.mark.parametrize("name", ["general", "sutskever", pytest.param("deep-fed", marks=pytest.mark.slow)])
def test_configurations_export(name: str) -> None:
    """Through the publishing gate, in both formats."""
    _check_exports(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CONFIGS.keys() - {"general", "sutskever", "deep-fed"}))
def test_further_configurations_export(name: str) -> None:
    """The others, which take some seconds each."""
    _check_exports(name)


def _check_exports(name: str) -> None:
    family = _family(**CONFIGS[name])
    for part, export in family.export(_built(family)).items():
        generator = torch.Generator().manual_seed(1)
        example = family.example(part, traced_sizes(export.signature), generator)
        for format_, exporter in (("onnx", onnx), ("torchscript", torchscript)):
            run = exporter.open_graph(exporter.write(export, example), export.signature)
            check_parity(part, export, cast("Any", format_), run, family, generator)


def test_residual_layers_add_what_goes_in() -> None:
    """With recurrent weights of zero a GRU halves its state and an identity remains, however deep."""
    family = _family(depth=4, residual=True, bidirectional="none", embedding=8)
    module = _built(family)
    with torch.no_grad():
        for name, parameter in module.encoder.named_parameters():
            if "weight" in name or "bias" in name:
                parameter.zero_()
    batch = _batch(family)
    cells, _ = module.encoder(batch["sources"], real_tokens(batch["sources"], batch["source_lengths"]))
    assert bool((cells == 0).all()), "the first layer adds nothing"
    with torch.no_grad():
        first = cast("Any", module.encoder.stacks[0]).layers[0][0]
        first.bias_input[16:] = 1.0
    cells, _ = module.encoder(batch["sources"], real_tokens(batch["sources"], batch["source_lengths"]))
    below, _ = first(torch.zeros(8, cells.shape[1], 8), real_tokens(batch["sources"], batch["source_lengths"]))
    torch.testing.assert_close(cells, below)


def test_scheduled_sampling_rises_from_none_to_its_share() -> None:
    """At share 0 it is teacher forcing; at 1 the true tokens after the first are not read at all."""
    family = _family()
    module, batch = _built(family), _batch(family)
    mask = real_tokens(batch["sources"], batch["source_lengths"])
    forced, _ = module(batch["sources"], mask, batch["before"])
    own, _ = module(batch["sources"], mask, batch["before"], 1e-9)
    torch.testing.assert_close(own, forced)
    other = {**batch, "before": batch["before"].clone()}
    other["before"][:, 1:] = 4
    drawn: list[torch.Tensor] = []
    for chosen in (batch, other):
        fresh = _built(family)
        drawn.append(fresh(chosen["sources"], mask, chosen["before"], 1.0)[0])
    assert torch.equal(*drawn)
    sampling = _family(scheduled_sampling=0.5)
    learner: Any = sampling.learner(
        _built(sampling), EncoderDecoderTraining(), Plan.of(40, 2, 8), torch.Generator().manual_seed(1)
    )
    shares: list[float] = []
    inner = sampling.losses
    cast("Any", sampling).losses = lambda module, batch: shares.append(float(batch["sampled"])) or inner(module, batch)
    for _ in range(10):
        learner.step(_batch(sampling))
    assert shares == pytest.approx([0.5 * step / 9 for step in range(10)])


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"hidden": 7}, "/config/hidden"),
        ({"residual": True}, "/config/residual"),
        ({"attention": "none", "input_feeding": True}, "/config/input_feeding"),
        ({"decoder": "bahdanau", "attention": "local_p"}, "/config/decoder"),
        ({"window": 3}, "/config/window"),
        ({"summary": "every_step"}, "/config/summary"),
    ],
)
def test_options_that_would_do_nothing_are_refused(config: dict[str, Any], named: str) -> None:
    """Each is named with what to do."""
    assert SPEC.check is not None
    with pytest.raises(ValidationFailed) as refused:
        SPEC.check(EncoderDecoderConfig.parse(config), EncoderDecoderTraining(), {})
    assert named in [item.pointer for item in refused.value.errors]


# --- what it learns --------------------------------------------------------------------------------------------------

LEARNING: dict[str, Any] = {"hidden": 32, "embedding": 24, "joint": False}


def _permuted(count: int, seed: int) -> list[tuple[str, str]]:
    """Return sentences of two to ten different words of sixty, and these words backwards in another language."""
    random = np.random.default_rng(seed)
    found: list[tuple[str, str]] = []
    for _ in range(count):
        words = [f"w{index}" for index in random.choice(60, size=random.integers(2, 11), replace=False)]
        found.append((" ".join(words), " ".join(words[::-1]).upper()))
    return found


@pytest.mark.slow
def test_attention_finds_the_alignment_that_is_known() -> None:
    """Token t of n looks at n − 1 − t. The same network without attention can tell far fewer sentences."""
    pairs, test = _permuted(2_000, seed=2), _permuted(100, seed=3)
    right: dict[str, float] = {}
    for attention in ("general", "none"):
        family = _family(pairs, **LEARNING, attention=attention)
        module = _trained(family, pairs, epochs=6, learning_rate=0.01)
        answers = _asked(family, module, sentences=[source for source, _ in test])
        same = [item["translation"] == target for item, (_, target) in zip(answers, test, strict=True)]
        right[attention] = float(np.mean(same))
        if attention == "none":
            assert answers[0]["attention"] is None
            continue
        maps = [np.array(item["attention"]) for item in answers]
        assert all(np.abs(looked.sum(axis=1) - 1).max() < 1e-5 for looked in maps)
        square = [looked for looked in maps if looked.shape[0] == looked.shape[1]]
        hits = [row.argmax() == len(looked) - 1 - time for looked in square for time, row in enumerate(looked)]
        assert len(square) >= 80
        assert np.mean(hits) >= 0.95
    assert right["general"] >= 0.85
    assert right["none"] <= right["general"] - 0.3


def test_a_reversed_source_is_shown_as_it_was_written() -> None:
    """Tokens in the order of the sentence, and attention with its columns in that order."""
    plain, backwards = _family(), _family(reverse_source=True)
    module = _built(plain)
    sentence, mirrored = "ein zwei drei", "drei zwei ein"
    (one,) = _asked(plain, module, sentences=[mirrored])
    (other,) = _asked(backwards, module, sentences=[sentence])
    assert other["source_tokens"] == sentence.split()
    assert one["translation"] == other["translation"]
    np.testing.assert_allclose(np.array(one["attention"])[:, ::-1], np.array(other["attention"]))
