"""The exported part of every generator: its named inputs and its images. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from models.contract.tensors import PartSignature, TensorSignature

NAME = "generator"
NOISE = "noise"
VERBS = ("sample", "interpolate", "traverse")
HEADLINE = "energy_distance"


def code_names(categorical: int, continuous: int) -> tuple[str, ...]:
    """Return the names of as many codes: c1, c2 and on, the categorical ones first."""
    return tuple(f"c{index + 1}" for index in range(categorical + continuous))


def signature(noise: int | str, shape: Sequence[int | str], categorical: int = 0, continuous: int = 0) -> PartSignature:
    """Return noise (batch, noise), categories (batch,), numbers (batch, 1), and images (batch, ...) in [0, 1]."""
    names = code_names(categorical, continuous)
    codes = [
        TensorSignature(name=name, dtype="int64", shape=("batch",), quantity="indices")
        if place < categorical
        else TensorSignature(name=name, shape=("batch", 1))
        for place, name in enumerate(names)
    ]
    drawn = TensorSignature(name="images", shape=("batch", *shape))
    return PartSignature(inputs=(TensorSignature(name=NOISE, shape=("batch", noise)), *codes), outputs=(drawn,))
