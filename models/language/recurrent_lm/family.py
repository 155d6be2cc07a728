"""How the recurrent language model is built, trained, scored and exported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.contract.task import Array, Split
from models.contract.training import GradientTraining, Plan, TrainingOptions
from models.data.kind import Content
from models.data.padding import padded
from models.data.texts.encoding import LINE_END_INDEX, TextEncoding
from models.data.texts.segments import segments
from models.family import Examples, Export, Learner, SingleLoss
from models.language.recurrent_lm.learner import CarryingLearner
from models.language.recurrent_lm.network import Reader, RecurrentLm, Scorer
from models.language.recurrent_lm.spec import SPEC, RecurrentLmConfig
from models.language.recurrent_lm.streams import Streams, Windows
from models.nn.recurrent_export import onnx_twin

SCORED_TOGETHER = 32
STEPS_TOGETHER = 128


class RecurrentLmFamily(SingleLoss[RecurrentLmConfig, Windows]):
    """The recurrent language model."""

    _encoding: TextEncoding

    def study(self, train: Split, further: Mapping[str, Content]) -> None:
        """Number the most frequent tokens of the training split."""
        del further
        config = self.config
        self._encoding = TextEncoding.study(
            _lines(train),
            config.level,
            most=config.vocabulary_size,
            least=config.least_count,
            lowercase=bool(self.meta["lowercase"]),
        )

    def build(self, generator: torch.Generator) -> nn.Module:
        """Return a fresh network."""
        return RecurrentLm(self.config, len(self._encoding), generator)

    def examples(self, split: Split, device: torch.device) -> Examples[Windows]:
        """Return the text in windows."""
        texts = [self._encoding.encode(text) for text in segments(_lines(split))]
        return Streams(texts, self.config.window, device)

    def learner(
        self, module: nn.Module, options: TrainingOptions, plan: Plan, generator: torch.Generator
    ) -> Learner[Windows]:
        """Return what carries the state on from window to window."""
        assert isinstance(options, GradientTraining)
        return CarryingLearner(self, module, options, plan, generator)

    def losses(self, module: nn.Module, batch: Windows) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood of a token in nats, and ``next_state`` behind the windows."""
        assert isinstance(module, RecurrentLm)
        state = _start(module, len(batch.tokens)) if batch.state is None else batch.state
        outputs, following = module(batch.tokens, batch.mask, state)
        targets = batch.targets
        if batch.mask is not None:
            outputs, targets = outputs[batch.mask], targets[batch.mask]
        loss = functional.cross_entropy(module.logits(outputs).flatten(0, -2), targets.flatten())
        return {"loss": loss, "next_state": following}

    def evaluate(self, module: nn.Module, examples: Examples[Windows]) -> dict[str, float]:
        """Return ``loss`` in nats per token, ``bits`` and ``perplexity`` over the segments of the text.

        Each segment is read from the beginning of a line with nothing before it, as the codec does.
        """
        assert isinstance(examples, Streams)
        scorer = Scorer(cast("RecurrentLm", module)).eval()
        ordered = sorted(examples.segments, key=len)
        nats = 0.0
        with torch.no_grad():
            for begin in range(0, len(ordered), SCORED_TOGETHER):
                nats -= _log_likelihood(scorer, ordered[begin : begin + SCORED_TOGETHER], examples.device)
        loss = nats / sum(map(len, ordered))
        return {"loss": loss, "bits": loss / math.log(2), "perplexity": math.exp(loss)}

    def export(self, module: nn.Module) -> dict[str, Export]:
        """Return reader and scorer, with the model's own sizes in their signatures."""
        assert isinstance(module, RecurrentLm)
        sizes = {"state": module.state_size, "vocabulary": len(self._encoding)}
        graphs: dict[str, nn.Module] = {"reader": Reader(module), "scorer": Scorer(module)}
        return {
            name: Export(onnx_twin(graph), SPEC.parts[name].fixed(**sizes), reference=graph)
            for name, graph in graphs.items()
        }

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return random tokens, targets if the part takes them, lengths and states."""
        batch, time = sizes["batch"], sizes["time"]
        shape, size = (batch, time), len(self._encoding)
        tokens = [torch.randint(size, shape, generator=generator) for _ in range(2 if part == "scorer" else 1)]
        lengths = torch.randint(1, time + 1, (batch,), generator=generator)
        width = RecurrentLm(self.config, size, torch.Generator()).state_size
        return (*tokens, lengths, torch.rand(batch, width, generator=generator) * 2 - 1)

    def assets(self, module: nn.Module) -> dict[str, object]:
        """Return how texts are cut, and the vocabulary."""
        del module
        return self._encoding.assets()


FAMILY = RecurrentLmFamily


def _lines(split: Split) -> list[str]:
    return cast("list[str]", split["lines"].tolist())


def _start(module: RecurrentLm, batch: int) -> Tensor:
    return module.embedding.new_zeros(batch, module.state_size)


def _log_likelihood(scorer: Scorer, texts: Sequence[Array], device: torch.device) -> float:
    """Return the log-probability of all ``texts`` (tokens,) in nats."""
    after, lengths = (torch.from_numpy(array).to(device) for array in padded(texts))
    tokens = torch.cat([after.new_full((len(texts), 1), LINE_END_INDEX), after[:, :-1]], dim=1)
    state, total = _start(scorer.network, len(texts)), 0.0
    for begin in range(0, tokens.shape[1], STEPS_TOGETHER):
        steps = slice(begin, begin + STEPS_TOGETHER)
        left = (lengths - begin).clamp(0, STEPS_TOGETHER)
        each, state = scorer(tokens[:, steps], after[:, steps], left, state)
        total += float(each.double().sum())
    return total
