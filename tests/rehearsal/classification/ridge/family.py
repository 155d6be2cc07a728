"""How the regression is solved, scored and exported."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.contract.training import Plan, TrainingOptions
from models.family import Examples, Export, Learner, Metrics, State
from rehearsal.classification.ridge.spec import SPEC, RidgeConfig
from rehearsal.nn.images import OverImages

FLOOR = 1e-3


class _Scores(nn.Module):
    def __init__(self, pixels: int, classes: int, flatten: nn.Module) -> None:
        super().__init__()
        self.flatten, self.weight = flatten, nn.Parameter(torch.zeros(pixels + 1, classes))

    def design(self, images: Tensor) -> Tensor:
        return functional.pad(self.flatten(images), (0, 1), value=1.0)  # (batch, pixels + 1)

    def forward(self, images: Tensor) -> Tensor:
        shares = (self.design(images) @ self.weight).clamp_min(FLOOR)
        return shares / shares.sum(dim=1, keepdim=True)


class ClosedForm(Learner[dict[str, Tensor]]):
    """W = (XᵀX + λI)⁻¹ XᵀY."""

    def __init__(self, module: _Scores, penalty: float) -> None:
        """Keep the penalty λ."""
        self._module, self._penalty = module, penalty

    def step(self, batch: dict[str, Tensor]) -> Metrics:
        design, weight = self._module.design(batch["images"]).double(), self._module.weight
        wanted = functional.one_hot(batch["labels"], weight.shape[1]).double()
        normal = design.T @ design + self._penalty * torch.eye(len(weight), dtype=torch.float64)
        with torch.no_grad():
            weight.copy_(torch.linalg.solve(normal, design.T @ wanted))
        return {"squared_error": (design @ weight.detach().double() - wanted).square().mean()}

    def state(self) -> State:
        return {"module": self._module.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._module.load_state_dict(state["module"])


class RidgeFamily(OverImages[RidgeConfig]):
    """Ridge regression."""

    def build(self, generator: torch.Generator) -> nn.Module:
        return _Scores(self.pixels, len(self.classes), nn.Sequential(*self.flattened(generator)))

    def learner(
        self, module: nn.Module, options: TrainingOptions, plan: Plan, generator: torch.Generator
    ) -> ClosedForm:
        del options, plan, generator
        assert isinstance(module, _Scores)
        return ClosedForm(module, self.config.penalty)

    def evaluate(self, module: nn.Module, examples: Examples[dict[str, Tensor]]) -> dict[str, float]:
        batch = examples.take(torch.arange(len(examples)))
        with torch.no_grad():
            return {"loss": float(functional.nll_loss(module(batch["images"]).log(), batch["labels"]))}

    def export(self, module: nn.Module) -> dict[str, Export]:
        return {"classifier": Export(module, SPEC.parts["classifier"].fixed(**self.axes))}


FAMILY = RidgeFamily
