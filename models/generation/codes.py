"""The named inputs of a generator, drawn from Philox streams or given by the client, and the latent they make together.

The numbers of all codes side by side, in the order of their declaration, are the latent: what ``encode`` returns,
``interpolate`` and ``traverse`` walk through, and requests may give. A category takes one place, as its index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal, cast

import numpy as np
from pydantic import Field

from models.contract.config import Options
from models.contract.errors import ValidationFailed
from models.contract.task import Array, Arrays, ServedModel

ASSET = "codes"
LARGEST_NUMBER = 1e6
"""Of a number that no distribution bounds."""


class Code(Options):
    """One input of the part ``generator``.

    Attributes:
        name: of the input. (batch, ``size``) float32, or (batch,) int64 of a category.
        distribution: from which it is drawn: N(0, 1), U(``low``, ``high``), or one of ``size`` categories.
        size: how many numbers, or how many categories.
        low: of a uniform number.
        high: of a uniform number.
        steers: whether it is meant to be chosen, and not only drawn as noise is.
    """

    name: str
    distribution: Literal["normal", "uniform", "categorical"] = "normal"
    size: int = Field(default=1, ge=1)
    low: float = -1.0
    high: float = 1.0
    steers: bool = True

    @property
    def width(self) -> int:
        """How many places of the latent it takes."""
        return 1 if self.distribution == "categorical" else self.size

    def draw(self, seed: int, stream: int, count: int) -> Array:
        """Return (count, width) float32; row k is drawn from the Philox stream of this key at counter (0, 0, 0, k)."""
        rows = np.empty((count, self.width), np.float32)
        for k in range(count):
            random = np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, 0, k]))
            if self.distribution == "normal":
                random.standard_normal(out=rows[k], dtype=np.float32)
            elif self.distribution == "uniform":
                rows[k] = self.low + (self.high - self.low) * random.random(self.size, np.float32)
            else:
                rows[k] = random.integers(self.size)
        return rows

    def given(self, value: object, pointer: str) -> Array:
        """Return (width,) float32 of what a client gives: one number, or a list of ``size`` numbers.

        Raises:
            ValidationFailed: something else, or a number outside the code's range.
        """
        if self.distribution == "categorical":
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < self.size:
                raise ValidationFailed.at(pointer, f"must be a whole number from 0 to {self.size - 1}, a category")
            return np.array([value], np.float32)
        numbers = cast("list[object]", value) if isinstance(value, list) else [value]
        found = numbers_of(numbers, self.size, pointer)
        low, high = (self.low, self.high) if self.distribution == "uniform" else (-LARGEST_NUMBER, LARGEST_NUMBER)
        if found.min() < low or found.max() > high:
            raise ValidationFailed.at(pointer, f"lies outside its range, {low:g} to {high:g}")
        return found


class Codes:
    """All codes of a generator."""

    def __init__(self, codes: Sequence[Code]) -> None:
        """Keep them in the order of the generator's inputs."""
        self.codes = tuple(codes)

    @classmethod
    def of(cls, model: ServedModel) -> Codes:
        """Return what the family declared; kept as long as the model is loaded."""
        return model.once(_read)

    @cached_property
    def width(self) -> int:
        """Numbers of a latent."""
        return sum(code.width for code in self.codes)

    @cached_property
    def labels(self) -> tuple[int | str, ...]:
        """Name of each place of a latent: that of a code with one place, else the place itself, counted from 0."""
        places: list[int | str] = []
        for code in self.codes:
            places += (
                [code.name] if code.width == 1 and len(self.codes) > 1 else range(len(places), len(places) + code.width)
            )
        return tuple(places)

    def code_at(self, place: int) -> Code:
        """Return the code to which a place of the latent belongs."""
        return [code for code in self.codes for _ in range(code.width)][place]

    def draw(self, seed: int, count: int, given: Mapping[str, object], pointer: str) -> Array:
        """Return latents (count, width) float32, row k by (seed, k) alone, with the ``given`` codes in all rows.

        Raises:
            ValidationFailed: a given code does not exist, or lies outside its range.
        """
        unknown = set(given) - {code.name for code in self.codes}
        if unknown:
            known = ", ".join(code.name for code in self.codes)
            name = min(unknown).replace("~", "~0").replace("/", "~1")
            raise ValidationFailed.at(f"{pointer}/{name}", f"is no code of this model; its codes are: {known}")
        columns = [
            np.tile(code.given(given[code.name], f"{pointer}/{code.name}"), (count, 1))
            if code.name in given
            else code.draw(seed, stream, count)
            for stream, code in enumerate(self.codes)
        ]
        return np.concatenate(columns, axis=1)

    def latent(self, value: Sequence[object], pointer: str) -> Array:
        """Return a latent (width,) float32 that a client gives.

        Raises:
            ValidationFailed: it is of another length, or a number of it is none.
        """
        found = numbers_of(value, self.width, pointer)
        for place, number in enumerate(found.tolist()):
            code = self.code_at(place)
            if code.distribution == "categorical":
                code.given(int(number) if number.is_integer() else number, f"{pointer}/{place}")
            elif abs(number) > LARGEST_NUMBER:
                raise ValidationFailed.at(f"{pointer}/{place}", f"lies beyond ±{LARGEST_NUMBER:g}")
        return found

    def arrays(self, latents: Array) -> Arrays:
        """Return latents (count, width) as the inputs of the part ``generator``."""
        arrays: dict[str, Array] = {}
        begin = 0
        for code in self.codes:
            columns = latents[:, begin : begin + code.width]
            begin += code.width
            if code.distribution == "categorical":
                arrays[code.name] = columns[:, 0].round().astype(np.int64)
            else:
                arrays[code.name] = np.ascontiguousarray(columns, np.float32)
        return arrays


def declared(codes: Sequence[Code]) -> dict[str, object]:
    """Return codes as they stand among the assets of a model."""
    return {ASSET: [code.model_dump(mode="json") for code in codes]}


def numbers_of(value: Sequence[object], count: int, pointer: str) -> Array:
    """Return (count,) float32.

    Raises:
        ValidationFailed: there are not so many, or one is no finite number.
    """
    if len(value) != count:
        raise ValidationFailed.at(pointer, f"has {len(value)} numbers; this model takes {count}")
    for place, number in enumerate(value):
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise ValidationFailed.at(f"{pointer}/{place}", "is not a number")
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and is refused as such
        found = np.array([float(cast("float", number)) for number in value]).astype(np.float32)
    if not np.isfinite(found).all():
        raise ValidationFailed.at(pointer, "holds a number that is not finite")
    return found


def _read(model: ServedModel) -> Codes:
    return Codes([Code.parse(item) for item in cast("list[object]", model.assets[ASSET])])
