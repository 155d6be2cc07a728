"""A text as streams that are read side by side, a window of steps at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.contract.task import Array
from models.data.texts.encoding import LINE_END_INDEX
from models.family import Examples


@dataclass(frozen=True)
class Windows:
    """One window of each stream.

    Attributes:
        numbers: (streams,) int64, which windows of the text they are; the one after n is n + 1.
        tokens: (streams, window) int64.
        targets: (streams, window) int64, the token after each.
        mask: (streams, window) bool, None where all are real: only the last window of the text is shorter.
        state: (streams, state) with which they begin, None for zeros.
    """

    numbers: Tensor
    tokens: Tensor
    targets: Tensor
    mask: Tensor | None
    state: Tensor | None = None


class Streams(Examples[Windows]):
    """The windows of a text; the batches of an epoch go through as many streams as a batch has rows, in order.

    The text is a ring that begins at another window each epoch, cut into streams of equal length, give or take one.
    """

    def __init__(self, segments: Sequence[Array], window: int, device: torch.device) -> None:
        """Lay the tokens of all ``segments`` (tokens,) int64 out in windows, read from the beginning of a line."""
        self.segments = segments
        text = np.concatenate(segments)
        self._last = len(text) - window * ((len(text) - 1) // window)
        padded = np.zeros(-(-len(text) // window) * window, np.int64)
        padded[: len(text)] = text
        before = np.concatenate([[LINE_END_INDEX], padded[:-1]])
        self._targets = torch.from_numpy(padded).view(-1, window).to(device)
        self._tokens = torch.from_numpy(before).view(-1, window).to(device)
        self.device = device

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self._tokens)

    def take(self, indices: Tensor) -> Windows:
        """Return the windows at ``indices`` (streams,)."""
        chosen = indices.to(self.device)
        mask = None
        if self._last < self._tokens.shape[1] and bool((indices == len(self) - 1).any()):
            mask = torch.ones(len(indices), self._tokens.shape[1], dtype=torch.bool, device=self.device)
            mask[chosen == len(self) - 1, self._last :] = False
        return Windows(chosen, self._tokens[chosen], self._targets[chosen], mask)

    def batches(self, batch_size: int, generator: torch.Generator) -> Sequence[Tensor]:
        """Return per step the window of each stream; ``batch_size`` streams, fewer in the last step."""
        count = len(self)
        streams = min(batch_size, count)
        shortest, longer = divmod(count, streams)
        rows = torch.arange(streams)
        starts = rows * shortest + rows.clamp(max=longer) + torch.randint(count, (1,), generator=generator)
        steps = [starts + step for step in range(shortest)]
        last = [starts[:longer] + shortest] if longer else []
        return [numbers % count for numbers in (*steps, *last)]
