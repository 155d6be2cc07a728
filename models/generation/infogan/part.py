"""The exported part that reads codes off images, Q(c | x). Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from models.contract.tensors import PartSignature, TensorSignature
from models.generation.adversarial.part import code_names

READER = "posterior"


def reader_signature(shape: Sequence[int | str], categories: Sequence[int | str], continuous: int) -> PartSignature:
    """Return images (batch, ...) of the dataset's scale, and of each code what Q says of it, by the code's name.

    Of a categorical code its probabilities (batch, categories), of a continuous one its mean (batch, 1).
    """
    names = code_names(len(categories), continuous)
    codes = [
        TensorSignature(name=name, shape=("batch", count), quantity="probabilities")
        for name, count in zip(names, categories, strict=False)
    ]
    means = [TensorSignature(name=name, shape=("batch", 1)) for name in names[len(categories) :]]
    images = TensorSignature(name="images", shape=("batch", *shape))
    return PartSignature(inputs=(images,), outputs=(*codes, *means))
