"""How the sequence tagger learns its vocabularies, is built, trained, scored and exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.batching import SequenceExamples
from models.contract.task import Array, Split
from models.contract.tensors import PartSignature
from models.data.kind import Content
from models.data.tag_schemes import Scheme, converted, tag_set
from models.data.vocabulary import PADDING, RESERVED
from models.family import EVALUATION_BATCH, Examples, Export, SingleLoss
from models.nn.recurrent_export import onnx_twin
from models.tagging import context
from models.tagging.chain import Chain, viterbi
from models.tagging.dataset import sentences_in, tags_in
from models.tagging.encoding import Asked, Encoding, padded
from models.tagging.scores import scores
from models.tagging.sequence_tagger.network import Sizes, Tagger
from models.tagging.sequence_tagger.spec import SPEC, SequenceTaggerConfig

Batch = dict[str, Tensor]


class TaggedExamples(SequenceExamples[Batch]):
    """Sentences as a tagger reads them, with their tags as indices and as text."""

    def __init__(
        self, split: Split, encoding: Encoding, tags: Sequence[str], scheme: Scheme, device: torch.device
    ) -> None:
        """Encode every sentence of ``split`` once."""
        sentences = sentences_in(split, encoding.columns)
        self.truth = tags_in(split)
        indices = {tag: index for index, tag in enumerate(tags)}
        self._rows = encoding.rows(sentences)
        for row, own in zip(self._rows, self.truth, strict=True):
            # A tag that train never has cannot be learnt or answered; only scores see it, as an error.
            row["tags"] = np.array([indices.get(tag, 0) for tag in converted(own, scheme)], dtype=np.int64)
        self._device = device
        super().__init__(torch.tensor([len(sentence.tokens) for sentence in sentences]))

    def take(self, indices: Tensor) -> Batch:
        """Return the sentences at ``indices``, padded to the longest of them."""
        rows = [self._rows[index] for index in cast("list[int]", indices.tolist())]
        return {name: torch.from_numpy(array).to(self._device) for name, array in padded(rows).items()}


class SequenceTaggerFamily(SingleLoss[SequenceTaggerConfig, Batch]):
    """The sequence tagger."""

    def __init__(self, config: SequenceTaggerConfig, meta: Mapping[str, object]) -> None:
        """Read from the facts which tags there are."""
        super().__init__(config, meta)
        self._spans = meta["scheme"] != "none"
        self._scheme: Scheme = config.scheme if self._spans else "none"
        self._tags = tag_set(cast("list[str]", meta["tags"]), self._scheme)
        self._columns = len(cast("list[int]", meta["features"])) if config.columns else 0
        self._vectors: tuple[list[str], Array] | None = None
        self._rare: Array | None = None
        self._encoding: Encoding | None = None

    def study(self, train: Split, further: Mapping[str, Content]) -> None:
        """Find words, affixes, letters and sparse features of ``train``, and the given vectors."""
        config, given = self.config, further.get("word_vectors")
        if given is not None:
            arrays = given.splits["train"]
            self._vectors = (arrays["words"].tolist(), arrays["vectors"])
            self.config = config = config.model_copy(update={"word_dimensions": int(arrays["vectors"].shape[1])})
        read = config.encoder != "none"
        asked = Asked(
            words=read,
            lower_case=config.lower_case,
            digits=config.digits,
            least_count=config.least_count,
            affixes=config.affixes if read else (),
            shape=config.capitals and read,
            columns=self._columns,
            embedded_columns=read,
            characters=read and config.characters != "none",
            templates=config.templates,
            least_feature_count=config.least_feature_count,
            further_words=() if self._vectors is None else tuple(self._vectors[0]),
        )
        sentences = sentences_in(train, self._columns)
        self._encoding = Encoding.learnt(sentences, asked)
        indices = [self._encoding.word(word) for sentence in sentences for word in sentence.tokens]
        self._rare = np.bincount(indices, minlength=len(self._encoding.words)) == 1

    def build(self, generator: torch.Generator) -> nn.Module:
        """Return a fresh network; words that vectors are given for begin with these."""
        module = Tagger(self.config, self._sizes(), self._inputs(), generator)
        if module.reader is not None:
            with torch.no_grad():
                module.reader.rare.copy_(torch.from_numpy(cast("Array", self._rare)))
                self._begin_with_vectors(module.reader.words.weight)
        return module

    def examples(self, split: Split, device: torch.device) -> Examples[Batch]:
        """Return the sentences in memory, encoded."""
        return TaggedExamples(split, self._known(), self._tags, self._scheme, device)

    def losses(self, module: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood of a sentence's tags in nats."""
        assert isinstance(module, Tagger)
        emissions = module(*(batch[name] for name in self._inputs()))
        mask, tags = batch["words"] != PADDING, batch["tags"]
        if module.chain is not None:
            return {"loss": -module.chain.log_likelihood(emissions, tags, mask).mean()}
        each = functional.cross_entropy(emissions.transpose(1, 2), tags, reduction="none")
        return {"loss": (each * mask).sum() / len(tags)}

    def evaluate(self, module: nn.Module, examples: Examples[Batch]) -> dict[str, float]:
        """Return the loss, and the scores of the tags that are decoded as when serving."""
        assert isinstance(examples, TaggedExamples)
        assert isinstance(module, Tagger)
        module.eval()
        chain = self._chain(module).constrained(self._tags, self._scheme)
        predicted: list[list[str]] = [[] for _ in range(len(examples))]
        total = 0.0
        with torch.no_grad():
            for indices in examples.in_order_of_length(EVALUATION_BATCH):
                batch = examples.take(indices)
                total += float(self.losses(module, batch)["loss"]) * len(indices)
                emissions = module(*(batch[name] for name in self._inputs())).cpu().numpy()
                lengths = (batch["words"] != PADDING).sum(dim=1).cpu().numpy()
                found = viterbi(emissions, lengths, chain).tags
                for index, row, length in zip(cast("list[int]", indices.tolist()), found, lengths, strict=True):
                    tags = [self._tags[tag] for tag in cast("list[int]", row[:length].tolist())]
                    predicted[index] = converted(tags, "bio" if self._spans else "none")
        return {"loss": total / len(examples), **scores(predicted, examples.truth, spans=self._spans)}

    def export(self, module: nn.Module) -> dict[str, Export]:
        """Return the one part, with the inputs that the configuration has."""
        sizes = {"fields": len(self._known().fields), "tags": len(self._tags)}
        sizes["templates"] = context.templates(self.config.templates, self._columns)
        promised = SPEC.parts["tagger"].fixed(**sizes)
        inputs = tuple(item for item in promised.inputs if item.name in self._inputs())
        signature = PartSignature(inputs=inputs, outputs=promised.outputs)
        assert isinstance(module, Tagger)
        return {"tagger": Export(onnx_twin(module), signature, reference=module)}

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return random sentences of different lengths, and random letters."""
        del part
        rows, time = sizes["batch"], sizes["time"]
        known = self._sizes()

        def drawn(high: int, *shape: int) -> Tensor:
            return torch.randint(1, max(high, 2), shape, generator=generator)

        real = torch.arange(time) < torch.randint(1, time + 1, (rows, 1), generator=generator)
        found = {"words": drawn(known.words, rows, time) * real}
        if known.symbols:
            found["symbols"] = torch.stack([drawn(size, rows, time) * real for size in known.symbols], dim=2)
        if known.characters is not None:
            letters = sizes["letters"]
            inside = torch.arange(letters) < torch.randint(1, letters + 1, (rows, time, 1), generator=generator)
            found["characters"] = drawn(known.characters, rows, time, letters) * inside * real.unsqueeze(2)
        if known.features is not None:
            width = context.templates(self.config.templates, self._columns)
            found["features"] = drawn(known.features, rows, time, width) * real.unsqueeze(2)
        return tuple(found[name] for name in self._inputs())

    def assets(self, module: nn.Module) -> dict[str, object]:
        """Return vocabularies, tags and the scores of their chain."""
        assert isinstance(module, Tagger)
        chain = self._chain(module)
        return {
            "encoding": self._known().record(),
            "tags": list(self._tags),
            "scheme": self._scheme,
            "chain": {name: getattr(chain, name).tolist() for name in ("start", "transitions", "end")},
        }

    def _known(self) -> Encoding:
        assert self._encoding is not None, "study comes first"
        return self._encoding

    def _sizes(self) -> Sizes:
        known = self._known()
        return Sizes(
            words=len(known.words),
            symbols=tuple(map(len, known.fields.values())),
            characters=None if known.characters is None else len(known.characters),
            features=len(known.features) + 1 if self.config.templates else None,
            tags=len(self._tags),
        )

    def _inputs(self) -> list[str]:
        sizes = self._sizes()
        there = {
            "words": True,
            "symbols": bool(sizes.symbols),
            "characters": sizes.characters is not None,
            "features": sizes.features is not None,
        }
        return [name for name, has in there.items() if has]

    def _chain(self, module: Tagger) -> Chain:
        if module.chain is None:
            return Chain.neutral(len(self._tags))
        return Chain.of({name: value.detach().cpu().numpy() for name, value in module.chain.named_parameters()})

    def _begin_with_vectors(self, weight: Tensor) -> None:
        """Put the given vectors, scaled to a mean length of 1 as random ones have, in the rows of their words.

        Of forms that are looked up as one word the first counts.
        """
        if self._vectors is None:
            return
        words, vectors = self._vectors
        scale = 1 / max(float(np.sqrt(np.square(vectors).sum(axis=1).mean())), 1e-12)
        seen: set[int] = set()
        for word, vector in zip(words, vectors, strict=True):
            index = self._known().word(word)
            if index >= RESERVED and index not in seen:
                seen.add(index)
                weight[index] = torch.from_numpy(vector * scale).to(weight)


FAMILY = SequenceTaggerFamily
