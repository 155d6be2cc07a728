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
from models.data.vocabulary import PADDING
from models.family import Examples, Export, Learner, Metrics, SingleLoss
from models.learners import GradientLearner
from models.nn.recurrent_export import onnx_twin
from models.nn.seq2seq.examples import Batch, PairExamples
from models.nn.seq2seq.graphs import EncoderGraph, StepGraph
from models.nn.seq2seq.network import Seq2Seq
from models.nn.sequences import real_tokens
from models.seq2seq.languages import Languages
from models.seq2seq.options import Seq2SeqConfig
from models.seq2seq.parts import ENCODER, STEP, parts

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
        return Seq2Seq(self.config, len(self._languages.source), len(self._languages.target), generator)

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
        """Return the mean negative log-likelihood of a target token in nats, ends included."""
        nats, count = self._nats(module, batch)
        return {"loss": nats / count}

    def evaluate(self, module: nn.Module, examples: Examples[Batch]) -> dict[str, float]:
        """Return ``loss`` in nats per target token and ``perplexity``."""
        assert isinstance(examples, PairExamples)
        module.eval()
        nats = tokens = 0.0
        with torch.no_grad():
            for indices in examples.in_order_of_length(SCORED_TOGETHER):
                own, count = self._nats(module, examples.take(indices))
                nats, tokens = nats + float(own), tokens + count
        loss = nats / tokens
        return {"loss": loss, "perplexity": math.exp(loss)}

    def export(self, module: nn.Module) -> dict[str, Export]:
        """Return the graphs of encoder and step."""
        assert isinstance(module, Seq2Seq)
        encoder = EncoderGraph(module)
        signatures = parts(attends=module.decoder.attention is not None, sizes=self._sizes(module))
        return {
            ENCODER: Export(onnx_twin(encoder), signatures[ENCODER], reference=encoder),
            STEP: Export(StepGraph(module, self._top()), signatures[STEP]),
        }

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return random tokens; states and memories of a step as large as those of an encoder."""
        batch = sizes["batch"]
        source = sizes.get("source", 1)
        lengths = torch.randint(1, source + 1, (batch,), generator=generator)
        if part == ENCODER:
            return torch.randint(1, len(self._languages.source), (batch, source), generator=generator), lengths
        tokens = torch.randint(1, len(self._languages.target), (2, batch), generator=generator)
        module = cast("Seq2Seq", self.build(torch.Generator().manual_seed(0)))
        width = self._sizes(module)
        state = torch.rand(batch, width["state"], generator=generator) * 2 - 1
        found = (tokens[0], tokens[1], state)
        if module.decoder.attention is None:
            return found
        memory = torch.rand(batch, source, width["memory"], generator=generator) * 2 - 1
        return (*found, memory, lengths)

    def assets(self, module: nn.Module) -> dict[str, object]:
        """Return both vocabularies and how texts are cut."""
        del module
        return self._languages.assets()

    def _nats(self, module: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        """Return the negative log-likelihood of all target tokens in nats, and their number."""
        assert isinstance(module, Seq2Seq)
        mask = real_tokens(batch["sources"], batch["source_lengths"])
        outputs, _ = module(batch["sources"], mask, batch["before"], float(batch.get("sampled", 0.0)))
        real = real_tokens(batch["targets"], batch["target_lengths"])
        targets = batch["targets"][real]
        return functional.cross_entropy(module.logits(outputs[real]), targets, reduction="sum"), len(targets)

    def _top(self) -> int:
        return min(self.config.widest_beam, len(self._languages.target) - PADDING - 1)

    def _sizes(self, module: Seq2Seq) -> dict[str, int]:
        attention = module.decoder.attention
        keyed = attention is not None and attention.key is not None
        hidden = module.decoder.hidden
        return {"state": module.decoder.state_size, "memory": hidden * (1 + keyed), "top": self._top()}


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
