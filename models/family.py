"""The extension point: what a model family must provide. Read this before writing one.

A family builds a module, learns it through a :class:`Learner`, scores it, and exports it as parts that
the task's codec calls. :class:`SingleLoss` is the usual case of one differentiable loss in nats.
The trainer drives all of it (``workers/training.py``); nothing here knows of jobs or queues.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from models.contract.config import Options
from models.contract.task import Arrays, Split
from models.contract.tensors import PartSignature
from models.contract.training import GradientTraining, Plan, TrainingOptions
from models.data.kind import Content

ConfigT = TypeVar("ConfigT", bound=Options)
BatchT = TypeVar("BatchT")

Metrics = Mapping[str, Tensor | float]
RunPart = Callable[[str, Arrays], Arrays]
"""Runs an exported part, by name, as the gateway does."""

State = dict[str, object]
"""Nested dicts and lists of tensors, numbers, strings and None: what ``torch.load`` reads with weights only."""

EVALUATION_BATCH = 512


class Examples(ABC, Generic[BatchT]):
    """A split on a device, from which batches are taken."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of examples."""

    @abstractmethod
    def take(self, indices: Tensor) -> BatchT:
        """Return the examples at ``indices`` (batch,) int64 as one batch."""

    def batches(self, batch_size: int, generator: torch.Generator) -> Sequence[Tensor]:
        """Return the index tensors of one epoch, a permutation cut in pieces; override to bucket by length."""
        return cast("Sequence[Tensor]", torch.randperm(len(self), generator=generator).split(batch_size))


class TensorExamples(Examples[dict[str, Tensor]]):
    """Arrays that share their first axis, as tensors in memory."""

    def __init__(self, split: Split, device: torch.device) -> None:
        """Move the numeric arrays of ``split`` to ``device`` in their own dtypes."""
        self._tensors = {name: torch.from_numpy(array).to(device) for name, array in split.items()}
        self._device = device

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(next(iter(self._tensors.values())))

    def take(self, indices: Tensor) -> dict[str, Tensor]:
        """Return the rows at ``indices``; whole-number images stay whole numbers, the network scales them."""
        chosen = indices.to(self._device)
        return {name: tensor.index_select(0, chosen) for name, tensor in self._tensors.items()}


class Learner(ABC, Generic[BatchT]):
    """How a module learns from one batch after another. Everything carried between steps is in its state."""

    @abstractmethod
    def step(self, batch: BatchT) -> Metrics:
        """Learn from ``batch`` and return its metrics; ``loss`` in nats where there is one."""

    def remarks(self, means: Mapping[str, float]) -> Sequence[str]:
        """Return what the job's log should say of an epoch with these ``means`` of the metrics; by default nothing."""
        del means
        return ()

    @abstractmethod
    def state(self) -> State:
        """Return all that is carried between steps: parameters, optimisers, schedules, chains, averages."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Continue from what :meth:`state` returned, bit for bit."""


@dataclass(frozen=True)
class Export:
    """One graph to export.

    Attributes:
        module: what is traced; its ``forward`` takes the signature's inputs in order.
        signature: names, dtypes and axes of inputs and outputs.
        reference: what the exported graph must equal; the trained module's own path when ``module`` is an
            export twin, None when ``module`` is that path itself. A format that cannot hold the twin, such as
            TorchScript one of ONNX operators, is given this.
        scripted: export through ``torch.jit.script`` (loops over time stay loops).
    """

    module: nn.Module
    signature: PartSignature
    reference: nn.Module | None = None
    scripted: bool = False


class Family(ABC, Generic[ConfigT, BatchT]):
    """A model family with one configuration, for one dataset."""

    def __init__(self, config: ConfigT, meta: Mapping[str, object]) -> None:
        """Keep the configuration and the dataset's facts."""
        self.config = config
        self.meta = meta

    def study(self, train: Split, further: Mapping[str, Content]) -> None:
        """Look at the training split before anything is built: vocabularies and given vectors; by default nothing.

        Called once, before :meth:`build`. The same split gives the same findings, so that a training taken up again
        finds its parameters where it left them.

        Args:
            train: the training split.
            further: the datasets that the configuration names, by option (:attr:`FamilySpec.further_datasets`).
        """

    @abstractmethod
    def build(self, generator: torch.Generator) -> nn.Module:
        """Return a fresh module whose every draw, now and in training, comes from ``generator``."""

    @abstractmethod
    def examples(self, split: Split, device: torch.device) -> Examples[BatchT]:
        """Return ``split`` ready to be batched on ``device``."""

    @abstractmethod
    def learner(
        self, module: nn.Module, options: TrainingOptions, plan: Plan, generator: torch.Generator
    ) -> Learner[BatchT]:
        """Return what trains ``module``; ``generator`` is the one that ``build`` was given."""

    @abstractmethod
    def evaluate(self, module: nn.Module, examples: Examples[BatchT]) -> dict[str, float]:
        """Return metrics of ``module`` in evaluation mode; ``loss`` decides early stopping."""

    @abstractmethod
    def export(self, module: nn.Module) -> dict[str, Export]:
        """Return the parts to export, by the names that the task's codec calls."""

    @abstractmethod
    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Return inputs of ``part`` in the dataset's own scale, with symbolic axes of the given ``sizes``."""

    def report(self, module: nn.Module, splits: Mapping[str, Split], run: RunPart) -> dict[str, dict[str, float]]:
        """Return further scores for the model card, by group, computed once at the end of a job; by default none.

        What :meth:`evaluate` has no time or data for after each epoch: scores that need the training split or a network
        to measure with, and the baselines to be read beside them.

        Args:
            module: the trained module, on the CPU; its baselines may be drawn anew with :meth:`build`.
            splits: all splits of the dataset.
            run: runs the exported parts; what is scored is what is served.
        """
        del module, splits, run
        return {}

    def assets(self, module: nn.Module) -> dict[str, object]:
        """Return what the codec needs beside the dataset's facts and the parts of the trained ``module``, as JSON."""
        del module
        return {}


class SingleLoss(Family[ConfigT, BatchT]):
    """A family with one differentiable loss."""

    @abstractmethod
    def losses(self, module: nn.Module, batch: BatchT) -> dict[str, Tensor]:
        """Return means over the batch: ``loss`` in nats first, then any other scores."""

    def constrain(self, module: nn.Module) -> None:
        """Project the parameters after a step, for instance onto a norm ball; by default nothing."""

    def learner(
        self, module: nn.Module, options: TrainingOptions, plan: Plan, generator: torch.Generator
    ) -> Learner[BatchT]:
        """Return a :class:`models.learners.GradientLearner`."""
        from models.learners import GradientLearner  # noqa: PLC0415 - learners.py builds on this module

        assert isinstance(options, GradientTraining)
        return GradientLearner(self, module, options, plan, generator)

    def evaluate(self, module: nn.Module, examples: Examples[BatchT]) -> dict[str, float]:
        """Return the means of :meth:`losses` over all examples."""
        module.eval()
        sums: dict[str, float] = {}
        with torch.no_grad():
            for indices in consecutive(len(examples), EVALUATION_BATCH):
                for name, value in self.losses(module, examples.take(indices)).items():
                    sums[name] = sums.get(name, 0.0) + float(value) * len(indices)
        return {name: total / len(examples) for name, total in sums.items()}


def consecutive(count: int, batch_size: int) -> Iterator[Tensor]:
    """Yield the indices 0 … count − 1 in order, ``batch_size`` at a time."""
    yield from torch.arange(count).split(batch_size)
