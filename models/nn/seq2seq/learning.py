"""How a network that writes one sequence for another learns its vocabularies, is built, trained, scored and exported.

A task's family says where its pairs are; the rest is here.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.contract.task import Split
from models.contract.training import GradientTraining, Plan, TrainingOptions
from models.data.kind import Content
from models.data.texts.segmentation import END_INDEX
from models.data.vocabulary import PADDING, UNKNOWN
from models.family import Examples, Export, Learner, Metrics, SingleLoss
from models.learners import GradientLearner
from models.nn.recurrent_export import onnx_twin
from models.nn.seq2seq.examples import Batch, PairExamples
from models.nn.seq2seq.graphs import EncoderGraph, SpellerGraph, StepGraph
from models.nn.seq2seq.network import Seq2Seq
from models.nn.sequences import real_tokens
from models.seq2seq.beam import BARRED
from models.seq2seq.languages import Languages
from models.seq2seq.options import Seq2SeqConfig
from models.seq2seq.parts import ENCODER, SPELLER, STEP, parts

ConfigT = TypeVar("ConfigT", bound=Seq2SeqConfig)

SCORED_TOGETHER = 64


class Seq2SeqFamily(SingleLoss[ConfigT, Batch]):
    """A family of such networks."""

    _languages: Languages

    @abstractmethod
    def pairs(self, split: Split) -> tuple[Sequence[str], Sequence[str]]:
        """Return sources and targets of a split, one of each per example, as the codec makes them of requests."""

    def study(self, train: Split, further: Mapping[str, Content]) -> None:
        """Learn the vocabularies of the training pairs."""
        del further
        self._languages = Languages.study(self.config, *self.pairs(train), lowercase=bool(self.meta["lowercase"]))

    def build(self, generator: torch.Generator) -> nn.Module:
        """Return a fresh network."""
        known = self._languages
        letters = 0 if known.letters is None else len(known.letters)
        return Seq2Seq(self.config, len(known.source), len(known.target), letters, generator)

    def examples(self, split: Split, device: torch.device) -> Examples[Batch]:
        """Return the pairs in memory, numbered."""
        return PairExamples(self._languages, *self.pairs(split), device)

    def learner(
        self, module: nn.Module, options: TrainingOptions, plan: Plan, generator: torch.Generator
    ) -> Learner[Batch]:
        """Return gradient steps, which may feed the network its own tokens."""
        assert isinstance(options, GradientTraining)
        if not self.config.scheduled_sampling:
            return super().learner(module, options, plan, generator)
        return _SamplingLearner(self, module, options, plan, generator, self.config.scheduled_sampling)

    def losses(self, module: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood of a target token in nats, ends included.

        Where unknown words are spelt, that of their letters is added, per target token too (Luong and Manning 2016,
        Eq. 5 with α = 1).
        """
        outputs, targets = self._outputs(module, batch)
        nats = _nats(module, outputs, targets)
        letters = batch.get("target_letters")
        if letters is not None and len(letters):
            nats = nats + _letter_nats(module, outputs[targets == UNKNOWN], letters)
        return {"loss": nats / len(targets)}

    def evaluate(self, module: nn.Module, examples: Examples[Batch]) -> dict[str, float]:
        """Return ``loss`` in nats per target token and ``perplexity``."""
        assert isinstance(examples, PairExamples)
        module.eval()
        nats = tokens = 0.0
        with torch.no_grad():
            for indices in examples.in_order_of_length(SCORED_TOGETHER):
                outputs, targets = self._outputs(module, examples.take(indices))
                nats, tokens = nats + float(_nats(module, outputs, targets)), tokens + len(targets)
        loss = nats / tokens
        return {"loss": loss, "perplexity": math.exp(loss)}

    def export(self, module: nn.Module) -> dict[str, Export]:
        """Return the graphs of encoder and step, and of a speller where words are spelt."""
        assert isinstance(module, Seq2Seq)
        encoder = EncoderGraph(module)
        attends, spells = module.decoder.attention is not None, module.speller is not None
        signatures = parts(attends=attends, spells=spells, sizes=self._sizes(module))
        found = {
            ENCODER: Export(onnx_twin(encoder), signatures[ENCODER], reference=encoder),
            STEP: Export(StepGraph(module, self._top()), signatures[STEP]),
        }
        if module.speller is not None:
            found[SPELLER] = Export(SpellerGraph(module.speller), signatures[SPELLER])
        return found

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return random tokens and letters; states and memories of a step as large as those of an encoder."""
        batch = sizes["batch"]
        source = sizes.get("source", 1)
        lengths = torch.randint(1, source + 1, (batch,), generator=generator)
        module = cast("Seq2Seq", self.build(torch.Generator().manual_seed(0)))
        width = self._sizes(module)

        def drawn(high: int, *shape: int) -> Tensor:
            return torch.randint(1, high, shape, generator=generator)

        def random(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator) * 2 - 1

        if part == SPELLER:
            assert self._languages.letters is not None
            return drawn(len(self._languages.letters), batch), random(batch, width["spelling"])
        if part == ENCODER:
            tokens = drawn(len(self._languages.source), batch, source)
            return (tokens, lengths, *self._letters(sizes, generator))
        size = len(self._languages.target)
        found = (drawn(size, batch), drawn(size, batch), random(batch, width["state"]))
        if module.decoder.attention is None:
            return found
        return (*found, random(batch, source, width["memory"]), lengths)

    def assets(self, module: nn.Module) -> dict[str, object]:
        """Return both vocabularies and how texts are cut."""
        del module
        return self._languages.assets()

    def _outputs(self, module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the outputs (tokens, hidden) before all real target tokens, and these (tokens,)."""
        assert isinstance(module, Seq2Seq)
        mask = real_tokens(batch["sources"], batch["source_lengths"])
        sampled = float(batch.get("sampled", 0.0))
        outputs, _ = module(batch["sources"], mask, batch["before"], sampled, batch.get("source_letters"))
        real = real_tokens(batch["targets"], batch["target_lengths"])
        return outputs[real], batch["targets"][real]

    def _letters(self, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return random words of some of the source's tokens, where words are spelt."""
        if self._languages.letters is None:
            return ()
        shape = (sizes["batch"], sizes["source"], sizes["letters"])
        drawn = torch.randint(1, len(self._languages.letters), shape, generator=generator)
        lengths = torch.randint(0, sizes["letters"] + 1, shape[:2], generator=generator)
        return (drawn * (torch.arange(sizes["letters"]) < lengths.unsqueeze(2)),)

    def _top(self) -> int:
        return min(self.config.widest_beam + BARRED, len(self._languages.target))

    def _sizes(self, module: Seq2Seq) -> dict[str, int]:
        attention = module.decoder.attention
        keyed = attention is not None and attention.key is not None
        hidden = module.decoder.hidden
        spelling = 0 if module.speller is None else module.speller.size
        sizes = {"state": module.decoder.state_size, "memory": hidden * (1 + keyed), "top": self._top()}
        return {**sizes, "spelling": spelling}


def _nats(module: nn.Module, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the negative log-likelihood of ``targets`` (tokens,) behind ``outputs`` (tokens, hidden), in nats."""
    return functional.cross_entropy(cast("Seq2Seq", module).logits(outputs), targets, reduction="sum")


def _letter_nats(module: nn.Module, outputs: Tensor, letters: Tensor) -> Tensor:
    """Return the same of the words ``letters`` (words, letters) that are spelt behind ``outputs`` (words, hidden)."""
    speller = cast("Seq2Seq", module).speller
    assert speller is not None
    before = torch.cat([letters.new_full((len(letters), 1), END_INDEX), letters[:, :-1]], dim=1)
    logits = speller(before, speller.start(outputs))
    return functional.cross_entropy(logits.flatten(0, 1), letters.flatten(), ignore_index=PADDING, reduction="sum")


class _SamplingLearner(GradientLearner[Batch]):
    """Feeds the network a growing share of its own tokens, linear in the step (Bengio et al. 2015, §2.4)."""

    def __init__(
        self,
        family: SingleLoss[Any, Batch],
        module: nn.Module,
        options: GradientTraining,
        plan: Plan,
        generator: torch.Generator,
        share: float,
    ) -> None:
        """Keep the share at the end."""
        super().__init__(family, module, options, plan, generator)
        self._share = share

    def step(self, batch: Batch) -> Metrics:
        """Take a step; see :class:`models.learners.GradientLearner`."""
        share = self._share * min(1.0, self._step / max(1, self._steps - 1))
        return super().step({**batch, "sampled": torch.tensor(share)})
