"""Every family on a small dataset of its kind: built, trained for a moment, exported. Used by the conformance tests.

Nothing here is particular to a family: a new one is checked by lying where the catalogue looks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from models.catalog import Catalog
from models.contract.formats import Format
from models.contract.spec import FamilySpec
from models.contract.task import Arrays, ServedModel, Split, Task
from models.contract.training import Plan, TrainingOptions
from models.data.kind import Content
from models.family import Examples, Export, Family, Learner
from workers.exporting.formats import EXPORTERS, RunPart, write
from workers.exporting.gate import traced_sizes

CATALOG = Catalog(("models", "rehearsal"))
BATCH = 16
STEPS = 6

FEW_EXAMPLES: Mapping[str, tuple[Mapping[str, object], Mapping[str, object]]] = {
    "gan": (
        {"dropout": 0.0},
        {
            "discriminator_learning_rate": 1e-3,
            "generator_learning_rate": 1e-3,
            "gradient_penalty": 10.0,
            "schedule": "linear",
        },
    ),
    "dcgan": (
        {},
        {"discriminator_learning_rate": 5e-4, "generator_learning_rate": 5e-4, "gradient_penalty": 0.03},
    ),
    "infogan": (
        {},
        {"discriminator_learning_rate": 1e-3, "generator_learning_rate": 1e-3, "gradient_penalty": 0.3},
    ),
}
"""Configuration and training of families whose defaults, made for many thousands of examples, need more steps than a
test has to learn eight of them by heart. The others must do it as they come."""


@dataclass(frozen=True)
class Bench:
    """One family on the sample dataset of a kind, on one device, with its default options but for those given."""

    name: str
    content: Content
    kind: str
    device: torch.device
    config: Mapping[str, object] = field(default_factory=dict[str, object])
    training: Mapping[str, object] = field(default_factory=dict[str, object])

    @cached_property
    def spec(self) -> FamilySpec:
        """Its description."""
        return CATALOG.spec(self.name)

    @cached_property
    def task(self) -> Task:
        """Its task."""
        return CATALOG.task(self.spec.task)

    @cached_property
    def family(self) -> Family[Any, Any]:
        """The family with this configuration, acquainted with the training split."""
        family = CATALOG.family(self.name)(self.spec.config.parse(self.config), self.content.meta)
        family.study(self.train, {})
        return family

    @cached_property
    def options(self) -> TrainingOptions:
        """Its training options."""
        return self.spec.training.parse(self.training)

    @property
    def train(self) -> Split:
        """The training split."""
        return self.content.splits["train"]

    @property
    def for_few(self) -> Bench:
        """This family, configured to learn a handful of examples."""
        config, training = FEW_EXAMPLES.get(self.name, ({}, {}))
        return replace(self, config=config, training=training)

    def generator(self, seed: int) -> torch.Generator:
        """Return what a training on the device with this seed draws from."""
        return torch.Generator(self.device).manual_seed(seed)

    def examples(self, split: Split) -> Examples[Any]:
        """Return a split on the device."""
        return self.family.examples(split, self.device)

    def start(
        self, split: Split, epochs: int, seed: int = 1, batch_size: int = BATCH
    ) -> tuple[torch.nn.Module, Learner[Any]]:
        """Return a fresh module and its learner."""
        generator = self.generator(seed)
        module = self.family.build(generator)
        plan = Plan.of(len(next(iter(split.values()))), epochs, batch_size)
        return module, self.family.learner(module, self.options, plan, generator)

    def batches(self, count: int) -> Iterator[Any]:
        """Yield ``count`` batches of the training split, the same every time."""
        examples = self.examples(self.train)
        yield from (examples.take(torch.arange(BATCH) + BATCH * index) for index in range(count))

    @cached_property
    def trained(self) -> torch.nn.Module:
        """A module that was trained for a few steps and came back from the device, as for its export."""
        module, learner = self.start(self.train, epochs=1)
        for batch in self.batches(STEPS):
            learner.step(batch)
        return module.cpu()

    @cached_property
    def exports(self) -> dict[str, Export]:
        """The parts of the trained module."""
        return self.family.export(self.trained)

    @cached_property
    def served(self) -> ServedModel:
        """What the codec may know."""
        return ServedModel(
            name="sample",
            family=self.name,
            config=self.family.config.model_dump(mode="json"),
            meta=self.content.meta,
            assets=json.loads(json.dumps(self.family.assets(self.trained))),
            signatures={part: export.signature for part, export in self.exports.items()},
        )


@dataclass(frozen=True)
class ExportedBench:
    """The parts of a bench, exported to one format and opened again."""

    bench: Bench
    format: Format

    @cached_property
    def graphs(self) -> dict[str, bytes]:
        """Each part as it is written."""
        generator = torch.Generator().manual_seed(2)
        found: dict[str, bytes] = {}
        for part, export in self.bench.exports.items():
            example = self.bench.family.example(part, traced_sizes(export.signature), generator)
            found[part] = write(part, export, self.format, example)
        return found

    @cached_property
    def runs(self) -> dict[str, RunPart]:
        """What runs each part."""
        open_graph, exports = EXPORTERS[self.format].open, self.bench.exports
        return {part: open_graph(graph, exports[part].signature) for part, graph in self.graphs.items()}

    def run(self, part: str, arrays: Arrays) -> Arrays:
        """Run an exported part."""
        return self.runs[part](arrays)
