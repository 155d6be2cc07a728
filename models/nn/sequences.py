"""What all networks over sequences share: which tokens are real."""

from __future__ import annotations

import torch
from torch import Tensor


def real_tokens(tokens: Tensor, lengths: Tensor) -> Tensor:
    """Return the mask (batch, time) bool of ``tokens`` (batch, time, …) whose rows have ``lengths`` (batch,)."""
    return torch.arange(tokens.shape[1], device=tokens.device).unsqueeze(0) < lengths.unsqueeze(1)
