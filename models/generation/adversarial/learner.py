"""Algorithm 1 of Goodfellow et al. (2014): two networks, two optimisers, and a notice when one of them gives up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.contract.training import Plan
from models.family import Learner, Metrics, State
from models.generation.adversarial.prior import Prior
from models.generation.adversarial.training import AdversarialTraining
from models.learners import continue_noise
from models.optimization import adam, take_step

COLLAPSED = 0.25
"""Below this share of the data's variance the samples are too alike; MNIST's ones alone have 0.42 of it."""

LEAST_VARIANCE = 1e-6
"""Of a real batch, so that equal images give a finite share."""

BEATEN = 0.98
"""Beyond this mean difference of D at real and at drawn images the generator learns next to nothing."""


class Adversaries(nn.Module):
    """Both networks and what brings images to [0, 1] for them.

    Attributes:
        prior: what latents are drawn from.
        generator: latents (batch, size) to examples.
        discriminator: examples to logits (batch,) of being real, and the features (batch, units) they are read from.
        normalization: examples as the dataset has them to the scale of the generator's.
    """

    def __init__(self, prior: Prior, generator: nn.Module, discriminator: nn.Module, normalization: nn.Module) -> None:
        """Keep the networks."""
        super().__init__()
        self.prior = prior
        self.generator = generator
        self.discriminator = discriminator
        self.normalization = normalization


class AdversarialLearner(Learner[dict[str, Tensor]]):
    """A step of the discriminator, and after every k of them one of the generator; each with latents of its own.

    Metrics of a step are those before it: the losses of both sides in nats, D at real and at drawn examples (one half
    each when neither can be told), and ``variety``, the variance of drawn examples as a share of that of real ones.
    """

    def __init__(
        self, module: Adversaries, options: AdversarialTraining, plan: Plan, generator: torch.Generator
    ) -> None:
        """Make an optimiser for each side; latents come from ``generator``."""
        self._module, self._options, self._plan, self._generator = module, options, plan, generator
        self._rates = {
            "discriminator": options.discriminator_learning_rate,
            "generator": options.generator_learning_rate,
        }
        decay = options.first_moment_decay
        self._optimizers = {
            side: adam(module.get_submodule(side).parameters(), rate, decay) for side, rate in self._rates.items()
        }
        self._step = 0

    def step(self, batch: dict[str, Tensor]) -> Metrics:
        """Take a step of the discriminator, and one of the generator if it is its turn."""
        self._module.train()
        real = self._module.normalization(batch["images"])
        metrics = self._discriminate(real)
        if (self._step + 1) % self._options.discriminator_steps == 0:
            self._generate(len(real))
        self._step += 1
        return metrics

    def remarks(self, means: Mapping[str, float]) -> Sequence[str]:
        """Return a sentence when the samples are too alike, or the discriminator is never deceived."""
        found: list[str] = []
        if means["variety"] < COLLAPSED:
            found.append(
                f"collapse: what the generator draws varies {means['variety']:.0%} as much as the data; if this stays, "
                "set training.gradient_penalty (1 is a start) or lower training.generator_learning_rate"
            )
        lead = means["real_probability"] - means["fake_probability"]
        if lead > BEATEN:
            found.append(
                f"the discriminator is sure of nearly every image ({lead:.3f} of 1), so the generator hardly learns; "
                "if this stays, set training.gradient_penalty or lower training.discriminator_learning_rate"
            )
        return found

    def stake(self, features: Tensor, latents: Tensor) -> tuple[Tensor, Metrics] | None:
        """Return what both sides lose together beside the game, of drawn examples, and its metrics; by default none.

        Args:
            features: of drawn examples, as the discriminator sees them.
            latents: what they were drawn from.
        """
        del features, latents
        return None

    @property
    def stake_weight(self) -> float:
        """How much of the common loss is the generator's."""
        return 0.0

    def _discriminate(self, real: Tensor) -> Metrics:
        """Ascend E log D(x) + E log(1 − D(G(z))), the paper's Eq. 1, with the penalty if there is one."""
        penalty = self._options.gradient_penalty
        latents = self._module.prior.draw(len(real), self._generator)
        with torch.no_grad():
            fake = self._module.generator(latents)
        real_logits, _ = self._module.discriminator(real.requires_grad_(penalty > 0))
        fake_logits, features = self._module.discriminator(fake)
        game = functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()
        loss, stake = game, self.stake(features, latents)
        if penalty > 0:
            loss = loss + penalty / 2 * _squared_slope(real_logits, real)
        if stake is not None:
            loss = loss + stake[0]
        self._descend("discriminator", loss)
        with torch.no_grad():
            metrics = {
                "discriminator_loss": game.detach(),
                "generator_loss": self._deception(fake_logits),
                "real_probability": real_logits.sigmoid().mean(),
                "fake_probability": fake_logits.sigmoid().mean(),
                "variety": _variance(fake) / _variance(real).clamp_min(LEAST_VARIANCE),
            }
        return metrics if stake is None else {**metrics, **stake[1]}

    def _generate(self, count: int) -> None:
        """Let the generator deceive the discriminator as it now is, whose own gradients are not needed."""
        latents = self._module.prior.draw(count, self._generator)
        self._module.discriminator.requires_grad_(requires_grad=False)
        try:
            logits, features = self._module.discriminator(self._module.generator(latents))
            loss, stake = self._deception(logits), self.stake(features, latents)
            if stake is not None:
                loss = loss + self.stake_weight * stake[0]
            self._descend("generator", loss)
        finally:
            self._module.discriminator.requires_grad_(requires_grad=True)

    def _deception(self, fake_logits: Tensor) -> Tensor:
        """Return −E log D(G(z)), or E log(1 − D(G(z))) of the minimax game (§3 of the paper)."""
        if self._options.objective == "minimax":
            return -functional.softplus(fake_logits).mean()
        return functional.softplus(-fake_logits).mean()

    def _descend(self, side: str, loss: Tensor) -> None:
        optimizer = self._optimizers[side]
        share = 1 - self._step / self._plan.steps if self._options.schedule == "linear" else 1.0
        optimizer.param_groups[0]["lr"] = self._rates[side] * max(share, 0.0)
        optimizer.zero_grad(set_to_none=True)
        cast("Any", loss).backward()
        take_step(optimizer)

    def state(self) -> State:
        """Return both networks, both optimisers, the step, and the generator of latents."""
        return {
            "module": self._module.state_dict(),
            "optimizers": {side: optimizer.state_dict() for side, optimizer in self._optimizers.items()},
            "step": self._step,
            "generator": self._generator.get_state(),
        }

    def restore(self, state: State) -> None:
        """Continue from ``state``, at the rates of these options rather than of those saved."""
        saved = cast("dict[str, Any]", state)
        self._module.load_state_dict(saved["module"])
        for side, optimizer in self._optimizers.items():
            own = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
            optimizer.load_state_dict(saved["optimizers"][side])
            optimizer.param_groups[0].update(own)
        self._step = saved["step"]
        continue_noise(self._generator, saved["generator"])


def _squared_slope(logits: Tensor, real: Tensor) -> Tensor:
    """Return E ‖∇D(x)‖², R1 of Mescheder, Geiger, Nowozin (2018), Eq. 9."""
    (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return slope.flatten(1).square().sum(dim=1).mean()


def _variance(examples: Tensor) -> Tensor:
    """Return E ‖x − E x‖²."""
    flat = examples.flatten(1)
    return (flat - flat.mean(dim=0)).square().sum(dim=1).mean()
