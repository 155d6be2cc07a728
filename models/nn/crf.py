"""Linear-chain conditional random field: log-likelihood and marginals, for training (Lafferty et al. 2001).

The score of tags y for emissions P is s(y) = a_{y_1} + Σ_t P_{t, y_t} + Σ_t A_{y_t, y_{t+1}} + b_{y_T} and
log p(y) = s(y) − log Z (Huang, Xu, Yu 2015, Eq. 1; Lample et al. 2016, §2.2). Any sequence may be learnt from: what is
illegal is for the decoder to leave out (``models/tagging/chain.py``, which also has Viterbi and the n best).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

INITIAL = 0.1
"""Initial scores are drawn from U(−0.1, 0.1)."""


class LinearChain(nn.Module):
    """Scores of first tags, of pairs of tags and of last tags."""

    def __init__(self, tags: int, generator: torch.Generator) -> None:
        """Draw the scores from ``generator``."""
        super().__init__()

        def drawn(*shape: int) -> nn.Parameter:
            empty = torch.empty(shape, device=generator.device)
            return nn.Parameter(empty.uniform_(-INITIAL, INITIAL, generator=generator))

        self.start = drawn(tags)
        self.transitions = drawn(tags, tags)
        """From the tag before (rows) to the tag (columns)."""
        self.end = drawn(tags)

    def score(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """Return s(y) (batch,) in nats.

        Args:
            emissions: (batch, time, tags).
            tags: (batch, time) int64; anything at padding.
            mask: (batch, time) bool, True for real tokens, which stand first; one at least.
        """
        emitted = emissions.gather(2, tags.unsqueeze(2)).squeeze(2) * mask
        moved = self.transitions[tags[:, :-1], tags[:, 1:]] * mask[:, 1:]
        last = tags.gather(1, mask.sum(dim=1, keepdim=True) - 1).squeeze(1)
        return self.start[tags[:, 0]] + emitted.sum(dim=1) + moved.sum(dim=1) + self.end[last]

    def log_partition(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """Return log Z (batch,) in nats by the forward recursion in log space; arguments as for :meth:`score`."""
        largest = self.transitions.max().detach()
        moves = (self.transitions - largest).exp()
        steps, reals = emissions.unbind(1), mask.unsqueeze(2).unbind(1)
        forward = self.start + steps[0]  # (batch, tags)
        sums: list[Tensor] = []
        for emitted, real in zip(steps[1:], reals[1:], strict=True):
            # log Σ exp(α_i + A_ij) as a product of matrices: a tenth of the time of logsumexp over (batch, tags, tags).
            shift = forward.max(dim=1, keepdim=True).values.detach()
            sums.append((forward - shift).exp() @ moves)
            forward = torch.where(real, sums[-1].log() + (shift + largest) + emitted, forward)
        if sums and float(torch.stack(sums).detach().min()) < torch.finfo(emissions.dtype).tiny:
            return self._slowly(emissions, mask)
        return torch.logsumexp(forward + self.end, dim=1)

    def log_likelihood(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """Return log p(y) (batch,) in nats."""
        return self.score(emissions, tags, mask) - self.log_partition(emissions, mask)

    def marginals(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """Return p(y_t) (batch, time, tags), zero at padding: the gradient of log Z by the emissions."""
        with torch.enable_grad():
            given = emissions.detach().requires_grad_()
            total = self.log_partition(given, mask).sum()
            return torch.autograd.grad(total, given)[0]

    def _slowly(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """Return log Z where scores are so far apart that the products underflow."""
        forward = self.start + emissions[:, 0]
        for time in range(1, emissions.shape[1]):
            following = torch.logsumexp(forward.unsqueeze(2) + self.transitions, dim=1) + emissions[:, time]
            forward = torch.where(mask[:, time].unsqueeze(1), following, forward)
        return torch.logsumexp(forward + self.end, dim=1)
