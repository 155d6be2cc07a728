"""The search against all there is to find in small worlds, and the penalties against their equations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from models.contract.task import Array, Arrays, Call, Piece
from models.data.texts.segmentation import END_INDEX
from models.seq2seq.beam import Hypothesis, Search, beam_search, coverage_penalty, length_penalty
from models.seq2seq.forced import forced
from models.seq2seq.parts import ENCODER
from models.seq2seq.running import LETTERS_A_RUN, Source, read
from models.seq2seq.telling import Drawn, Likeliest, target_told

SIZE = 6
"""Tokens: padding, unknown, the end, and three others."""


class World:
    """A language in which what follows depends on the source's first token and the token before."""

    def __init__(self, seed: int = 1, *, attends: bool = True, points: bool = False) -> None:
        random = np.random.default_rng(seed)
        table = random.normal(0, 1.5, (SIZE, SIZE, SIZE))
        table[:, :, 0] = -1e9
        self.table = table - np.log(np.exp(table).sum(axis=2, keepdims=True))
        self.attends = attends
        self.points = points
        """Whether a step looks at one source token only: that whose place is the number of the token before."""
        self.rows: list[int] = []
        self.shapes: list[tuple[int, ...]] = []

    def run(self, part: str, arrays: Arrays) -> dict[str, Array]:
        if part == ENCODER:
            self.shapes.append(arrays["tokens"].shape)
            first = arrays["tokens"][:, :1].astype(np.float32)
            memory = {"memory": np.zeros((*arrays["tokens"].shape, 1), np.float32)} if self.attends else {}
            return {"start": first, **memory}
        self.rows.append(len(arrays["tokens"]))
        scores = self.table[arrays["state"][:, 0].astype(int), arrays["tokens"]]
        best = np.argsort(-scores, axis=1, kind="stable")[:, :-1]  # all but padding
        found: dict[str, Array] = {
            "likeliest": np.take_along_axis(scores, best, axis=1).astype(np.float32),
            "candidates": best,
            "log_probability": np.take_along_axis(scores, arrays["wanted"][:, None], axis=1)[:, 0].astype(np.float32),
            "next_state": arrays["state"],
        }
        if self.attends:
            places = np.arange(arrays["memory"].shape[1])[None, :]
            weights = places < arrays["lengths"][:, None]
            if self.points:
                weights = places == (arrays["tokens"] % arrays["lengths"])[:, None]
            found["attention"] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        return found

    def search(self, sources: Sequence[Source], search: Search) -> list[list[Hypothesis]]:
        return self.driven(beam_search(sources, search))

    def driven(self, codec: Any) -> Any:  # noqa: ANN401 - a generator of any result
        try:
            step = next(codec)
            while True:
                step = codec.send(self.run(step.part, step.arrays) if isinstance(step, Call) else None)
        except StopIteration as stop:
            return stop.value

    def likelihoods(self, first: int, longest: int) -> Mapping[tuple[int, ...], float]:
        """Return the log-probability of every ended target of up to ``longest`` tokens."""
        found: dict[tuple[int, ...], float] = {}
        for length in range(longest + 1):
            for target in itertools.product([1, 3, 4, 5], repeat=length):
                path = [END_INDEX, *target, END_INDEX]
                found[target] = sum(float(self.table[first, a, b]) for a, b in itertools.pairwise(path))
        return found


SOURCES = [Source(np.array(indices)) for indices in ([3, 4], [5], [4, 4, 4, 3], [3])]


@pytest.mark.parametrize("attends", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_a_wide_beam_finds_the_best_of_all(alpha: float, *, attends: bool) -> None:
    """Every target there can be is scored by hand; a beam as wide as they are many misses none."""
    world = World(attends=attends)
    found = world.search(SOURCES, Search(500, alpha, longest=(0.0, 3)))
    for source, beam in zip(SOURCES, found, strict=True):
        all_there_is = world.likelihoods(int(source.indices[0]), 3)
        scores = {target: total / length_penalty(len(target) + 1, alpha) for target, total in all_there_is.items()}
        wanted = sorted(scores.values(), reverse=True)
        assert [item.score for item in beam] == pytest.approx(wanted[: len(beam)], abs=1e-5)
        assert len(beam) == len(scores)
        best = tuple(beam[0].indices.tolist())
        assert beam[0].log_probability == pytest.approx(all_there_is[best], abs=1e-5)


@pytest.mark.parametrize("beam", [1, 2, 5])
def test_sources_do_not_depend_on_one_another(beam: int) -> None:
    """Alone and together, in any order."""
    together = World().search(SOURCES, Search(beam, 0.6, 0.2))
    for source, wanted in zip(SOURCES, together, strict=True):
        (alone,) = World().search([source], Search(beam, 0.6, 0.2))
        assert [item.indices.tolist() for item in alone] == [item.indices.tolist() for item in wanted]
        assert [item.score for item in alone] == pytest.approx([item.score for item in wanted])


def test_a_beam_of_one_is_greedy_and_the_stream_tells_the_same() -> None:
    """Each step the best token; pieces add up to what is told of the whole."""
    for source in SOURCES:
        world = World(seed=3)
        (beam,) = world.search([source], Search(1, 0.6, 0.2))
        path, last = list[int](), END_INDEX
        while len(path) < 2 * len(source) + 10:
            last = int(world.table[source.indices[0], last].argmax())
            if last == END_INDEX:
                break
            path.append(last)
        assert beam[0].indices.tolist() == path
        told: list[str] = []

        def shown(indices: Array, attention: Array | None) -> str:
            del attention
            return "".join(map(str, indices.tolist()))

        codec: Any = target_told(source, Search(1, 0.6, 0.2), shown, Likeliest())
        try:
            step = next(codec)
            while True:
                if isinstance(step, Piece):
                    told.append(str(step.content["text"]))
                step = codec.send(world.run(step.part, step.arrays) if isinstance(step, Call) else None)
        except StopIteration as stop:
            streamed: Hypothesis = stop.value
        assert "".join(told) == "".join(map(str, path))
        assert streamed.indices.tolist() == path
        assert streamed.score == pytest.approx(beam[0].score)


def test_what_ends_leaves_the_beam() -> None:
    """Later steps run fewer rows, and none when all have ended."""
    world = World()
    world.search(SOURCES, Search(4))
    assert world.rows[0] == len(SOURCES)
    assert max(world.rows) <= 4 * len(SOURCES)
    assert world.rows[-1] < max(world.rows)


def test_targets_end_at_the_limit_of_their_source() -> None:
    """A world that never ends by itself."""
    world = World(attends=False)
    world.table[:, :, END_INDEX] = -50
    found = world.search(SOURCES, Search(2, longest=(2.0, 1)))
    assert [len(beam[0].indices) for beam in found] == [5, 3, 9, 3]
    assert not any(item.ended for beam in found for item in beam)
    assert all(len(beam) == 2 for beam in found)


def test_padding_is_in_whole_steps() -> None:
    """So that steps of different requests have the same shape."""
    world = World()
    world.search([Source(np.array([3] * 9)), Source(np.array([4]))], Search(1, longest=(0.0, 1)))
    assert world.shapes == [(2, 16)]


def test_penalties_are_those_of_the_paper() -> None:
    """Wu et al. (2016), Eq. 14: lp(1) = 1, α = 0 changes nothing, full coverage costs nothing."""
    assert length_penalty(1, 0.7) == 1
    assert length_penalty(13, 0.0) == 1
    assert length_penalty(7, 1.0) == pytest.approx(2)
    assert coverage_penalty(np.array([1.0, 3.0]), 0.2) == 0
    assert coverage_penalty(np.array([0.5, 1.0]), 0.2) == pytest.approx(0.2 * math.log(0.5))
    assert math.isfinite(coverage_penalty(np.array([0.0]), 1.0))


def test_what_is_uncovered_is_ranked_lower() -> None:
    """Equal attention everywhere: long targets cover more, so a heavy β favours them."""
    sources = [Source(np.array([3, 3, 3, 3, 3, 3]))]
    plain, covered = (World().search(sources, Search(20, 0.0, beta, attention=True))[0] for beta in (0.0, 5.0))
    assert len(covered[0].indices) > len(plain[0].indices)
    looked = covered[0].attention
    assert looked is not None
    assert looked.shape == (len(covered[0].indices), 6)


def test_forced_targets_have_the_likelihood_of_the_world() -> None:
    """Given targets of different lengths, each behind its own source."""
    world = World()
    targets = [np.array([3, 4, END_INDEX]), np.array([END_INDEX]), np.array([1, 5, 5, 3, END_INDEX]), np.array([4, 2])]
    found = world.driven(forced(SOURCES, targets))
    for source, target, own in zip(SOURCES, targets, found, strict=True):
        path = [END_INDEX, *target.tolist()]
        wanted = [float(world.table[source.indices[0], a, b]) for a, b in itertools.pairwise(path)]
        assert own.log_probabilities.tolist() == pytest.approx(wanted, abs=1e-5)
        assert own.attention is None
    found = world.driven(forced(SOURCES, targets, attention=True))
    assert [own.attention.shape for own in found] == [
        (len(target), len(source)) for source, target in zip(SOURCES, targets, strict=True)
    ]


def test_letters_are_read_in_runs_of_bounded_size() -> None:
    """As few sources at once as it takes; rows come back in their order."""
    letters = [np.full(40, 4) for _ in range(500)]
    sources = [Source(np.full(500, 3 + number), letters) for number in range(16)]
    sizes: list[int] = []
    codec: Any = read(sources)
    try:
        call = next(codec)
        while True:
            assert call.arrays["letters"].shape[:2] == call.arrays["tokens"].shape
            sizes.append(call.arrays["letters"].size)
            call = codec.send({"start": call.arrays["tokens"][:, :1], "memory": call.arrays["tokens"]})
    except StopIteration as stop:
        rows = stop.value
    assert max(sizes) <= LETTERS_A_RUN
    assert sum(sizes) == 16 * 504 * 40
    assert rows.state[:, 0].tolist() == [3 + number for number in range(16)]
    assert rows.memory.shape == (16, 504)


def test_unknown_tokens_can_be_kept_out_of_targets() -> None:
    """By the beam at any width, and by draws."""
    world = World()
    world.table[:, :, 1] = 3.0
    assert any(1 in item.indices for beam in world.search(SOURCES, Search(3)) for item in beam)
    for beam in (1, 3):
        found = world.search(SOURCES, Search(beam, unknown=False))
        assert not any(1 in item.indices for hypotheses in found for item in hypotheses)
        assert all(len(hypotheses) == beam for hypotheses in found)
    for seed in range(20):
        told = target_told(SOURCES[0], Search(1, unknown=False), lambda *_: "", Drawn(1.0, 1, seed))
        assert 1 not in world.driven(told).indices


@pytest.mark.parametrize("barred", [(0,), (1,), (0, 2)])
@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_draws_are_among_as_many_as_asked_of_those_that_may_be(top_k: int, barred: tuple[int, ...]) -> None:
    """What a target may not hold takes nobody's place, wherever it ranks."""
    scores = np.array([-0.5, -0.6, -0.7, -0.8, -0.9, -1.0])
    scores[list(barred)] = -np.inf
    choice = Drawn(1.0, top_k, seed=1)
    drawn = {choice.rank(scores) for _ in range(200)}
    assert drawn == set([rank for rank in range(6) if rank not in barred][:top_k])


def test_draws_are_as_frequent_as_the_world_says() -> None:
    """At temperature 1 among all, and among the two best at another temperature; one seed gives one target."""
    scores = np.log(np.array([0.5, 0.3, 0.2]))
    for temperature, top_k, wanted in ((1.0, None, [0.5, 0.3, 0.2]), (0.5, 2, [0.25 / 0.34, 0.09 / 0.34, 0.0])):
        choice = Drawn(temperature, top_k, seed=4)
        counts = np.bincount([choice.rank(scores) for _ in range(4_000)], minlength=3) / 4_000
        np.testing.assert_allclose(counts, wanted, atol=0.03)
    world = World()
    drawn = [
        world.driven(target_told(SOURCES[0], Search(1), lambda *_: "", Drawn(1.0, None, seed))).indices.tolist()
        for seed in (1, 1, 2, 3)
    ]
    assert drawn[0] == drawn[1]
    assert len({tuple(indices) for indices in drawn}) > 1


def test_attention_is_that_of_the_hypothesis_itself() -> None:
    """However often its beam was reordered: each step looked where the token before says."""
    sources = [Source(np.array([first, 3, 4, 5, 3, 4])) for first in (3, 4, 5)]
    for beam in World(points=True).search(sources, Search(6)):
        for item in beam:
            before = [END_INDEX, *item.indices.tolist()][: len(item.indices)]
            assert item.looked is not None
            assert item.looked.tolist() == [token % 6 for token in before]


def test_long_sources_are_searched_a_few_at_a_time() -> None:
    """So that memory does not grow with their number."""
    world = World()
    found = world.search([Source(np.array([3] * 2_000))] * 5, Search(4, longest=(0.0, 2)))
    assert len(world.shapes) == 3
    assert [item.indices.tolist() for item in found[0]] == [item.indices.tolist() for item in found[4]]


def test_attention_is_kept_of_the_best_alone_and_where_it_is_asked_for() -> None:
    """Of thousands of hypotheses it would be gigabytes; what they looked at most is a number a token."""
    plain, kept = (World().search(SOURCES, Search(3, 0.6, 0.2, attention=asked)) for asked in (False, True))
    assert not any(item.attention is not None for beam in plain for item in beam)
    for source, beam, same in zip(SOURCES, kept, plain, strict=True):
        best, *others = beam
        assert best.attention is not None
        assert best.attention.shape == (len(best.indices), len(source))
        assert not any(item.attention is not None for item in others)
        assert [item.score for item in beam] == [item.score for item in same]
    few = World().search(SOURCES, Search(3, 0.6, 0.2, returned=2))
    assert [[item.score for item in beam] for beam in few] == [[item.score for item in beam[:2]] for beam in plain]


class Counted(np.ndarray[Any, np.dtype[Any]]):
    """An array that counts what is taken out of it."""

    taken = 0

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401 - as numpy's
        found = super().__getitem__(key)
        Counted.taken += np.size(found)
        return found


@pytest.mark.parametrize("asked", [False, True])
def test_what_was_looked_at_is_not_copied_at_every_step(asked: bool) -> None:  # noqa: FBT001 - a parameter
    """The work of a search grows with the length of its targets, not with its square."""
    world, run, steps = World(), World.run, 400
    world.table[:, :, END_INDEX] = -50

    def counted(part: str, arrays: Arrays) -> dict[str, Array]:
        found = run(world, part, arrays)
        return found | ({"attention": found["attention"].view(Counted)} if "attention" in found else {})

    world.run = counted
    Counted.taken = 0
    (beam,) = world.search([Source(np.array([3] * 16))], Search(4, 0.6, 0.2, (0.0, steps), attention=asked))
    assert len(beam[0].indices) == steps
    assert Counted.taken <= 5 * steps * len(beam) * 16
