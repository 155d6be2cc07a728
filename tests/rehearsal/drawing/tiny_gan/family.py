"""How both networks are built and trained against one another, and the generator exported."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.contract.training import Plan, TrainingOptions
from models.family import Examples, Export, Learner, Metrics, State
from models.learners import continue_noise
from models.nn.linear import linear
from rehearsal.drawing.tiny_gan.spec import SPEC, AdversarialTraining, GanConfig
from rehearsal.nn.images import OverImages

SIDES = ("discriminator", "generator")
EVALUATION_DRAWS = 256


class _Painted(nn.Module):
    def __init__(self, low: float, high: float, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.low, self.high, self.shape = low, high, shape

    def forward(self, logits: Tensor) -> Tensor:
        return self.low + (self.high - self.low) * logits.sigmoid().unflatten(1, self.shape)


class AdversarialLearner(Learner[dict[str, Tensor]]):
    """A step of the discriminator, flat at real images (Mescheder et al. 2018, Eq. 9), then one of the generator."""

    def __init__(
        self, module: nn.Module, options: AdversarialTraining, plan: Plan, noise: int, generator: torch.Generator
    ) -> None:
        """Make both optimisers."""
        self._module, self._options, self._plan, self._done = module, options, plan, 0
        self._noise, self._generator = noise, generator
        self._optimizers = {
            side: torch.optim.Adam(module.get_submodule(side).parameters(), betas=(0.5, 0.999)) for side in SIDES
        }

    def step(self, batch: dict[str, Tensor]) -> Metrics:
        scaled, draw, judge = (self._module.get_submodule(name) for name in ("scaled", "generator", "discriminator"))
        real, losses = scaled(batch["images"]).requires_grad_(), dict[str, Tensor]()
        for side in SIDES:
            optimizer = self._optimizers[side]
            fake = scaled(draw(torch.randn(len(real), self._noise, generator=self._generator)))
            if side == "discriminator":
                truths = judge(real)
                (slope,) = torch.autograd.grad(truths.sum(), real, create_graph=True)
                penalty = self._options.flatness / 2 * slope.square().sum(dim=1).mean()
                losses[side] = functional.softplus(judge(fake)).mean() + functional.softplus(-truths).mean() + penalty
            else:
                losses[side] = functional.softplus(-judge(fake)).mean()
            optimizer.param_groups[0]["lr"] = self._options.learning_rate * (1 - self._done / self._plan.steps)
            optimizer.zero_grad()
            losses[side].backward()
            optimizer.step()
        self._done += 1
        return {side: loss.detach() for side, loss in losses.items()}

    def state(self) -> State:
        optimizers = {side: optimizer.state_dict() for side, optimizer in self._optimizers.items()}
        return {
            "module": self._module.state_dict(),
            "optimizers": optimizers,
            "noise": self._generator.get_state(),
            "done": self._done,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._module.load_state_dict(state["module"])
        continue_noise(self._generator, state["noise"])
        self._done = state["done"]
        for side, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state["optimizers"][side])


class TinyGanFamily(OverImages[GanConfig]):
    """The tiny network."""

    def build(self, generator: torch.Generator) -> nn.Module:
        noise, hidden = self.config.noise, self.config.hidden
        draw = [linear(noise, hidden, generator), nn.ReLU(), linear(hidden, self.pixels, generator)]
        judge = [linear(self.pixels, hidden, generator), nn.ReLU(), linear(hidden, 1, generator)]
        return nn.ModuleDict(
            {
                "generator": nn.Sequential(*draw, _Painted(self.low, self.high, self.shape)),
                "discriminator": nn.Sequential(*judge),
                "scaled": nn.Sequential(*self.flattened(generator)),
            }
        )

    def learner(
        self, module: nn.Module, options: TrainingOptions, plan: Plan, generator: torch.Generator
    ) -> AdversarialLearner:
        assert isinstance(options, AdversarialTraining)
        return AdversarialLearner(module, options, plan, self.config.noise, generator)

    def evaluate(self, module: nn.Module, examples: Examples[dict[str, Tensor]]) -> dict[str, float]:
        """Return the squared distance of the mean drawn image from the mean example, per pixel of unit range."""
        noise = torch.randn(EVALUATION_DRAWS, self.config.noise, generator=torch.Generator().manual_seed(0))
        real = examples.take(torch.arange(len(examples)))["images"].float().mean(dim=0)
        with torch.no_grad():
            gap = (module.get_submodule("generator")(noise).mean(dim=0) - real) / (self.high - self.low)
        return {"loss": float(gap.square().mean())}

    def export(self, module: nn.Module) -> dict[str, Export]:
        signature = SPEC.parts["generator"].fixed(noise=self.config.noise, **self.axes)
        return {"generator": Export(module.get_submodule("generator"), signature)}

    def example(self, part: str, sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        del part
        return (torch.randn(sizes["batch"], self.config.noise, generator=generator),)


FAMILY = TinyGanFamily
