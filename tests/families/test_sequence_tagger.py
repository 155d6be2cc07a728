"""The sequence tagger against its papers: what each part of it brings on a grammar that asks for just that part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

from models.catalog import Catalog
from models.contract.errors import ValidationFailed
from models.contract.task import Arrays, ServedModel, Split, evaluate
from models.data.kind import Content
from models.data.kinds.tagged import KIND
from models.data.vocabulary import RESERVED
from newest_checkpoint import NewestCheckpoint
from workers.exporting.formats import EXPORTERS, write
from workers.exporting.gate import check_parity, traced_sizes
from workers.training import Run, prepare, train

CATALOG = Catalog(("models",))
SPEC = CATALOG.spec("sequence_tagger")
TASK = CATALOG.task("tagging")
SMALL: Mapping[str, object] = {
    "word_dimensions": 16,
    "hidden": 16,
    "symbol_dimensions": 4,
    "dropout": 0.0,
    "affixes": [],
}
VARIANTS: Mapping[str, Mapping[str, object]] = {
    "lstm-softmax": {"encoder": "lstm", "decoder": "softmax"},
    "rnn-crf": {"encoder": "rnn", "layers": 2},
    "convolution-crf": {"encoder": "convolution", "layers": 2, "scheme": "bio"},
    "bilstm-crf-characters": {"characters": "convolution", "affixes": [-2, 3], "templates": ["spelling"]},
    "lstm-crf-letters": {"characters": "lstm", "columns": False, "capitals": False},
    "crf": {"encoder": "none", "templates": ["context", "spelling"]},
}


Sentences = list[tuple[list[str], list[str]]]


def content(
    train: list[tuple[list[str], list[str]]], test: list[tuple[list[str], list[str]]], *, sorts: bool = False
) -> Content:
    """Return sentences with their tags as a dataset; with ``sorts`` the first letter of a word is a further column."""

    def joined(texts: list[list[str]]) -> np.ndarray:
        return np.array(["\n".join(items) for items in texts], dtype=np.dtypes.StringDType())

    splits: dict[str, dict[str, np.ndarray]] = {}
    for name, rows in {"train": train, "test": test}.items():
        splits[name] = {"tokens": joined([tokens for tokens, _ in rows]), "tags": joined([tags for _, tags in rows])}
        if sorts:
            splits[name]["column_0"] = joined([[token[0] for token in tokens] for tokens, _ in rows])
    spans = any(tag.startswith("B-") for _, tags in train for tag in tags)
    made = Content(splits, {"scheme": "bio" if spans else "none", "features": [1] if sorts else []})
    return Content(splits, {**made.meta, **KIND.facts(made)})


def grammar(count: int, seed: int) -> Iterator[tuple[list[str], list[str]]]:
    """Yield sentences in which a word's label is told by the word behind it, and spans are two tokens long.

    Nothing before a token tells its tag: who does not read on must guess.
    """
    random = np.random.default_rng(seed)
    for _ in range(count):
        tokens: list[str] = []
        tags: list[str] = []
        for _ in range(random.integers(2, 5)):
            label = ("X", "Y")[random.integers(2)]
            tokens += [f"w{random.integers(6)}", f"w{random.integers(6)}", label.lower() + str(random.integers(3))]
            tags += [f"B-{label}", f"I-{label}", "O"]
        yield tokens, tags


@cache
def reading_on() -> Content:
    return content(list(grammar(400, 1)), list(grammar(100, 2)), sorts=True)


def trained(
    data: Content, config: Mapping[str, object], further: Mapping[str, Content] = MappingProxyType({}), **training: Any
) -> Run:
    family = CATALOG.family("sequence_tagger")(SPEC.config.parse({**SMALL, **config}), data.meta)
    options = SPEC.training.parse({"epochs": 6, "learning_rate": 0.02, "batch_size": 16, **training})
    run = prepare(family, options, data.splits, torch.device("cpu"), further)
    train(run, NewestCheckpoint())
    return run


def score(run: Run, data: Content) -> dict[str, float]:
    return run.family.evaluate(run.module, run.family.examples(data.splits["test"], torch.device("cpu")))


def served(run: Run, data: Content) -> tuple[ServedModel, Any]:
    """Return the model as it is published and what runs its part."""
    (export,) = run.family.export(run.module).values()
    generator = torch.Generator().manual_seed(1)
    example = run.family.example("tagger", traced_sizes(export.signature), generator)
    opened = EXPORTERS["onnx"].open(write("tagger", export, "onnx", example), export.signature)
    check_parity("tagger", export, "onnx", opened, run.family, generator)
    assets, signatures = run.family.assets(run.module), {"tagger": export.signature}
    model = ServedModel("m", "sequence_tagger", {}, data.meta, assets, signatures)

    def runs(part: str, arrays: Arrays) -> Arrays:
        assert part == "tagger"
        return opened(arrays)

    return model, runs


@pytest.mark.slow
def test_reading_both_ways_is_what_the_grammar_asks_for() -> None:
    """Huang et al. (2015), §2.2: an LSTM that has not seen what follows guesses, here between two labels."""
    both, forward = (score(trained(reading_on(), {"encoder": name}), reading_on())["f1"] for name in ("bilstm", "lstm"))
    assert both > 0.98
    assert forward < 0.75


@pytest.mark.slow
def test_crf_never_breaks_a_span_that_softmax_breaks() -> None:
    """§2.4: tags that depend on one another are for the chain; read forward alone, both tags of a span are guesses."""
    found: dict[str, dict[str, float]] = {}
    for decoder in ("crf", "softmax"):
        run = trained(reading_on(), {"encoder": "lstm", "decoder": decoder, "scheme": "bio"})
        found[decoder] = evaluate(TASK, *_as_trained(run, reading_on()))
    assert found["softmax"]["illegal_unconstrained"] > 0.1
    assert found["crf"]["illegal_unconstrained"] < 0.02
    assert found["softmax"]["illegal"] == found["crf"]["illegal"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns_and_is_served_as_it_was_trained(name: str) -> None:
    """The graph equals the module at every size of the gate, and the codec scores as the trainer does."""
    data = reading_on()
    run = trained(data, VARIANTS[name], epochs=2)
    own = score(run, data)
    model, runs = served(run, data)
    found = evaluate(TASK, model, data.splits["test"], runs)
    for metric in ("accuracy", "f1", "precision", "recall"):
        assert found[metric] == pytest.approx(own[metric], abs=1e-3)
    assert own["accuracy"] > 0.4, "of three tags that are as frequent as one another"


def test_words_never_seen_are_told_by_their_letters() -> None:
    """Ma and Hovy (2016): with a vector for each word alone, every new word is the same unknown word."""
    random = np.random.default_rng(3)

    def sentences(stems: range) -> Sentences:
        rows: Sentences = []
        for _ in range(150):
            tags = [("NN", "VB", "JJ")[random.integers(3)] for _ in range(6)]
            ends = {"NN": "ion", "VB": "ize", "JJ": "ous"}
            rows.append(([f"{_letters(random.choice(stems))}{ends[tag]}" for tag in tags], tags))
        return rows

    data = content(sentences(range(200)), sentences(range(200, 400)))
    plain: Mapping[str, object] = {"capitals": False, "unknown_share": 0.0}
    letters = score(trained(data, {**plain, "characters": "convolution"}), data)
    affixes = score(trained(data, {**plain, "affixes": [-3]}), data)
    words = score(trained(data, plain), data)
    assert letters["accuracy"] == letters["f1"] > 0.95
    assert affixes["accuracy"] > 0.95
    assert words["accuracy"] < 0.6


def test_given_vectors_say_what_training_never_showed() -> None:
    """Words of the test part that train lacks, but whose vectors lie where those of known words of their tag lie."""
    random = np.random.default_rng(4)
    words = {tag: [f"{tag.lower()}{index}" for index in range(40)] for tag in ("NN", "VB")}

    def sentences(known: slice) -> Sentences:
        rows: Sentences = []
        for _ in range(150):
            tags = [("NN", "VB")[random.integers(2)] for _ in range(5)]
            rows.append(([str(random.choice(words[tag][known])) for tag in tags], tags))
        return rows

    data = content(sentences(slice(0, 20)), sentences(slice(20, 40)))
    spelt = [word for tag in words for word in words[tag]]
    centre = {"nn": np.array([2.0, 0, 0, 0, 0, 0]), "vb": np.array([-2.0, 0, 0, 0, 0, 0])}
    numbers = np.stack([centre[word[:2]] + random.normal(0, 0.3, 6) for word in spelt]).astype(np.float32)
    table = {"words": np.array(spelt, dtype=np.dtypes.StringDType()), "vectors": numbers}
    further = {"word_vectors": Content({"train": table}, {"dimensions": 6})}
    plain: Mapping[str, object] = {"capitals": False, "digits": False}
    given = trained(data, {**plain, "word_vectors": "glove"}, further)
    assert score(given, data)["accuracy"] > 0.95
    assert score(trained(data, plain), data)["accuracy"] < 0.7
    assert given.module.get_parameter("reader.words.weight").shape == (RESERVED + 80, 6)


def test_loss_is_the_mean_over_sentences() -> None:
    """So that several devices with a share of the batch each learn as one does; padding changes nothing."""
    data = reading_on()
    run = trained(data, {}, epochs=1)
    run.module.eval()
    indices = torch.arange(8)
    together = float(run.family.losses(run.module, run.train.take(indices))["loss"].detach())  # type: ignore[attr-defined]
    each = [float(run.family.losses(run.module, run.train.take(index))["loss"].detach()) for index in indices.split(1)]  # type: ignore[attr-defined]
    assert together == pytest.approx(sum(each) / 8, rel=1e-5)


def test_tag_that_train_never_has_is_an_error_and_no_crash() -> None:
    """Nothing can be answered but tags of train."""
    data = content([(["a", "b"], ["B-X", "O"])] * 20, [(["a", "b"], ["B-X", "B-Z"])])
    found = score(trained(data, {}, epochs=30), data)
    assert found["accuracy"] == 0.5
    assert (found["precision"], found["recall"]) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("config", "pointer"),
    [({"encoder": "none"}, "/config/templates"), ({"affixes": [0]}, "/config/affixes")],
)
def test_tagger_that_would_look_at_nothing_is_refused(config: dict[str, object], pointer: str) -> None:
    """Before a worker is troubled."""
    assert SPEC.check is not None
    with pytest.raises(ValidationFailed) as refused:
        SPEC.check(SPEC.config.parse(config), SPEC.training(), {"tags": ["O"]})
    assert refused.value.errors[0].pointer == pointer


def _as_trained(run: Run, data: Content) -> tuple[ServedModel, Split, Callable[[str, Arrays], Arrays]]:
    """Return the model, its test part, and what runs the trained module itself."""
    (export,) = run.family.export(run.module.eval()).values()
    assets, signatures = run.family.assets(run.module), {"tagger": export.signature}
    model = ServedModel("m", "sequence_tagger", {}, data.meta, assets, signatures)
    names = [item.name for item in export.signature.inputs]

    def runs(part: str, arrays: Arrays) -> Arrays:
        assert part == "tagger"
        with torch.no_grad():
            return {"emissions": run.module(*(torch.from_numpy(arrays[name]) for name in names)).numpy()}

    return model, data.splits["test"], runs


def _letters(number: int) -> str:
    """Return a stem of letters for a number."""
    return "".join("bcdfghklmn"[int(digit)] + "a" for digit in str(number))
