"""Breaks one thing after the other, of every kind equally often, and keeps what it did in the history."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from chaos.faults import Fault, NothingToHit, Scene, Struck
from chaos.history import History, Strike

POLL_SECONDS = 0.1


class Nemesis:
    """A thread; ``run`` is its body."""

    def __init__(self, scene: Scene, history: History, over: threading.Event) -> None:
        """Break nothing yet."""
        self._scene = scene
        self._history = history
        self._over = over
        self.done = False

    def run(
        self,
        kinds: Sequence[type[Fault]],
        faults: int,
        pause_seconds: tuple[float, float],
        share: Callable[[], float],
    ) -> None:
        """Strike until ``faults`` have happened, each kind as often as the others, give or take one.

        No larger part of them comes than the ``share`` of the jobs that were submitted, so that all are in the way.
        """
        try:
            done = 0
            for kind in shuffled(kinds, self._scene.chance):
                if done >= faults or self._over.wait(self._scene.chance.uniform(*pause_seconds)):
                    return
                while done > faults * share():
                    if self._over.wait(POLL_SECONDS):
                        return
                done += self._strike(kind())
        finally:
            self.done = True

    def _strike(self, fault: Fault) -> bool:
        began = time.monotonic()
        happened = True
        try:
            struck = fault.strike(self._scene)
        except NothingToHit:
            struck, happened = Struck("", ()), False
        ended = time.monotonic()
        hit = ended if struck.at is None else struck.at
        jobs = tuple(sorted(set(struck.jobs)))
        self._history.add(Strike(fault.name, began, hit, ended, struck.target, jobs, happened))
        return happened


def shuffled(kinds: Sequence[type[Fault]], chance: random.Random) -> Iterator[type[Fault]]:
    """Yield the kinds without end, all of them before one comes again."""
    while True:
        deck = list(kinds)
        chance.shuffle(deck)
        yield from deck
