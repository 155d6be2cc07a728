"""How the members are trained side by side and exported as one."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.contract.task import Split
from models.contract.training import GradientTraining, Plan, TrainingOptions
from models.family import Examples, Export, Learner, Metrics, State, TensorExamples
from models.nn.linear import linear
from models.optimization import learning_rate, make_optimizer
from rehearsal.classification.bagged.spec import SPEC, BaggedConfig
from rehearsal.nn.images import OverImages


class _Average(nn.ModuleList):
    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([member(images).softmax(dim=1) for member in self]).mean(dim=0)  # (batch, classes)


class _Numbered(TensorExamples):
    def take(self, indices: Tensor) -> dict[str, Tensor]:
        return super().take(indices) | {"indices": indices}


class BaggingLearner(Learner[dict[str, Tensor]]):
    """Each member's loss weights an example by how often its bootstrap sample holds it."""

    def __init__(
        self, module: nn.ModuleList, options: GradientTraining, plan: Plan, generator: torch.Generator
    ) -> None:
        """Draw the samples, with replacement and as large as the split."""
        self._module, self._options, self._plan, self._done = module, options, plan, 0
        self._optimizers = [make_optimizer(member, options) for member in module]
        draws = torch.randint(plan.examples, (len(module), plan.examples), generator=generator)
        self._weights = torch.stack([row.bincount(minlength=plan.examples) for row in draws])  # (members, examples)

    def step(self, batch: dict[str, Tensor]) -> Metrics:
        losses: list[Tensor] = []
        rate = learning_rate(self._options, self._done, self._plan.steps)
        for member, optimizer, weights in zip(self._module, self._optimizers, self._weights, strict=True):
            optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = rate
            optimizer.zero_grad()
            each = functional.cross_entropy(member(batch["images"]), batch["labels"], reduction="none")
            losses.append((each * weights[batch["indices"]]).mean())
            losses[-1].backward()
            optimizer.step()
        self._done += 1
        return {"loss": torch.stack(losses).mean().detach()}

    def state(self) -> State:
        optimizers = [optimizer.state_dict() for optimizer in self._optimizers]
        own = {"optimizers": optimizers, "weights": self._weights, "done": self._done}
        return {"module": self._module.state_dict(), **own}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._module.load_state_dict(state["module"])
        self._weights, self._done = state["weights"], state["done"]
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)


class BaggedFamily(OverImages[BaggedConfig]):
    """Bagged networks of one hidden layer."""

    def build(self, generator: torch.Generator) -> nn.Module:
        def member() -> nn.Module:
            hidden = linear(self.pixels, self.config.hidden, generator)
            output = linear(self.config.hidden, len(self.classes), generator)
            return nn.Sequential(*self.flattened(generator), hidden, nn.ReLU(), output)

        return _Average(member() for _ in range(self.config.members))

    def examples(self, split: Split, device: torch.device) -> Examples[dict[str, Tensor]]:
        return _Numbered(split, device)

    def learner(
        self, module: nn.Module, options: TrainingOptions, plan: Plan, generator: torch.Generator
    ) -> BaggingLearner:
        assert isinstance(module, nn.ModuleList)
        assert isinstance(options, GradientTraining)
        return BaggingLearner(module, options, plan, generator)

    def evaluate(self, module: nn.Module, examples: Examples[dict[str, Tensor]]) -> dict[str, float]:
        batch = examples.take(torch.arange(len(examples)))
        with torch.no_grad():
            return {"loss": float(functional.nll_loss(module(batch["images"]).log(), batch["labels"]))}

    def export(self, module: nn.Module) -> dict[str, Export]:
        return {"classifier": Export(module, SPEC.parts["classifier"].fixed(**self.axes))}


FAMILY = BaggedFamily
