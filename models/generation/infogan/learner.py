"""Eq. 6 of the paper: the game of both networks, and beside it the information that codes leave in an image."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from models.contract.training import Plan
from models.family import Metrics
from models.generation.adversarial.learner import AdversarialLearner, Adversaries
from models.generation.adversarial.training import AdversarialTraining
from models.generation.infogan.posterior import Posterior


class InfoGanLearner(AdversarialLearner):
    """Metrics are those of the game, and ``information`` (L_I of the categorical codes) and that of the continuous."""

    def __init__(
        self,
        module: Adversaries,
        options: AdversarialTraining,
        plan: Plan,
        generator: torch.Generator,
        weight: float,
    ) -> None:
        """Keep the generator's weight of the information."""
        super().__init__(module, options, plan, generator)
        self._posterior = cast("Posterior", module.discriminator.get_submodule("posterior"))
        self._weight = weight

    def stake(self, features: Tensor, latents: Tensor) -> tuple[Tensor, Metrics] | None:
        """Return −L_I of all codes, and both its parts."""
        categorical, continuous = self._posterior.information(features, latents)
        metrics = {"information": categorical.detach(), "information_continuous": continuous.detach()}
        return -categorical - continuous, metrics

    @property
    def stake_weight(self) -> float:
        """Return λ."""
        return self._weight
