"""Steps that several processes take together: one order after another, given by the first, obeyed by all.

The process of rank 0 is the trainer, whose loop knows nothing of the others but :class:`Together`. Each step of a batch
is cut in shares, one per rank. The others follow (``replica.py``): they decide nothing, count nothing and keep no
time, so that no two processes can disagree about what comes next.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, cast

import torch
from torch import Tensor, distributed

from models.family import State
from models.learners import GradientLearner
from workers.parallel.gradients import FabricGradients
from workers.training import Run

NOISE_SEED_STRIDE = 7_919


class _Order(IntEnum):
    """What everybody does next."""

    STEP = 0
    STATE = 1
    RESTORE = 2
    END = 3


class Together:
    """One of the processes that train together; they are a process group already."""

    def __init__(
        self, run: Run, learner: GradientLearner[Any], gradients: FabricGradients, rank: int, size: int
    ) -> None:
        """Give each rank noise of its own, all from the same seed; the first has that of a process alone."""
        self._run = run
        self._learner = learner
        self._gradients = gradients
        self._rank = rank
        self._size = size
        self._epoch: tuple[int, tuple[Tensor, ...]] = (-1, ())
        if rank > 0:
            noise = torch.Generator(run.device).manual_seed((run.options.seed + NOISE_SEED_STRIDE * rank) % 2**63)
            learner.draw_from(noise.get_state())

    def step(self, epoch: int, batch: int) -> Mapping[str, float]:
        """Take a step; return its metrics over all examples, the same on every rank."""
        self._say(_Order.STEP, epoch, batch)
        return self._step(epoch, batch)

    def state(self) -> State:
        """Return the learner's state with the states of everybody's noise."""
        self._say(_Order.STATE)
        return self._state()

    def restore(self, state: State) -> None:
        """Let everybody continue from ``state``, with the threads and the noise that each had."""
        self._say(_Order.RESTORE)
        self._restore(state)

    def end(self) -> None:
        """Let the others go."""
        self._say(_Order.END)

    def follow(self) -> None:
        """Do what the first rank says until it says that this is all."""
        while True:
            order, epoch, batch = cast("list[int]", self._broadcast(torch.zeros(3, dtype=torch.int64)).tolist())
            match _Order(order):
                case _Order.STEP:
                    self._step(epoch, batch)
                case _Order.STATE:
                    self._state()
                case _Order.RESTORE:
                    self._restore({})
                case _Order.END:
                    return

    def _say(self, order: _Order, epoch: int = 0, batch: int = 0) -> None:
        self._broadcast(torch.tensor([order, epoch, batch]))

    def _step(self, epoch: int, batch: int) -> dict[str, float]:
        if self._epoch[0] != epoch:
            self._epoch = (epoch, tuple(self._run.batches(epoch)))
        indices = self._epoch[1][batch]
        shares = indices.tensor_split(self._size)
        mine = shares[self._rank]
        # Gradients are averaged over ranks: the factor makes that the mean over examples. A rank without any
        # computes what the first does, times nothing, since all must take part.
        self._gradients.share = len(mine) * self._size / len(indices)
        metrics = self._learner.step(self._run.train.take(mine if len(mine) else shares[0]))
        sums = torch.tensor([float(value) * len(mine) for value in metrics.values()], dtype=torch.float64)
        sums = sums.to(self._run.device)
        distributed.all_reduce(sums)
        means = cast("list[float]", (sums / len(indices)).tolist())
        return dict(zip(metrics, means, strict=True))

    def _state(self) -> State:
        state = cast("dict[str, Any]", self._learner.state())
        own = cast("Tensor", state["generator"]).to(self._run.device)
        everybody = [torch.empty_like(own) for _ in range(self._size)]
        distributed.all_gather(everybody, own)
        return {**state, "noise": [noise.cpu() for noise in everybody], "threads": torch.get_num_threads()}

    def _restore(self, state: State) -> None:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        size = int(self._broadcast(torch.tensor([buffer.tell()]))[0])
        written = torch.frombuffer(buffer.getbuffer(), dtype=torch.uint8)
        content = self._broadcast(written if self._rank == 0 else torch.empty(size, dtype=torch.uint8))
        saved = torch.load(io.BytesIO(content.cpu().numpy().tobytes()), map_location="cpu", weights_only=True)
        torch.set_num_threads(saved["threads"])
        self._learner.restore(saved)
        self._learner.draw_from(saved["noise"][self._rank])

    def _broadcast(self, tensor: Tensor) -> Tensor:
        """Return what the first rank has in place of ``tensor``."""
        tensor = tensor.to(self._run.device)
        distributed.broadcast(tensor, src=0)
        return tensor
