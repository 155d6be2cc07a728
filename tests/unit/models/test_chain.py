"""Chains of tags against every path there is: log Z, marginals, the best and the n best, in torch and in numpy."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from models.contract.task import Array
from models.data.tag_schemes import Scheme, illegal_at, tag_set
from models.nn.crf import LinearChain
from models.tagging.chain import Chain, log_partition, marginals, n_best, viterbi

TAGS = 4
LENGTHS = np.array([5, 1, 3])
MASK = torch.arange(5) < torch.from_numpy(LENGTHS).unsqueeze(1)


@dataclass
class World:
    """Emissions of three sentences, a chain, and its numbers."""

    emissions: torch.Tensor
    module: LinearChain
    chain: Chain

    def scores(self, row: int, chain: Chain | None = None) -> dict[tuple[int, ...], float]:
        """Return the score of every path of a row, by definition."""
        used = chain or self.chain
        emitted = self.emissions[row, : LENGTHS[row]].numpy()
        found: dict[tuple[int, ...], float] = {}
        for path in itertools.product(range(emitted.shape[1]), repeat=len(emitted)):
            score = used.start[path[0]] + used.end[path[-1]]
            score += sum(emitted[time, tag] for time, tag in enumerate(path))
            score += sum(used.transitions[one, other] for one, other in itertools.pairwise(path))
            found[path] = float(score)
        return found


def world(tags: int = TAGS, spread: float = 2.0) -> World:
    generator = torch.Generator().manual_seed(1)
    module = LinearChain(tags, generator).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, spread, generator=generator)
    emissions = spread * torch.randn(3, 5, tags, generator=generator, dtype=torch.double)
    numbers = {name: value.detach().numpy() for name, value in module.named_parameters()}
    return World(emissions, module, Chain.of(numbers))


def _log_sum(scores: list[float]) -> float:
    return float(torch.logsumexp(torch.tensor(scores, dtype=torch.double), dim=0))


@pytest.mark.parametrize("spread", [2.0, 300.0], ids=["usual scores", "scores that underflow"])
def test_log_partition_is_that_of_all_paths(spread: float) -> None:
    """In log space, so that scores hundreds of nats apart do no harm; padding is left out of it."""
    case = world(spread=spread)
    wanted = [_log_sum(list(case.scores(row).values())) for row in range(3)]
    assert case.module.log_partition(case.emissions, MASK).tolist() == pytest.approx(wanted, abs=1e-6)
    assert log_partition(case.emissions.numpy(), LENGTHS, case.chain).tolist() == pytest.approx(wanted, abs=1e-6)


def test_log_partition_in_single_precision() -> None:
    """As it is trained; and gradients stay finite where the products underflow."""
    for spread in (2.0, 60.0):
        case = world(spread=spread)
        wanted = case.module.log_partition(case.emissions, MASK).detach()
        single, emissions = case.module.float(), case.emissions.float().requires_grad_()
        found = single.log_partition(emissions, MASK)
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-4)
        (gradient,) = torch.autograd.grad(found.sum(), emissions)
        assert bool(gradient.isfinite().all())


def test_likelihood_is_the_share_of_a_path() -> None:
    """Log p(y) = s(y) − log Z, and all p sum to 1."""
    case = world()
    for row, length in enumerate(LENGTHS.tolist()):
        scores = case.scores(row)
        total = _log_sum(list(scores.values()))
        paths = torch.zeros(len(scores), 5, dtype=torch.int64)
        paths[:, :length] = torch.tensor(list(scores))
        emissions, mask = case.emissions[row].expand(len(scores), 5, TAGS), MASK[row].expand(len(scores), 5)
        found = case.module.log_likelihood(emissions, paths, mask)
        assert found.tolist() == pytest.approx([score - total for score in scores.values()], abs=1e-6)


def _brute_marginals(case: World, row: int) -> Array:
    scores = case.scores(row)
    total = _log_sum(list(scores.values()))
    found = np.zeros((5, TAGS))
    for path, score in scores.items():
        for time, tag in enumerate(path):
            found[time, tag] += np.exp(score - total)
    return found


def test_marginals_are_sums_over_paths() -> None:
    """Twice: as the gradient of log Z, and by the backward recursion."""
    case = world()
    wanted = np.stack([_brute_marginals(case, row) for row in range(3)])
    np.testing.assert_allclose(case.module.marginals(case.emissions, MASK).numpy(), wanted, atol=1e-9)
    np.testing.assert_allclose(marginals(case.emissions.numpy(), LENGTHS, case.chain), wanted, atol=1e-9)


def test_gradient_of_the_likelihood_is_that_of_finite_differences() -> None:
    """With respect to emissions and every score of the chain."""
    case, tags = world(3), torch.tensor([[0, 1, 2, 0, 1], [1, 0, 0, 0, 0], [2, 2, 1, 0, 0]])
    names, values = zip(*case.module.named_parameters(), strict=True)

    def likelihood(emissions: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        module = LinearChain(3, torch.Generator())
        state = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(_Likelihood(module), {f"chain.{key}": item for key, item in state.items()},
                                          (emissions, tags))  # fmt: skip

    assert torch.autograd.gradcheck(likelihood, (case.emissions.requires_grad_(), *values))


class _Likelihood(torch.nn.Module):
    def __init__(self, chain: LinearChain) -> None:
        super().__init__()
        self.chain = chain

    def forward(self, emissions: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
        return self.chain.log_likelihood(emissions, tags, MASK)


def test_viterbi_finds_the_best_path_and_n_best_the_next() -> None:
    """In order, each with its score; there are no more than there are paths."""
    case = world()
    best = viterbi(case.emissions.numpy(), LENGTHS, case.chain)
    for row, length in enumerate(LENGTHS.tolist()):
        ranked = sorted(case.scores(row).items(), key=lambda item: -item[1])
        assert tuple(best.tags[row, :length]) == ranked[0][0]
        assert best.scores[row] == pytest.approx(ranked[0][1])
        alone = viterbi(case.emissions[row : row + 1, :length].numpy(), LENGTHS[row : row + 1], case.chain)
        assert tuple(alone.tags[0]) == ranked[0][0]
        assert alone.scores[0] == pytest.approx(ranked[0][1])
        found = n_best(case.emissions[row, :length].numpy(), case.chain, 30)
        assert len(found) == min(30, TAGS**length)
        assert [tuple(path) for path, _ in found] == [path for path, _ in ranked[: len(found)]]
        assert [score for _, score in found] == pytest.approx([score for _, score in ranked[: len(found)]])


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_constrained_decoding_is_that_of_legal_paths_alone(scheme: Scheme) -> None:
    """Best path, log Z, marginals and n best are those of the legal paths, and without the constraint they are not."""
    tags = tag_set(["B-X", "B-Y"] if scheme == "bio" else ["B-X"], scheme)
    case = world(len(tags))
    limited = case.chain.constrained(tags, scheme)
    emissions = case.emissions.numpy()
    free, best = viterbi(emissions, LENGTHS, case.chain), viterbi(emissions, LENGTHS, limited)
    totals, shares = log_partition(emissions, LENGTHS, limited), marginals(emissions, LENGTHS, limited)
    broken = 0
    for row, length in enumerate(LENGTHS.tolist()):
        scores = case.scores(row)
        legal = [path for path in scores if illegal_at([tags[tag] for tag in path], scheme) is None]
        allowed = {path: scores[path] for path in legal}
        assert 0 < len(allowed) < len(scores)
        assert tuple(best.tags[row, :length]) == max(allowed, key=lambda path: allowed[path])
        assert totals[row] == pytest.approx(_log_sum(list(allowed.values())))
        assert shares[row, :length].sum(axis=1) == pytest.approx(np.ones(length))
        found = n_best(emissions[row, :length], limited, 1_000)
        assert [tuple(path) for path, _ in found] == sorted(allowed, key=lambda path: -allowed[path])[:1_000]
        broken += tuple(free.tags[row, :length]) not in allowed
    assert broken > 0
