"""Files broken at random: what a mutating fuzzer does to them (Zalewski, "Technical details of american fuzzy lop").

A few seeds, and from each any number of descendants by flipped bits, edge-case integers, slices that are cut out,
repeated or taken from another seed, and words of the format. The same seed number gives the same files.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
MOST_CHANGES = 6
LONGEST_SLICE = 64

Change = Callable[[bytearray, random.Random], None]


def mutants(seeds: Sequence[bytes], words: Sequence[bytes], count: int, number: int) -> Iterator[bytes]:
    """Yield ``count`` descendants of ``seeds``; the first are the seeds themselves."""
    chance = random.Random(number)  # noqa: S311 - reproducible, not secret
    changes: list[Change] = [_flip, _edge, _cut, _repeat, _insert, _truncate]
    yield from seeds[:count]
    for _ in range(count - len(seeds)):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, MOST_CHANGES)):
            chosen = chance.randrange(len(changes) + 2)
            if chosen < len(changes):
                changes[chosen](data, chance)
            elif chosen == len(changes):
                _splice(data, chance.choice(seeds), chance)
            elif words:
                data[(at := _place(data, chance)) : at] = chance.choice(words)
        yield bytes(data)


def _place(data: bytearray, chance: random.Random) -> int:
    return chance.randrange(len(data) + 1)


def _flip(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _edge(data: bytearray, chance: random.Random) -> None:
    width = chance.choice((1, 2, 4, 8))
    at = _place(data, chance)
    value = chance.choice(EDGES) % (1 << 8 * width)
    data[at : at + width] = value.to_bytes(width, chance.choice(("little", "big")))


def _cut(data: bytearray, chance: random.Random) -> None:
    at = _place(data, chance)
    del data[at : at + chance.randint(1, LONGEST_SLICE)]


def _repeat(data: bytearray, chance: random.Random) -> None:
    at = _place(data, chance)
    data[at:at] = data[at : at + chance.randint(1, LONGEST_SLICE)] * chance.randint(1, 4)


def _insert(data: bytearray, chance: random.Random) -> None:
    at = _place(data, chance)
    data[at:at] = chance.randbytes(chance.randint(1, 8))


def _truncate(data: bytearray, chance: random.Random) -> None:
    if chance.random() < 0.3:
        del data[_place(data, chance) :]


def _splice(data: bytearray, other: bytes, chance: random.Random) -> None:
    start, at = chance.randrange(len(other) + 1), _place(data, chance)
    data[at : at + LONGEST_SLICE] = other[start : start + chance.randint(1, LONGEST_SLICE)]
