"""Attention against its equations written out, and what every kind promises of its weights."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from models.nn.attention import Attention, Score

WIDTH = 6
LENGTHS = (7, 3, 1)
WINDOW = 2


def _world(seed: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return queries (3, 5, WIDTH), memory (3, 7, WIDTH), mask (3, 7) and steps (3, 5)."""
    generator = torch.Generator().manual_seed(seed)
    queries, memory = (torch.randn(3, size, WIDTH, generator=generator) for size in (5, 7))
    mask = torch.arange(7) < torch.tensor(LENGTHS).unsqueeze(1)
    return queries, memory, mask, torch.arange(5).expand(3, -1)


def _attention(score: Score, window: int = WINDOW) -> Attention:
    return Attention(score, WIDTH, window, torch.Generator().manual_seed(2)).eval()


def _attend(
    attention: Attention, queries: Tensor, memory: Tensor, mask: Tensor, steps: Tensor
) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return attention(queries, memory, attention.keys(memory), mask, steps)


@pytest.mark.parametrize("score", get_args(Score))
def test_rows_sum_to_one_and_padding_gets_nothing(score: Score) -> None:
    """At every query, whatever the length; what is found is the weighted sum."""
    queries, memory, mask, steps = _world()
    found, weights = _attend(_attention(score), queries, memory, mask, steps)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 5), atol=1e-6, rtol=0)
    assert bool((weights.masked_select(~mask.unsqueeze(1)) == 0).all())
    torch.testing.assert_close(found, torch.einsum("bts,bsw->btw", weights, memory))


@pytest.mark.parametrize("score", get_args(Score))
def test_padding_and_batch_mates_change_nothing(score: Score) -> None:
    """A row alone, without its padding, looks where it does in the batch."""
    queries, memory, mask, steps = _world()
    attention = _attention(score)
    found, weights = _attend(attention, queries, memory, mask, steps)
    for row, length in enumerate(LENGTHS):
        own = slice(row, row + 1)
        alone = _attend(attention, queries[own], memory[own, :length], mask[own, :length], steps[own])
        torch.testing.assert_close(alone[0], found[own])
        torch.testing.assert_close(alone[1], weights[own, :, :length])


@pytest.mark.parametrize("score", ["additive", "dot", "general", "concat"])
def test_scores_are_those_of_the_equations(score: Score) -> None:
    """One pair after another, with the weights of the layer."""
    queries, memory, mask, steps = _world()
    attention = _attention(score)
    weight = {name: value.detach() for name, value in attention.named_parameters()}
    _, found = _attend(attention, queries, memory, mask, steps)
    for row, length in enumerate(LENGTHS):
        for target in range(5):
            scores: list[float] = []
            for source in range(length):
                query, key = queries[row, target], memory[row, source]
                if score == "dot":
                    scores.append(float(query @ key))
                elif score == "general":
                    scores.append(float(key @ weight["query.weight"] @ query))
                else:
                    inner = weight["query.weight"] @ query + weight["key.weight"] @ key + weight.get("bias", 0)
                    scores.append(float(weight["vector.weight"][0] @ inner.tanh()))
            wanted = torch.tensor(scores).softmax(dim=0)
            torch.testing.assert_close(found[row, target, :length], wanted, atol=1e-5, rtol=1e-4)


def test_concat_is_one_matrix_over_both() -> None:
    """Eq. 8 writes W [h; s]; here it is two blocks of that matrix."""
    attention = _attention("concat")
    query, key = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(3))
    assert attention.query is not None
    assert attention.key is not None
    whole = torch.cat([attention.query.weight, attention.key.weight], dim=1)
    torch.testing.assert_close(whole @ torch.cat([query, key]), attention.query(query) + attention.key(key))


def test_a_monotone_window_goes_along_and_stays_within_the_sentence() -> None:
    """Step t sees tokens t − D to t + D, or the end of the source when it is shorter."""
    queries, memory, mask, steps = _world()
    _, weights = _attend(_attention("local_m"), queries, memory, mask, steps)
    for row, length in enumerate(LENGTHS):
        for target in range(5):
            centre = min(target, length - 1)
            wanted = [source for source in range(length) if abs(source - centre) <= WINDOW]
            assert weights[row, target].nonzero().flatten().tolist() == wanted


def test_a_predicted_window_is_a_bell_around_its_centre() -> None:
    """Against the general score: the ratio of two weights has the Gaussian's in it (Eq. 9, 10)."""
    queries, memory, mask, steps = _world()
    local, whole = _attention("local_p"), _attention("general")
    assert local.query is not None
    assert whole.query is not None
    whole.query.load_state_dict(local.query.state_dict())
    _, weights = _attend(local, queries, memory, mask, steps)
    _, others = _attend(whole, queries, memory, mask, steps)
    assert local.position is not None
    hidden, out = local.position
    centre = float(7 * out(hidden(queries[0, 0]).tanh()).sigmoid().detach())
    seen = [source for source in range(7) if abs(source - centre) <= WINDOW]
    assert weights[0, 0].nonzero().flatten().tolist() == seen
    bell = torch.tensor([math.exp(-((source - centre) ** 2) / (2 * (WINDOW / 2) ** 2)) for source in seen])
    wanted = others[0, 0, seen] * bell
    torch.testing.assert_close(weights[0, 0, seen], wanted / wanted.sum())


def test_a_wide_window_is_no_window() -> None:
    """The limit of local-m is global attention with the same score."""
    queries, memory, mask, steps = _world()
    local, whole = _attention("local_m", window=100), _attention("general")
    assert torch.equal(_attend(local, queries, memory, mask, steps)[1], _attend(whole, queries, memory, mask, steps)[1])
