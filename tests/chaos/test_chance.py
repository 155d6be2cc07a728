"""What is drawn from a seed: the same jobs and the same faults every time, and every kind of both."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice

from chaos.faults import FAULTS
from chaos.nemesis import shuffled
from chaos.workload import SHARES, Desk, plans


def dice() -> random.Random:
    return random.Random(1)  # noqa: S311 - reproducible, not secret


def test_the_same_seed_gives_the_same_jobs() -> None:
    assert list(islice(plans(7), 40)) == list(islice(plans(7), 40))
    assert list(islice(plans(7), 40)) != list(islice(plans(8), 40))


def test_every_purpose_comes_early_and_in_its_share() -> None:
    drawn = [plan.purpose for plan in islice(plans(3), len(SHARES) + 100)]
    assert set(drawn[: len(SHARES)]) == set(SHARES)
    assert Counter(drawn[len(SHARES) :]) == {purpose: 5 * share for purpose, share in SHARES.items()}


def test_every_fault_comes_before_one_comes_again() -> None:
    drawn = list(islice(shuffled(FAULTS, dice()), 3 * len(FAULTS)))
    assert Counter(drawn) == dict.fromkeys(FAULTS, 3)
    assert set(drawn[: len(FAULTS)]) == set(FAULTS)
    assert drawn == list(islice(shuffled(FAULTS, dice()), 3 * len(FAULTS)))


def test_faults_have_names_of_their_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_a_desk_hands_out_what_was_ordered_and_more_while_it_is_wanted() -> None:
    wanted = True
    desk = Desk(plans(1), 2, lambda: wanted)
    assert desk.share == 0.0
    assert all(desk.next() for _ in range(4))
    assert desk.share == 1.0
    wanted = False
    assert desk.next() is None
